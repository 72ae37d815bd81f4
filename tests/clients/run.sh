#!/usr/bin/env bash
# Runs EventStoreDB's published clients, and the suites that they ship, against Annal; README.md here
# says what it needs and what it leaves behind. `run.sh --help` shows how to run a part.
set -euo pipefail
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/runner/main.py" "$@"
