//! A store whose files were changed in any way opens, or says what is wrong; it never panics, and
//! no event that it serves is another than the one that was stored.
//!
//! An input is: which golden store, then changes of its files: which file, what is done to it,
//! where, and with what. Files that have one checksum for all of them may get the right one, so
//! that what they say is believed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::format::checksum::checksum;
use annal::format::manifest::LENGTH;
use annal::{
    Background, Direction, EventType, OpenError, Position, ReadFrom, RecordedEvent, Store,
    StoreOptions, StreamName, Tag,
};

use crate::golden;
use crate::input::Input;

const CHANGES_MAX: usize = 8;
const LEN_BYTES_MAX: u64 = 1 << 20;

/// A golden store: its files, and what it holds.
struct Golden {
    files: Vec<(String, Vec<u8>)>,
    events: BTreeMap<Position, RecordedEvent>,
}

fn goldens() -> &'static [Golden] {
    static STORES: OnceLock<Vec<Golden>> = OnceLock::new();
    STORES.get_or_init(|| {
        let mut stores: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for file in golden::files() {
            stores
                .entry(file.store)
                .or_default()
                .push((file.name, file.bytes));
        }
        let stores = stores.into_values().map(|files| {
            let store = open(&disk_of(&files)).unwrap();
            let events = store
                .read_all(ReadFrom::Start, Direction::Forwards, None)
                .unwrap();
            let events = events.map(|event| event.map(|event| (event.position, event)));
            Golden {
                events: events.collect::<Result<_, _>>().unwrap(),
                files,
            }
        });
        stores.collect()
    })
}

fn disk_of(files: &[(String, Vec<u8>)]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in files {
        disk.put(name, bytes).unwrap();
    }
    disk
}

fn open(disk: &MemoryDisk) -> Result<Store, OpenError> {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.create = false;
    options.zero_fill = false;
    Store::open_on(
        Arc::new(disk.clone()),
        Arc::new(SimulatedHost::new(1)),
        options,
    )
}

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let goldens = goldens();
    let golden = &goldens[usize::from(input.byte()) % goldens.len()];
    let mut files = golden.files.clone();
    for _ in 0..CHANGES_MAX {
        if input.0.is_empty() {
            break;
        }
        change(&mut files, &mut input);
    }
    let disk = disk_of(&files);
    if let Ok(store) = open(&disk) {
        look(&store, &golden.events);
        let _upkeep = store.maintain();
        let _verified = store.verify(&mut |_| ());
        let _closed = store.close();
    }
}

fn change(files: &mut Vec<(String, Vec<u8>)>, input: &mut Input<'_>) {
    let (at, what) = (usize::from(input.byte()) % files.len(), input.byte());
    let place = u64::from(input.byte()) | u64::from(input.byte()) << 8;
    let other = usize::from(input.byte()) % files.len();
    let count = files.len();
    let (name, bytes) = &mut files[at];
    let len = bytes.len().max(1);
    let place = usize::try_from(place).unwrap() % len;
    match what % 6 {
        0 | 1 => {
            let new = input.part();
            let end = (place + new.len()).min(bytes.len());
            let count = end.saturating_sub(place);
            bytes[end - count..end].copy_from_slice(&new[..count]);
        }
        2 => bytes.truncate(place),
        3 => bytes.resize(usize::try_from(input.number() % LEN_BYTES_MAX).unwrap(), 0),
        4 if count > 1 => {
            files.remove(at);
            return;
        }
        _ => {
            let mine = name.clone();
            let theirs = files[other].0.clone();
            files[at].0 = theirs;
            files[other].0 = mine;
        }
    }
    if what & 0x40 != 0 {
        let (name, bytes) = &mut files[at];
        seal(name, bytes);
    }
}

/// Gives a file, and its second copy, the checksum that it ought to have.
fn seal(name: &str, bytes: &mut [u8]) {
    fn summed(bytes: &mut [u8], from: usize, len: usize) {
        let end = from.saturating_add(len).min(bytes.len());
        if let Some(text) = bytes.get(from + 8..end) {
            let sum = checksum(text).to_le_bytes();
            bytes[from + 4..from + 8].copy_from_slice(&sum);
        }
    }
    match name.split_once('-').map_or(name, |(kind, _)| kind) {
        "manifest" => {
            let Some(length) = bytes.get(LENGTH.offset..LENGTH.end()) else {
                return;
            };
            let length = u32::from_le_bytes(length.try_into().unwrap());
            summed(bytes, 0, usize::try_from(length).unwrap());
        }
        "floor" => [0, 512]
            .into_iter()
            .for_each(|slot| summed(bytes, slot, 52)),
        "store" => summed(bytes, 0, 104),
        "state" => summed(bytes, 0, usize::MAX),
        "table" => summed(bytes, bytes.len().saturating_sub(100), 100),
        _ => {}
    }
}

/// Reads in every way; what comes is what was stored.
fn look(store: &Store, stored: &BTreeMap<Position, RecordedEvent>) {
    let check = |event: RecordedEvent| {
        assert_eq!(
            stored.get(&event.position),
            Some(&event),
            "an invented event"
        );
    };
    for direction in [Direction::Forwards, Direction::Backwards] {
        let from = match direction {
            Direction::Forwards => ReadFrom::Start,
            Direction::Backwards => ReadFrom::End,
        };
        if let Ok(events) = store.read_all(from, direction, None) {
            events.map_while(Result::ok).for_each(check);
        }
    }
    let names: std::collections::BTreeSet<_> = stored.values().map(|it| &it.stream).collect();
    for name in names {
        let _described = store.stream(name);
        if let Ok(events) = store.read_stream(name, ReadFrom::Start, Direction::Forwards) {
            events.map_while(Result::ok).for_each(check);
        }
    }
    let _listed = store.streams("", None::<&StreamName>, 1000);
    let _states = store.states(annal::StateSpace::Users, b"");
    let tag = Tag::new("customer:1").unwrap();
    if let Ok(events) = store.read_tag(&tag, ReadFrom::Start, Direction::Forwards) {
        events.map_while(Result::ok).for_each(check);
    }
    let of = EventType::new("Placed").unwrap();
    if let Ok(events) = store.read_type(&of, ReadFrom::Start, Direction::Forwards) {
        events.map_while(Result::ok).for_each(check);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, golden) in (0u8..).zip(goldens()) {
        seeds.push(vec![number]);
        for file in 0..u8::try_from(golden.files.len()).unwrap() {
            seeds.push(vec![number, file, 0, 40, 0, 0, 1, 2, 3, 0]);
            seeds.push(vec![number, file, 0x40, 20, 0, 0, 0xff, 0xff, 0]);
            seeds.push(vec![number, file, 2, 200, 1, 0]);
            seeds.push(vec![number, file, 3, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]);
            seeds.push(vec![number, file, 5, 0, 0, file.wrapping_add(1)]);
        }
    }
    seeds
}
