//! The power of the file system is cut at random instants under load: all that was not synced is
//! gone. Also while a store is being opened after the last cut.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::dice::Dice;
use super::kill::program_of;
use super::life::{Fault, Place, Shape, Tally, live, wait};
use super::server::{Process, log_beside};
use super::settings::{Ended, Need, Settings, lacking};
use super::volume::{Kind, Volume};

const SHORT: u64 = 6;
/// How many cuts one store lives through.
const CUTS_OF_A_LIFE: u64 = 25;
const VOLUME_BYTES: u64 = 1 << 30;

const NEEDS: &[Need] = &[Need::Root, Need::LoopDevices, Need::Program("xfs_io")];

struct Power {
    // Taken down before its place is removed.
    volume: Volume,
    place: Place,
    folder: PathBuf,
    log: PathBuf,
}

impl Fault for Power {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn log(&self) -> &Path {
        &self.log
    }

    fn strike(&mut self, server: Process, dice: &mut Dice, time: &Runtime) -> Result<(), String> {
        self.volume.cut()?;
        // Whoever still gets an answer without the disk notes it.
        wait(time, Duration::from_micros(dice.below(8_000)));
        server.kill();
        self.volume.restore()
    }
}

pub(crate) fn run(settings: &Settings, kind: Kind) -> Result<Ended, String> {
    let maker = match kind {
        Kind::Ext4 => "mkfs.ext4",
        Kind::Xfs => "mkfs.xfs",
    };
    if let Some(lacks) = lacking(&[NEEDS, &[Need::Program(maker)]].concat()) {
        return Ok(Ended::Skipped(lacks));
    }
    let mut left = settings.cycles.unwrap_or(SHORT);
    let mut all = Tally::default();
    while left > 0 {
        let place = Place::new("power");
        let volume = Volume::make(kind, place.path(), VOLUME_BYTES)?;
        let folder = volume.path().join("store");
        let log = log_beside(&place.path().join("store"), "log");
        let strikes = left.min(CUTS_OF_A_LIFE);
        let shape = Shape {
            program: program_of(all.lives),
            writers: 8,
            strikes,
            lives_ms: 5..150,
            twice_percent: 25,
            patience: None,
            storage_fails: true,
        };
        let seed = settings.seed.wrapping_add(all.lives);
        let mut fault = Power {
            volume,
            place,
            folder,
            log,
        };
        match live(&mut fault, &shape, seed) {
            Ok(tally) => all.add(&tally),
            Err(problem) => {
                fault.place.keep();
                fault.volume.leave();
                return Err(format!("life of seed {seed}: {problem}\nbefore it: {all}"));
            }
        }
        left -= strikes;
        eprintln!("{kind:?}: {all}");
    }
    Ok(Ended::Done(all))
}
