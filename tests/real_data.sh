#!/usr/bin/env bash
# Measures a server with git-histories in it (import, memory, space, starts) and fails if a limit is
# not kept. Needs ANNAL_DATA_DIR to name the folder of the data, and a quiet machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${ANNAL_DATA_DIR:-}" ]; then
    echo "real_data.sh: set ANNAL_DATA_DIR to the folder that holds git-histories.ndjson.zst" >&2
    exit 2
fi
ANNAL_MEASURE=1 exec cargo test --locked --release --all-features --test real_data -- \
    --exact --nocapture a_server_with_git_histories_keeps_its_limits
