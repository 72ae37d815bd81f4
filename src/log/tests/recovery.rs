//! What tells a write that a crash cut short from damage: each witness by itself, at its edges.

use std::sync::Arc;

use crate::disk::{Disk, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::format::floor::Floor;
use crate::format::footer::Mark;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{HEADER_LEN, Place, UNIT_LEN_BYTES_MAX};
use crate::log::facts::{ContentDigests, Facts, RecordEntry};
use crate::log::recovery::survey;
use crate::log::segment::create_segment;
use crate::log::tests::{check, unit};
use crate::log::unit_buffer::Stamp;
use crate::log::walk::READ_BYTES;
use crate::log::{Log, LogOpenError, LogOptions, Opened, RecoveryReport, StorageError, TornTail};
use crate::model::Position;

const LEN: u64 = 900;
const ACTIVE: &str = "segment-00000000";
const SPARE: &str = "segment-00000001";

fn open_on(disk: Arc<dyn Disk>, align: u32) -> Result<Opened, LogOpenError> {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        unit_align: align,
        ..LogOptions::default()
    };
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, true)
}

fn open(disk: &MemoryDisk) -> Result<Opened, LogOpenError> {
    open_on(Arc::new(disk.clone()), 8)
}

/// A log with some units and perhaps a spare segment, and what its last unit says.
struct Written {
    disk: MemoryDisk,
    /// Not opened again: it only knows the salts.
    log: Log,
    end: Position,
    place: Place,
    mark: Mark,
    align: u32,
}

impl Written {
    fn new(align: u32, units: usize) -> Self {
        let disk = MemoryDisk::new();
        let mut opened = open_on(Arc::new(disk.clone()), align).unwrap();
        let mut end = Position::START;
        for _ in 0..units {
            let next = unit(&opened.log, end, 5, LEN);
            end = opened.writer.commit(next, 5).unwrap();
            for _ in 0..3 {
                opened.log.keeper_step().unwrap();
            }
        }
        let disk = disk.snapshot();
        let log = opened.log.clone();
        let mark = log.shared.state.read().active().facts.mark;
        let place = log.place();
        Self {
            disk,
            log,
            end,
            place,
            mark,
            align,
        }
    }

    fn stamp(&self, place: Place) -> Stamp<'_> {
        Stamp {
            place,
            epoch: self.mark.epoch,
            previous: self.mark.checksum,
            committed_us: self.mark.committed_us,
            unit_align: self.align,
            salt: &self.log.identity().unit_salt,
        }
    }

    /// The bytes of a unit with two events.
    fn forge(&self, first: Position, stamp: &Stamp<'_>) -> Vec<u8> {
        unit(&self.log, first, 2, LEN).finish().stamp(stamp).bytes
    }

    /// A copy of the disk with these bytes behind the last unit.
    fn with(&self, offset: u64, bytes: &[u8]) -> MemoryDisk {
        let disk = self.disk.snapshot();
        put_at(&disk, ACTIVE, u64::from(self.place.offset) + offset, bytes);
        disk
    }

    fn open(&self, disk: &MemoryDisk) -> Result<Opened, LogOpenError> {
        open_on(Arc::new(disk.clone()), self.align)
    }
}

/// Writes bytes into a file, durably; it grows if they end behind it.
fn put_at(disk: &MemoryDisk, name: &str, offset: u64, bytes: &[u8]) {
    let file = disk.open(name).unwrap();
    file.write_all_at(offset, bytes).unwrap();
    file.sync_data().unwrap();
}

fn assert_damaged(outcome: Result<Opened, LogOpenError>, what: &str) {
    match outcome {
        Err(LogOpenError::Damaged(StorageError::Damaged { .. })) => {}
        other => panic!("{what}: {other:?}"),
    }
}

fn torn(opened: &Opened) -> Vec<(&str, u32, u64)> {
    let torn = opened.report.torn.iter();
    torn.map(|torn| (&*torn.file, torn.offset, torn.len_bytes))
        .collect()
}

#[test]
fn what_continues_the_log_counts_and_what_continues_something_else_is_damage() {
    let written = Written::new(8, 3);
    let (place, end) = (written.place, written.end);
    let right = || written.stamp(place);
    let counts = [
        right(),
        Stamp {
            epoch: written.mark.epoch + 1,
            ..right()
        },
        Stamp {
            committed_us: written.mark.committed_us + 1,
            ..right()
        },
    ];
    for stamp in counts {
        let bytes = written.forge(end, &stamp);
        let opened = written.open(&written.with(0, &bytes)).unwrap();
        check(&opened.log, Position(end.0 + 2), LEN);
        assert_eq!(torn(&opened), []);
        // Without its body it was cut short.
        let opened = written
            .open(&written.with(0, &bytes[..HEADER_LEN]))
            .unwrap();
        check(&opened.log, end, LEN);
        let header_len = u64::try_from(HEADER_LEN).unwrap();
        let [(file, offset, len)] = torn(&opened)[..] else {
            panic!("{}", opened.report);
        };
        assert_eq!((file, offset), (ACTIVE, place.offset));
        assert!(len <= header_len && len + 8 > header_len, "{len}");
    }
    let something_else = [
        (Position(end.0 + 1), right()),
        (Position(end.0 - 1), right()),
        (
            end,
            Stamp {
                previous: written.mark.checksum ^ 1,
                ..right()
            },
        ),
        (
            end,
            Stamp {
                epoch: written.mark.epoch - 1,
                ..right()
            },
        ),
        (
            end,
            Stamp {
                committed_us: written.mark.committed_us - 1,
                ..right()
            },
        ),
    ];
    for (number, (first, stamp)) in something_else.into_iter().enumerate() {
        let bytes = written.forge(first, &stamp);
        for bytes in [&bytes[..], &bytes[..HEADER_LEN]] {
            let outcome = written.open(&written.with(0, bytes));
            assert_damaged(outcome, &format!("case {number}"));
        }
    }
    // A header of another place is only bytes.
    let elsewhere = Place {
        offset: place.offset + 8,
        ..place
    };
    let bytes = written.forge(end, &written.stamp(elsewhere));
    let opened = written.open(&written.with(0, &bytes)).unwrap();
    assert_eq!(torn(&opened).len(), 1);
    check(&opened.log, end, LEN);
}

/// The search goes piece by piece: a header may lie across two of them, and at the end of the file.
#[test]
fn a_unit_behind_the_end_says_that_it_is_not_the_end_wherever_it_is() {
    let header_len = u64::try_from(HEADER_LEN).unwrap();
    let piece = u64::try_from(READ_BYTES).unwrap();
    for align in [8, 4096] {
        let written = Written::new(align, 2);
        let step = u64::from(align);
        let last = 3 * piece;
        let mut places = vec![step, 2 * step, last];
        for number in 1..3 {
            let edge = number * (piece - header_len);
            let from = (edge - 3 * header_len).next_multiple_of(step);
            places.extend((from..edge + 3 * header_len).step_by(usize::try_from(step).unwrap()));
            places.push(edge.next_multiple_of(step));
        }
        // The file ends directly behind the last of them.
        let len = u64::from(written.place.offset) + last + header_len;
        let long = written.disk.open(ACTIVE).unwrap();
        long.set_len(len).unwrap();
        long.sync_data().unwrap();
        let find = |disk: &MemoryDisk| {
            let files = disk.list().unwrap();
            survey(disk, &files, false).map(|survey| survey.torn.len())
        };
        assert!(matches!(find(&written.disk), Ok(0)));
        for distance in places {
            let place = Place {
                offset: written.place.offset + u32::try_from(distance).unwrap(),
                ..written.place
            };
            let bytes = written.forge(Position(1 << 40), &written.stamp(place));
            let disk = written.with(distance, &bytes[..HEADER_LEN]);
            let found = find(&disk);
            let damaged = matches!(found, Err(LogOpenError::Damaged(_)));
            assert!(damaged, "{distance}: {found:?}");
            // The same bytes say nothing where they do not belong.
            if align == 8 && distance < last {
                let disk = written.with(distance + 8, &bytes[..HEADER_LEN]);
                assert!(matches!(find(&disk), Ok(1)), "{distance}");
            }
        }
    }
}

#[test]
fn what_was_cut_short_is_taken_out_to_its_last_byte_and_is_no_longer_than_a_unit() {
    let written = Written::new(8, 2);
    let longest = UNIT_LEN_BYTES_MAX + 8;
    for len in [
        1,
        100,
        READ_BYTES - HEADER_LEN,
        READ_BYTES - 1,
        READ_BYTES,
        READ_BYTES + 1,
        2 * READ_BYTES + 5,
        longest,
        longest + 1,
    ] {
        let outcome = written.open(&written.with(0, &vec![0xa5; len]));
        if len > longest {
            assert_damaged(outcome, "longer than a unit");
            continue;
        }
        let opened = outcome.unwrap();
        let len = u64::try_from(len).unwrap();
        assert_eq!(torn(&opened), [(ACTIVE, written.place.offset, len)]);
        check(&opened.log, written.end, LEN);
    }
    // Zeros in front of it are part of it.
    let opened = written.open(&written.with(70_000, &[1])).unwrap();
    assert_eq!(torn(&opened), [(ACTIVE, written.place.offset, 70_001)]);
}

#[test]
fn the_search_for_a_later_unit_ends_where_no_write_can_have_reached() {
    let written = Written::new(8, 2);
    let file = written.disk.open(ACTIVE).unwrap();
    file.set_len(200 << 20).unwrap();
    file.sync_data().unwrap();
    let probe = ProbeDisk::new(Arc::new(written.disk.clone()));
    drop(open_on(Arc::new(probe.clone()), 8).unwrap());
    let read = probe.tally(Operation::Read, ACTIVE).bytes;
    let far = 2 * u64::try_from(UNIT_LEN_BYTES_MAX + READ_BYTES).unwrap();
    assert!(read < far, "{read}");
}

#[test]
fn one_write_was_cut_short_and_no_two_but_where_a_disk_loses_blocks() {
    for align in [8, 4096] {
        let written = Written::new(align, 9);
        assert!(written.disk.open(SPARE).is_ok());
        let here = written.place.offset;
        let opened = written.open(&written.disk).unwrap();
        assert_eq!(torn(&opened), []);
        drop(opened);
        let opened = written.open(&written.with(0, &[7; 30])).unwrap();
        assert_eq!(torn(&opened), [(ACTIVE, here, 30)]);
        check(&opened.log, written.end, LEN);
        drop(opened);
        let disk = written.disk.snapshot();
        put_at(&disk, SPARE, HEADER_LEN_BYTES.into(), &[7; 40]);
        let opened = written.open(&disk).unwrap();
        assert_eq!(torn(&opened), [(SPARE, HEADER_LEN_BYTES, 40)]);
        check(&opened.log, written.end, LEN);
        drop(opened);
        let disk = written.with(0, &[7; 30]);
        put_at(&disk, SPARE, HEADER_LEN_BYTES.into(), &[7; 40]);
        let outcome = written.open(&disk);
        if align == 8 {
            assert_damaged(outcome, "two writes");
            continue;
        }
        let opened = outcome.unwrap();
        let both = [(ACTIVE, here, 30), (SPARE, HEADER_LEN_BYTES, 40)];
        assert_eq!(torn(&opened), both);
        check(&opened.log, written.end, LEN);
        for (torn, byte) in opened.report.torn.iter().zip([30, 40]) {
            assert_eq!(disk.map(&torn.quarantine).unwrap()[..], vec![7; byte]);
        }
        drop(opened);
        // They were taken out.
        assert_eq!(torn(&written.open(&disk).unwrap()), []);
        // A unit in the spare that does not follow is none that was cut short.
        let spare = Place {
            segment: 1,
            offset: HEADER_LEN_BYTES + 2 * align,
        };
        let bytes = written.forge(Position(1 << 40), &written.stamp(spare));
        let disk = written.disk.snapshot();
        put_at(&disk, SPARE, spare.offset.into(), &bytes);
        assert_damaged(written.open(&disk), "a unit in the spare");
    }
}

/// Where a witness stands at the end, all is durable. Else the last unit is promised once more; but
/// it is not written where a disk may lose what it is writing.
#[test]
fn the_last_unit_is_promised_again_only_where_nothing_bears_witness_for_it() {
    for (align, witness, changes) in [(8, false, (1, 1)), (4096, false, (0, 1)), (8, true, (0, 0))]
    {
        let written = Written::new(align, 2);
        if witness {
            written.log.shared.write_floor(false).unwrap();
            let floor = written.log.shared.disk.open("floor").unwrap();
            let mut bytes = vec![0; usize::try_from(floor.len().unwrap()).unwrap()];
            floor.read_at(0, &mut bytes).unwrap();
            written.disk.put("floor", &bytes).unwrap();
        }
        let probe = ProbeDisk::new(Arc::new(written.disk.clone()));
        let opened = open_on(Arc::new(probe.clone()), align).unwrap();
        check(&opened.log, written.end, LEN);
        let done = [Operation::Write, Operation::Sync].map(|it| probe.tally(it, ACTIVE).calls);
        assert_eq!(done, [changes.0, changes.1], "{align} {witness}");
    }
}

#[test]
fn a_clean_stop_knows_the_last_byte() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let next = unit(&opened.log, Position::START, 5, LEN);
    opened.writer.commit(next, 5).unwrap();
    let Opened { log, writer, .. } = opened;
    writer.close(&log).unwrap();
    let place = log.place();
    drop(log);
    for len in [place.offset - 1, place.offset + 1] {
        let disk = disk.snapshot();
        let file = disk.open(ACTIVE).unwrap();
        file.set_len(len.into()).unwrap();
        file.sync_data().unwrap();
        assert_damaged(open(&disk), &format!("{len} bytes"));
    }
    // All but the last unit, and nothing behind it.
    let cut = disk.snapshot();
    cut.truncate(ACTIVE, HEADER_LEN_BYTES.into()).unwrap();
    assert_damaged(open(&cut), "cut at another unit");
    let opened = open(&disk).unwrap();
    assert!(opened.report.clean_stop);
    check(&opened.log, Position(5), LEN);
}

#[test]
fn the_floor_is_believed_in_whatever_it_knows_of_a_newer_manifest() {
    let written = Written::new(8, 2);
    let manifest = written.log.manifest().current();
    let floor = |generation, epoch| Floor {
        number: 2,
        generation,
        position: written.end,
        end: written.place,
        epoch,
        clean: false,
    };
    let (generation, epoch) = (manifest.generation, manifest.epoch);
    for (floor, is_known) in [
        (floor(generation, epoch), true),
        (floor(generation - 1, epoch - 1), true),
        (floor(generation + 1, epoch), false),
        (floor(generation, epoch + 1), false),
    ] {
        let disk = written.disk.snapshot();
        let (offset, bytes) = floor.encode();
        put_at(&disk, "floor", offset, &bytes);
        match written.open(&disk) {
            Ok(opened) if is_known => check(&opened.log, written.end, LEN),
            Err(LogOpenError::Damaged(StorageError::Missing { file, .. })) if !is_known => {
                assert_eq!(*file, *format!("manifest-{:016x}", floor.generation));
            }
            other => panic!("{floor:?}: {other:?}"),
        }
    }
}

/// A checkpoint of something else under the name of this one only costs a longer walk.
#[test]
fn a_checkpoint_that_does_not_fit_is_not_believed() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let next = unit(&opened.log, Position::START, 5, LEN);
    let end = opened.writer.commit(next, 5).unwrap();
    let checkpoint = opened.log.checkpoint(&|_| Vec::new()).unwrap();
    opened
        .log
        .manifest()
        .update(|manifest| {
            checkpoint.name_in(manifest);
            let entry = manifest.checkpoint.as_mut().unwrap();
            entry.len_bytes += 1000;
        })
        .unwrap();
    let entry = opened.log.manifest().current().checkpoint.unwrap();
    let name = entry.file_name().to_string();
    let salt = opened.log.identity().record_salt;
    let mark = opened.log.shared.state.read().active().facts.mark;
    let checkpoint_of = |segment: u32, first: u64, events: u64, end_offset: u32| {
        let mut facts = Facts::new(segment, Position(first), Mark::START, salt);
        for index in 0..events {
            facts.push_record(&RecordEntry {
                offset: u32::try_from(HEADER_LEN).unwrap() + u32::try_from(index).unwrap() * 8,
                created_us: 0,
            });
        }
        facts.end_unit(end_offset - HEADER_LEN_BYTES, mark);
        facts.footer(&ContentDigests::default()).0
    };
    drop(opened);
    let here = entry.place.offset;
    for (bytes, fits) in [
        (checkpoint_of(0, 0, 5, here), true),
        (checkpoint_of(1, 0, 5, here), false),
        (checkpoint_of(0, 1, 4, here), false),
        (checkpoint_of(0, 0, 4, here), false),
        (checkpoint_of(0, 0, 5, here - 8), false),
        (Vec::new(), false),
    ] {
        let disk = disk.snapshot();
        disk.put(&name, &bytes).unwrap();
        let opened = open(&disk).unwrap();
        assert_eq!(opened.report.from_checkpoint, fits);
        let walked = (opened.report.walked_units, opened.report.walked_bytes > 0);
        assert_eq!(walked, if fits { (0, walked.1) } else { (1, true) });
        if !fits {
            check(&opened.log, end, LEN);
        }
    }
}

#[test]
fn what_was_found_and_done_is_said_in_words() {
    let mut report = RecoveryReport {
        created: true,
        ..RecoveryReport::default()
    };
    assert!(report.to_string().starts_with("A new store was made."));
    assert!(!report.to_string().contains("damaged"));
    report.created = false;
    assert!(report.to_string().contains("was not stopped in order"));
    report.clean_stop = true;
    assert!(report.to_string().contains("was stopped in order"));
    report.states_rebuilt = true;
    report.torn.push(TornTail {
        file: ACTIVE.into(),
        offset: 5000,
        len_bytes: 77,
        quarantine: "quarantine-x".into(),
    });
    report.unknown_files.push("notes.txt".into());
    let text = report.to_string();
    for part in [
        "state records",
        "77 bytes at byte 5000 of segment-00000000",
        "quarantine-x",
        "notes.txt does not belong",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("Acknowledged events are damaged"));
}

/// A unit that was to be the first of the next segment was cut short. The log may go on in the old
/// one, and what it left must not be taken for the unit that goes on from there.
#[test]
fn what_was_cut_short_in_the_spare_says_nothing_when_the_log_has_gone_on_without_it() {
    let written = Written::new(8, 9);
    let first = Place {
        segment: 1,
        offset: HEADER_LEN_BYTES,
    };
    let bytes = written.forge(written.end, &written.stamp(first));
    let disk = written.disk.snapshot();
    put_at(&disk, SPARE, first.offset.into(), &bytes[..HEADER_LEN]);
    let mut opened = written.open(&disk).unwrap();
    let [(SPARE, HEADER_LEN_BYTES, _)] = torn(&opened)[..] else {
        panic!("{}", opened.report);
    };
    assert_eq!(opened.log.place(), written.place);
    // It was put back as the spare, and is sealed by nobody.
    let mut end = written.end;
    for _ in 0..2 {
        let next = unit(&opened.log, end, 1, LEN);
        end = opened.writer.commit(next, 5).unwrap();
        assert_eq!(opened.log.place().segment, 0);
        drop(opened);
        opened = written.open(&disk).unwrap();
        assert_eq!(torn(&opened), []);
        check(&opened.log, end, LEN);
    }
    // At last it is the next segment.
    while opened.log.place().segment == 0 {
        let next = unit(&opened.log, end, 5, LEN);
        end = opened.writer.commit(next, 5).unwrap();
    }
    assert_eq!(opened.log.place().segment, 1);
    drop(opened);
    check(&written.open(&disk).unwrap().log, end, LEN);
}

/// A unit is written only to a segment that the manifest names: where it does not, a newer one did.
#[test]
fn a_unit_in_a_segment_that_is_not_named_tells_of_a_lost_manifest() {
    let written = Written::new(8, 2);
    let manifest = written.log.manifest().current();
    let newer = format!("manifest-{:016x}", manifest.generation + 1);
    for id in [manifest.next_segment, manifest.next_segment + 1] {
        let disk = written.disk.snapshot();
        let segment = create_segment(&disk, written.log.identity(), id, 64 * 1024).unwrap();
        let empty = disk.snapshot();
        let first = Place {
            segment: id,
            offset: HEADER_LEN_BYTES,
        };
        let bytes = written.forge(written.end, &written.stamp(first));
        put_at(&disk, &segment.name, first.offset.into(), &bytes);
        match written.open(&disk) {
            Err(LogOpenError::Damaged(StorageError::Missing { file, .. })) => {
                assert_eq!(*file, *newer);
            }
            other => panic!("{id}: {other:?}"),
        }
        let opened = written.open(&empty).unwrap();
        assert_eq!(opened.report.unknown_files, [segment.name.to_string()]);
        check(&opened.log, written.end, LEN);
    }
}
