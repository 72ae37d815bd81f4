//! Simulated lives of stores: random requests, faults and crashes on a simulated disk, compared
//! with a reference store that is easy to believe. Each life follows from its seed alone.
//!
//! `ANNAL_SIM_SEEDS` says how many seeds are tried, `ANNAL_SIM_FIRST` which is the first. A seed
//! that fails is printed with the command that lives it again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "simulation/check.rs"]
mod check;
mod common;
#[path = "simulation/damage.rs"]
mod damage;
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/exhaustive.rs"]
mod exhaustive;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/follower.rs"]
mod follower;
#[path = "simulation/mix.rs"]
mod mix;
#[path = "simulation/scavenge.rs"]
mod scavenge;
#[path = "simulation/workload.rs"]
mod workload;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use world::{Counts, World};

/// How many seeds are tried where nobody says how many.
const SEEDS: u64 = 2_000;
/// Every so many seeds, one is lived twice, and must be the same.
const TWICE: u64 = 100;

pub(crate) fn number(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    let parsed = match given.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => given.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{name} is no number: {given}")))
}

/// Lives one life, and gives what happened in it and its trace. Of a life that fails, so many of
/// the last steps are told.
fn live(seed: u64, told: usize) -> (Counts, String) {
    let mut world = World::new(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = lived {
        let steps: Vec<&str> = world.trace.lines().collect();
        let last = &steps[steps.len().saturating_sub(told)..];
        eprintln!(
            "the last steps of seed {seed:#x}:\n{}\n\nTo live it again:\n\n    \
             ANNAL_SIM_SEED={seed:#x} cargo test --test simulation one_seed -- --nocapture\n",
            last.join("\n")
        );
        resume_unwind(panic);
    }
    (world.counts, world.trace)
}

#[test]
fn no_life_loses_doubles_reorders_or_invents_anything() {
    let (seeds, first) = (
        number("ANNAL_SIM_SEEDS").unwrap_or(SEEDS),
        number("ANNAL_SIM_FIRST").unwrap_or(0),
    );
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let counts = Mutex::new(Counts::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Counts::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let lived = catch_unwind(|| live(first + seed, 40));
                    let Ok((lived, trace)) = lived else {
                        if !failed.swap(true, Ordering::Relaxed) {
                            eprintln!("a seed failed after {} seeds", seed + 1);
                        }
                        break;
                    };
                    mine.add(&lived);
                    if seed.is_multiple_of(TWICE) && live(first + seed, 40).1 != trace {
                        eprintln!("seed {:#x} is not the same twice", first + seed);
                        failed.store(true, Ordering::Relaxed);
                    }
                }
                counts.lock().add(&mine);
            });
        }
    });
    eprintln!("{seeds} seeds: {:?}", counts.lock());
    assert!(!failed.load(Ordering::Relaxed), "see above");
}

/// Lives the life of `ANNAL_SIM_SEED` again, and tells all of it.
#[test]
fn one_seed() {
    let Some(seed) = number("ANNAL_SIM_SEED") else {
        return;
    };
    let (counts, trace) = live(seed, usize::MAX);
    eprintln!("{trace}\n{counts:?}");
}
