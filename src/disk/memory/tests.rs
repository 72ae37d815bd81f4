//! The simulated disk against a model that remembers every version of every file and name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

use proptest::prelude::*;

use crate::disk::{Disk, DiskFile, FragileBlock, MemoryDisk, Unsynced};

const SECTOR: usize = 512;
const PAGE: usize = 4096;
const NAMES: [&str; 3] = ["a", "b", "c"];

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

fn bytes(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    disk.map(name).unwrap().to_vec()
}

/// A disk with one file, durably there.
fn with_file(content: &[u8]) -> (MemoryDisk, Arc<dyn DiskFile>) {
    let disk = MemoryDisk::new();
    let file = disk.create("a").unwrap();
    file.write_all_at(0, content).unwrap();
    file.sync_data().unwrap();
    disk.sync_directory().unwrap();
    (disk, file)
}

/// What the write of this number holds: mostly bytes that no other place has, sometimes zeros.
fn filling(number: usize, len: usize) -> Vec<u8> {
    let byte = |place: usize| match number % 4 {
        0 => 0,
        _ => u8::try_from((number * 41 + place / 97) % 256).unwrap(),
    };
    (0..len).map(byte).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Write(usize, usize, usize),
    SetLen(usize, usize),
    Sync(usize),
    DropCache(usize, u64),
    Rename(usize, usize),
    Remove(usize),
    SyncDirectory,
    Snapshot,
    Cut(Unsynced),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let unsynced = prop_oneof![
        Just(Unsynced::Lost),
        Just(Unsynced::Kept),
        any::<u64>().prop_map(Unsynced::Torn),
        any::<u64>().prop_map(Unsynced::Shredded),
    ];
    prop_oneof![
        4 => name.clone().prop_map(Step::Create),
        8 => (name.clone(), 0..9000_usize, 0..9000_usize)
            .prop_map(|(name, at, len)| Step::Write(name, at, len)),
        2 => (name.clone(), 0..12_000_usize).prop_map(|(n, len)| Step::SetLen(n, len)),
        4 => name.clone().prop_map(Step::Sync),
        1 => (name.clone(), 0..12_000_u64).prop_map(|(n, from)| Step::DropCache(n, from)),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => name.prop_map(Step::Remove),
        3 => Just(Step::SyncDirectory),
        1 => Just(Step::Snapshot),
        2 => unsynced.prop_map(Step::Cut),
    ]
}

/// Every version of a file since its last sync, which is the first; the last is what readers see.
#[derive(Clone, Debug)]
struct Versions(Vec<Vec<u8>>);

impl Versions {
    fn seen(&self) -> &Vec<u8> {
        self.0.last().unwrap()
    }

    fn explain(&self, found: &[u8], unsynced: Unsynced) -> bool {
        self.0.iter().any(|version| version.len() == found.len())
            && found
                .chunks(SECTOR)
                .enumerate()
                .all(|(sector, found)| match unsynced {
                    Unsynced::Shredded(_) => self.has_halves(sector, found),
                    _ => self.has(sector * SECTOR, found),
                })
    }

    /// Whether some version has these bytes there.
    fn has(&self, at: usize, found: &[u8]) -> bool {
        self.0.iter().any(|version| {
            let mut there = version.get(at..).unwrap_or(&[]).to_vec();
            there.resize(found.len(), 0);
            there == found
        })
    }

    /// Whether one version has the front of a sector, and one the rest.
    fn has_halves(&self, sector: usize, found: &[u8]) -> bool {
        (0..=found.len()).any(|tear| {
            let (front, behind) = found.split_at(tear);
            let at = sector * SECTOR;
            self.has(at, front) && self.has(at + tear, behind)
        })
    }
}

#[derive(Debug, Default)]
struct Model {
    files: BTreeMap<usize, Versions>,
    made: usize,
    names: BTreeMap<&'static str, usize>,
    durable: BTreeMap<&'static str, usize>,
    /// The names that changed since the directory was synced, and the files they may stand for.
    changed: BTreeMap<&'static str, BTreeSet<usize>>,
}

impl Model {
    fn change(&mut self, name: &'static str, file: Option<usize>) {
        self.changed.entry(name).or_default().extend(file);
        match file {
            Some(file) => self.names.insert(name, file),
            None => self.names.remove(name),
        };
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let versions = self.files.get_mut(&self.names[name]).unwrap();
        let mut next = versions.seen().clone();
        edit(&mut next);
        versions.0.push(next);
    }

    fn sync(&mut self, name: &str) {
        let versions = self.files.get_mut(&self.names[name]).unwrap();
        *versions = Versions(vec![versions.seen().clone()]);
    }

    fn check_view(&self, disk: &MemoryDisk) {
        let listed = disk.list().unwrap();
        assert_eq!(listed.len(), self.names.len());
        for (name, len) in listed {
            let seen = self.files[&self.names[name.as_str()]].seen();
            assert_eq!(usize::try_from(len).unwrap(), seen.len());
            assert!(bytes(disk, &name) == *seen, "{name} differs");
            let mut read = vec![0xff; seen.len() + 10];
            assert_eq!(
                disk.open(&name).unwrap().read_at(0, &mut read).unwrap(),
                seen.len()
            );
            assert!(read[..seen.len()] == *seen, "{name} reads differently");
        }
    }

    /// Checks what a cut has left, and goes on from there.
    fn check_cut(&mut self, disk: &MemoryDisk, unsynced: Unsynced) {
        let mut after = Self::default();
        let listed: Vec<String> = disk
            .list()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for name in NAMES {
            let synced = self.durable.get(name).copied();
            let changed = self.changed.get(name);
            let there = listed.iter().any(|listed| listed == name);
            assert!(
                there || synced.is_none() || changed.is_some(),
                "{name} was synced and is gone"
            );
            if there {
                let found = bytes(disk, name);
                let mut candidates = synced.iter().chain(changed.into_iter().flatten());
                assert!(
                    candidates.any(|file| self.files[file].explain(&found, unsynced)),
                    "{name}"
                );
                after.files.insert(after.made, Versions(vec![found]));
                after.names.insert(name, after.made);
                after.made += 1;
            }
        }
        let exactly = |names: &BTreeMap<&'static str, usize>,
                       version: fn(&Versions) -> &Vec<u8>| {
            assert_eq!(names.len(), listed.len());
            for (name, file) in names {
                assert!(
                    bytes(disk, name) == *version(&self.files[file]),
                    "{name} differs"
                );
            }
        };
        match unsynced {
            Unsynced::Lost => exactly(&self.durable, |versions| &versions.0[0]),
            Unsynced::Kept => exactly(&self.names, Versions::seen),
            Unsynced::Torn(_) | Unsynced::Shredded(_) => {}
        }
        after.durable = after.names.clone();
        *self = after;
    }
}

fn run(steps: Vec<Step>) {
    let mut disk = MemoryDisk::new();
    let mut model = Model::default();
    for (number, step) in steps.into_iter().enumerate() {
        let exists = |name: usize| model.names.contains_key(NAMES[name]);
        match step {
            Step::Create(name) if !exists(name) => {
                disk.create(NAMES[name]).unwrap();
                model.files.insert(model.made, Versions(vec![Vec::new()]));
                model.change(NAMES[name], Some(model.made));
                model.made += 1;
            }
            Step::Write(name, at, len) if exists(name) => {
                let file = disk.open(NAMES[name]).unwrap();
                let bytes = filling(number, len);
                file.write_all_at(u64::try_from(at).unwrap(), &bytes)
                    .unwrap();
                if len > 0 {
                    model.edit(NAMES[name], |content| {
                        content.resize(content.len().max(at + len), 0);
                        content[at..at + len].copy_from_slice(&bytes);
                    });
                }
            }
            Step::SetLen(name, len) if exists(name) => {
                disk.open(NAMES[name])
                    .unwrap()
                    .set_len(u64::try_from(len).unwrap())
                    .unwrap();
                model.edit(NAMES[name], |content| content.resize(len, 0));
            }
            Step::Sync(name) if exists(name) => {
                disk.open(NAMES[name]).unwrap().sync_data().unwrap();
                model.sync(NAMES[name]);
            }
            Step::DropCache(name, from) if exists(name) => {
                disk.open(NAMES[name]).unwrap().drop_cache(from).unwrap();
            }
            Step::Rename(from, to) if exists(from) => {
                disk.rename(NAMES[from], NAMES[to]).unwrap();
                if from != to {
                    let file = model.names[NAMES[from]];
                    model.change(NAMES[from], None);
                    model.change(NAMES[to], Some(file));
                }
            }
            Step::Remove(name) if exists(name) => {
                disk.remove(NAMES[name]).unwrap();
                model.change(NAMES[name], None);
            }
            Step::SyncDirectory => {
                disk.sync_directory().unwrap();
                model.durable = model.names.clone();
                model.changed.clear();
            }
            Step::Snapshot => disk = disk.snapshot(),
            Step::Cut(unsynced) => {
                disk = disk.power_cut(unsynced);
                model.check_cut(&disk, unsynced);
            }
            _ => {}
        }
        model.check_view(&disk);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_synced_survives_every_cut_and_the_rest_is_old_or_new(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(steps);
    }
}

#[test]
fn a_torn_write_is_found_in_every_mixture() {
    let (disk, file) = with_file(&[1; 2 * SECTOR]);
    file.write_all_at(0, &[2; 2 * SECTOR]).unwrap();
    file.write_all_at(0, &[3; 2 * SECTOR]).unwrap();
    let mut found = BTreeSet::new();
    for seed in 0..300 {
        let content = bytes(&disk.power_cut(Unsynced::Torn(seed)), "a");
        assert!(
            content
                .chunks(SECTOR)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        found.insert((content[0], content[SECTOR]));
    }
    assert_eq!(
        found.len(),
        9,
        "each sector is in each of its three states: {found:?}"
    );
}

#[test]
fn a_torn_write_may_lack_one_sector_or_two() {
    const SECTORS: usize = 64;
    let (disk, file) = with_file(&[1; SECTORS * SECTOR]);
    file.write_all_at(0, &[2; SECTORS * SECTOR]).unwrap();
    let mut missing = BTreeSet::new();
    let mut few = [0; 3];
    for seed in 0..4_000 {
        let content = bytes(&disk.power_cut(Unsynced::Torn(seed)), "a");
        let old = |sector: &usize| content[sector * SECTOR] == 1;
        let old: Vec<usize> = (0..SECTORS).filter(old).collect();
        if let 1..=2 = old.len() {
            few[old.len()] += 1;
            missing.extend(old);
        }
    }
    assert!(few[1] > 50 && few[2] > 20, "{few:?}");
    assert_eq!(missing.len(), SECTORS, "any of them");
}

#[test]
fn length_and_bytes_survive_apart() {
    let (disk, file) = with_file(&[]);
    file.write_all_at(0, &[1; SECTOR]).unwrap();
    let found: BTreeSet<_> = (0..200)
        .map(|seed| bytes(&disk.power_cut(Unsynced::Torn(seed)), "a"))
        .collect();
    let expected = BTreeSet::from([vec![], vec![0; SECTOR], vec![1; SECTOR]]);
    assert_eq!(found, expected);
}

#[test]
fn names_survive_in_every_subset() {
    let (disk, _) = with_file(b"a");
    disk.create("b").unwrap();
    disk.rename("a", "c").unwrap();
    disk.create("d").unwrap();
    let names = |disk: &MemoryDisk| -> Vec<String> {
        disk.list()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    let found: BTreeSet<_> = (0..200)
        .map(|seed| names(&disk.power_cut(Unsynced::Torn(seed))))
        .collect();
    assert_eq!(found.len(), 8, "{found:?}");
    assert!(
        found
            .iter()
            .all(|names| { names.contains(&"a".to_owned()) != names.contains(&"c".to_owned()) })
    );
}

#[test]
fn one_seed_is_one_outcome() {
    let (disk, file) = with_file(&[1; 9000]);
    file.write_all_at(100, &[2; 8000]).unwrap();
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| bytes(&disk.power_cut(Unsynced::Torn(seed)), "a"));
        assert_eq!(first, second);
    }
}

#[test]
fn a_disk_without_power_answers_nobody_and_frees_its_lock() {
    let (disk, file) = with_file(b"a");
    let lock = disk.lock("lock").unwrap();
    let after = disk.power_cut(Unsynced::Lost);
    let _new = after.lock("lock").unwrap();
    drop(lock);
    assert_eq!(kind(after.lock("lock")), ErrorKind::WouldBlock);
    disk.list().unwrap_err();
    disk.open("a").unwrap_err();
    disk.sync_directory().unwrap_err();
    file.read_at(0, &mut [0]).unwrap_err();
    file.write_all_at(0, b"b").unwrap_err();
    file.sync_data().unwrap_err();
    assert_eq!(bytes(&after, "a"), b"a");
}

#[test]
fn a_snapshot_lives_on_its_own() {
    let (disk, file) = with_file(b"one");
    file.write_all_at(0, b"two").unwrap();
    let copy = disk.snapshot();
    file.write_all_at(0, b"six").unwrap();
    disk.remove("a").unwrap();
    drop(disk.power_cut(Unsynced::Lost));
    assert_eq!(bytes(&copy, "a"), b"two");
    assert_eq!(bytes(&copy.power_cut(Unsynced::Lost), "a"), b"one");
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_back_what_is_removed() {
    let disk = MemoryDisk::new();
    disk.set_capacity(3 * 4096);
    let file = disk.create("a").unwrap();
    file.set_len(1 << 30).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 3 * 4096);
    assert_eq!(
        kind(file.write_all_at(0, &[1; 5 * 4096])),
        ErrorKind::StorageFull
    );
    let mut read = [0; 5 * 4096];
    file.read_at(0, &mut read).unwrap();
    assert_eq!(read.iter().filter(|byte| **byte == 1).count(), 3 * 4096);
    file.write_all_at(0, &[2; 100]).unwrap();
    assert_eq!(kind(disk.put("b", b"b")), ErrorKind::StorageFull);

    file.set_len(4097).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 4096);
    assert_eq!(disk.snapshot().free_bytes().unwrap(), 4096);
    disk.remove("a").unwrap();
    drop(file);
    assert_eq!(
        disk.free_bytes().unwrap(),
        4096,
        "the removal is not durable yet"
    );
    disk.sync_directory().unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 3 * 4096);
}

#[test]
fn rot_is_durable_and_strikes_sealed_files_too() {
    let (disk, file) = with_file(&[0xf0; 1000]);
    file.set_read_only().unwrap();
    disk.flip_bit("a", 8 * 10 + 3).unwrap();
    disk.corrupt("a", 998, &[1, 2]).unwrap();
    let mut expected = vec![0xf0; 1000];
    expected[10] = 0xf8;
    expected[998..].copy_from_slice(&[1, 2]);
    assert_eq!(bytes(&disk, "a"), expected);
    assert_eq!(kind(disk.flip_bit("a", 8 * 1000)), ErrorKind::UnexpectedEof);
    assert_eq!(kind(disk.flip_bit("b", 0)), ErrorKind::NotFound);
    disk.truncate("a", 500).unwrap();
    disk.truncate("a", 700).unwrap();
    expected.truncate(500);
    assert_eq!(bytes(&disk.power_cut(Unsynced::Lost), "a"), expected);
}

#[test]
fn what_is_put_or_destroyed_from_outside_is_so_after_a_cut() {
    let (disk, file) = with_file(b"old");
    disk.put("a", b"new").unwrap();
    disk.put("b", b"b").unwrap();
    disk.destroy("b").unwrap();
    assert_eq!(kind(disk.destroy("b")), ErrorKind::NotFound);
    let mut read = [0; 3];
    file.read_at(0, &mut read).unwrap();
    assert_eq!(&read, b"old");
    let after = disk.power_cut(Unsynced::Lost);
    assert_eq!(after.list().unwrap(), [("a".to_owned(), 3)]);
    assert_eq!(bytes(&after, "a"), b"new");
}

#[test]
fn a_lost_write_comes_back_only_with_the_sector_it_shares() {
    let (disk, file) = with_file(&[0; 2 * SECTOR]);
    file.write_all_at(0, &[1; 2 * SECTOR]).unwrap();
    disk.lose_unsynced("a").unwrap();
    file.write_all_at(517, &[2]).unwrap();
    for seed in 0..100 {
        let found = bytes(&disk.power_cut(Unsynced::Torn(seed)), "a");
        assert_eq!(found[..SECTOR], [0; SECTOR]);
        let second = (found[SECTOR], found[SECTOR + 5]);
        assert!(second == (0, 0) || second == (1, 2), "{second:?}");
    }
}

#[test]
fn only_what_lies_behind_an_offset_is_asked_of_the_disk_again() {
    let (disk, file) = with_file(&[0; 2 * PAGE]);
    file.write_all_at(0, &[1; 2 * PAGE]).unwrap();
    disk.lose_unsynced("a").unwrap();
    file.drop_cache(u64::try_from(PAGE).unwrap() + 5).unwrap();
    let mut read = [0; 2 * PAGE];
    file.read_at(0, &mut read).unwrap();
    assert_eq!(
        (&read[..PAGE], &read[PAGE..]),
        (&[1; PAGE][..], &[0; PAGE][..])
    );
    file.drop_cache(0).unwrap();
    file.read_at(0, &mut read).unwrap();
    assert_eq!(read, [0; 2 * PAGE]);
}

#[test]
fn a_sector_can_be_torn_at_any_byte() {
    let (disk, file) = with_file(&[1; SECTOR]);
    file.write_all_at(0, &[2; SECTOR]).unwrap();
    let mut tears = BTreeSet::new();
    for seed in 0..300 {
        let found = bytes(&disk.power_cut(Unsynced::Shredded(seed)), "a");
        let changes: Vec<usize> = (1..SECTOR)
            .filter(|at| found[*at] != found[at - 1])
            .collect();
        assert!(changes.len() <= 1, "a write is torn once in a sector");
        tears.extend(changes);
    }
    assert!(tears.len() > 20, "{tears:?}");
    assert!(tears.iter().any(|tear| tear % 2 == 1));
}

#[test]
fn a_fragile_block_can_be_lost_as_a_whole_when_part_of_it_is_written() {
    for (block, len) in [(FragileBlock::Sector, SECTOR), (FragileBlock::Page, PAGE)] {
        let (disk, file) = with_file(&[1; 3 * PAGE]);
        disk.set_fragile_blocks(block);
        file.write_all_at(u64::try_from(PAGE + len - 4).unwrap(), &[2; 4])
            .unwrap();
        let mut lost = 0;
        for seed in 0..60 {
            let found = bytes(&disk.power_cut(Unsynced::Torn(seed)), "a");
            let is_old = |range: std::ops::Range<usize>| found[range].iter().all(|byte| *byte == 1);
            assert!(is_old(0..PAGE) && is_old(PAGE + len..3 * PAGE));
            lost += u32::from(!is_old(PAGE..PAGE + len - 4));
        }
        assert!((5..55).contains(&lost), "{lost}");
        let again = disk.power_cut(Unsynced::Torn(1));
        file_of(&again).write_all_at(0, &[3]).unwrap();
        let hit = (0..60).any(|seed| bytes(&again.power_cut(Unsynced::Torn(seed)), "a")[1] != 1);
        assert!(hit, "the disk stays what it is");
    }
}

fn file_of(disk: &MemoryDisk) -> Arc<dyn DiskFile> {
    disk.open("a").unwrap()
}
