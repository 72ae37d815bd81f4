//! The golden files of the repository as seeds: stores of every version, and the example frames of
//! the wire format's document.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of a golden store.
#[derive(Clone, Debug)]
pub struct GoldenFile {
    /// The store.
    pub store: String,
    /// Its name in the data directory.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// `tests/golden`, of whichever package this is part of.
fn folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [".", ".."].map(|up| package.join(up).join("tests/golden"));
    let [here, above] = places;
    if here.is_dir() { here } else { above }
}

/// All files of all golden stores, in order.
#[must_use]
pub fn files() -> Vec<GoldenFile> {
    let mut found = Vec::new();
    for store in entries(&folder()).into_iter().filter(|path| path.is_dir()) {
        for path in entries(&store) {
            if path.extension().is_some_and(|end| end == "hex") {
                let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
                found.push(GoldenFile {
                    store: name(&store),
                    name: name(&path),
                    bytes: from_dump(&fs::read_to_string(&path).unwrap()),
                });
            }
        }
    }
    assert!(!found.is_empty(), "the golden stores are there");
    found
}

/// The golden files whose names begin like this, without what is empty.
pub fn files_of(kind: &str) -> impl Iterator<Item = Vec<u8>> {
    let kind = kind.to_owned();
    let files = files().into_iter().map(|file| (file.name, file.bytes));
    files.filter_map(move |(name, bytes)| name.starts_with(&kind).then_some(bytes))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The bytes of a dump as `tests/golden.rs` writes it.
fn from_dump(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let (offset, hex) = line.split_once(':').unwrap();
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        bytes.extend(from_hex(hex));
    }
    bytes
}

/// The example frames of the document, whole, each with its name.
#[must_use]
pub fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let document = include_str!("../../src/protocol/wire-format.md");
    let (_, examples) = document.split_once("### Example frames").unwrap();
    let block = examples.split("```").nth(1).unwrap();
    let mut frames: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in block.lines().skip(1) {
        match (line.strip_prefix("  "), frames.last_mut()) {
            (Some(hex), Some((_, frame))) => frame.extend(from_hex(hex)),
            _ => frames.push((line, Vec::new())),
        }
    }
    frames
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let pairs = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]);
    pairs.map(|byte| u8::try_from(byte).unwrap()).collect()
}
