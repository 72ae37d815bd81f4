//! The power of the file system is cut at random instants under load: all that was not synced is
//! gone. Also while a store is being opened after the last cut.
//!
//! The server is stopped first, and killed before it goes on: a machine without power answers
//! nobody. This matters, because Linux may answer the one sync that is under way while a file
//! system is shut down with success, and keep nothing of it (README.md has the measurement).

use std::fs;

use super::campaign::{Campaign, Place};
use super::dice::Dice;
use super::kill::program_of;
use super::life::{At, Fault, Load, Shape};
use super::server::Process;
use super::settings::{Ended, Need, Settings, lacking};
use super::volume::{Kind, Volume};

const VOLUME_BYTES: u64 = 1 << 30;

const NEEDS: &[Need] = &[Need::Root, Need::LoopDevices, Need::Program("xfs_io")];

struct Power {
    volume: Volume,
    at: At,
}

impl Fault for Power {
    fn at(&self) -> &At {
        &self.at
    }

    fn strike(&mut self, server: Process, _: &mut Dice, _: &Load<'_>) -> Result<(), String> {
        server.signal("STOP");
        self.volume.cut()?;
        server.kill();
        self.volume.restore()
    }
}

/// A cut that loses nothing would prove nothing: what was synced is to be there after it, and what
/// was not is to be gone.
fn cuts(kind: Kind) -> Result<bool, String> {
    let place = Place::new("power");
    let volume = Volume::make(kind, place.path(), VOLUME_BYTES)?;
    let tried = || {
        let (synced, lost) = (volume.path().join("synced"), volume.path().join("lost"));
        fs::write(&synced, "synced")?;
        fs::File::open(&synced)?.sync_all()?;
        fs::File::open(volume.path())?.sync_all()?;
        fs::write(&lost, "lost")?;
        volume.cut().map_err(std::io::Error::other)?;
        volume.restore().map_err(std::io::Error::other)?;
        let is_kept = fs::read(synced)? == b"synced";
        Ok(is_kept && fs::read(lost).map_or(true, |bytes| bytes.is_empty()))
    };
    tried().map_err(|error: std::io::Error| error.to_string())
}

pub(crate) fn run(settings: &Settings, kind: Kind) -> Result<Ended, String> {
    let (name, maker) = match kind {
        Kind::Ext4 => ("power-ext4", "mkfs.ext4"),
        Kind::Xfs => ("power-xfs", "mkfs.xfs"),
    };
    if let Some(lacks) = lacking(&[NEEDS, &[Need::Program(maker)]].concat()) {
        return Ok(Ended::Skipped(lacks));
    }
    match cuts(kind) {
        Ok(true) => {}
        Ok(false) => {
            let lacks = format!("it needs a {kind:?} whose shutdown drops what was not synced");
            return Ok(Ended::Skipped(lacks));
        }
        Err(problem) => return Ok(Ended::Skipped(format!("no power can be cut: {problem}"))),
    }
    let campaign = Campaign {
        name,
        short: 6,
        of_a_life: 25,
    };
    let shape = |life| Shape {
        program: program_of(life),
        lives_ms: 5..150,
        twice_percent: 25,
        storage_fails: true,
        ..Shape::plain()
    };
    campaign.run(settings, shape, |folder| {
        let volume = Volume::make(kind, folder, VOLUME_BYTES)?;
        let at = At {
            folder: volume.path().join("store"),
            log: folder.join("log"),
        };
        Ok(Power { volume, at })
    })
}
