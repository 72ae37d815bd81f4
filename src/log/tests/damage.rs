//! Damage is found, named, and never served or cut away.

use std::sync::Arc;

use uuid::Uuid;

use crate::disk::{Disk, MemoryDisk, SimulatedHost};
use crate::format::footer::{Footer, encode_page};
use crate::format::manifest::{ManifestData, SealedSegment};
use crate::format::segment::{SegmentHeader, SegmentKind};
use crate::log::sealed::SealedFile;
use crate::log::tests::{data, unit};
use crate::log::{Log, LogOpenError, LogOptions, Opened, StorageError};
use crate::model::{Position, StoreId, Timestamp};

const LEN: u64 = 200;

fn open(disk: &MemoryDisk) -> Result<Opened, LogOpenError> {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        recent_bytes: 0,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    Log::open(Arc::new(disk.clone()), host, options, true)
}

/// A store with sealed segments, an active one, a checkpoint and a floor.
fn store(clean: bool) -> (MemoryDisk, Position) {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(7));
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        ..LogOptions::default()
    };
    let mut opened = Log::open(Arc::new(disk.clone()), host.clone(), options, true).unwrap();
    let mut end = Position::START;
    for round in 0..13 {
        let next = unit(&opened.log, end, 100, LEN);
        end = opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
        if round == 10 {
            let checkpoint = opened.log.checkpoint(&|_| Vec::new()).unwrap();
            let manifest = opened.log.manifest();
            manifest.update(|data| checkpoint.name_in(data)).unwrap();
        }
    }
    host.advance_us(60_000);
    while opened.log.keeper_step().unwrap().again_after.is_some() {}
    assert!(opened.log.manifest().current().sealed.len() >= 2);
    if clean {
        let Opened { log, writer, .. } = opened;
        writer.close(&log).unwrap();
    }
    (disk, end)
}

/// Reads everything; what is read is right, what is not right is an error.
fn read_all(log: &Log, end: Position) -> Result<(), StorageError> {
    assert_eq!(log.end(), end, "no event is lost in silence");
    let mut next = Position::START;
    while next < end {
        let chunk = log.read(next, end, usize::MAX)?;
        for event in chunk.events() {
            let event = event.unwrap();
            assert_eq!(event.position, next);
            assert_eq!(event.data, data(next.0, LEN));
            next = next.next();
        }
    }
    Ok(())
}

#[test]
fn no_flipped_bit_gives_wrong_events_or_loses_one_in_silence() {
    for clean in [false, true] {
        let (disk, end) = store(clean);
        let mut found = 0;
        for (name, len) in disk.list().unwrap() {
            let step = if len > 8192 { 1999 } else { 127 };
            for at in (0..len * 8).step_by(step * 8) {
                let disk = disk.snapshot();
                disk.flip_bit(&name, at + at % 7).unwrap();
                let before = disk.snapshot();
                match open(&disk) {
                    Ok(opened) => found += u32::from(read_all(&opened.log, end).is_err()),
                    Err(LogOpenError::Damaged(_)) => {
                        found += 1;
                        assert_eq!(contents(&disk), contents(&before), "nothing is changed");
                    }
                    Err(error) => panic!("{name} {at}: {error}"),
                }
            }
        }
        assert!(found > 50, "{found}");
    }
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = (disk.list().unwrap().into_iter())
        .filter(|(name, _)| name != "lock")
        .map(|(name, _)| (name.clone(), disk.map(&name).unwrap().to_vec()))
        .collect();
    files.sort();
    files
}

#[test]
fn the_unit_behind_is_a_witness_for_the_one_in_front_of_it() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let (mut end, mut ends) = (Position::START, Vec::new());
    for _ in 0..3 {
        let next = unit(&opened.log, end, 20, LEN);
        end = opened.writer.commit(next, 5).unwrap();
        ends.push(opened.log.place().offset);
    }
    drop(opened);
    for (hit, last) in [
        (ends[0] + 3, false),
        (ends[0] + 200, false),
        (ends[1] + 200, true),
    ] {
        let disk = disk.snapshot();
        disk.flip_bit("segment-00000000", u64::from(hit) * 8)
            .unwrap();
        let before = contents(&disk);
        match open(&disk) {
            Err(LogOpenError::Damaged(_)) => {
                assert!(!last);
                assert_eq!(contents(&disk), before);
            }
            // Nothing tells the last unit from one that was cut short.
            Ok(opened) if last => {
                assert_eq!(opened.log.end(), Position(40));
                let [torn] = &*opened.report.torn else {
                    panic!("{}", opened.report);
                };
                assert!(disk.map(&torn.quarantine).unwrap().len() > 1000);
            }
            outcome => panic!("{hit} {outcome:?}"),
        }
    }
}

#[test]
fn a_clock_that_is_put_back_does_not_keep_the_last_unit_without_a_witness() {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(7));
    let options = LogOptions::default();
    let mut opened = Log::open(Arc::new(disk.clone()), host.clone(), options, true).unwrap();
    let next = unit(&opened.log, Position::START, 20, LEN);
    opened.writer.commit(next, 5).unwrap();
    host.advance_us(-3_600_000_000);
    while opened.log.keeper_step().unwrap().again_after.is_some() {}
    drop(opened);
    disk.flip_bit("segment-00000000", (4096 + 200) * 8).unwrap();
    let outcome = open(&disk);
    assert!(
        matches!(outcome, Err(LogOpenError::Damaged(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_missing_or_shorter_file_is_named() {
    let (disk, end) = store(false);
    for (name, len) in disk.list().unwrap() {
        if name == "lock" || name.starts_with("checkpoint") {
            continue;
        }
        let gone = disk.snapshot();
        gone.destroy(&name).unwrap();
        match open(&gone) {
            Err(LogOpenError::Damaged(_)) => {}
            // The generation before knows all segments that have events.
            Ok(opened) if name.starts_with("manifest") => read_all(&opened.log, end).unwrap(),
            outcome => panic!("{name} {outcome:?}"),
        }
        if name.starts_with("segment-00000000") || name == "store" {
            let cut = disk.snapshot();
            cut.truncate(&name, len / 3).unwrap();
            let _outcome = open(&cut);
        }
    }
}

#[test]
fn a_lost_manifest_is_missed_when_its_segments_have_events() {
    let (disk, end) = store(false);
    let mut opened = open(&disk).unwrap();
    let early = disk.snapshot();
    let mut next = end;
    while opened.log.manifest().current().sealed.len() < 7 {
        let more = unit(&opened.log, next, 100, LEN);
        next = opened.writer.commit(more, 5).unwrap();
        opened.log.keeper_step().unwrap();
    }
    put_back_manifests(&disk, &early);
    drop(opened);
    let outcome = open(&disk.snapshot());
    assert!(
        matches!(outcome, Err(LogOpenError::Damaged(_))),
        "{outcome:?}"
    );
}

/// Writing would go on in an epoch that has been, and over what came since.
#[test]
fn an_older_manifest_is_not_believed_where_the_floor_knows_a_newer_one() {
    let (disk, _) = store(false);
    let early = disk.snapshot();
    let Opened { log, writer, .. } = open(&disk).unwrap();
    writer.close(&log).unwrap();
    drop(log);
    put_back_manifests(&disk, &early);
    match open(&disk) {
        Err(LogOpenError::Damaged(StorageError::Missing { file, .. })) => {
            assert!(file.starts_with("manifest"), "{file}");
        }
        outcome => panic!("{outcome:?}"),
    }
}

/// Replaces the manifests by those of an earlier time.
fn put_back_manifests(disk: &MemoryDisk, early: &MemoryDisk) {
    let is_manifest = |(name, _): &(String, u64)| name.starts_with("manifest");
    for (name, _) in disk.list().unwrap().into_iter().filter(is_manifest) {
        disk.destroy(&name).unwrap();
    }
    for (name, _) in early.list().unwrap().into_iter().filter(is_manifest) {
        disk.put(&name, &early.map(&name).unwrap()).unwrap();
    }
}

#[test]
fn a_lost_checkpoint_only_costs_a_longer_walk() {
    let (disk, end) = store(false);
    let named = disk.list().unwrap();
    let checkpoint = named
        .iter()
        .find(|(name, _)| name.starts_with("checkpoint"));
    if let Some((name, _)) = checkpoint {
        disk.destroy(name).unwrap();
    }
    let opened = open(&disk).unwrap();
    assert!(!opened.report.from_checkpoint);
    read_all(&opened.log, end).unwrap();
}

#[test]
fn verification_names_each_damaged_file() {
    let (disk, end) = store(true);
    let whole: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = Log::inspect(&whole, &mut |_| ()).unwrap();
    assert!(found.is_whole(), "{found:?}");
    assert_eq!(found.end, end);
    disk.flip_bit("segment-00000001", 9000 * 8).unwrap();
    let before = contents(&disk);
    let found = Log::inspect(&whole, &mut |_| ()).unwrap();
    let damaged: Vec<&str> = (found.files.iter())
        .filter(|file| file.damage.is_some())
        .map(|file| &*file.file)
        .collect();
    assert_eq!(damaged, ["segment-00000001"]);
    assert_eq!(contents(&disk), before);
}

/// Where the data of an event lies.
fn place_of(disk: &MemoryDisk, position: u64) -> (String, u64) {
    let data = data(position, LEN);
    for (name, bytes) in contents(disk) {
        let mut windows = bytes.windows(data.len());
        if let Some(at) = windows.position(|window| name.starts_with("segment") && window == data) {
            return (name, u64::try_from(at).unwrap());
        }
    }
    panic!("no file has event {position}");
}

#[test]
fn what_is_sound_in_front_of_what_is_damaged_is_given() {
    let (disk, end) = store(false);
    let opened = open(&disk).unwrap();
    let damaged = (20..).find(|at| data(*at, LEN).len() > 100).unwrap();
    let (name, offset) = place_of(&disk, damaged);
    disk.corrupt(&name, offset, &[0; 50]).unwrap();
    let adjacent: Vec<u64> = (0..end.0).collect();
    let scattered: Vec<u64> = (damaged % 2..end.0).step_by(2).collect();
    for list in [adjacent, scattered] {
        let mut asked: Vec<Position> = list.into_iter().map(Position).collect();
        let mut found = Vec::new();
        let error = loop {
            match opened.log.read_within(&asked, usize::MAX) {
                Err(error) => break error,
                Ok((chunk, count)) => {
                    assert!(count > 0);
                    found.extend(chunk.events().map(|event| event.unwrap().position));
                    asked.drain(..count);
                }
            }
        };
        assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
        assert_eq!(asked.first(), Some(&Position(damaged)));
        assert!(found.is_sorted() && found.last().is_some_and(|last| last.0 < damaged));
    }
}

/// Of a footer and its offsets.
type Change = fn(&mut Footer, &mut Vec<u32>);

/// A footer with right checksums that says something else than its units: as a bug would leave it.
#[test]
fn a_footer_that_contradicts_its_units_is_found() {
    let changes: [(&str, Change); 4] = [
        ("a segment's footer", |footer, _| {
            footer.created[0].max_us += 1
        }),
        ("a page of offsets", |_, offsets| offsets[50] += 1),
        ("the digests", |footer, _| footer.chain[3] ^= 1),
        ("the digests", |footer, _| footer.leaves.push([1; 32])),
    ];
    for (what, change) in changes {
        let (disk, _) = store(true);
        let opened = open(&disk).unwrap();
        let manifest = opened.log.manifest();
        let entry = manifest.current().sealed[1].clone();
        let sealed = opened.log.shared.open_sealed(&entry).unwrap();
        let mut footer = sealed.footer.clone();
        let salt = opened.log.identity().record_salt;
        let page = sealed.read_page(0, &salt).unwrap();
        let count = usize::try_from(footer.events).unwrap();
        let mut offsets: Vec<u32> = (0..count).map(|at| page.offset(at).unwrap()).collect();
        change(&mut footer, &mut offsets);
        let name = entry.file_name().to_string();
        let (_, mut bytes) = contents(&disk)
            .into_iter()
            .find(|file| file.0 == name)
            .unwrap();
        bytes.truncate(usize::try_from(entry.footer_offset).unwrap());
        let pages_at = bytes.len();
        encode_page(&offsets, entry.id, 0, &salt, &mut bytes);
        footer.pages[0].end = u32::try_from(bytes.len() - pages_at).unwrap();
        footer.encode(&mut bytes);
        disk.put(&name, &bytes).unwrap();
        let as_told = |data: &mut ManifestData| {
            data.sealed[1].digest = blake3::hash(&bytes).into();
            data.sealed[1].len_bytes = u32::try_from(bytes.len()).unwrap();
        };
        manifest.update(as_told).unwrap();
        drop(opened);
        let found = open(&disk).unwrap().log.verify(&mut |_| ()).unwrap();
        let damaged: Vec<_> = found
            .files
            .iter()
            .filter(|file| file.damage.is_some())
            .collect();
        assert_eq!(damaged.len(), 1, "{what}: {found}");
        assert_eq!(damaged[0].file, name, "{what}");
        let damage = damaged[0].damage.clone().unwrap().to_string();
        assert!(damage.contains(what), "{damage}");
    }
}

/// A file in the place of another, which is whole in itself.
#[test]
fn a_segment_of_another_owner_is_found() {
    let (disk, _) = store(true);
    let opened = open(&disk).unwrap();
    let (entry, identity) = (
        opened.log.manifest().current().sealed[1].clone(),
        *opened.log.identity(),
    );
    drop(opened);
    let name = entry.file_name().to_string();
    let mine = SegmentHeader {
        store: identity.store,
        segment: entry.id,
        kind: SegmentKind::Written { capacity: 65_536 },
    };
    let others = [
        SegmentHeader {
            store: StoreId(Uuid::from_u128(5)),
            ..mine
        },
        SegmentHeader {
            segment: entry.id + 1,
            ..mine
        },
        SegmentHeader {
            kind: SegmentKind::Rewritten { number: 1 },
            ..mine
        },
    ];
    for header in others {
        let disk = disk.snapshot();
        let opened = open(&disk).unwrap();
        disk.corrupt(&name, 0, &header.encode()).unwrap();
        let (_, bytes) = contents(&disk)
            .into_iter()
            .find(|file| file.0 == name)
            .unwrap();
        let manifest = opened.log.manifest();
        let as_told = |data: &mut ManifestData| data.sealed[1].digest = blake3::hash(&bytes).into();
        manifest.update(as_told).unwrap();
        let found = opened.log.verify(&mut |_| ()).unwrap();
        let mut files = found.files.iter();
        let file = files.find(|file| file.file == name).unwrap();
        let damage = file.damage.clone().unwrap().to_string();
        assert!(damage.contains("the owner of a segment"), "{damage}");
    }
}

/// What the manifest says of a sealed segment is what its footer says.
#[test]
fn a_footer_of_another_segment_is_not_believed() {
    let (disk, _) = store(true);
    let opened = open(&disk).unwrap();
    let entry = opened.log.manifest().current().sealed[1].clone();
    let changes: [fn(&mut SealedSegment); 4] = [
        |entry| entry.first_position.0 += 1,
        |entry| entry.events += 1,
        |entry| entry.footer_offset -= 8,
        |entry| entry.mark.checksum ^= 1,
    ];
    for change in changes {
        let mut other = entry.clone();
        change(&mut other);
        let refused = SealedFile::open(&disk, &other);
        assert!(
            matches!(refused, Err(StorageError::Damaged { .. })),
            "{other:?}"
        );
    }
    SealedFile::open(&disk, &entry).unwrap();
}

#[test]
fn events_are_found_by_position_by_time_and_backwards() {
    let (disk, end) = store(false);
    let opened = open(&disk).unwrap();
    let log = &opened.log;
    let asked: Vec<Position> = (0..end.0 + 5).step_by(37).map(Position).collect();
    let chunk = log.read_at(&asked).unwrap();
    let found: Vec<Position> = chunk
        .events()
        .map(|event| event.unwrap().position)
        .collect();
    let expected: Vec<Position> = asked.iter().copied().filter(|at| *at < end).collect();
    assert_eq!(found, expected);
    for event in chunk.events() {
        let event = event.unwrap();
        assert_eq!(event.data, data(event.position.0, LEN));
    }
    let mut before = end;
    while before > Position::START {
        let chunk = log.read_back(before, 77, usize::MAX).unwrap();
        assert!(chunk.events_count() <= 77 && chunk.events_count() > 0);
        let events: Vec<_> = chunk
            .events()
            .map(|event| event.unwrap().position)
            .collect();
        let first = before.0 - chunk.events_count();
        assert_eq!(events, (first..before.0).map(Position).collect::<Vec<_>>());
        before = Position(first);
    }
    let at = |micros| Timestamp::from_micros(1_700_000_000_000_000 + micros);
    assert_eq!(log.position_at(at(-5)).unwrap(), Position(0));
    assert_eq!(log.position_at(at(0)).unwrap(), Position(0));
    assert_eq!(log.position_at(at(777)).unwrap(), Position(777));
    let last = i64::try_from(end.0).unwrap() - 1;
    assert_eq!(log.position_at(at(last)).unwrap(), Position(end.0 - 1));
    assert_eq!(log.position_at(at(last + 1)).unwrap(), end);
    let mut next = Position(150);
    log.units(next, &mut |unit| {
        if unit.header.end_position() > Position(150) {
            assert!(unit.header.first_position <= next);
            next = unit.header.end_position();
            assert_eq!(unit.trailer.appends.len(), 1);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(next, end);
}
