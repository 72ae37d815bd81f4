//! A repair that is cut short: the log is as damaged as before, or repaired, and nothing is lost
//! that was not lost before.

use std::sync::Arc;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, Unsynced};
use crate::log::tests::mending::{
    Content, LEN, LIVE, Sample, damage_manifest, is_whole_but_for_tables, newest_manifest, open,
    open_on, repair,
};
use crate::log::tests::{data, inspect, name_of, names};
use crate::model::Position;

/// A damaged log, and what is left of it when a repair is done.
struct Damaged<'a> {
    sample: &'a Sample,
    disk: MemoryDisk,
    lost: Vec<u64>,
    left: Content,
    /// The segments that a repair puts aside.
    replaced: Vec<Vec<u8>>,
}

impl<'a> Damaged<'a> {
    fn new(sample: &'a Sample, damage: &dyn Fn(&MemoryDisk)) -> Self {
        let disk = sample.disk.snapshot();
        damage(&disk);
        let repaired = disk.snapshot();
        let lost = repair(&repaired, "now").unwrap();
        let replaced = names(&repaired, "damaged-now-segment").into_iter();
        let left = Content::of(&repaired);
        let all = 0..sample.end.0;
        assert_eq!(left.end, sample.end);
        assert!(
            left.events
                .iter()
                .copied()
                .eq(all.filter(|at| !lost.contains(at)))
        );
        Self {
            sample,
            disk,
            lost,
            left,
            replaced: replaced
                .map(|name| repaired.map(&name).unwrap().to_vec())
                .collect(),
        }
    }

    /// Looks at what a cut has left before anything is done about it: what is opened for writing
    /// has all that is not lost, where it was.
    fn is_as_before_or_repaired(&self, what: &str, disk: &MemoryDisk, is_done: bool) {
        let log = match open_on(Arc::new(disk.snapshot())) {
            Ok(opened) => opened.log,
            Err(error) => {
                assert!(!is_done, "{what}: {error}");
                return;
            }
        };
        assert_eq!(log.end(), self.sample.end, "{what}");
        for position in 0..self.sample.end.0 {
            let is_lost = self.lost.contains(&position);
            let chunk = match log.read_at(&[Position(position)]) {
                Ok(chunk) => chunk,
                Err(error) => {
                    assert!(is_lost && !is_done, "{what}: {position}: {error}");
                    continue;
                }
            };
            match chunk.events().next() {
                Some(event) => assert_eq!(event.unwrap().data, data(position, LEN), "{what}"),
                None => {
                    assert!(is_lost, "{what}: {position}");
                    assert_ne!(log.identity().lineage, self.sample.lineage, "{what}");
                }
            }
        }
    }

    fn is_repaired(&self, what: &str, disk: &MemoryDisk) {
        assert_eq!(Content::of(disk), self.left, "{what}");
        let found = inspect(disk);
        assert!(is_whole_but_for_tables(&found), "{what}: {found}");
        let lineage = open(&disk.snapshot()).log.identity().lineage;
        let is_another = lineage != self.sample.lineage;
        assert_eq!(is_another, !self.lost.is_empty(), "{what}");
        let opened = names(disk, "segment").into_iter();
        let kept: Vec<_> = opened
            .chain(names(disk, "damaged"))
            .map(|name| disk.map(&name).unwrap())
            .collect();
        for replaced in &self.replaced {
            assert!(kept.iter().any(|kept| **kept == **replaced), "{what}");
        }
    }
}

/// Cuts the power at each change that a repair makes.
fn check_cuts(sample: &Sample, what: &str, damage: &dyn Fn(&MemoryDisk)) {
    let damaged = Damaged::new(sample, damage);
    for cut in 0.. {
        let disk = damaged.disk.snapshot();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let fault = Fault::at_any(Operation::CHANGES).after(cut);
        probe.fail(fault.cutting_power(&disk));
        let is_done = repair(&probe, "now").is_ok();
        let torn = (0..3).map(|seed| Unsynced::Torn(cut * 3 + seed));
        for unsynced in [Unsynced::Lost, Unsynced::Kept].into_iter().chain(torn) {
            let what = format!("{what}, cut at {cut}, {unsynced:?}");
            let found = disk.power_cut(unsynced);
            damaged.is_as_before_or_repaired(&what, &found, is_done);
            let lost = repair(&found, "later").unwrap_or_else(|error| panic!("{what}: {error}"));
            // Where there is no manifest, what was written anew is taken as it is.
            let known = |at: &u64| damaged.lost.contains(at);
            assert!(lost.iter().all(known), "{what}: {lost:?}");
            damaged.is_repaired(&what, &found);
        }
        if is_done {
            assert!(cut > 12, "{what}: {cut}");
            return;
        }
    }
}

#[test]
fn a_repair_that_is_cut_anywhere_leaves_the_log_as_damaged_as_before_or_repaired() {
    let sample = Sample::new(false);
    let of_events = |disk: &MemoryDisk| {
        sample.flip(disk, 0, 2);
        sample.flip(disk, LIVE, 1);
    };
    check_cuts(&sample, "events", &of_events);
    let segment = |disk: &MemoryDisk| disk.destroy(&name_of(1)).unwrap();
    check_cuts(&sample, "a segment", &segment);
    let floor = |disk: &MemoryDisk| {
        disk.destroy("floor").unwrap();
        sample.flip(disk, LIVE, 1);
    };
    check_cuts(&sample, "the floor", &floor);
}

#[test]
fn so_does_one_of_a_log_without_a_manifest() {
    for has_floor in [false, true] {
        let sample = Sample::new(has_floor);
        check_cuts(&sample, "the manifest", &damage_manifest);
        let and_events = |disk: &MemoryDisk| {
            damage_manifest(disk);
            sample.flip(disk, 0, 2);
            sample.flip(disk, LIVE, 1);
        };
        check_cuts(&sample, "the manifest and events", &and_events);
        let no_manifest = |disk: &MemoryDisk| {
            disk.destroy(&newest_manifest(disk)).unwrap();
            sample.flip(disk, 1, 2);
        };
        check_cuts(&sample, "a manifest that is gone", &no_manifest);
    }
}
