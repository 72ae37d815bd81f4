# Sourced: makes a copy of the lower layers that is a package by itself, and goes there, for it is
# built in a fraction of the time. LAYERS_DIR says where, to be kept; else it goes at the end.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ -n "${LAYERS_DIR:-}" ]; then
    copy=$LAYERS_DIR
    mkdir -p "$copy"
else
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
fi
git ls-files -z src storage-format.md Cargo.lock | xargs -0 cp --parents -t "$copy"
cp tests/layers/Cargo.toml "$copy/Cargo.toml"
cp tests/layers/lib.rs "$copy/src/lib.rs"
rm -f "$copy/src/main.rs"
cd "$copy"
