#!/usr/bin/env bash
# Fuzzes the targets of src/lib.rs, or those that are named, and prints for each how many inputs
# ran, how much of the code they reached, how many of them are kept, and how many are findings.
#
#   fuzz/run.sh [--seconds N] [--jobs N] [TARGET..]
#
# Needs nightly Rust and cargo-fuzz (cargo install cargo-fuzz). Each target runs N seconds (60), so
# many of them at once as there are jobs (1), from the seeds that src/ makes of real encodings and
# from what earlier runs have kept in corpus/. A finding is kept in artifacts/; it fails the run.
#
# Without a sanitizer: the code is safe Rust but for one module that no target reaches. Overflow
# checks and debug assertions are on, and an input may not take more than 2 GiB or 30 seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=60 jobs=1 targets=()
while [ $# -gt 0 ]; do
    case "$1" in
        --seconds) seconds=$2; shift 2 ;;
        --jobs) jobs=$2; shift 2 ;;
        -*) sed -n '2,/^set/{/^#/p}' "run.sh" >&2; exit 2 ;;
        *) targets+=("$1"); shift ;;
    esac
done

cargo +nightly fuzz build --sanitizer none
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
mkdir -p corpus artifacts logs

# A Rust program ignores it by itself, but the fuzzer's own program is none.
trap '' PIPE

fuzz() {
    local target=$1 seconds=$2
    mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
    # The binary itself: cargo would hold a lock that the others wait for.
    FUZZ_SEEDS="seeds/$target" "target/$(rustc -vV | sed -n 's/^host: //p')/release/$target" "corpus/$target" "seeds/$target" \
        -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -rss_limit_mb=2048 \
        -timeout=30 -max_len=65536 -print_final_stats=1 >"logs/$target" 2>&1 || true
}
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I {} bash -c "fuzz {} $seconds"

# The last line that libFuzzer writes of a kind tells the most.
last() { grep -oE "$1[: ]+[0-9]+" "logs/$2" | tail -n 1 | grep -oE '[0-9]+$' || echo 0; }
failed=0
printf '| target | executions | seconds | edges | features | kept | findings |\n'
printf '| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n'
for target in "${targets[@]}"; do
    found=$(find "artifacts/$target" -type f | wc -l)
    [ "$found" -eq 0 ] || failed=1
    ran=$(grep -oE '[0-9]+ second' "logs/$target" | tail -n 1 | grep -oE '^[0-9]+' || echo 0)
    kept=$(find "corpus/$target" -type f | wc -l)
    executions=$(last stat::number_of_executed_units "$target")
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$target" "$executions" "$ran" \
        "$(last cov "$target")" "$(last ft "$target")" "$kept" "$found"
done
exit "$failed"
