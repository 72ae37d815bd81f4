#!/usr/bin/env bash
# Every check of this repository, in the order in which they fail fastest. Stops at the first that
# fails. Needs Rust with rustfmt and clippy, and a C compiler. Asks nothing.
#
# Two checks look at real data and say so when it is not there: ANNAL_DATA_DIR names its folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --check

# A feature only adds items, so each set must be clean by itself.
for features in '' client server cli; do
    step cargo clippy --locked --all-targets --no-default-features --features "$features" \
        -- -D warnings
done

# Unit tests, tests/, examples (built) and doc tests: the engine alone, then everything.
step cargo test --locked --no-default-features
step cargo test --locked --all-features

# Every link in the documentation leads somewhere, in private items too: they are the map.
export RUSTDOCFLAGS="-D warnings"
step cargo doc --locked --no-deps --all-features --document-private-items

step cargo bench --locked --no-run --all-features

printf '\nEverything passed.\n'
