#!/usr/bin/env bash
# One campaign against the release build of `annal serve`; what each does and needs: README.md here.
#
#     tests/faults/run.sh CAMPAIGN [--cycles N] [--seed S]
#
# CAMPAIGN is kill, power-ext4, power-xfs, full, strace, stop, second, clock, or all of them: all.
# Ends with 0 if nothing was broken, with 77 if this machine lacks what the campaign needs, and with
# anything else if a promise was broken. ANNAL_FAULTS_DIR says where the stores are (default: the
# folder of temporary files), ANNAL_FAULTS_BINARY names another build of `annal` to be tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    sed -n '2,9s/^# \{0,1\}//p' tests/faults/run.sh >&2
    exit 2
}

# How many strikes where nobody says how many.
cycles_of() {
    case $1 in
        kill) echo 500 ;;
        power-*) echo 2000 ;;
        *) echo 100 ;;
    esac
}

names='kill power-ext4 power-xfs full strace stop second clock'
[ $# -ge 1 ] || usage
asked=$1
shift
[ "$asked" = all ] || [[ " $names " = *" $asked "* ]] || usage
[ "$asked" = all ] && asked=$names
cycles=
while [ $# -gt 0 ]; do
    case $1 in
        --cycles) cycles=${2:?} ;;
        --seed) export ANNAL_FAULTS_SEED=${2:?} ;;
        *) usage ;;
    esac
    shift 2
done

# The server is the release build; who strikes and judges it need not be.
if [ -z "${ANNAL_FAULTS_BINARY:-}" ]; then
    cargo build --locked --release
    ANNAL_FAULTS_BINARY=${CARGO_TARGET_DIR:-target}/release/annal
fi
ANNAL_FAULTS_BINARY=$(realpath "$ANNAL_FAULTS_BINARY")
export ANNAL_FAULTS_BINARY

status=0
for name in $asked; do
    export ANNAL_FAULTS_CYCLES=${cycles:-$(cycles_of "$name")}
    ended=0
    cargo test --locked --test faults -- --exact "$name" || ended=$?
    # A broken promise outweighs a campaign that was not run.
    if [ "$status" -eq 0 ] || { [ "$status" -eq 77 ] && [ "$ended" -ne 0 ]; }; then
        status=$ended
    fi
done
exit "$status"
