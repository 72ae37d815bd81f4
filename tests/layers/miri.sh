#!/usr/bin/env bash
# Runs the tests of what turns structures into bytes and back under Miri, which notices undefined
# behaviour in them and in the crates that they call.
#
#     tests/layers/miri.sh            the quick ones, some minutes
#     tests/layers/miri.sh --all      all of model, format and the pages of the index
#
# Needs nightly Rust with miri and rust-src:
# rustup component add --toolchain nightly miri rust-src
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/copy.sh"

# Properties read the environment for how many cases to try; a hundred times slower, a few must do.
export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=${PROPTEST_CASES:-4}
tests=(format::checksum format::codec format::field format::floor format::names format::segment
    format::store format::unit)
if [ "${1:-}" = --all ]; then tests=(model:: format:: index::table); fi
cargo +nightly miri test --lib -- "${tests[@]}"
