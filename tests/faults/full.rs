//! The disk is full, again and again: under a server that runs, which refuses then with words that
//! say so and keeps serving reads; and under one that starts. In between, a server may not make a
//! file longer than some limit, so that writes end short.
//!
//! A server that met the full disk goes on by itself when there is room, whatever it was writing.
//! One that may not make a file longer has stopped writing, and says so; then the next one has to
//! go on.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::campaign::Campaign;
use super::dice::Dice;
use super::life::{At, Fault, Load, Shape};
use super::server::{Process, Program};
use super::settings::{Ended, Need, Settings, lacking};
use super::volume::{Kind, Volume};

const CAMPAIGN: Campaign = Campaign {
    name: "full",
    short: 2,
    of_a_life: 6,
};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::LoopDevices,
    Need::Program("mkfs.ext4"),
    Need::Program("prlimit"),
    Need::Program("env"),
];

const VOLUME_BYTES: u64 = 1 << 30;
/// How long a server that starts with room may take to write.
const BEGIN_WITHIN: Duration = Duration::from_secs(300);
/// How long a server that had no room for a while may take to write again.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// How long the load may take to need more room than there is.
const FULL_WITHIN: Duration = Duration::from_secs(10);
/// More than all writers can have had on their way when the room came.
const APPENDS: u64 = 40;

struct Full {
    volume: Volume,
    at: At,
    /// Takes the room.
    ballast: PathBuf,
    /// Whether the server that runs has a limit of its own.
    limited: bool,
    /// Whether it started with room.
    had_room: bool,
    /// How often a server got over a full disk.
    went_on: Arc<AtomicU64>,
}

impl Full {
    /// Takes all room but a little, of what is set aside for root too.
    fn fill(&self, dice: &mut Dice) -> Result<(), String> {
        let told = |error: rustix::io::Errno| format!("cannot fill the disk: {error}");
        let free = statvfs(self.volume.path()).map_err(told)?;
        let room = dice.pick(&[0, 40_000, 700_000]);
        let mut bytes = (free.f_bfree * free.f_frsize).saturating_sub(room);
        let ballast = File::create(&self.ballast).map_err(|error| error.to_string())?;
        while bytes > 0 {
            match fallocate(&ballast, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => break,
                // The file system needs some for itself, or the server was quicker.
                Err(rustix::io::Errno::NOSPC) => bytes = bytes.saturating_sub(16_384),
                Err(error) => return Err(told(error)),
            }
        }
        Ok(())
    }
}

impl Fault for Full {
    fn at(&self) -> &At {
        &self.at
    }

    fn under(&mut self, dice: &mut Dice) -> Option<Program> {
        self.limited = dice.percent(25);
        if !self.limited {
            return None;
        }
        let limit = dice.pick(&[5_000, 70_000, 900_000, 17_000_000]) + dice.below(5_000);
        let words = ["env", "--ignore-signal=XFSZ", "prlimit"].map(str::to_owned);
        let limit = format!("--fsize={limit}");
        Some(Program::Under([&words[..], &[limit]].concat()))
    }

    fn excuses(&self, complaint: &str) -> bool {
        complaint.contains("No space left on device") || complaint.contains("File too large")
    }

    fn explains(&self, refusal: &str) -> bool {
        self.excuses(refusal) || refusal.starts_with("no connection to")
    }

    fn relent(&mut self) {
        self.had_room = true;
        let _there = fs::remove_file(&self.ballast);
    }

    fn strike(&mut self, server: Process, dice: &mut Dice, load: &Load<'_>) -> Result<(), String> {
        if self.had_room && !self.limited && !load.is_acknowledged(APPENDS, BEGIN_WITHIN) {
            let said = server.complaints();
            return Err(format!("there is room, and nothing is written: {said}"));
        }
        for _ in 0..=dice.below(3) {
            self.fill(dice)?;
            // It may take a while until what was made ready before is used up.
            let _met = load.is_refused(FULL_WITHIN);
            let _there = fs::remove_file(&self.ballast);
            if self.limited {
                break;
            }
            if !load.is_acknowledged(APPENDS, AGAIN_WITHIN) {
                let said = server.complaints();
                return Err(format!(
                    "there is room again, and nothing is written: {said}"
                ));
            }
            self.went_on.fetch_add(1, Ordering::Relaxed);
        }
        self.had_room = dice.percent(50);
        if !self.had_room {
            self.fill(dice)?;
        }
        match server.kill() {
            true => Ok(()),
            false => Err("the server had ended by itself".to_owned()),
        }
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    if let Some(lacks) = lacking(NEEDS) {
        return Ok(Ended::Skipped(lacks));
    }
    let went_on = Arc::new(AtomicU64::new(0));
    let shape = |life: u64| Shape {
        program: match life % 2 {
            0 => Program::Host(8),
            _ => Program::Binary,
        },
        storage_fails: true,
        large_permille: if life.is_multiple_of(2) { 1 } else { 60 },
        ..Shape::plain()
    };
    let ended = CAMPAIGN.run(settings, shape, |folder| {
        let volume = Volume::make(Kind::Ext4, folder, VOLUME_BYTES)?;
        let at = At {
            folder: volume.path().join("store"),
            log: folder.join("log"),
        };
        let ballast = volume.path().join("ballast");
        Ok(Full {
            volume,
            at,
            ballast,
            limited: false,
            had_room: true,
            went_on: Arc::clone(&went_on),
        })
    })?;
    println!("full: {went_on:?} times a server went on by itself");
    match &ended {
        Ended::Done(tally) if tally.refused == 0 => Err("nobody met the full disk".to_owned()),
        _ => Ok(ended),
    }
}
