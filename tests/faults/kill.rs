//! The server is killed with SIGKILL at random instants under load, also while it opens its store.

use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;

use super::dice::Dice;
use super::life::{Fault, Place, Shape, Tally, live};
use super::server::{Process, Program, log_beside};
use super::settings::{Ended, Settings};

const SHORT: u64 = 6;
/// How many strikes one store lives through.
pub(crate) const STRIKES_OF_A_LIFE: u64 = 20;

struct Kill {
    place: Place,
    folder: PathBuf,
    log: PathBuf,
}

impl Fault for Kill {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn log(&self) -> &Path {
        &self.log
    }

    fn strike(&mut self, server: Process, _: &mut Dice, _: &Runtime) -> Result<(), String> {
        match server.kill() {
            true => Ok(()),
            false => Err("the server had ended by itself".to_owned()),
        }
    }
}

/// Two lives of three are of the binary; in the third, every second a segment ends.
pub(crate) fn program_of(life: u64) -> Program {
    match life % 6 {
        2 => Program::Host(8),
        5 => Program::Host(512),
        _ => Program::Binary,
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    let mut left = settings.cycles.unwrap_or(SHORT);
    let mut all = Tally::default();
    while left > 0 {
        let place = Place::new("kill");
        let folder = place.path().join("store");
        let log = log_beside(&folder, "log");
        let strikes = left.min(STRIKES_OF_A_LIFE);
        let shape = Shape {
            program: program_of(all.lives),
            writers: 12,
            strikes,
            lives_ms: 10..400,
            twice_percent: 25,
            patience: None,
            storage_fails: false,
        };
        let seed = settings.seed.wrapping_add(all.lives);
        let mut fault = Kill { place, folder, log };
        match live(&mut fault, &shape, seed) {
            Ok(tally) => all.add(&tally),
            Err(problem) => {
                fault.place.keep();
                return Err(format!("life of seed {seed}: {problem}\nbefore it: {all}"));
            }
        }
        left -= strikes;
        eprintln!("kill: {all}");
    }
    Ok(Ended::Done(all))
}
