//! Damaged stores as those who keep a server meet them: what `annal verify` says, what `annal serve
//! --read-only` serves, and what `annal repair` does, with consent and without.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "common/binary.rs"]
mod binary;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use binary::{Served, annal, ends};
use serde_json::Value;
use tempfile::TempDir;

/// A store in a folder, with an event whose payload can be found in its file.
struct Folder {
    _above: TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("store");
        let folder = Self {
            _above: above,
            path,
        };
        for number in 0..3 {
            let data = format!(r#"{{"needle": "number {number}"}}"#);
            let append = ["append", "order-1", "--type", "Placed", &data];
            ends(
                &annal(&[&append[..], &["--data", folder.text()]].concat()),
                0,
            );
        }
        folder
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(&self.path).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    /// Changes the payload of the second event.
    fn damage(&self) {
        let path = self.path.join("segment-00000000");
        let mut bytes = fs::read(&path).unwrap();
        let needle = b"number 1";
        let at = bytes.windows(needle.len()).position(|it| it == needle);
        bytes[at.unwrap()] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    /// The data of the events that a read of everything gives, and its exit code.
    fn read(&self, place: &[&str], code: i32) -> Vec<String> {
        let output = annal(&[&["read", "--all", "--json"], place].concat());
        ends(&output, code);
        let lines = String::from_utf8(output.stdout).unwrap();
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let events = lines.lines().map(value);
        let events = events.filter(|event| event.get("stream").is_some());
        events
            .map(|event| event["data"]["needle"].to_string())
            .collect()
    }
}

#[test]
fn verify_says_what_is_damaged_what_it_means_and_what_to_do() {
    let folder = Folder::new();
    let whole = ends(&annal(&["verify", "--data", folder.text()]), 0);
    assert!(whole.contains("everything is whole, 3 events"), "{whole}");
    folder.damage();
    let before = folder.files();
    let said = ends(&annal(&["verify", "--data", folder.text()]), 5);
    for words in [
        "there is damage",
        "segment-00000000: a part of the log",
        "Event 1 is lost",
        "Streams: order-1",
        "1 acknowledged events are lost; the others are whole",
        "annal serve --read-only",
        "annal repair",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json = annal(&["verify", "--json", "--data", folder.text()]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["lost"][0]["first_position"], 1, "{json}");
    assert_eq!(json["lost"][0]["streams"][0], "order-1", "{json}");
    assert_eq!(folder.files(), before);
}

#[test]
fn a_repair_without_consent_changes_nothing() {
    let folder = Folder::new();
    let nothing = ends(&annal(&["repair", folder.text()]), 0);
    assert!(nothing.contains("nothing to repair"), "{nothing}");
    folder.damage();
    let before = folder.files();
    let said = ends(&annal(&["repair", folder.text()]), 5);
    assert!(said.contains("would lose 1 acknowledged event"), "{said}");
    assert!(said.contains("--yes-lose-data"), "{said}");
    assert_eq!(folder.files(), before);
    ends(&annal(&["repair", "/nowhere/at/all"]), 4);
}

#[test]
fn a_repair_with_consent_keeps_the_damaged_files_and_a_report() {
    let folder = Folder::new();
    folder.damage();
    let before = folder.files();
    let damaged = before.iter().find(|(name, _)| name == "segment-00000000");
    let output = annal(&["repair", folder.text(), "--yes-lose-data", "--json"]);
    ends(&output, 0);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["lost_events"], 1, "{json}");
    assert_eq!(json["lineage_changed"], true, "{json}");
    let kept = json["kept_files"][0].as_str().unwrap();
    let report = json["report"].as_str().unwrap();
    let kept = fs::read(folder.path.join(kept)).unwrap();
    assert_eq!(kept, damaged.unwrap().1, "byte for byte");
    let text = fs::read_to_string(folder.path.join(report)).unwrap();
    assert!(text.contains("Event 1 is lost"), "{text}");
    assert!(text.contains("order-1"), "{text}");
    let report = report.replace(".txt", ".json");
    let report: Value =
        serde_json::from_slice(&fs::read(folder.path.join(report)).unwrap()).unwrap();
    assert_eq!(report["lost"][0]["first_position"], 1, "{report}");
    let said = ends(&annal(&["verify", "--data", folder.text()]), 0);
    assert!(said.contains("is kept for you"), "{said}");
    let place = ["--data", folder.text()];
    assert_eq!(folder.read(&place, 0), [r#""number 0""#, r#""number 2""#]);
    ends(&annal(&["repair", folder.text()]), 0);
    let append = [
        "append", "order-1", "--type", "Placed", "{}", "--expect", "2",
    ];
    ends(&annal(&[&append[..], &place].concat()), 0);
}

#[test]
fn a_read_prints_what_stands_in_front_of_damage_and_says_what_to_do() {
    let folder = Folder::new();
    folder.damage();
    let server = Served::with(&folder.path, &["--http", "none", "--read-only"]);
    for what in ["--all", "order-1"] {
        read_ends_in_front_of_damage(&["read", what, "--server", &server.address], "DIR");
    }
    server.stop("TERM");
    for what in ["--all", "order-1"] {
        read_ends_in_front_of_damage(&["read", what, "--data", folder.text()], folder.text());
    }
}

fn read_ends_in_front_of_damage(read: &[&str], folder: &str) {
    let output = annal(read);
    ends(&output, 5);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("number 0"), "{printed}");
    let said = String::from_utf8(output.stderr).unwrap();
    for words in [
        "segment-00000000 is damaged at byte",
        "1 event in front of the damage could be read",
        &format!("annal verify --data {folder}"),
        &format!("annal repair {folder}"),
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_served() {
    let folder = Folder::new();
    folder.damage();
    let before = folder.files();
    let set = |mode: u32| {
        for (name, _) in &before {
            let mode = fs::Permissions::from_mode(mode & 0o666);
            fs::set_permissions(folder.path.join(name), mode).unwrap();
        }
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o555);
    let server = Served::with(&folder.path, &["--http", "127.0.0.1:0", "--read-only"]);
    assert_eq!(server.hello["read_only"], true, "{}", server.hello);
    let place = ["--server", server.address.as_str()];
    // A read of everything ends with the error; what is whole can be read on both sides of it.
    assert_eq!(folder.read(&place, 5), [r#""number 0""#]);
    let front = [&place[..], &["--max", "1"]].concat();
    assert_eq!(folder.read(&front, 0), [r#""number 0""#]);
    let behind = annal(&[&["read", "--all", "--from", "2"][..], &place].concat());
    assert!(ends(&behind, 0).contains("number 2"));
    let append = ["append", "order-1", "--type", "Placed", "{}"];
    let refused = ends(&annal(&[&append[..], &place].concat()), 6);
    assert!(refused.contains("open for reading only"), "{refused}");
    let group = ["group", "create", "order-1", "g"];
    ends(&annal(&[&group[..], &place].concat()), 6);
    server.stop("TERM");
    set(0o755);
    assert_eq!(folder.files(), before);
    only_reads(&folder.path);
}

/// A second server may read beside the first, and none may write.
fn only_reads(path: &Path) {
    let first = Served::with(path, &["--http", "none", "--read-only"]);
    let second = Served::with(path, &["--http", "none", "--read-only"]);
    let text = path.to_str().unwrap();
    let append = annal(&["append", "a", "--type", "T", "{}", "--data", text]);
    ends(&append, 6);
    drop((first, second));
}
