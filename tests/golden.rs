//! Stores that were written by each version of the format are kept in `tests/golden/`, and must
//! open and give the same events for ever. What is written today must be the golden bytes of
//! today's version; `UPDATE_GOLDEN=1` writes them anew, which is right only for a version that was
//! never released.
//!
//! A file is kept as `NAME.hex`, a dump without the lines that are all zeros, of which
//! `xxd -r NAME.hex NAME` makes the file again.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "golden/reader.rs"]
mod reader;
#[path = "golden/refused.rs"]
mod refused;
#[path = "golden/scavenged.rs"]
mod scavenged;
#[path = "golden/script.rs"]
mod script;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annal::disk::{Disk, MemoryDisk, SimulatedHost};
use annal::{
    Background, Direction, OpenError, ReadError, ReadFrom, RecordedEvent, StateSpace, StorageError,
    Store, StoreOptions, StreamName,
};

/// The store that is written today, and stopped in order.
const TODAY: &str = "v2";
/// The same store as a power cut leaves it, in the middle of one more append.
const TODAY_CUT: &str = "v2-cut";
/// A store with state records, whose first segment was written again twice.
const TODAY_SCAVENGED: &str = "v2-scavenged";
const EVENTS: &str = "events.txt";

/// The files of a data directory, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The golden stores: one of each version that was stopped in order, and one that was cut short.
fn stores() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        [TODAY, TODAY_CUT, TODAY_SCAVENGED]
            .iter()
            .all(|today| names.iter().any(|name| name == today))
    );
    names
}

fn golden_files(store: &str) -> Files {
    let entries = fs::read_dir(folder().join(store)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let dumps = paths.filter(|path| path.extension().is_some_and(|end| end == "hex"));
    dumps
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, from_dump(&fs::read_to_string(path).unwrap()))
        })
        .collect()
}

fn golden_events(store: &str) -> String {
    fs::read_to_string(folder().join(store).join(EVENTS)).unwrap()
}

/// 16 bytes a line; lines of zeros are left out, but for the last.
fn dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    let lines = bytes.len().div_ceil(16);
    for (index, line) in bytes.chunks(16).enumerate() {
        if index + 1 < lines && line.iter().all(|byte| *byte == 0) {
            continue;
        }
        write!(dump, "{:08x}:", index * 16).unwrap();
        for pair in line.chunks(2) {
            dump.push(' ');
            pair.iter()
                .for_each(|byte| write!(dump, "{byte:02x}").unwrap());
        }
        dump.push('\n');
    }
    dump
}

fn from_dump(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let (offset, hex) = line.split_once(':').unwrap();
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        let digits: Vec<u32> = hex.chars().filter_map(|char| char.to_digit(16)).collect();
        let pairs = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]);
        bytes.extend(pairs.map(|byte| u8::try_from(byte).unwrap()));
    }
    bytes
}

fn files_of(disk: &MemoryDisk) -> Files {
    let files = disk.list().unwrap().into_iter();
    files
        .filter(|(name, _)| name != "lock")
        .map(|(name, _)| {
            let bytes = disk.map(&name).unwrap().to_vec();
            (name, bytes)
        })
        .collect()
}

fn disk_of(files: &Files) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in files {
        disk.put(name, bytes).unwrap();
    }
    disk
}

fn open(disk: &MemoryDisk, host: &Arc<SimulatedHost>, create: bool) -> Store {
    try_open(disk, host, create).unwrap()
}

fn try_open(
    disk: &MemoryDisk,
    host: &Arc<SimulatedHost>,
    create: bool,
) -> Result<Store, OpenError> {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    // Its first segment says so.
    options.segment_size_bytes = 1024 * 1024;
    options.create = create;
    let host = Arc::clone(host);
    Store::open_on(Arc::new(disk.clone()), host, options)
}

/// Of a long listing so many lines are kept, and a digest of the others.
const LINES_MAX: usize = 100;

/// All events, one a line, and the state records.
fn listing(store: &Store) -> String {
    let events = store.read_all(ReadFrom::Start, Direction::Forwards, None);
    let mut lines: Vec<String> = events.unwrap().map(|event| line(&event.unwrap())).collect();
    for space in StateSpace::ALL {
        for (key, value) in store.states(space, b"") {
            lines.push(state_line(space.byte(), &key, &value));
        }
    }
    shortened(&lines)
}

fn shortened(lines: &[String]) -> String {
    let (shown, rest) = lines.split_at(lines.len().min(LINES_MAX));
    let more = match rest {
        [] => String::new(),
        rest => format!(
            "{} more, {}\n",
            rest.len(),
            digest(rest.concat().as_bytes())
        ),
    };
    shown.concat() + &more
}

fn state_line(space: u8, key: &[u8], value: &[u8]) -> String {
    format!("state {space} {} {}\n", digest(key), digest(value))
}

fn line(event: &RecordedEvent) -> String {
    let tags: Vec<&str> = event.tags.iter().map(|tag| &**tag).collect();
    format!(
        "{} {}@{} {} {} {} {} [{}] metadata {} data {}\n",
        event.position,
        event.stream,
        event.revision,
        event.id,
        event.event_type,
        event.content_type.as_str(),
        event.created,
        tags.join(" "),
        digest(&event.metadata),
        digest(&event.data),
    )
}

fn digest(bytes: &[u8]) -> String {
    let digest = blake3::hash(bytes).to_hex();
    format!("{}:{}", bytes.len(), &digest[..16])
}

fn write_golden(store: &str, files: &Files, events: &str) {
    let folder = folder().join(store);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(EVENTS), events).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(format!("{name}.hex")), dump(bytes)).unwrap();
    }
}

fn check_golden(store: &str, files: &Files, events: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        write_golden(store, files, events);
    }
    let golden = golden_files(store);
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(names, golden.keys().collect::<Vec<_>>(), "{store}");
    for (name, bytes) in files {
        let same = bytes.iter().zip(&golden[name]).take_while(|(a, b)| a == b);
        let same = same.count();
        assert!(
            *bytes == golden[name],
            "{store}: {name} is not what it was from byte {same} on: a new version of the format? \
             (of a version that was never released, UPDATE_GOLDEN=1 writes the golden files anew)"
        );
    }
    assert_eq!(events, golden_events(store), "{store}");
}

#[test]
fn what_is_written_today_are_the_golden_bytes() {
    let written = script::run();
    check_golden(TODAY, &written.stopped, &written.events);
    check_golden(TODAY_CUT, &written.cut, &written.events);
    let (events, files) = scavenged::run();
    check_golden(TODAY_SCAVENGED, &files, &events);
}

#[test]
fn a_store_of_every_version_opens_and_gives_the_same_events() {
    for name in stores() {
        let disk = disk_of(&golden_files(&name));
        let host = Arc::new(SimulatedHost::new(2));
        for opening in ["once", "again"] {
            let store = open(&disk, &host, false);
            assert_eq!(listing(&store), golden_events(&name), "{name}, {opening}");
            let found = store.recovery();
            let cut_now = name.ends_with("-cut") && opening == "once";
            assert_eq!(found.clean_stop, !cut_now, "{name}, {opening}");
            assert_eq!(found.torn.len(), usize::from(cut_now), "{name}, {opening}");
            store.close().unwrap();
        }
    }
}

#[test]
fn older_tables_are_used_while_they_are_made_again_with_the_newer_kinds_of_keys() {
    let disk = disk_of(&golden_files("v1"));
    let host = Arc::new(SimulatedHost::new(2));
    let store = open(&disk, &host, false);
    let read = |stream: &str| -> Result<Vec<String>, ReadError> {
        let stream = StreamName::new(stream.to_owned()).unwrap();
        let (start, forwards) = (ReadFrom::Start, Direction::Forwards);
        let links = store.read_resolved(&stream, start, forwards, false)?;
        links
            .map(|link| Ok(String::from_utf8(link?.original().data.to_vec()).unwrap()))
            .collect()
    };
    let first: Vec<String> = listing(&store)
        .lines()
        .filter_map(|line| line.split(' ').nth(1)?.strip_suffix("@0"))
        .filter(|stream| stream.starts_with("order-"))
        .map(str::to_owned)
        .collect();
    assert!(!first.is_empty());
    let orders = read("$ce-order").unwrap();
    let rebuilding = read("$category-order").unwrap_err();
    assert!(
        matches!(rebuilding, ReadError::IndexRebuilding { .. }),
        "{rebuilding}"
    );
    store.maintain().unwrap();
    assert_eq!(read("$category-order").unwrap(), first);
    assert_eq!(read("$ce-order").unwrap(), orders);
}

#[test]
fn what_is_damaged_or_newer_is_refused_and_not_touched() {
    let host = Arc::new(SimulatedHost::new(2));
    let damaged = refused::DAMAGED.iter().map(|case| (case, false));
    let newer = refused::NEWER.iter().map(|case| (case, true));
    for ((what, change), is_newer) in damaged.chain(newer) {
        let mut files = golden_files(TODAY);
        change(&mut files);
        let disk = disk_of(&files);
        match try_open(&disk, &host, true) {
            Err(OpenError::NewerFormat(_)) if is_newer => {}
            Err(OpenError::Damaged(_)) if !is_newer => {}
            other => panic!("{what}: {:?}", other.err()),
        }
        assert!(files_of(&disk) == files, "{what}: touched");
    }
}

#[test]
fn what_is_damaged_in_front_of_the_checkpoint_is_refused_when_it_is_read() {
    let host = Arc::new(SimulatedHost::new(2));
    let mut files = golden_files(TODAY);
    refused::flip_the_last_event(&mut files);
    let store = try_open(&disk_of(&files), &host, true).unwrap();
    let mut events = store
        .read_all(ReadFrom::Start, Direction::Forwards, None)
        .unwrap();
    let damaged = events.find_map(Result::err).unwrap();
    assert!(
        matches!(damaged, ReadError::Storage(StorageError::Damaged { .. })),
        "{damaged}"
    );
}

#[test]
fn what_is_there_twice_may_be_missing_once() {
    let host = Arc::new(SimulatedHost::new(2));
    for (what, change) in refused::OPENS {
        let mut files = golden_files(TODAY);
        change(&mut files);
        match try_open(&disk_of(&files), &host, false) {
            Ok(store) => assert_eq!(listing(&store), golden_events(TODAY), "{what}"),
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

#[test]
fn a_state_file_that_is_missing_or_damaged_is_made_up_for_by_the_log() {
    let host = Arc::new(SimulatedHost::new(2));
    let whole = golden_files(TODAY_SCAVENGED);
    let is_state = |name: &&String| name.starts_with("state-");
    let name = whole.keys().find(is_state).unwrap();
    let (mut damaged, mut missing) = (whole.clone(), whole.clone());
    damaged.get_mut(name).unwrap()[20] ^= 1;
    missing.remove(name);
    for files in [damaged, missing] {
        let store = try_open(&disk_of(&files), &host, false).unwrap();
        assert_eq!(listing(&store), golden_events(TODAY_SCAVENGED));
    }
}

#[test]
fn the_document_is_enough_to_read_a_store() {
    for name in stores().iter().filter(|name| !name.ends_with("-cut")) {
        let (events, states) = reader::contents(&golden_files(name));
        let events = events.iter().map(line);
        let states = states
            .iter()
            .map(|((space, key), value)| state_line(*space, key, value));
        let lines: Vec<String> = events.chain(states).collect();
        assert_eq!(shortened(&lines), golden_events(name), "{name}");
    }
}

#[test]
fn a_dump_is_the_file_again() {
    for len in [0, 1, 15, 16, 17, 48, 100] {
        for byte in [0, 7] {
            let mut bytes = vec![0; len];
            bytes.iter_mut().step_by(40).for_each(|at| *at = byte);
            assert_eq!(from_dump(&dump(&bytes)), bytes);
        }
    }
}
