//! The shape of the code is tested like its behaviour: which layer may import which, what is named
//! only in its home, how long files and lines get, and that nothing unfinished stays.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::Path;

use source::Source;

/// The architecture: a folder of `src/` is a layer, and imports the layers of its row and no
/// others. `*` is everything, the crate's own surface included.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("sync", &[]),
    ("disk", &[]),
    ("format", &["model"]),
    ("log", &["model", "sync", "disk", "format"]),
    ("index", &["model", "sync", "disk", "format", "log"]),
    (
        "engine",
        &["model", "sync", "disk", "format", "log", "index"],
    ),
    ("subscription", &["model", "sync", "engine"]),
    ("protocol", &["model", "format"]),
    ("tls", &[]),
    ("access", &["model", "engine"]),
    ("client", &["model", "format", "protocol", "tls"]),
    (
        "server",
        &[
            "model",
            "engine",
            "subscription",
            "protocol",
            "access",
            "tls",
        ],
    ),
    (
        "grpc",
        &["model", "engine", "subscription", "access", "tls"],
    ),
    ("cli", &["*"]),
];

/// What is not ours to check: build output, data, and what a fuzzer collects.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "annal-data",
    "fuzz/target",
    "fuzz/corpus",
    "fuzz/artifacts",
    "fuzz/logs",
    "fuzz/seeds",
    "tests/clients/rust/target",
    "tests/interleavings/target",
    "benches/compare/target",
];

/// Every text file below `folder`, which is a path from the root of the repository.
fn sources(root: &Path, folder: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = match folder {
            "" => name,
            _ => format!("{folder}/{name}"),
        };
        if SKIPPED.contains(&&*path) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            sources(root, &path, found);
        } else if let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap()) {
            found.push(Source::new(&path, &text));
        }
    }
}

#[test]
fn the_repository_is_tidy() {
    let mut all = Vec::new();
    sources(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut all);
    assert!(all.iter().any(|source| source.path == "src/lib.rs"));
    let mut findings = Vec::new();
    for source in &all {
        let of_rust = rules::RUST.iter().filter(|_| source.is_rust());
        for rule in rules::EVERY_FILE.iter().chain(of_rust) {
            findings.extend(rule(source));
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn the_map_of_the_code_shows_the_same_layers() {
    let map = include_str!("../src/lib.rs");
    let rows = map.lines().filter(|line| line.starts_with("//! | `"));
    let shown: Vec<&str> = rows.collect();
    let row = |(layer, imports): &(&str, &[&str])| match imports {
        [] => format!("//! | `{layer}` | - |"),
        ["*"] => format!("//! | `{layer}` | everything public |"),
        _ => format!("//! | `{layer}` | {} |", imports.join(" ")),
    };
    assert_eq!(shown, LAYERS.iter().map(row).collect::<Vec<_>>());
    let known = |layer: &str| map.contains(&format!("mod {layer};"));
    assert!(LAYERS.iter().all(|(layer, _)| known(layer)));
}
