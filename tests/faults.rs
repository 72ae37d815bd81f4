//! The real thing: `annal serve` as a process, killed, stopped, without power, without room, with
//! failing calls and jumping clocks, while many clients write and follow; and everything that they
//! saw is judged. Here runs a short form of each campaign; `tests/faults/run.sh` runs long ones.
//! What each needs and does stands in `tests/faults/README.md`.
//!
//! A campaign that the machine cannot run is shown as ignored, with the reason, never as passed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "faults/calls.rs"]
mod calls;
#[path = "faults/campaign.rs"]
mod campaign;
#[path = "faults/clock.rs"]
mod clock;
#[path = "simulation/dice.rs"]
#[expect(dead_code, reason = "the simulation rolls more kinds of dice")]
mod dice;
#[path = "faults/follow.rs"]
mod follow;
#[path = "faults/full.rs"]
mod full;
#[path = "faults/grpc.rs"]
mod grpc;
#[expect(
    clippy::wildcard_imports,
    reason = "it is shared with tests of the harness"
)]
mod grpc_client;
#[path = "faults/history.rs"]
mod history;
#[path = "faults/judge.rs"]
mod judge;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/life.rs"]
mod life;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/mounted.rs"]
mod mounted;
#[path = "faults/power.rs"]
mod power;
#[path = "faults/second.rs"]
mod second;
#[path = "faults/server.rs"]
mod server;
#[path = "faults/settings.rs"]
mod settings;
#[path = "faults/stop.rs"]
mod stop;
#[path = "faults/tally.rs"]
mod tally;
#[path = "faults/volume.rs"]
mod volume;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use settings::{Ended, Settings};
use volume::Kind;

/// What a run says by its exit code where the machine lacks something.
const SKIPPED: i32 = 77;

type Campaign = fn(&Settings) -> Result<Ended, String>;

const CAMPAIGNS: &[(&str, Campaign)] = &[
    ("kill", kill::run),
    ("power-ext4", |settings| power::run(settings, Kind::Ext4)),
    ("power-xfs", |settings| power::run(settings, Kind::Xfs)),
    ("full", full::run),
    ("strace", calls::run),
    ("stop", stop::run),
    ("second", second::run),
    ("clock", clock::run),
];

/// The table in the description, and what `run.sh` knows, are of the same campaigns.
fn every_campaign_is_described() -> Result<(), Failed> {
    let described = include_str!("faults/README.md");
    let command = include_str!("faults/run.sh");
    let known = command
        .lines()
        .find_map(|line| line.strip_prefix("names='"));
    let known: Vec<_> = known.unwrap().trim_end_matches('\'').split(' ').collect();
    let names: Vec<_> = CAMPAIGNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, names);
    let rows = described.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<_> = rows.filter_map(|row| row.split(" | ").next()).collect();
    let in_rows = rows.iter().flat_map(|row| row.split(['|', '`', ',', ' ']));
    let in_rows: Vec<_> = in_rows.filter(|name| !name.is_empty()).collect();
    assert_eq!(in_rows, names);
    Ok(())
}

fn main() -> ExitCode {
    if let Some(hosted) = server::host() {
        return match hosted {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("{problem}");
                ExitCode::FAILURE
            }
        };
    }
    let settings = Settings::from_environment();
    let described = Trial::test("every_campaign_is_described", every_campaign_is_described);
    let mounted = "a_store_that_is_mounted_for_reading_only_is_served_and_not_changed";
    let mounted = Trial::ignorable_test(mounted, || match mounted::run()? {
        None => Ok(Completion::Completed),
        Some(lacks) => {
            eprintln!("a mount for reading only was NOT TRIED: {lacks}");
            Ok(Completion::ignored_with(lacks))
        }
    });
    let trials = CAMPAIGNS.iter().map(|(name, campaign)| {
        let settings = settings.clone();
        Trial::ignorable_test(*name, move || {
            let ended = campaign(&settings).map_err(|problem| {
                let seed = settings.seed;
                format!("{problem}\nthe seed of the run was {seed} (ANNAL_FAULTS_SEED)")
            })?;
            match ended {
                Ended::Done(tally) => println!("{name}: {tally}; 0 violations"),
                Ended::Skipped(lacks) if settings.cycles.is_some() => {
                    eprintln!("{name} was NOT RUN: {lacks}");
                    std::process::exit(SKIPPED);
                }
                Ended::Skipped(lacks) => {
                    eprintln!("{name} was NOT RUN: {lacks}");
                    return Ok(Completion::ignored_with(lacks));
                }
            }
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(
        &Arguments::from_args(),
        trials.chain([described, mounted]).collect(),
    )
    .exit_code()
}
