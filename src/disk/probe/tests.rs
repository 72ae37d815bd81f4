//! Counting, failing and holding calls.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, Tally, Unsynced};

fn probed() -> (MemoryDisk, ProbeDisk) {
    let memory = MemoryDisk::new();
    (memory.clone(), ProbeDisk::new(Arc::new(memory)))
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

fn bytes(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    disk.map(name).unwrap().to_vec()
}

#[test]
fn every_call_is_counted_with_the_bytes_it_moved() {
    let (_, disk) = probed();
    let file = disk.create("segment-1").unwrap();
    file.write_all_at(0, &[1; 300]).unwrap();
    file.write_all_at(300, &[1; 100]).unwrap();
    file.sync_data().unwrap();
    disk.create("table-1")
        .unwrap()
        .write_all_at(0, &[1; 7])
        .unwrap();
    disk.rename("table-1", "table-2").unwrap();
    disk.sync_directory().unwrap();
    file.read_at(0, &mut [0; 1000]).unwrap();
    drop(disk.map("table-2").unwrap());
    assert_eq!(kind(disk.open("nothing")), ErrorKind::NotFound);

    let tally = |operation, prefix| {
        let Tally { calls, bytes } = disk.tally(operation, prefix);
        (calls, bytes)
    };
    assert_eq!(tally(Operation::Write, ""), (3, 407));
    assert_eq!(tally(Operation::Write, "segment"), (2, 400));
    assert_eq!(tally(Operation::Write, "table-1"), (1, 7));
    assert_eq!(tally(Operation::Read, "segment"), (1, 400));
    assert_eq!(tally(Operation::Map, "table"), (1, 7));
    assert_eq!(tally(Operation::Sync, ""), (1, 0));
    assert_eq!(tally(Operation::Rename, "table-2"), (1, 0));
    assert_eq!(tally(Operation::SyncDirectory, ""), (1, 0));
    assert_eq!(tally(Operation::Open, "nothing"), (1, 0));
    disk.reset();
    assert_eq!(tally(Operation::Write, ""), (0, 0));
}

#[test]
fn each_kind_of_call_can_fail_and_then_does_nothing() {
    use Operation::{
        Create, DropCache, FreeBytes, Len, List, Lock, Map, Open, Read, Remove, Rename, SetLen,
        SetReadOnly, Sync, SyncDirectory, Write,
    };
    let all = [
        Create,
        Open,
        List,
        Rename,
        Remove,
        SyncDirectory,
        Map,
        Lock,
        FreeBytes,
        Len,
        Read,
        Write,
        Sync,
        SetLen,
        SetReadOnly,
        DropCache,
    ];
    for operation in all {
        let (memory, disk) = probed();
        let file = disk.create("a").unwrap();
        file.write_all_at(0, b"before").unwrap();
        disk.fail(Fault::at(operation).forever().error(ErrorKind::StorageFull));
        let outcomes = [
            (Create, disk.create("b").map(drop)),
            (Open, disk.open("a").map(drop)),
            (List, disk.list().map(drop)),
            (Map, disk.map("a").map(drop)),
            (Lock, disk.lock("lock").map(drop)),
            (FreeBytes, disk.free_bytes().map(drop)),
            (Len, file.len().map(drop)),
            (Read, file.read_at(0, &mut [0; 3]).map(drop)),
            (Write, file.write_all_at(3, b"after")),
            (Sync, file.sync_data()),
            (SetLen, file.set_len(100)),
            (DropCache, file.drop_cache(0)),
            (SetReadOnly, file.set_read_only()),
            (Rename, disk.rename("a", "c")),
            (SyncDirectory, disk.sync_directory()),
            (
                Remove,
                disk.remove(if operation == Rename { "a" } else { "c" }),
            ),
        ];
        for (asked, outcome) in outcomes {
            match asked == operation {
                true => assert_eq!(kind(outcome), ErrorKind::StorageFull, "{asked:?}"),
                false => outcome.unwrap(),
            }
        }
        assert_eq!(disk.failures(), 1);
        match operation {
            Remove => assert_eq!(bytes(&memory, "c").len(), 100),
            Rename => assert_eq!(kind(memory.map("c")), ErrorKind::NotFound),
            Create => assert_eq!(kind(memory.map("b")), ErrorKind::NotFound),
            _ => {}
        }
        disk.heal();
        disk.list().unwrap();
    }
}

#[test]
fn a_fault_waits_for_its_call_and_comes_once() {
    let (_, disk) = probed();
    disk.fail(Fault::at(Operation::Write).named("log").after(2));
    let other = disk.create("other").unwrap();
    let log = disk.create("log").unwrap();
    for place in 0..5 {
        other.write_all_at(place, b"x").unwrap();
        let written = log.write_all_at(place, b"x");
        assert_eq!(written.is_err(), place == 2);
    }
    assert_eq!(disk.failures(), 1);
}

#[test]
fn a_fault_of_one_file_spares_those_whose_names_go_on() {
    let (_, disk) = probed();
    let [one, other] = ["log", "log-1"].map(|name| disk.create(name).unwrap());
    disk.fail(Fault::at(Operation::Write).of_file("log").forever());
    other.write_all_at(0, b"x").unwrap();
    assert_eq!(kind(one.write_all_at(0, b"x")), ErrorKind::Other);
}

#[test]
fn a_bad_sector_fails_only_what_touches_it() {
    let (_, disk) = probed();
    let file = disk.create("a").unwrap();
    file.write_all_at(0, &[1; 4096]).unwrap();
    disk.fail(Fault::at(Operation::Read).touching(1024..1536).forever());
    file.read_at(0, &mut [0; 1024]).unwrap();
    file.read_at(1536, &mut [0; 1024]).unwrap();
    assert_eq!(kind(file.read_at(0, &mut [0; 1025])), ErrorKind::Other);
    assert_eq!(kind(file.read_at(1535, &mut [0; 10])), ErrorKind::Other);
}

#[test]
fn a_failing_write_leaves_the_part_that_landed() {
    let (memory, disk) = probed();
    let file = disk.create("a").unwrap();
    disk.fail(
        Fault::at(Operation::Write)
            .landing(3)
            .error(ErrorKind::StorageFull),
    );
    assert_eq!(kind(file.write_all_at(0, b"hello")), ErrorKind::StorageFull);
    assert_eq!(bytes(&memory, "a"), b"hel");
}

#[test]
fn a_sync_that_reports_a_failure_may_have_worked() {
    let (memory, disk) = probed();
    let file = disk.create("a").unwrap();
    disk.sync_directory().unwrap();
    file.write_all_at(0, b"hello").unwrap();
    disk.fail(Fault::at(Operation::Sync).done());
    file.sync_data().unwrap_err();
    assert_eq!(bytes(&memory.power_cut(Unsynced::Lost), "a"), b"hello");
}

#[test]
fn what_a_failed_sync_lost_no_later_sync_brings_back() {
    let (memory, disk) = probed();
    let file = disk.create("a").unwrap();
    disk.sync_directory().unwrap();
    file.write_all_at(0, &[1; 8192]).unwrap();
    disk.fail(Fault::at(Operation::Sync).losing_unsynced(&memory));
    file.sync_data().unwrap_err();
    assert_eq!(
        bytes(&memory, "a"),
        [1; 8192],
        "the cache still shows what the disk has not"
    );
    file.write_all_at(8192, &[2; 10]).unwrap();
    file.sync_data().unwrap();
    file.drop_cache(0).unwrap();
    let expected = [vec![0; 8192], vec![2; 10]].concat();
    assert_eq!(bytes(&memory, "a"), expected);
    assert_eq!(bytes(&memory.power_cut(Unsynced::Kept), "a"), expected);
}

#[test]
fn the_power_can_go_at_any_call() {
    let run = |disk: &ProbeDisk| {
        let file = disk.create("new")?;
        file.write_all_at(0, b"manifest")?;
        file.sync_data()?;
        disk.rename("new", "manifest")?;
        disk.sync_directory()
    };
    for at in 0..6 {
        let (memory, disk) = probed();
        disk.fail(
            Fault::at_any(Operation::CHANGES)
                .after(at)
                .cutting_power(&memory),
        );
        assert_eq!(run(&disk).is_err(), at < 5);
        assert_eq!(disk.list().is_err(), at < 5);
        let found = memory.power_cut(Unsynced::Torn(at));
        match found.map("manifest") {
            Ok(bytes) => assert_eq!(&bytes[..], b"manifest"),
            Err(error) => assert!(at < 5 && error.kind() == ErrorKind::NotFound),
        }
    }
}

#[test]
fn a_held_call_waits_until_it_is_let_go() {
    let (memory, disk) = probed();
    let file = disk.create("a").unwrap();
    let hold = disk.hold(Operation::Write, "a");
    assert!(!hold.reached_within(Duration::ZERO));
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            file.write_all_at(0, b"late").unwrap();
            done.send(()).unwrap();
        });
        assert!(hold.reached_within(Duration::from_secs(60)));
        disk.create("b")
            .unwrap()
            .write_all_at(0, b"others go on")
            .unwrap();
        wait.recv_timeout(Duration::from_millis(20)).unwrap_err();
        assert_eq!(bytes(&memory, "a"), b"");
        drop(hold);
        wait.recv().unwrap();
    });
    assert_eq!(bytes(&memory, "a"), b"late");
}

#[test]
fn a_disk_can_lie_about_what_it_did() {
    let (memory, disk) = probed();
    let file = disk.create("a").unwrap();
    disk.sync_directory().unwrap();
    file.write_all_at(0, b"old").unwrap();
    file.sync_data().unwrap();
    disk.fail(Fault::at(Operation::Write).lying());
    file.write_all_at(0, b"new").unwrap();
    assert_eq!(bytes(&memory, "a"), b"old", "the block is stale");
    file.write_all_at(0, b"New").unwrap();
    disk.fail(Fault::at(Operation::Sync).lying());
    file.sync_data().unwrap();
    drop(disk.create("b").unwrap());
    disk.fail(Fault::at(Operation::SyncDirectory).lying());
    disk.sync_directory().unwrap();
    assert_eq!(disk.failures(), 3);
    let found = memory.power_cut(Unsynced::Lost);
    assert_eq!(bytes(&found, "a"), b"old");
    assert_eq!(kind(found.open("b")), ErrorKind::NotFound);
}

#[test]
fn a_disk_can_write_and_read_in_the_wrong_place_and_with_flipped_bits() {
    let (memory, disk) = probed();
    let file = disk.create("a").unwrap();
    file.write_all_at(0, b"abcdef").unwrap();
    disk.fail(Fault::at(Operation::Write).misplaced(3));
    file.write_all_at(0, b"xy").unwrap();
    assert_eq!(bytes(&memory, "a"), b"abcxyf");
    disk.fail(Fault::at(Operation::Read).misplaced(2));
    let mut found = [0; 2];
    assert_eq!(file.read_at(0, &mut found).unwrap(), 2);
    assert_eq!(&found, b"cx");
    disk.fail(Fault::at(Operation::Read).flipping(9));
    assert_eq!(file.read_at(0, &mut found).unwrap(), 2);
    assert_eq!(&found, b"a`");
    disk.fail(Fault::at(Operation::Map).flipping(6 * 8));
    assert_eq!(&disk.map("a").unwrap()[..], b"`bcxyf");
    assert_eq!(bytes(&memory, "a"), b"abcxyf", "the disk itself is whole");
}
