#!/usr/bin/env bash
# Does a test notice when a line of the format or of the log is changed? Changes one thing after the
# other, runs the tests of the lower layers that pass by it and, where they notice nothing, simulated
# lives (ANNAL_SIM_SEEDS of them, 300) and repairs, and says which changes nobody noticed.
#
#     tests/layers/mutants.sh                         all of format and log: about 2,900 changes
#     tests/layers/mutants.sh src/log/recovery.rs     those of one file, or of several
#
# Needs cargo-mutants, which says what there is to change: cargo install cargo-mutants --locked.
# The changes are compiled into one program (mutants/main.rs). What cannot be is listed in
# `left_out`, and with `MUTANTS_LEFT_OUT=yes` cargo-mutants tries it, one build for each; with
# `MUTANTS_LEFT_OUT=only` it tries that and nothing else.
# MUTANTS_OUT, an absolute path, says where the lists go (default: target/mutants).
# docs/mutants.md has what was found.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${MUTANTS_OUT:-$here/../../target/mutants}
mkdir -p "$out"
out=$(cd "$out" && pwd)
source "$here/copy.sh"

if [ $# -eq 0 ]; then set -- 'src/format/**' 'src/log/**'; fi
files=()
for file; do files+=(--file "$file"); done
cargo mutants --list --json "${files[@]}" >"$out/changes.json"
tests=(log:: format:: index::)
before=$(mktemp -d)
cp -a src "$before/src"
whole=$before/whole
mkdir "$whole"
(cd "$here/../.." && git ls-files -z | xargs -0 cp --parents -t "$whole")
ANNAL_SIM_SEEDS=${ANNAL_SIM_SEEDS:-300} CARGO_TARGET_DIR=$PWD/target/mutants \
    cargo run --quiet --manifest-path "$here/mutants/Cargo.toml" -- \
    "$out/changes.json" "$PWD" "$whole" "$out" "${tests[@]}"
rm -rf src
mv "$before/src" src
rm -rf "$before"
if [[ "${MUTANTS_LEFT_OUT:-}" = @(yes|only) ]] && [ -s "$out/left_out" ]; then
    # Their names, each as a pattern that fits nothing else.
    names=$(sed 's/[][\.|$(){}?+*^]/\\&/g; s/^/^/; s/$/$/' "$out/left_out" | paste -sd'|')
    cargo mutants --in-place --no-shuffle --timeout 60 --output "$out" "${files[@]}" --re "$names" \
        -- --lib -- "${tests[@]}" || true
fi
if [ "${MUTANTS_LEFT_OUT:-}" = only ]; then
    wc -l "$out"/mutants.out/*.txt
else
    (cd "$out" && wc -l caught timeout above missed left_out)
fi
