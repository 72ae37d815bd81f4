#!/usr/bin/env bash
# Does a test notice when a line of the format or of the log is changed? Changes one thing after the
# other, runs the tests of the two layers, and says which changes nobody noticed.
#
#     tests/layers/mutants.sh                         all of format and log: about 2,400 changes
#     tests/layers/mutants.sh src/log/recovery.rs     those of one file, or of several
#
# Needs cargo-mutants: cargo install cargo-mutants --locked. docs/mutants.md has what was found.
# MUTANTS_OUT, an absolute path, says where the lists and logs go (default: target/mutants).
set -euo pipefail
out=${MUTANTS_OUT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/mutants}
mkdir -p "$out"
source "$(dirname "${BASH_SOURCE[0]}")/copy.sh"

if [ $# -eq 0 ]; then set -- 'src/format/**' 'src/log/**'; fi
files=()
for file; do files+=(--file "$file"); done
# The format stands on the model alone; the index on the log, which it does not test.
above=index
tests=(log:: format::)
if [[ "$*" != *src/log* ]]; then
    above='disk\|index\|log\|sync'
    tests=(format::)
fi
sed -i "/mod \($above\);/d" src/lib.rs
cargo mutants --in-place --no-shuffle --timeout 300 --output "$out" "${files[@]}" \
    -- --lib -- "${tests[@]}"
