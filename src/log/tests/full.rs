//! A disk without space: the unit is held and written again, and nothing else is.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::log::tests::{append, check, unit};
use crate::log::writer::ZERO_STEP_BYTES;
use crate::log::{Log, LogOptions, Opened, StorageError};
use crate::model::Position;

const LEN: u64 = 200;

fn open(disk: Arc<dyn Disk>) -> Opened {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        zero_fill: false,
        ..LogOptions::default()
    };
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, true).unwrap()
}

#[test]
fn a_unit_without_room_is_held_and_written_when_there_is_some() {
    let disk = MemoryDisk::new();
    let mut opened = open(Arc::new(disk.clone()));
    let end = append(&mut opened, 5, LEN).unwrap();
    disk.set_capacity(0);
    assert!(matches!(
        append(&mut opened, 50, LEN),
        Err(StorageError::Full(_))
    ));
    assert!(matches!(opened.writer.retry(), Err(StorageError::Full(_))));
    assert_eq!(opened.log.end(), end);
    disk.set_capacity(u64::MAX);
    let end = opened.writer.retry().unwrap();
    assert_eq!(end, Position(55));
    assert_eq!(
        opened.writer.retry().unwrap(),
        end,
        "there is none any more"
    );
    check(&opened.log, end, LEN);
    let end = append(&mut opened, 3, LEN).unwrap();
    drop(opened);
    check(&open(Arc::new(disk)).log, end, LEN);
}

#[test]
fn while_a_unit_is_held_no_other_is_taken() {
    let disk = MemoryDisk::new();
    let mut opened = open(Arc::new(disk.clone()));
    disk.set_capacity(0);
    assert!(matches!(
        append(&mut opened, 50, LEN),
        Err(StorageError::Full(_))
    ));
    assert!(matches!(
        append(&mut opened, 1, LEN),
        Err(StorageError::Damaged { .. })
    ));
    disk.set_capacity(u64::MAX);
    assert!(matches!(
        opened.writer.retry(),
        Err(StorageError::Poisoned(_))
    ));
}

#[test]
fn a_failure_of_another_kind_ends_the_writing() {
    for operation in [Operation::Write, Operation::Sync] {
        let probe = ProbeDisk::new(Arc::new(MemoryDisk::new()));
        let mut opened = open(Arc::new(probe.clone()));
        probe.fail(Fault::at(operation).named("segment"));
        assert!(matches!(
            append(&mut opened, 5, LEN),
            Err(StorageError::Io { .. })
        ));
        assert!(matches!(
            append(&mut opened, 5, LEN),
            Err(StorageError::Poisoned(_))
        ));
    }
    // A sync that found no space may have lost what was written before.
    let probe = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let mut opened = open(Arc::new(probe.clone()));
    probe.fail(Fault::at(Operation::Sync).error(io::ErrorKind::StorageFull));
    assert!(matches!(
        append(&mut opened, 5, LEN),
        Err(StorageError::Io { .. })
    ));
    assert!(matches!(opened.writer.retry(), Ok(Position(0))));
    assert!(matches!(
        append(&mut opened, 5, LEN),
        Err(StorageError::Poisoned(_))
    ));
}

/// Without a spare a full segment needs a new one, and a new manifest.
#[test]
fn a_new_segment_without_room_is_begun_again_unless_the_manifest_is_in_doubt() {
    for (operation, goes_on) in [(Operation::Create, true), (Operation::SyncDirectory, false)] {
        let disk = MemoryDisk::new();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let mut opened = open(Arc::new(probe.clone()));
        while opened.log.place().offset < 50 * 1024 {
            append(&mut opened, 20, LEN).unwrap();
        }
        let fault = Fault::at(operation).error(io::ErrorKind::StorageFull);
        probe.fail(match goes_on {
            true => fault,
            // The first one is that of the segment's name.
            false => fault.after(1),
        });
        let refused = loop {
            if let Err(refused) = append(&mut opened, 60, LEN) {
                break refused;
            }
        };
        assert_eq!(probe.failures(), 1);
        assert_eq!(
            matches!(refused, StorageError::Full(_)),
            goes_on,
            "{refused}"
        );
        let again = opened.writer.retry();
        assert_eq!(again.unwrap(), opened.log.end());
        assert_eq!(append(&mut opened, 1, LEN).is_ok(), goes_on);
    }
}

/// The first zeros of a segment are there from the start.
#[test]
fn zeros_go_ahead_of_a_unit_and_are_done_without_where_they_have_no_room() {
    let events = u64::from(ZERO_STEP_BYTES) / LEN * 2;
    for zeros in [true, false] {
        let disk = MemoryDisk::new();
        let options = LogOptions {
            segment_size_bytes: 16 * ZERO_STEP_BYTES,
            ..LogOptions::default()
        };
        let host = Arc::new(SimulatedHost::new(7));
        let mut opened = Log::open(Arc::new(disk.clone()), host, options, true).unwrap();
        let file = disk.open("segment-00000000").unwrap();
        let next = unit(&opened.log, Position::START, events, LEN);
        if !zeros {
            let used = disk.list().unwrap().iter().map(|(_, len)| len).sum::<u64>();
            disk.set_capacity(used + u64::try_from(next.len_bytes()).unwrap());
        }
        let end = opened.writer.commit(next, 5).unwrap();
        let (len, written) = (file.len().unwrap(), u64::from(opened.log.place().offset));
        assert!(written > ZERO_STEP_BYTES.into());
        assert!(len > written || !zeros, "{len} {written}");
        let mut behind = vec![1; usize::try_from(len - written).unwrap()];
        file.read_at(written, &mut behind).unwrap();
        assert!(behind.iter().all(|byte| *byte == 0));
        check(&opened.log, end, LEN);
    }
}
