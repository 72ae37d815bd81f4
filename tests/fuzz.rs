//! The short form of the fuzz campaigns, on stable Rust: every target takes its seeds, and some
//! thousand mutations of them. `fuzz/run.sh` is the long form.
//!
//! `FUZZ_SEED=7` mutates in another way, `FUZZ_INPUTS_TIMES=100` a hundred times as much; a failure
//! says how to have it again.
#![cfg(all(feature = "client", feature = "server", feature = "grpc"))]
#![allow(clippy::big_endian_bytes, reason = "HTTP/2 and gRPC are written so")]
#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "a test may panic, and what is included is public where it comes from"
)]

#[path = "simulation/dice.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod dice;
#[path = "network/mutate.rs"]
mod mutate;
#[allow(dead_code, reason = "the fuzzer needs more of it")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use dice::Dice;
use mutate::mutation;
use targets::{TARGETS, Target};

// What is included speaks of its modules from its own root.
use targets::{golden, input, session};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Whether any thread has panicked: the runtime of a server keeps it to itself.
static PANICKED: AtomicBool = AtomicBool::new(false);

#[test]
fn no_seed_and_no_mutation_of_one_breaks_a_target() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::SeqCst);
        show(panic);
    }));
    TARGETS.iter().for_each(run);
}

fn run(target: &Target) {
    let began = Instant::now();
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has seeds", target.name);
    for seed in &seeds {
        judge(target, seed);
    }
    let mut dice = Dice::new(number("FUZZ_SEED", 1));
    let times = number("FUZZ_INPUTS_TIMES", 1);
    for _ in 0..u64::from(target.short) * times {
        judge(target, &mutation(&seeds, &mut dice));
    }
    println!("{:>12} {:?}", target.name, began.elapsed());
}

fn judge(target: &Target, input: &[u8]) {
    let outcome = catch_unwind(|| (target.run)(input));
    if PANICKED.load(Ordering::SeqCst) {
        eprintln!("{} found it, with {input:02x?}", target.name);
    }
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    assert!(!PANICKED.load(Ordering::SeqCst), "a thread panicked");
}
