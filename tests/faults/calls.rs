//! System calls of the server fail, by strace: one of them once, or all of them from one on.
//! Nothing acknowledged is lost, and the server says which call failed, and why.

use super::campaign::Campaign;
use super::dice::Dice;
use super::life::{At, Fault, Load, Shape};
use super::server::{Process, Program};
use super::settings::{Ended, Need, Settings, lacking};

const CAMPAIGN: Campaign = Campaign {
    name: "strace",
    short: 4,
    of_a_life: 15,
};

/// Calls, how they may fail, and how many times one thread makes them at most before one does.
const FAILURES: &[(&str, &[&str], u64)] = &[
    ("fdatasync", &["EIO", "ENOSPC"], 200),
    ("fsync", &["EIO", "ENOSPC"], 12),
    ("pwrite64", &["EIO", "ENOSPC", "EDQUOT"], 300),
    ("openat", &["EIO", "ENOSPC", "EMFILE"], 40),
    ("rename", &["EIO", "ENOSPC"], 6),
    ("ftruncate", &["EIO", "ENOSPC"], 4),
    ("unlink", &["EIO"], 4),
    ("pread64", &["EIO"], 60),
];

struct Calls(At);

impl Fault for Calls {
    fn at(&self) -> &At {
        &self.0
    }

    fn under(&mut self, dice: &mut Dice) -> Option<Program> {
        let (call, errors, times) = FAILURES[dice.index(FAILURES.len())];
        let (error, when) = (dice.pick(errors), 1 + dice.below(times));
        let from_then_on = dice.pick(&["", "+"]);
        // The server itself is the child, so that a kill hits it.
        let words = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o"];
        let mut words: Vec<_> = words.map(str::to_owned).into();
        words.push("/dev/null".to_owned());
        words.extend(["-e".to_owned(), format!("trace={call}"), "-e".to_owned()]);
        words.push(format!(
            "inject={call}:error={error}:when={when}{from_then_on}"
        ));
        Some(Program::Under(words))
    }

    /// It says what the system said. Libraries that are not found are the loader's to tell.
    fn excuses(&self, complaint: &str) -> bool {
        complaint.contains("os error") || complaint.contains("error while loading shared libraries")
    }

    fn strike(&mut self, server: Process, _: &mut Dice, _: &Load<'_>) -> Result<(), String> {
        // It may have ended by itself, having said why.
        server.kill();
        Ok(())
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    if let Some(lacks) = lacking(&[Need::Program("strace")]) {
        return Ok(Ended::Skipped(lacks));
    }
    let shape = |_| Shape {
        storage_fails: true,
        ..Shape::plain()
    };
    CAMPAIGN.run(settings, shape, |folder| Ok(Calls(At::in_folder(folder))))
}
