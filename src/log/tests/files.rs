//! Small files: what is said of those that are not there, what stands in their way, and which of
//! them a new manifest leaves behind.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::format::manifest::{ManifestData, TableEntry};
use crate::format::store::Identity;
use crate::log::chunk::{Chunk, Run};
use crate::log::file::{create_new, read_file, write_new};
use crate::log::manifest::Manifest;
use crate::log::segment::open_segment;
use crate::log::tests::names;
use crate::log::{Log, LogOptions, StorageError};
use crate::model::{Position, StoreId};

fn failing(operation: Operation) -> ProbeDisk {
    let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    write_new(&disk, "a", &[1, 2, 3]).unwrap();
    disk.fail(Fault::at(operation));
    disk
}

#[test]
fn a_file_is_read_up_to_its_limit_and_a_missing_one_is_told_from_a_failing_disk() {
    let disk = failing(Operation::Open);
    let failed = read_file(&disk, "a", 3);
    assert!(matches!(failed, Err(StorageError::Io { .. })), "{failed:?}");
    assert_eq!(
        read_file(&disk, "a", 3).unwrap(),
        Bytes::from_static(&[1, 2, 3])
    );
    let long = read_file(&disk, "a", 2);
    assert!(
        matches!(long, Err(StorageError::Damaged { .. })),
        "{long:?}"
    );
    let missing = read_file(&disk, "b", 3);
    assert!(
        matches!(missing, Err(StorageError::Missing { .. })),
        "{missing:?}"
    );
}

#[test]
fn a_draft_is_replaced_and_nothing_is_removed_where_the_disk_fails() {
    let disk = failing(Operation::Create);
    create_new(&disk, "a").unwrap_err();
    assert_eq!(disk.open("a").unwrap().len().unwrap(), 3);
    assert_eq!(create_new(&disk, "a").unwrap().len().unwrap(), 0);
}

fn table(id: u32) -> TableEntry {
    TableEntry {
        id,
        level: 0,
        first: Position(0),
        end: Position(1),
        len_bytes: 0,
        digest: [0; 32],
    }
}

#[test]
fn a_manifest_keeps_the_files_of_the_one_before_it_and_no_older_ones() {
    let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let first = ManifestData {
        generation: 1,
        ..ManifestData::default()
    };
    let manifest = Manifest::new(Arc::new(disk.clone()), Arc::new(first));
    for id in 0..4 {
        write_new(&disk, &format!("table-{id:08x}"), &[]).unwrap();
        manifest
            .update(|manifest| manifest.tables = vec![table(id)])
            .unwrap();
    }
    assert_eq!(names(&disk, "table"), ["table-00000002", "table-00000003"]);
    assert_eq!(names(&disk, "manifest").len(), 2);
    assert!(manifest.failure().is_none());
    disk.fail(Fault::at(Operation::SyncDirectory));
    manifest.update(|_| ()).unwrap_err();
    assert!(matches!(
        manifest.failure(),
        Some(StorageError::Poisoned(_))
    ));
}

#[test]
fn only_a_disk_without_space_is_called_full() {
    let failed = |kind: io::ErrorKind| StorageError::io("write", "a", kind.into());
    let full = failed(io::ErrorKind::StorageFull).or_full();
    assert!(matches!(full, StorageError::Full(_)) && full.is_for_want_of_space());
    let other = failed(io::ErrorKind::Other).or_full();
    assert!(matches!(other, StorageError::Io { .. }) && !other.is_for_want_of_space());
}

#[test]
fn a_run_without_records_is_none() {
    let mut chunk = Chunk::default();
    for count in [0, 2, 0] {
        let (first, bytes) = (Position(5), Bytes::new());
        chunk.push(Run {
            first,
            count,
            bytes,
        });
    }
    assert_eq!(chunk.runs.len(), 1);
}

#[test]
fn a_segment_that_is_missing_is_told_from_one_of_another_owner_and_from_a_failing_disk() {
    let memory = MemoryDisk::new();
    let disk = ProbeDisk::new(Arc::new(memory.clone()));
    let host = Arc::new(SimulatedHost::new(7));
    let opened = Log::open(Arc::new(disk.clone()), host, LogOptions::default(), true).unwrap();
    let identity = *opened.log.identity();
    drop(opened);
    open_segment(&disk, &identity, 0).unwrap();
    let missing = open_segment(&disk, &identity, 1);
    assert!(
        matches!(missing, Err(StorageError::Missing { .. })),
        "{missing:?}"
    );
    disk.fail(Fault::at(Operation::Open));
    let failed = open_segment(&disk, &identity, 0);
    assert!(matches!(failed, Err(StorageError::Io { .. })), "{failed:?}");
    let mut bytes = vec![0; 8_192];
    memory
        .open("segment-00000000")
        .unwrap()
        .read_at(0, &mut bytes)
        .unwrap();
    memory.put("segment-00000001", &bytes).unwrap();
    let another = Identity {
        store: StoreId(Uuid::from_u128(5)),
        ..identity
    };
    for (identity, id) in [(&identity, 1), (&another, 0)] {
        let refused = open_segment(&disk, identity, id);
        assert!(
            matches!(refused, Err(StorageError::Damaged { .. })),
            "{refused:?}"
        );
    }
}
