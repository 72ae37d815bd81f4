//! The server is stopped with SIGSTOP in the middle of its work and goes on later, or is killed
//! while it stands still. Clients do not wait for it: they give up, and send again.

use std::time::Duration;

use super::campaign::Campaign;
use super::dice::Dice;
use super::life::{At, Fault, Load, Shape};
use super::server::Process;
use super::settings::{Ended, Settings};

const CAMPAIGN: Campaign = Campaign {
    name: "stop",
    short: 2,
    of_a_life: 10,
};

/// The longest that a writer waits for an answer.
const PATIENCE: Duration = Duration::from_millis(150);

struct Stop(At);

impl Fault for Stop {
    fn at(&self) -> &At {
        &self.0
    }

    fn strike(&mut self, server: Process, dice: &mut Dice, load: &Load<'_>) -> Result<(), String> {
        for _ in 0..dice.below(4) {
            server.signal("STOP");
            load.wait(Duration::from_millis(dice.below(600)));
            if dice.percent(20) {
                break;
            }
            server.signal("CONT");
            load.wait(Duration::from_millis(dice.below(200)));
        }
        match server.kill() {
            true => Ok(()),
            false => Err("the server had ended by itself".to_owned()),
        }
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    let shape = |_| Shape {
        patience: Some(PATIENCE),
        ..Shape::plain()
    };
    CAMPAIGN.run(settings, shape, |folder| Ok(Stop(At::in_folder(folder))))
}
