//! What is found of a log whose manifest is lost, whatever else is; and what stays of it.

use std::sync::Arc;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::log::salvage::mend;
use crate::log::tests::mending::{
    Content, EVENTS, LIVE, Sample, is_whole_but_for_tables, manifest_of, newest_manifest, open,
    repair, rewritten, write,
};
use crate::log::tests::{inspect, name_of, names};
use crate::log::{Log, LogOpenError, LogOptions, StorageError};

/// What the newest manifest alone names: a segment with units.
#[test]
fn events_that_only_a_lost_manifest_knew_of_are_found() {
    let sample = Sample::new(false);
    let whole = Content::of(&sample.disk);
    let disk = sample.disk.snapshot();
    disk.destroy(&newest_manifest(&disk)).unwrap();
    let found = inspect(&disk);
    assert_eq!((found.lost.len(), found.end), (0, sample.end), "{found}");
    assert!(found.refused.is_some());
    assert!(repair(&disk, "now").unwrap().is_empty());
    assert_eq!(Content::of(&disk), whole);
    // Who writes next is another writer than all before.
    let mut opened = open(&disk);
    write(&mut opened, EVENTS);
    drop(opened);
    assert_eq!(Content::of(&disk).end.0, sample.end.0 + EVENTS);
}

/// Without a manifest the units alone tell what a segment has whose end is damaged.
#[test]
fn a_segment_without_a_footer_is_found_where_the_manifest_is_lost_too() {
    let sample = Sample::new(true);
    let mut opened = open(&sample.disk);
    while opened.log.manifest().current().sealed.len() < 4 {
        write(&mut opened, EVENTS);
        opened.log.keeper_step().unwrap();
    }
    opened.log.shared.write_floor(false).unwrap();
    drop(opened);
    let whole = Content::of(&sample.disk);
    for segments in [&[0][..], &[1], &[0, 1], &[1, 2], &[0, 2], &[2, 3]] {
        for cut in [false, true] {
            let disk = sample.disk.snapshot();
            for segment in segments {
                let entry = manifest_of(&disk).sealed[*segment].clone();
                let name = entry.file_name().to_string();
                match cut {
                    false => disk
                        .flip_bit(&name, u64::from(entry.len_bytes) * 8 - 100)
                        .unwrap(),
                    true => disk.truncate(&name, entry.units_end().into()).unwrap(),
                }
                // What a scavenge had begun to write says nothing.
                let begun = disk.map(&name).unwrap().slice(..9_000);
                disk.put(&format!("{name}-00000001"), &begun).unwrap();
            }
            for name in names(&disk, "manifest") {
                disk.destroy(&name).unwrap();
            }
            let found = inspect(&disk);
            assert_eq!((found.lost.len(), found.end), (0, whole.end), "{found}");
            assert!(repair(&disk, "now").unwrap().is_empty());
            assert_eq!(Content::of(&disk), whole, "{segments:?}");
        }
    }
}

/// A file that was made for a segment and never named.
#[test]
fn a_number_that_no_segment_has_is_no_segment_that_is_missed() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk);
    disk.put(&name_of(1), b"made for nothing").unwrap();
    while opened.log.manifest().current().sealed.len() < 2 {
        write(&mut opened, EVENTS);
        opened.log.keeper_step().unwrap();
    }
    drop(opened);
    let whole = Content::of(&disk);
    let sealed = manifest_of(&disk).sealed;
    assert_eq!((sealed[0].id, sealed[1].id), (0, 2));
    for name in names(&disk, "manifest") {
        disk.destroy(&name).unwrap();
    }
    let found = inspect(&disk);
    let named = found.files.iter().any(|file| file.file == name_of(1));
    assert!(found.lost.is_empty() && !named, "{found}");
    assert!(repair(&disk, "now").unwrap().is_empty());
    assert_eq!(Content::of(&disk), whole);
}

#[test]
fn a_segment_whose_header_alone_is_damaged_is_repaired_without_a_loss() {
    let sample = Sample::new(true);
    let whole = Content::of(&sample.disk);
    for segment in 0..=LIVE {
        let disk = sample.disk.snapshot();
        for copy in [0, HEADER_LEN_BYTES / 2] {
            let bit = u64::from(copy + 12) * 8;
            disk.flip_bit(&name_of(segment), bit).unwrap();
        }
        let found = inspect(&disk);
        assert_eq!((found.lost.len(), found.end), (0, sample.end), "{found}");
        let files = found.files.iter().filter(|file| file.damage.is_some());
        assert!(
            files.map(|file| &file.file).eq([&name_of(segment)]),
            "{found}"
        );
        assert!(repair(&disk, "now").unwrap().is_empty());
        assert!(is_whole_but_for_tables(&inspect(&disk)));
        assert_eq!(Content::of(&disk), whole, "{segment}");
    }
}

#[test]
fn a_segment_whose_rewriting_only_a_lost_manifest_knew_of_is_found() {
    let (disk, entry, newest) = rewritten();
    let generation = manifest_of(&disk).generation - 1;
    let whole = Content::of(&disk);
    assert!(names(&disk, &name_of(entry.id)).len() == 1 && entry.rewrite.is_some());
    disk.destroy(&newest).unwrap();
    let found = inspect(&disk);
    assert_eq!((found.lost.len(), found.end), (0, whole.end), "{found}");
    let missed = format!("manifest-{:016x}", generation + 1);
    assert_eq!(*missing(&disk), [missed]);
    assert_eq!(Content::of(&disk), whole);
}

/// Repairs a log; gives the small files that were found to be missing.
fn missing(disk: &MemoryDisk) -> Vec<String> {
    let mended = mend(disk, &SimulatedHost::new(9), "now", &mut |_| Vec::new());
    let damage = mended.unwrap().examined.damage.into_iter();
    let file = |damage| match damage {
        StorageError::Missing { file, .. } => file.to_string(),
        other => panic!("{other}"),
    };
    damage.map(file).collect()
}

/// Then a newer manifest would have named what has taken its place.
#[test]
fn a_segment_that_is_gone_speaks_against_the_manifest_only_where_it_was_written_again() {
    let (disk, entry, _) = rewritten();
    let gone = entry.id + 1;
    disk.destroy(&name_of(gone)).unwrap();
    let begun = disk
        .map(&entry.file_name().to_string())
        .unwrap()
        .slice(..9_000);
    for has_begun in [false, true] {
        let disk = disk.snapshot();
        if has_begun {
            disk.put(&format!("{}-00000001", name_of(gone)), &begun)
                .unwrap();
        }
        assert_eq!(*missing(&disk), [""; 0]);
    }
}

/// Somebody may still want to look at it.
#[test]
fn what_a_repair_put_aside_stays_when_the_next_one_has_no_manifest() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    sample.flip(&disk, 0, 2);
    sample.flip(&disk, LIVE, 1);
    let before = |name: &str| disk.map(name).unwrap();
    let damaged: Vec<_> = [0, LIVE].iter().map(|id| before(&name_of(*id))).collect();
    let lost = repair(&disk, "now").unwrap();
    assert!(lost.len() >= 2);
    drop(open(&disk));
    let left = Content::of(&disk);
    for name in names(&disk, "manifest") {
        disk.destroy(&name).unwrap();
    }
    assert!(repair(&disk, "later").unwrap().is_empty());
    assert_eq!(Content::of(&disk), left);
    drop(open(&disk));
    let kept: Vec<_> = names(&disk, "damaged")
        .iter()
        .map(|name| before(name))
        .collect();
    for file in damaged {
        assert!(kept.contains(&file));
    }
}

/// A copy with its own stamp on it: whoever reads it by that name must not take it for another.
#[test]
fn a_manifest_of_another_generation_than_its_name_says_is_not_believed() {
    let sample = Sample::new(true);
    let whole = Content::of(&sample.disk);
    let disk = sample.disk.snapshot();
    let [.., before, newest] = &names(&disk, "manifest")[..] else {
        panic!("two generations are kept");
    };
    let older = disk.map(before).unwrap();
    disk.put(newest, &older).unwrap();
    assert!(repair(&disk, "now").unwrap().is_empty());
    assert_eq!(Content::of(&disk), whole);
    assert_eq!(disk.map(&format!("damaged-now-{newest}")).unwrap(), older);
}

/// The number says which segment it is, and the store whose.
#[test]
fn a_segment_that_is_none_of_the_store_is_not_taken_for_one_where_the_manifest_is_lost() {
    let sample = Sample::new(true);
    let whole = Content::of(&sample.disk);
    let other = MemoryDisk::new();
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(8));
    let mut opened = Log::open(Arc::new(other.clone()), host, options, true).unwrap();
    while opened.log.manifest().current().sealed.len() < 6 {
        write(&mut opened, EVENTS);
        opened.log.keeper_step().unwrap();
    }
    let foreign = [
        &sample.disk.map(&name_of(0)).unwrap(),
        &other.map(&name_of(5)).unwrap(),
    ];
    for bytes in foreign {
        let disk = sample.disk.snapshot();
        disk.put(&name_of(5), bytes).unwrap();
        for name in names(&disk, "manifest") {
            disk.destroy(&name).unwrap();
        }
        let found = inspect(&disk);
        assert_eq!((found.lost.len(), found.end), (0, sample.end), "{found}");
        assert!(repair(&disk, "now").unwrap().is_empty());
        assert_eq!(Content::of(&disk), whole);
    }
}

#[test]
fn what_a_disk_refuses_otherwise_is_not_told_as_damage() {
    let sample = Sample::new(true);
    let probe = ProbeDisk::new(Arc::new(sample.disk.snapshot()));
    probe.fail(Fault::at(Operation::Open).named("segment"));
    let disk: Arc<dyn Disk> = Arc::new(probe);
    assert!(matches!(
        Log::inspect(&disk, &mut |_| ()),
        Err(LogOpenError::Storage(StorageError::Io { .. }))
    ));
    assert!(Log::inspect(&disk, &mut |_| ()).unwrap().is_whole());
}
