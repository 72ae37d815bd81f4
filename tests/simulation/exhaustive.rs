//! Small cases, all of them: every call that a script makes of the disk times every kind of fault,
//! every call of an opening times every kind of fault, every byte of a store flipped, and every
//! file destroyed.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use annal::disk::{Disk, Fault, MemoryDisk, Operation as Call, ProbeDisk};
use annal::{Position, StorageError};

use crate::damage::{Allowed, check_damaged};
use crate::dice::Dice;
use crate::mix::{Mix, Operation};
use crate::world::{Trouble, World, unsynced};

/// What is done; the requests follow from a seed.
const SCRIPT: &[Operation] = &[
    Operation::Ask,
    Operation::Ask,
    Operation::Batch,
    Operation::Maintain,
    Operation::Ask,
    Operation::Follow,
    Operation::Batch,
    Operation::Ask,
    Operation::Maintain,
    Operation::Clock,
    Operation::Batch,
    Operation::Maintain,
    Operation::Merge,
    Operation::Follow,
    Operation::Ask,
    Operation::Batch,
    Operation::Ask,
    Operation::Maintain,
    Operation::Ask,
    Operation::Check,
];

/// All calls, those that change nothing too.
const ALL: &[Call] = &[
    Call::Create,
    Call::Open,
    Call::List,
    Call::Rename,
    Call::Remove,
    Call::SyncDirectory,
    Call::Map,
    Call::Lock,
    Call::FreeBytes,
    Call::Len,
    Call::Read,
    Call::Write,
    Call::Sync,
    Call::SetLen,
    Call::SetReadOnly,
    Call::DropCache,
];

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CutBefore,
    CutAfter,
    CutWithin,
    KillBefore,
    KillWithin,
    Fails,
    FailsAllTheSame,
    FailsAndForgets,
    WritesPart,
    IsFull,
}

const KINDS: [Kind; 10] = [
    Kind::CutBefore,
    Kind::CutAfter,
    Kind::CutWithin,
    Kind::KillBefore,
    Kind::KillWithin,
    Kind::Fails,
    Kind::FailsAllTheSame,
    Kind::FailsAndForgets,
    Kind::WritesPart,
    Kind::IsFull,
];

impl Kind {
    /// Arms the probe for its call of this number, and says what will be the matter.
    fn arm(self, probe: &ProbeDisk, disk: &MemoryDisk, number: u64) -> Trouble {
        let change = Fault::at_any(Call::CHANGES).after(number);
        let any = Fault::at_any(ALL).after(number);
        let frozen = Fault::at_any(Call::CHANGES).after(number + 1).forever();
        let (fault, trouble) = match self {
            Self::CutBefore => (change.cutting_power(disk), Trouble::Cut),
            Self::CutAfter => (change.done().cutting_power(disk), Trouble::Cut),
            Self::CutWithin => (change.landing(700).cutting_power(disk), Trouble::Cut),
            Self::KillBefore => (change, Trouble::Kill),
            Self::KillWithin => (change.landing(700), Trouble::Kill),
            Self::Fails => (any, Trouble::Faults),
            Self::FailsAllTheSame => (any.done(), Trouble::Faults),
            Self::FailsAndForgets => (change.losing_unsynced(disk), Trouble::Faults),
            Self::WritesPart => (change.landing(700), Trouble::Faults),
            Self::IsFull => {
                let full = std::io::ErrorKind::StorageFull;
                (change.error(full), Trouble::Faults)
            }
        };
        probe.fail(fault);
        if trouble == Trouble::Kill {
            probe.fail(frozen);
        }
        trouble
    }
}

fn mix(seed: u64) -> Mix {
    let mut mix = Mix::draw(&mut Dice::new(seed));
    mix.scavenges = false;
    mix.opening_trouble = 0;
    mix.ids = Some(20);
    mix.len_max = 9_000;
    mix.events_max = 4;
    mix.options.index_flush_events = 5;
    mix.options.zero_fill = seed.is_multiple_of(2);
    mix.options.unit_align_bytes = 8;
    mix.fragile = None;
    mix
}

/// Tries all numbers from 0 until one says that there is no more, on all processors.
fn each(try_one: impl Fn(u64) -> bool + Sync) -> u64 {
    let (next, end) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end.load(Ordering::Relaxed) {
                    break;
                }
                if !try_one(number) {
                    end.fetch_min(number, Ordering::Relaxed);
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    end.load(Ordering::Relaxed)
}

/// Runs the script with a fault at one call; false if it made fewer calls.
fn script_with(kind: Kind, number: u64) -> bool {
    let mut world = World::of(mix(number % 7), 11);
    world.trouble = kind.arm(&world.probe, &world.disk, number);
    let mut struck = false;
    for operation in SCRIPT {
        world.take(*operation);
        if world.probe.failures() > 0 && world.trouble != Trouble::None {
            struck = true;
            world.settle();
        }
    }
    if !struck {
        // So it comes while the store is closed, or not at all.
        world.restart();
        struck = world.counts.kills + world.counts.power_cuts > 0;
    }
    world.end();
    struck
}

#[test]
fn every_call_of_a_script_can_fail_in_every_way() {
    let mut tried = 0;
    for kind in KINDS {
        let calls = each(|number| script_with(kind, number));
        assert!(calls > 40, "{kind:?} {calls}");
        tried += calls;
    }
    eprintln!("{tried} faults at the calls of a script");
}

/// A store that was not stopped in order, or was, or is still to be made.
fn store_to_open(stopped: Option<bool>) -> World {
    let mut world = World::of(mix(2), 12);
    match stopped {
        None => world.forget(),
        Some(in_order) => {
            for operation in SCRIPT {
                world.take(*operation);
            }
            match in_order {
                true => world.close(),
                false => {
                    let writes = Fault::at(Call::Sync).named("segment");
                    world.probe.fail(writes);
                    world.trouble = Trouble::Faults;
                    while world.probe.failures() == 0 {
                        world.take(Operation::Ask);
                    }
                    world.leave();
                }
            }
        }
    }
    world
}

/// Opens a store with a fault at one call, and then without; false if there were fewer calls.
fn opening_with(kind: Kind, mut world: World, number: u64) -> bool {
    let trouble = kind.arm(&world.probe, &world.disk, number);
    let opened = world.try_open();
    let struck = world.probe.failures() > 0;
    let excused = matches!(
        &opened,
        Ok(_) | Err(annal::OpenError::Storage(StorageError::Io { .. }))
    );
    assert!(excused, "{kind:?} {number}: {opened:?}");
    let seen = opened.as_ref().ok().map(annal::Store::committed);
    world.disk = match trouble {
        Trouble::Cut => world.disk.power_cut(unsynced(&mut world.dice)),
        _ => world.disk.snapshot(),
    };
    drop(opened);
    world.see(seen);
    world.trouble = Trouble::None;
    world.begin();
    world.end();
    struck
}

#[test]
fn every_call_of_an_opening_can_fail_in_every_way() {
    let mut tried = 0;
    for stopped in [None, Some(true), Some(false)] {
        let to_open = store_to_open(stopped);
        for kind in KINDS {
            let calls = each(|number| opening_with(kind, to_open.fork(), number));
            assert!(calls > 3, "{stopped:?} {kind:?} {calls}");
            tried += calls;
        }
    }
    eprintln!("{tried} faults at the calls of openings");
}

/// A store with sealed segments, tables, state records and a floor: all of it is witnessed.
fn witnessed(in_order: bool) -> World {
    let mut mix = mix(1);
    mix.len_max = 5_000;
    let mut world = World::of(mix, 13);
    while world.reference.end() < Position(36) {
        world.take(Operation::Ask);
    }
    world.take(Operation::Maintain);
    world.take(Operation::Ask);
    world.host.advance_us(60_000_000);
    world.take(Operation::Maintain);
    if in_order {
        world.close();
    }
    world
}

/// Every so many bytes are flipped: `ANNAL_FLIP_STEP`, 1 for all of them, as in
/// `ANNAL_FLIP_STEP=1 cargo test --test simulation no_flipped_byte -- --nocapture`.
const FLIP_STEP: u64 = 61;

#[test]
fn no_flipped_byte_is_served_or_loses_anything_in_silence() {
    let step = crate::number("ANNAL_FLIP_STEP").unwrap_or(FLIP_STEP);
    let (mut flipped, mut of_kinds) = (0, BTreeMap::<String, u64>::new());
    for in_order in [false, true] {
        let world = witnessed(in_order);
        let (disk, end) = (world.disk.snapshot(), world.reference.end());
        let mut places = Vec::new();
        for (name, len) in disk.list().unwrap() {
            if name != "lock" {
                places.extend((0..len).map(|at| (name.clone(), at)));
            }
        }
        for (name, _) in places.iter().step_by(usize::try_from(step).unwrap()) {
            let kind = name.split('-').next().unwrap_or(name);
            *of_kinds.entry(kind.to_owned()).or_default() += 1;
        }
        let allowed = Allowed {
            floor: end,
            told: true,
            states: &[],
        };
        let told = AtomicU64::new(0);
        flipped += each(|number| {
            let Some((name, at)) = places.get(usize::try_from(number * step).unwrap()) else {
                return false;
            };
            let copy = disk.snapshot();
            let byte = copy.map(name).unwrap()[usize::try_from(*at).unwrap()];
            let flip = [0x01, 0x80, 0xff, 0x10][usize::try_from(at % 4).unwrap()];
            copy.corrupt(name, *at, &[byte ^ flip]).unwrap();
            let (options, reference) = (&world.mix.options, &world.reference);
            let found = check_damaged(&copy, options, reference, name, allowed);
            told.fetch_add(u64::from(found), Ordering::Relaxed);
            true
        });
        assert!(told.into_inner() > 100);
    }
    eprintln!("{flipped} bytes flipped, none served: {of_kinds:?}");
    assert_eq!(flipped, of_kinds.values().sum::<u64>());
    for kind in ["segment", "table", "manifest", "floor", "state", "store"] {
        assert!(of_kinds.contains_key(kind), "{kind}: {of_kinds:?}");
    }
}

#[test]
fn no_destroyed_or_emptied_file_loses_anything_in_silence() {
    for in_order in [false, true] {
        let world = witnessed(in_order);
        let (disk, end) = (world.disk.snapshot(), world.reference.end());
        let allowed = Allowed {
            floor: end,
            told: false,
            states: &[],
        };
        for (name, len) in disk.list().unwrap() {
            if name == "lock" {
                continue;
            }
            for left in [None, Some(0), Some(len / 2), Some(len.saturating_sub(1))] {
                let copy: MemoryDisk = disk.snapshot();
                match left {
                    None => copy.destroy(&name).unwrap(),
                    Some(left) => copy.truncate(&name, left).unwrap(),
                }
                let (options, reference) = (&world.mix.options, &world.reference);
                check_damaged(&copy, options, reference, &name, allowed);
            }
        }
    }
}
