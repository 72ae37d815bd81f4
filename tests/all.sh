#!/usr/bin/env bash
# Every check of this repository, those that fail fastest first. Stops at the first that fails.
# Needs Rust with rustfmt and clippy, and a C and a C++ compiler. Asks nothing.
#
# Checks on real data need ANNAL_DATA_DIR to name its folder, and say so when it does not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --check

# A feature only adds items, so each set must be clean by itself.
for features in '' client server grpc cli; do
    step cargo clippy --locked --all-targets --no-default-features --features "$features" \
        -- -D warnings
done

# Unit tests, tests/, examples (built) and doc tests: the engine alone, then everything.
step cargo test --locked --no-default-features
step cargo test --locked --all-features

# The threads of a store in many orders: a build of its own, in which a scheduler stands in for locks.
step cargo test --locked --manifest-path tests/interleavings/Cargo.toml

# Every link in the documentation leads somewhere, in private items too: they are the map.
export RUSTDOCFLAGS="-D warnings"
step cargo doc --locked --no-deps --all-features --document-private-items

# Fuzzing needs cargo-fuzz and nightly Rust; its targets still have to compile. Benches were checked
# with each feature set above.
step cargo check --manifest-path fuzz/Cargo.toml

printf '\nEverything passed.\n'
