//! What a power cut at any moment may and may not do.

use std::sync::Arc;

use proptest::prelude::*;

use crate::disk::{
    Disk, Fault, FragileBlock, MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced,
};
use crate::log::tests::{check, name_of, unit};
use crate::log::{Log, LogOpenError, LogOptions, Opened, StorageError};
use crate::model::Position;

const LEN: u64 = 900;

fn options(unit_align: u32) -> LogOptions {
    LogOptions {
        segment_size_bytes: 64 * 1024,
        unit_align,
        recent_bytes: 8 * 1024,
        read_cache_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

fn open(disk: Arc<dyn Disk>, align: u32) -> Result<Opened, LogOpenError> {
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options(align), true)
}

/// One step of a script.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append(u64),
    Keep,
    Wait,
    Checkpoint,
    Reopen,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..60).prop_map(Step::Append),
        4 => Just(Step::Keep),
        1 => Just(Step::Wait),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
        1 => Just(Step::Close),
    ]
}

/// What the one who wrote knows when the power goes.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    acknowledged: Position,
    /// The unit in flight would end here.
    written: Position,
    /// The power went.
    failed: bool,
}

fn perform(
    disk: &Arc<dyn Disk>,
    script: &[Step],
    align: u32,
    known: &mut Known,
) -> Result<(), LogOpenError> {
    let host = Arc::new(SimulatedHost::new(7));
    let reopen = || Log::open(Arc::clone(disk), host.clone(), options(align), true);
    let mut opened = reopen()?;
    for step in script {
        match step {
            Step::Append(events) => {
                let unit = unit(&opened.log, opened.log.end(), *events, LEN);
                known.written = unit.end_position();
                known.acknowledged = opened.writer.commit(unit, 5)?;
            }
            Step::Keep => drop(opened.log.keeper_step()?),
            Step::Wait => host.advance_us(60_000),
            Step::Checkpoint => {
                let checkpoint = opened.log.checkpoint(&|_| Vec::new())?;
                let manifest = opened.log.manifest();
                manifest.update(|manifest| checkpoint.name_in(manifest))?;
            }
            Step::Reopen => {
                drop(opened);
                opened = reopen()?;
            }
            Step::Close => {
                let Opened { log, writer, .. } = opened;
                writer.close(&log)?;
                drop(log);
                opened = reopen()?;
                assert!(opened.report.clean_stop);
            }
        }
        assert_eq!(opened.log.end(), known.acknowledged);
    }
    Ok(())
}

/// Runs a script and cuts the power at a change; gives what is found, and false if the script ended
/// before.
fn run(script: &[Step], align: u32, at: u64, unsynced: Unsynced) -> (MemoryDisk, Known) {
    let memory = MemoryDisk::new();
    if align == 4096 {
        memory.set_fragile_blocks(FragileBlock::Page);
    }
    let probe = ProbeDisk::new(Arc::new(memory.clone()));
    probe.fail(
        Fault::at_any(Operation::CHANGES)
            .after(at)
            .cutting_power(&memory),
    );
    let disk: Arc<dyn Disk> = Arc::new(probe.clone());
    let mut known = Known::default();
    let outcome = perform(&disk, script, align, &mut known);
    known.failed = probe.failures() > 0;
    if !known.failed {
        outcome.unwrap();
    }
    (memory.power_cut(unsynced), known)
}

/// Opens what a cut left, and checks the promises.
fn check_survivor(disk: &MemoryDisk, align: u32, known: Known) -> Position {
    let opened = open(Arc::new(disk.clone()), align).unwrap();
    let end = opened.log.end();
    assert!(
        end == known.acknowledged || end == known.written,
        "{end:?} {known:?}"
    );
    check(&opened.log, end, LEN);
    end
}

fn check_cut(script: &[Step], align: u32, at: u64, seed: u64) -> bool {
    let unsynced = match seed % 6 {
        0 => Unsynced::Lost,
        1 => Unsynced::Kept,
        2 => Unsynced::Shredded(seed),
        _ => Unsynced::Torn(seed),
    };
    let (disk, known) = run(script, align, at, unsynced);
    // The power goes again while the store is opened.
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    probe.fail(
        Fault::at_any(Operation::CHANGES)
            .after(seed % 9)
            .cutting_power(&disk),
    );
    let first = open(Arc::new(probe), align).map(|opened| opened.log.end());
    let disk = disk.power_cut(Unsynced::Torn(seed + 1));
    let end = check_survivor(&disk, align, known);
    if let Ok(first) = first {
        assert_eq!(first, end, "what was seen once stays");
    }
    // Opening again changes nothing, and the log goes on.
    assert_eq!(check_survivor(&disk, align, known), end);
    let mut opened = open(Arc::new(disk.clone()), align).unwrap();
    let more = unit(&opened.log, end, 3, LEN);
    let end = opened.writer.commit(more, 5).unwrap();
    drop(opened);
    let opened = open(Arc::new(disk.power_cut(Unsynced::Lost)), align).unwrap();
    check(&opened.log, end, LEN);
    known.failed
}

/// A script that rolls, seals, checkpoints, closes and opens.
const SCRIPT: &[Step] = &[
    Step::Append(3),
    Step::Append(0),
    Step::Keep,
    Step::Append(50),
    Step::Keep,
    Step::Keep,
    Step::Append(45),
    Step::Wait,
    Step::Keep,
    Step::Append(60),
    Step::Append(60),
    Step::Keep,
    Step::Keep,
    Step::Checkpoint,
    Step::Append(40),
    Step::Reopen,
    Step::Append(2),
    Step::Append(59),
    Step::Append(59),
    Step::Close,
    Step::Append(1),
    Step::Append(170),
    Step::Keep,
    Step::Checkpoint,
    Step::Append(5),
];

#[test]
fn a_power_cut_at_any_change_loses_nothing_that_was_acknowledged() {
    for align in [8, 4096] {
        let mut at = 0;
        while check_cut(SCRIPT, align, at, at * 31 + u64::from(align)) {
            at += 1;
        }
        assert!(at > 60, "{at} changes");
    }
}

#[test]
fn a_failed_sync_is_the_last_thing_that_is_written() {
    let memory = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(memory.clone()));
    let mut opened = open(Arc::new(probe.clone()), 8).unwrap();
    let first = unit(&opened.log, Position(0), 5, LEN);
    let end = opened.writer.commit(first, 5).unwrap();
    for operation in [Operation::Sync, Operation::Write] {
        probe.fail(
            Fault::at(operation)
                .named("segment")
                .losing_unsynced(&memory),
        );
        let next = unit(&opened.log, end, 5, LEN);
        let error = opened.writer.commit(next, 5).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error}");
        probe.heal();
        probe.reset();
        let again = unit(&opened.log, end, 5, LEN);
        let error = opened.writer.commit(again, 5).unwrap_err();
        assert!(matches!(error, StorageError::Poisoned(_)), "{error}");
        assert_eq!(probe.tally(Operation::Write, "").calls, 0);
        check(&opened.log, end, LEN);
        drop(opened);
        opened = open(Arc::new(probe.clone()), 8).unwrap();
        check(&opened.log, end, LEN);
    }
    let error = {
        probe.fail(Fault::at(Operation::Sync).named("segment"));
        let next = unit(&opened.log, end, 5, LEN);
        opened.writer.commit(next, 5).unwrap_err()
    };
    assert!(matches!(error, StorageError::Io { .. }));
    let Opened { log, writer, .. } = opened;
    assert!(matches!(writer.close(&log), Err(StorageError::Poisoned(_))));
}

#[test]
fn what_recovery_has_shown_survives_the_next_power_cut() {
    for operation in [Operation::Sync, Operation::Write] {
        let memory = MemoryDisk::new();
        let probe = ProbeDisk::new(Arc::new(memory.clone()));
        let mut opened = open(Arc::new(probe.clone()), 8).unwrap();
        let first = unit(&opened.log, Position(0), 5, LEN);
        let end = opened.writer.commit(first, 5).unwrap();
        // The write is there, its sync is not, and the process ends: the unit may stay or go.
        let fault = Fault::at(operation).named("segment");
        probe.fail(match operation {
            Operation::Write => fault.landing(400),
            _ => fault,
        });
        let next = unit(&opened.log, end, 5, LEN);
        assert!(opened.writer.commit(next, 5).is_err());
        assert_eq!(probe.failures(), 1);
        drop(opened);
        let shown = open(Arc::new(memory.clone()), 8).unwrap();
        let torn = shown.report.torn.clone();
        let shown_end = shown.log.end();
        drop(shown);
        let disk = memory.power_cut(Unsynced::Lost);
        let again = open(Arc::new(disk.clone()), 8).unwrap();
        check(&again.log, shown_end, LEN);
        if operation == Operation::Write {
            assert_eq!((shown_end, torn.len()), (end, 1));
            let kept = disk.map(&torn[0].quarantine).unwrap();
            assert_eq!(u64::try_from(kept.len()).unwrap(), torn[0].len_bytes);
            assert!(kept.iter().any(|byte| *byte != 0));
            assert!(again.report.unknown_files.contains(&torn[0].quarantine));
        }
    }
}

#[test]
fn a_full_disk_holds_the_unit_and_keeps_what_was_acknowledged() {
    let disk = MemoryDisk::new();
    disk.set_capacity(600 * 1024);
    let mut opened = open(Arc::new(disk.clone()), 8).unwrap();
    let mut end = Position::START;
    let full = loop {
        let next = unit(&opened.log, end, 30, LEN);
        match opened.writer.commit(next, 5) {
            Ok(durable) => end = durable,
            Err(error) => break error,
        }
        if opened.log.keeper_step().is_err() {
            continue;
        }
    };
    assert!(matches!(full, StorageError::Full(_)), "{full}");
    check(&opened.log, end, LEN);
    let full = opened.writer.retry().unwrap_err();
    assert!(matches!(full, StorageError::Full(_)), "{full}");
    let cut = disk.snapshot().power_cut(Unsynced::Torn(3));
    disk.set_capacity(2 << 20);
    let end_behind = opened.writer.retry().unwrap();
    assert_eq!(end_behind, Position(end.0 + 30));
    check(&opened.log, end_behind, LEN);
    cut.set_capacity(2 << 20);
    let mut opened = open(Arc::new(cut), 8).unwrap();
    assert!(opened.log.end() >= end);
    check(&opened.log, opened.log.end(), LEN);
    let next = unit(&opened.log, opened.log.end(), 30, LEN);
    opened.writer.commit(next, 5).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_in_any_script_leaves_all_that_was_acknowledged(
        script in proptest::collection::vec(step(), 1..40),
        at in 0u64..120,
        seed: u64,
        wide: bool,
    ) {
        check_cut(&script, if wide { 4096 } else { 8 }, at, seed / 2);
    }
}

/// A disk writes sectors in any order: all of the last unit may be there but one of them.
#[test]
fn a_unit_that_lacks_one_sector_is_not_shown() {
    let memory = MemoryDisk::new();
    let mut opened = open(Arc::new(memory.clone()), 8).unwrap();
    let short = unit(&opened.log, Position::START, 3, LEN);
    let end = opened.writer.commit(short, 5).unwrap();
    let begin = u64::from(opened.log.place().offset);
    // One event, so that most sectors have nothing but a part of its data.
    let long = unit(&opened.log, end, 1, 30_000);
    opened.writer.commit(long, 5).unwrap();
    let behind = u64::from(opened.log.place().offset);
    assert!(behind - begin > 20_000);
    let mut sectors = 0;
    for at in (begin.next_multiple_of(512)..behind).step_by(512) {
        let disk = memory.snapshot();
        let zeros = [0; 512];
        let len = usize::try_from(512.min(behind - at)).unwrap();
        disk.corrupt("segment-00000000", at, &zeros[..len]).unwrap();
        let opened = open(Arc::new(disk), 8).unwrap();
        assert_eq!(opened.report.torn.len(), 1);
        check(&opened.log, end, LEN);
        sectors += 1;
    }
    assert!(sectors > 40);
}

/// A unit is being written, and the spare is being filled: both may have lost blocks.
#[test]
fn blocks_that_are_lost_in_two_places_keep_no_store_closed() {
    let memory = MemoryDisk::new();
    memory.set_fragile_blocks(FragileBlock::Page);
    let probe = ProbeDisk::new(Arc::new(memory.clone()));
    let mut opened = open(Arc::new(probe.clone()), 4096).unwrap();
    let log = opened.log.clone();
    let mut end = log.end();
    let has_spare = || log.manifest().current().next_segment > 1;
    while !(has_spare() && log.wants_spare()) {
        let next = unit(&log, end, 3, LEN);
        end = opened.writer.commit(next, 5).unwrap();
        if !has_spare() {
            log.keeper_step().unwrap();
        }
    }
    let filling = probe.hold(Operation::Sync, "segment-00000001");
    let committing = probe.hold(Operation::Sync, "segment-00000000");
    let keeper = {
        let log = log.clone();
        std::thread::spawn(move || while log.keeper_step().is_ok() {})
    };
    let patience = std::time::Duration::from_secs(20);
    assert!(filling.reached_within(patience));
    let next = unit(&opened.log, end, 30, LEN);
    let writer = std::thread::spawn(move || opened.writer.commit(next, 5).is_ok());
    assert!(committing.reached_within(patience));
    let known = Known {
        acknowledged: end,
        written: Position(end.0 + 30),
        failed: true,
    };
    let mut twice = 0;
    for seed in 0..200 {
        let cut = memory.snapshot().power_cut(Unsynced::Torn(seed));
        check_survivor(&cut.snapshot(), 4096, known);
        let opened = open(Arc::new(cut), 4096).unwrap();
        twice += u32::from(opened.report.torn.len() == 2);
    }
    assert!(twice > 0);
    drop(memory.power_cut(Unsynced::Lost));
    drop((filling, committing));
    assert!(!writer.join().unwrap());
    keeper.join().unwrap();
}

#[test]
fn a_footer_that_the_disk_has_lost_seals_nothing() {
    let memory = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(memory.clone()));
    let mut opened = open(Arc::new(probe.clone()), 8).unwrap();
    let log = opened.log.clone();
    let full = name_of(log.place().segment);
    let mut end = log.end();
    while !log.shared.is_seal_due() {
        end = opened.writer.commit(unit(&log, end, 3, LEN), 5).unwrap();
    }
    let lost = Fault::at(Operation::Sync).of_file(&full);
    probe.fail(lost.lying().losing_unsynced(&memory));
    let error = log.shared.seal_witnessed_segment().unwrap_err();
    assert_eq!(probe.failures(), 1);
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert!(log.manifest().current().sealed.is_empty());
    check(&log, end, LEN);
}

/// The first unit of a new segment is being synced while a checkpoint is made: nothing says yet
/// that all of the full one was durable, and no footer may be written that looks like a torn end.
#[test]
fn a_full_segment_gets_no_footer_before_the_next_one_has_a_unit() {
    let memory = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(memory.clone()));
    let mut opened = open(Arc::new(probe.clone()), 8).unwrap();
    let log = opened.log.clone();
    let mut end = log.end();
    while log.manifest().current().next_segment == 1 || log.place().offset < 40_000 {
        let next = unit(&log, end, 3, LEN);
        end = opened.writer.commit(next, 5).unwrap();
        log.keeper_step().unwrap();
    }
    let first = log.place().segment;
    let hold = probe.hold(Operation::Sync, "segment-00000001");
    let writing = std::thread::spawn(move || {
        let mut end = end;
        while opened.log.place().segment == first {
            let next = unit(&opened.log, end, 3, LEN);
            end = opened.writer.commit(next, 5).unwrap();
        }
        end
    });
    assert!(hold.reached_within(std::time::Duration::from_secs(20)));
    let checkpoint = log.checkpoint(&|_| Vec::new()).unwrap();
    log.manifest()
        .update(|manifest| checkpoint.name_in(manifest))
        .unwrap();
    let acknowledged = log.end();
    assert!(log.manifest().current().sealed.is_empty());
    for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(3)] {
        let cut = memory.snapshot().power_cut(unsynced);
        let known = Known {
            acknowledged,
            written: Position(acknowledged.0 + 3),
            failed: true,
        };
        let end = check_survivor(&cut, 8, known);
        let opened = open(Arc::new(cut), 8).unwrap();
        let torn = &opened.report.torn;
        assert!(torn.is_empty(), "{torn:?}");
        check(&opened.log, end, LEN);
    }
    drop(hold);
    let end = writing.join().unwrap();
    log.keeper_step().unwrap();
    check(&log, end, LEN);
}
