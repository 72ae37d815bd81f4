//! The promises of the seam, asked of every disk we have.

use std::io::{ErrorKind, Result};
use std::sync::Arc;

use proptest::prelude::*;

use crate::disk::{Disk, DiskFile, MemoryDisk, OsDisk};

/// Runs a check against a directory of the system and one in memory.
fn on_every_disk(check: impl Fn(&dyn Disk)) {
    check(&MemoryDisk::new());
    if cfg!(not(miri)) {
        let directory = tempfile::tempdir().unwrap();
        check(&OsDisk::open(directory.path()).unwrap());
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

fn names(disk: &dyn Disk) -> Vec<(String, u64)> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

#[test]
fn what_is_written_can_be_read_at_every_place() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(0, b"hello").unwrap();
        file.write_all_at(10_000, &[7; 9_000]).unwrap();
        file.write_all_at(3, b"p me").unwrap();
        assert_eq!(file.len().unwrap(), 19_000);

        let mut buffer = [1; 12];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 12);
        assert_eq!(&buffer, b"help me\0\0\0\0\0");
        assert_eq!(file.read_at(9_994, &mut buffer).unwrap(), 12);
        assert_eq!(&buffer, b"\0\0\0\0\0\0\x07\x07\x07\x07\x07\x07");
        assert_eq!(file.read_at(18_999, &mut buffer).unwrap(), 1);
        assert_eq!(file.read_at(19_000, &mut buffer).unwrap(), 0);
        assert_eq!(file.read_at(1 << 50, &mut buffer).unwrap(), 0);

        let again = disk.open("a").unwrap();
        assert_eq!(again.read_at(0, &mut buffer).unwrap(), 12);
        assert_eq!(&buffer, b"help me\0\0\0\0\0");
    });
}

#[test]
fn an_empty_write_changes_nothing() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.write_all_at(100, b"").unwrap();
        assert_eq!(file.len().unwrap(), 0);
    });
}

#[test]
fn a_shorter_length_cuts_and_a_longer_one_shows_zeros() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.write_all_at(0, &[9; 9_000]).unwrap();
        file.set_len(4_500).unwrap();
        file.set_len(9_000).unwrap();
        let mut buffer = [1; 9_000];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 9_000);
        assert!(buffer[..4_500].iter().all(|byte| *byte == 9));
        assert!(buffer[4_500..].iter().all(|byte| *byte == 0));
        file.set_len(1 << 40).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 40);
    });
}

#[test]
fn a_name_is_made_once_and_found_until_it_is_removed() {
    on_every_disk(|disk| {
        assert_eq!(kind(disk.open("a")), ErrorKind::NotFound);
        let file = disk.create("a").unwrap();
        assert_eq!(kind(disk.create("a")), ErrorKind::AlreadyExists);
        file.write_all_at(0, b"kept").unwrap();
        disk.create("b").unwrap();
        assert_eq!(names(disk), [("a".to_owned(), 4), ("b".to_owned(), 0)]);

        disk.remove("a").unwrap();
        assert_eq!(kind(disk.remove("a")), ErrorKind::NotFound);
        assert_eq!(kind(disk.open("a")), ErrorKind::NotFound);
        assert_eq!(kind(disk.map("a")), ErrorKind::NotFound);
        assert_eq!(kind(disk.rename("a", "c")), ErrorKind::NotFound);
        assert_eq!(names(disk), [("b".to_owned(), 0)]);

        let mut buffer = [0; 4];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"kept");
        disk.sync_directory().unwrap();
    });
}

#[test]
fn a_rename_replaces_the_file_that_had_the_name() {
    on_every_disk(|disk| {
        let old = disk.create("manifest").unwrap();
        old.write_all_at(0, b"old").unwrap();
        disk.create("new")
            .unwrap()
            .write_all_at(0, b"newer")
            .unwrap();
        disk.rename("new", "manifest").unwrap();
        disk.rename("manifest", "manifest").unwrap();
        assert_eq!(names(disk), [("manifest".to_owned(), 5)]);
        assert_eq!(&disk.map("manifest").unwrap()[..], b"newer");
        let mut buffer = [0; 3];
        assert_eq!(old.read_at(0, &mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"old");
    });
}

#[test]
fn names_never_lead_out_of_the_directory() {
    on_every_disk(|disk| {
        for name in ["", ".", "..", "../a", "a/b", "/etc/passwd", "a\0b"] {
            assert_eq!(kind(disk.create(name)), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(kind(disk.open(name)), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(kind(disk.map(name)), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(kind(disk.remove(name)), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(kind(disk.lock(name)), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(
                kind(disk.rename("a", name)),
                ErrorKind::InvalidInput,
                "{name:?}"
            );
            assert_eq!(
                kind(disk.rename(name, "a")),
                ErrorKind::InvalidInput,
                "{name:?}"
            );
        }
    });
}

#[test]
fn a_map_shows_the_whole_file_and_outlives_its_name() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        assert!(disk.map("a").unwrap().is_empty());
        file.write_all_at(0, &[5; 10_000]).unwrap();
        let map = disk.map("a").unwrap();
        disk.remove("a").unwrap();
        drop(file);
        assert_eq!(map, vec![5; 10_000]);
    });
}

#[test]
fn one_holder_has_the_lock_until_it_lets_go() {
    on_every_disk(|disk| {
        let first = disk.lock("lock").unwrap();
        assert_eq!(kind(disk.lock("lock")), ErrorKind::WouldBlock);
        drop(first);
        let second = disk.lock("lock").unwrap();
        assert_eq!(kind(disk.lock("lock")), ErrorKind::WouldBlock);
        drop(second);
        assert_eq!(names(disk), [("lock".to_owned(), 0)]);
    });
}

#[test]
fn a_file_marked_read_only_is_opened_for_reading() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.write_all_at(0, b"sealed").unwrap();
        file.sync_data().unwrap();
        file.set_read_only().unwrap();
        let again = disk.open("a").unwrap();
        assert!(again.write_all_at(0, b"broken").is_err());
        assert!(again.set_len(0).is_err());
        again.drop_cache(0).unwrap();
        assert_eq!(&disk.map("a").unwrap()[..], b"sealed");
        disk.remove("a").unwrap();
    });
}

#[test]
fn dropping_the_cache_loses_nothing() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.write_all_at(0, b"synced").unwrap();
        file.sync_data().unwrap();
        file.write_all_at(6, b" and not").unwrap();
        file.drop_cache(0).unwrap();
        assert_eq!(&disk.map("a").unwrap()[..], b"synced and not");
        assert!(disk.free_bytes().unwrap() > 0);
    });
}

#[test]
fn readers_and_a_writer_share_one_file() {
    on_every_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.set_len(1 << 16).unwrap();
        std::thread::scope(|scope| {
            let writer = Arc::clone(&file);
            scope.spawn(move || {
                for place in 0..64 {
                    writer.write_all_at(place << 10, &[3; 1024]).unwrap();
                    writer.sync_data().unwrap();
                }
            });
            for _ in 0..2 {
                let reader = Arc::clone(&file);
                scope.spawn(move || {
                    let mut buffer = [1; 1024];
                    for place in 0..64 {
                        assert_eq!(reader.read_at(place << 10, &mut buffer).unwrap(), 1024);
                        assert!(buffer.iter().all(|byte| *byte == 0 || *byte == 3));
                    }
                });
            }
        });
        assert_eq!(disk.map("a").unwrap(), vec![3; 1 << 16]);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Open(usize),
    Close(usize),
    Rename(usize, usize),
    Remove(usize),
    Write(usize, u64, usize),
    Read(usize, u64, usize),
    SetLen(usize, u64),
    Sync(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_usize;
    let file = 0..8_usize;
    prop_oneof![
        2 => name.clone().prop_map(Step::Create),
        2 => name.clone().prop_map(Step::Open),
        1 => file.clone().prop_map(Step::Close),
        1 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name.prop_map(Step::Remove),
        4 => (file.clone(), 0..9000_u64, 0..5000_usize)
            .prop_map(|(file, at, len)| Step::Write(file, at, len)),
        4 => (file.clone(), 0..15_000_u64, 0..5000_usize)
            .prop_map(|(file, at, len)| Step::Read(file, at, len)),
        2 => (file.clone(), 0..12_000_u64).prop_map(|(file, len)| Step::SetLen(file, len)),
        1 => file.prop_map(Step::Sync),
    ]
}

/// What a caller learns of one step: nothing, bytes, or an error.
type Answer = std::result::Result<Vec<u8>, ErrorKind>;

fn take(
    disk: &dyn Disk,
    files: &mut Vec<Arc<dyn DiskFile>>,
    number: usize,
    step: &Step,
) -> Result<Vec<u8>> {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let keep = |files: &mut Vec<Arc<dyn DiskFile>>, file| {
        files.push(file);
        files.drain(..files.len().saturating_sub(8));
    };
    match *step {
        Step::Create(name) => keep(files, disk.create(NAMES[name])?),
        Step::Open(name) => keep(files, disk.open(NAMES[name])?),
        Step::Rename(from, to) => disk.rename(NAMES[from], NAMES[to])?,
        Step::Remove(name) => disk.remove(NAMES[name])?,
        Step::Close(file) => {
            files.drain(file.min(files.len())..);
        }
        Step::Write(file, at, len) => {
            let filling = u8::try_from(number % 250).unwrap() + 1;
            files
                .get(file)
                .map_or(Ok(()), |file| file.write_all_at(at, &vec![filling; len]))?;
        }
        Step::Read(file, at, len) => {
            let mut buffer = vec![0; len];
            let read = files
                .get(file)
                .map_or(Ok(0), |file| file.read_at(at, &mut buffer))?;
            buffer.truncate(read);
            return Ok(buffer);
        }
        Step::SetLen(file, len) => files.get(file).map_or(Ok(()), |file| file.set_len(len))?,
        Step::Sync(file) => files.get(file).map_or(Ok(()), |file| file.sync_data())?,
    }
    Ok(Vec::new())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 0 } else { 128 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn memory_and_system_answer_alike(steps in proptest::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let disks: [Arc<dyn Disk>; 2] =
            [Arc::new(MemoryDisk::new()), Arc::new(OsDisk::open(directory.path()).unwrap())];
        let [first, second] = disks.map(|disk| {
            let mut files = Vec::new();
            let answers = steps.iter().enumerate().map(|(number, step)| -> Answer {
                take(&*disk, &mut files, number, step).map_err(|error| error.kind())
            });
            let answers: Vec<Answer> = answers.collect();
            let names = names(&*disk);
            let contents: Vec<_> = names.iter().map(|(name, _)| disk.map(name).unwrap()).collect();
            (answers, names, contents)
        });
        prop_assert!(first == second, "answers, names or contents differ");
    }
}
