//! The wall clock of the server jumps, forwards and back, while it runs and from one start to the
//! next. Nothing is refused or lost for it, and no later commit has an earlier time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::campaign::Campaign;
use super::dice::Dice;
use super::life::{At, Fault, Load, Shape};
use super::server::{Process, Program};
use super::settings::{Ended, Need, Settings, lacking};

const CAMPAIGN: Campaign = Campaign {
    name: "clock",
    short: 2,
    of_a_life: 10,
};

/// Where distributions put the library behind the command `faketime`.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

struct Clock {
    at: At,
    /// How far off the clock is, in the words of the library, which reads it again and again.
    offset: PathBuf,
    program: Program,
}

impl Clock {
    fn jump(&self, dice: &mut Dice) {
        let sign = dice.pick(&["+", "-"]);
        let seconds = match dice.below(4) {
            0 => dice.below(3),
            1 => dice.below(7_200),
            2 => dice.below(400 * 86_400),
            _ => dice.below(20 * 365 * 86_400),
        };
        fs::write(&self.offset, format!("{sign}{seconds}")).unwrap();
    }
}

impl Fault for Clock {
    fn at(&self) -> &At {
        &self.at
    }

    fn under(&mut self, dice: &mut Dice) -> Option<Program> {
        self.jump(dice);
        Some(self.program.clone())
    }

    fn strike(&mut self, server: Process, dice: &mut Dice, load: &Load<'_>) -> Result<(), String> {
        for _ in 0..dice.below(4) {
            self.jump(dice);
            load.wait(Duration::from_millis(20 + dice.below(80)));
        }
        let id = server.id();
        let was_there = server.kill();
        // What the library shares with children, and cannot take back when it is killed.
        for name in ["faketime_shm", "sem.faketime_sem"] {
            let _there = fs::remove_file(format!("/dev/shm/{name}_{id}"));
        }
        match was_there {
            true => Ok(()),
            false => Err("the server had ended by itself".to_owned()),
        }
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    let mut there = LIBRARIES.iter().filter(|path| Path::new(path).exists());
    let Some(library) = there.next() else {
        let lacks = "it needs libfaketime (the package faketime)".to_owned();
        return Ok(Ended::Skipped(lacks));
    };
    if let Some(lacks) = lacking(&[Need::Program("env")]) {
        return Ok(Ended::Skipped(lacks));
    }
    let shape = |_| Shape::plain();
    CAMPAIGN.run(settings, shape, |folder| {
        let offset = folder.join("offset");
        fs::write(&offset, "+0").map_err(|error| error.to_string())?;
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", offset.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        Ok(Clock {
            at: At::in_folder(folder),
            offset,
            program: Program::Under(words.to_vec()),
        })
    })
}
