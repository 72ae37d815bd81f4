//! A second server, and commands that want the folder for themselves, on a folder that a server
//! has open: each is refused with words that say so and with its exit code, and the first server
//! and its clients notice nothing. After a kill the folder is free.

use std::process::Command;

use super::campaign::Campaign;
use super::dice::Dice;
use super::life::{At, Fault, Load, Shape};
use super::server::{Process, binary};
use super::settings::{Ended, Settings};

const CAMPAIGN: Campaign = Campaign {
    name: "second",
    short: 2,
    of_a_life: 10,
};

/// "The store is in use", of the table in `annal help`.
const UNAVAILABLE: i32 = 6;

const INTRUDERS: &[&[&str]] = &[
    &["serve", "--tcp", "127.0.0.1:0", "--http", "none"],
    &["verify"],
    &["append", "intruder-1", "--type", "T", "{}"],
    &["read", "--all"],
];

struct Second(At);

impl Second {
    fn intrude(&self, words: &[&str]) -> Result<(), String> {
        let mut command = Command::new(binary());
        command.args(words).arg("--data").arg(&self.0.folder);
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let in_use = said.contains("in use") || said.contains("has it open");
        match output.status.code() == Some(UNAVAILABLE) && in_use {
            true => Ok(()),
            false => Err(format!("a second {words:?}: {}: {said}", output.status)),
        }
    }
}

impl Fault for Second {
    fn at(&self) -> &At {
        &self.0
    }

    fn strike(&mut self, server: Process, _: &mut Dice, _: &Load<'_>) -> Result<(), String> {
        for words in INTRUDERS {
            self.intrude(words)?;
        }
        match server.kill() {
            true => Ok(()),
            false => Err("the first server had ended".to_owned()),
        }
    }
}

pub(crate) fn run(settings: &Settings) -> Result<Ended, String> {
    let shape = |_| Shape::plain();
    CAMPAIGN.run(settings, shape, |folder| Ok(Second(At::in_folder(folder))))
}
