//! What is asked of a campaign, from the environment, and how it says that this machine cannot
//! do it.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use super::tally::Tally;

/// How a campaign ended where nothing was broken.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With what it did.
    Done(Tally),
    /// It was not begun, for want of this. That is never a success.
    Skipped(String),
}

/// What a campaign is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many strikes, where it matters; none for the short form.
    pub(crate) cycles: Option<u64>,
    pub(crate) seed: u64,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse()
                    .unwrap_or_else(|_| panic!("{name}={text} is no number")),
            )
        };
        let cycles = number("ANNAL_FAULTS_CYCLES");
        let seed = number("ANNAL_FAULTS_SEED");
        let fresh = || uuid::Uuid::new_v4().as_u64_pair().0 >> 16;
        let seed = seed.unwrap_or_else(|| if cycles.is_some() { fresh() } else { 1 });
        Self { cycles, seed }
    }
}

/// Something that a campaign needs and a machine may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Root,
    LoopDevices,
    Program(&'static str),
}

impl Need {
    fn is_there(self) -> bool {
        match self {
            Self::Root => geteuid().is_root(),
            Self::LoopDevices => Path::new("/dev/loop-control").exists(),
            Self::Program(name) => {
                let mut command = Command::new(name);
                let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
                let asked = quiet.stderr(Stdio::null()).arg("-V").spawn();
                asked.is_ok_and(|mut child| child.wait().is_ok())
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Root => "to be run as root".to_owned(),
            Self::LoopDevices => "loop devices".to_owned(),
            Self::Program(name) => format!("the program {name}"),
        }
    }
}

/// What of this the machine lacks.
pub(crate) fn lacking(needs: &[Need]) -> Option<String> {
    let lacks = needs.iter().filter(|need| !need.is_there());
    let lacks: Vec<_> = lacks.map(|need| need.name()).collect();
    (!lacks.is_empty()).then(|| format!("it needs {}", lacks.join(" and ")))
}
