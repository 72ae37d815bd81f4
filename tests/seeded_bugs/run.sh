#!/usr/bin/env bash
# Shows that the suites can see: puts each bug of this folder, one at a time, into a copy of the
# source, runs the suite that is to find it, and writes docs/seeded-bugs.md.
#
#     tests/seeded_bugs/run.sh            all of them
#     tests/seeded_bugs/run.sh NAME...    only these, and their rows of it
#
# A bug is a patch `NAME.patch`; in front of it stand what it is and the suite. Needs patch(1) and
# git. ANNAL_BUGS_SEEDS says how many seeds the simulation may take (default: 2,000);
# ANNAL_BUGS_DIR, where the copy is made and kept for the next time (default: a temporary folder).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

here=$PWD
seeds=${ANNAL_BUGS_SEEDS:-2000}
if [ -n "${ANNAL_BUGS_DIR:-}" ]; then
    copy=$ANNAL_BUGS_DIR
    mkdir -p "$copy"
else
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$copy/target}
export ANNAL_SIM_SEEDS=$seeds ANNAL_SIM_FIRST=0 RUST_BACKTRACE=0

git ls-files -z | xargs -0 cp --parents -t "$copy"
cd "$copy"

field() { sed -n "s/^$2: //p" "$1"; }

# Runs a suite; says what it found, or nothing.
find_it() {
    local suite=$1 log=$copy/seeded-bug.log
    local test=(cargo test --quiet --no-default-features)
    case $suite in
        simulation) set -- --test simulation no_life -- --nocapture ;;
        interleavings)
            test=(cargo test --quiet --manifest-path tests/interleavings/Cargo.toml)
            set -- --test promises
            ;;
        # shellcheck disable=SC2086
        *) set -- $suite ;;
    esac
    if ! "${test[@]}" "${@:1:2}" --no-run >"$log" 2>&1; then
        echo "does not build: $log" >&2
        return 1
    fi
    local status=0
    timeout 3600 "${test[@]}" "$@" >"$log" 2>&1 || status=$?
    case $status in
        0) ;;
        124) echo "no end within an hour: $log" >&2 ;;
        *) sed -n 's/^a seed failed after \([0-9]*\) seeds$/\1/p' "$log" | head -1 | grep . || echo "-" ;;
    esac
}

rows=$copy/seeded-bugs.rows
: >"$rows"
missed=0
names=("$@")
if [ $# -eq 0 ]; then
    for patch in "$here"/tests/seeded_bugs/*.patch; do
        names+=("$(basename "$patch" .patch)")
    done
fi
for name in "${names[@]}"; do
    patch=$here/tests/seeded_bugs/$name.patch
    patch --quiet -p1 <"$patch"
    found=$(find_it "$(field "$patch" suite)")
    patch --quiet -p1 --reverse <"$patch"
    if [ -z "$found" ]; then
        found="**not found in $seeds**"
        missed=$((missed + 1))
    fi
    row="| $name | $(field "$patch" bug) | \`$(field "$patch" suite)\` | $found |"
    echo "$row" | tee -a "$rows"
done

# The table keeps the rows of the other bugs that are still there.
table=$here/docs/seeded-bugs.md
sed '1,/^| --- /d' "$table" | while read -r row; do
    name=$(cut -d' ' -f2 <<<"$row")
    [ ! -e "$here/tests/seeded_bugs/$name.patch" ] || grep -q "^| $name |" "$rows" || echo "$row"
done >"$rows.kept"
{
    sed '/^| --- /q' "$table"
    LC_ALL=C sort "$rows" "$rows.kept"
} >"$copy/seeded-bugs.md"
cp "$copy/seeded-bugs.md" "$table"
[ "$missed" -eq 0 ] || { echo "$missed bugs were not found" >&2; exit 1; }
