//! The server is killed with SIGKILL at random instants under load, also while it opens its store.

use super::campaign::Campaign;
use super::dice::Dice;
use super::life::{At, Fault, Load, Shape};
use super::server::{Process, Program};
use super::settings::{Ended, Settings};

const CAMPAIGN: Campaign = Campaign {
    name: "kill",
    short: 5,
    of_a_life: 20,
};

struct Kill(At);

impl Fault for Kill {
    fn at(&self) -> &At {
        &self.0
    }

    fn strike(&mut self, server: Process, _: &mut Dice, _: &Load<'_>) -> Result<(), String> {
        match server.kill() {
            true => Ok(()),
            false => Err("the server had ended by itself".to_owned()),
        }
    }
}

/// Two lives of three are of the binary; in the third, every moment a segment ends.
pub(crate) fn program_of(life: u64) -> Program {
    match life % 6 {
        2 => Program::Host(8),
        5 => Program::Host(512),
        _ => Program::Binary,
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    let shape = |life| Shape {
        program: program_of(life),
        writers: 12,
        twice_percent: 25,
        ..Shape::plain()
    };
    CAMPAIGN.run(settings, shape, |folder| Ok(Kill(At::in_folder(folder))))
}
