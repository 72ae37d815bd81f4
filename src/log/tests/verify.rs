//! What an inspection says of a log: of each file, and in words.

use std::sync::Arc;

use crate::disk::{Disk, MemoryDisk, SimulatedHost};
use crate::format::manifest::TableEntry;
use crate::format::names::FileName;
use crate::format::unit::StateRecord;
use crate::log::tests::{inspect, unit};
use crate::log::{FileFinding, FileRole, Log, LogOptions, LogVerification, Opened};
use crate::model::Position;

const TABLE: &str = "table-00000000";
const TABLE_BYTES: &[u8] = b"what an index keeps";

/// A closed log with a file of each kind.
fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    let mut opened = Log::open(Arc::new(disk.clone()), host, options, true).unwrap();
    while opened.log.manifest().current().sealed.len() < 2 {
        let mut next = unit(&opened.log, opened.log.end(), 50, 200);
        next.push_state(StateRecord {
            space: 1,
            key: b"a".as_slice().into(),
            value: Some(b"b".as_slice().into()),
        });
        opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
    }
    disk.put(TABLE, TABLE_BYTES).unwrap();
    let checkpoint = opened.log.checkpoint(&|_| Vec::new()).unwrap();
    let table = TableEntry {
        id: 0,
        level: 0,
        first: Position(5),
        end: Position(40),
        len_bytes: u64::try_from(TABLE_BYTES.len()).unwrap(),
        digest: blake3::hash(TABLE_BYTES).into(),
    };
    let manifest = opened.log.manifest();
    let named = manifest.update(|data| {
        checkpoint.name_in(data);
        data.tables.push(table);
        data.next_table = 1;
    });
    named.unwrap();
    let Opened { log, writer, .. } = opened;
    writer.close(&log).unwrap();
    disk
}

fn of_role(found: &LogVerification, role: FileRole) -> &FileFinding {
    let mut files = found.files.iter();
    files.find(|file| file.role == role).unwrap()
}

const ROLES: [(FileRole, &str, &str); 7] = [
    (
        FileRole::Identity,
        "the identity of the store",
        "no event is affected while one of its two copies is whole",
    ),
    (
        FileRole::Manifest,
        "the list of files",
        "no event is affected; the segments are what counts",
    ),
    (
        FileRole::Floor,
        "the witness of what is durable",
        "no event is affected; it is written anew when the store is opened",
    ),
    (
        FileRole::Segment,
        "a part of the log",
        "acknowledged events in it cannot be read",
    ),
    (
        FileRole::Checkpoint,
        "a shortcut for opening",
        "no event is affected; the store opens a little slower once",
    ),
    (
        FileRole::State,
        "state records",
        "no event is affected; it is made again from the log",
    ),
    (
        FileRole::Table,
        "a part of the index",
        "no event is affected; it is made again from the log",
    ),
];

#[test]
fn each_file_is_named_and_so_is_what_damage_to_it_means() {
    let disk = disk();
    let whole = inspect(&disk);
    let text = whole.to_string();
    assert_eq!(
        text,
        format!("Every file is whole, with {} events.", whole.end)
    );
    assert!(whole.is_whole() && whole.end > Position(100));
    let len = |name: &str| disk.open(name).unwrap().len().unwrap();
    let counted = whole.files.iter().filter(|file| {
        !matches!(
            file.role,
            FileRole::Identity | FileRole::Manifest | FileRole::Floor
        )
    });
    assert_eq!(
        whole.checked_bytes,
        counted.map(|file| len(&file.file)).sum::<u64>()
    );
    for (role, words, meaning) in ROLES {
        let file = of_role(&whole, role);
        let events = match role {
            FileRole::Segment => format!(", {} events from 0", file.events),
            FileRole::Table => ", 35 events from 5".to_owned(),
            _ => String::new(),
        };
        assert_eq!(
            file.to_string(),
            format!("{}: {words}{events}, whole", file.file)
        );
        let damaged = disk.snapshot();
        let bits = len(&file.file) * 8;
        let at = if role == FileRole::Floor {
            80
        } else {
            bits / 4
        };
        damaged.flip_bit(&file.file, at).unwrap();
        if role == FileRole::Floor {
            // While one of its two places is whole, the floor is.
            assert!(inspect(&damaged).is_whole());
            damaged.flip_bit(&file.file, bits / 2 + 80).unwrap();
        }
        let found = inspect(&damaged);
        let file = of_role(&found, role);
        assert!(!found.is_whole() && file.damage.is_some(), "{role:?}");
        let others = found.files.iter().filter(|other| other.damage.is_some());
        assert_eq!(others.count(), 1, "{found}");
        let text = found.to_string();
        assert!(text.starts_with("Not every file is whole.\n"), "{text}");
        assert!(
            text.contains(&format!("{}: {words}{events}; ", file.file)),
            "{text}"
        );
        assert!(text.contains(meaning), "{text}");
        let lost = match found.lost_events() {
            0 => "No acknowledged event is lost.".to_owned(),
            lost => format!("{lost} acknowledged events are lost; the others are whole."),
        };
        assert_eq!(text.lines().next_back(), Some(&*lost));
        assert_eq!(found.lost_events() > 0, role == FileRole::Segment);
    }
}

#[test]
fn a_table_of_another_length_and_a_missing_one_are_named() {
    let disk = disk();
    let longer = disk.snapshot();
    longer.put(TABLE, &[TABLE_BYTES, b"!"].concat()).unwrap();
    disk.destroy(TABLE).unwrap();
    for disk in [longer, disk] {
        let found = inspect(&disk);
        let told = of_role(&found, FileRole::Table).to_string();
        assert!(
            told.contains("is missing or has another length than the 19 bytes"),
            "{told}"
        );
    }
}

#[test]
fn files_that_nothing_names_are_told_of_and_so_is_what_is_kept() {
    let disk = disk();
    let quarantine = FileName::Quarantine {
        segment: 0,
        offset: 4_096,
        number: 1,
    };
    let kept = [
        "damaged-now-segment-00000000".to_owned(),
        quarantine.to_string(),
    ];
    let unknown = ["segment-00000077", "something"].map(str::to_owned);
    for name in kept.iter().chain(&unknown) {
        disk.put(name, b"anything").unwrap();
    }
    let found = inspect(&disk);
    assert!(found.is_whole());
    assert_eq!(
        (&found.kept_files[..], &found.unknown_files[..]),
        (&kept[..], &unknown[..])
    );
    let text = found.to_string();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let is_kept = |name: String| format!("{name} is kept for you to look at; nothing reads it.");
    let is_unknown = |name: String| format!("{name} does not belong to the store.");
    let expected = kept.map(is_kept).into_iter().chain(unknown.map(is_unknown));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}
