//! A campaign is lives of stores under one kind of fault, one after the other, until there were
//! enough strikes. It ends at the first broken promise, and leaves the store for whoever looks.

use std::fs;
use std::path::{Path, PathBuf};

use super::life::{At, Fault, Shape, live};
use super::settings::{Ended, Settings};
use super::tally::Tally;

/// What a campaign is.
pub(crate) struct Campaign {
    pub(crate) name: &'static str,
    /// How many strikes its short form has.
    pub(crate) short: u64,
    /// How many strikes one store lives through.
    pub(crate) of_a_life: u64,
}

impl Campaign {
    /// Leads the lives. `shape` says how a life of this number is led, and `begin` makes the fault
    /// and the place for its store in a folder.
    pub(crate) fn run<F: Fault>(
        &self,
        settings: &Settings,
        shape: impl Fn(u64) -> Shape,
        begin: impl Fn(&Path) -> Result<F, String>,
    ) -> Result<Ended, String> {
        let mut left = settings.cycles.unwrap_or(self.short);
        let mut all = Tally::default();
        while left > 0 {
            let mut place = Place::new(self.name);
            let mut fault = begin(place.path())?;
            let strikes = left.min(self.of_a_life);
            let shape = Shape {
                strikes,
                ..shape(all.lives)
            };
            let seed = settings.seed.wrapping_add(all.lives);
            match live(&mut fault, &shape, seed) {
                Ok(tally) => all.add(&tally),
                Err(problem) => {
                    place.keep = true;
                    let kept = place.path().display();
                    let what = format!("life of seed {seed}: {problem}\nit is kept in {kept}");
                    return Err(format!("{what}\nbefore it: {all}"));
                }
            }
            left -= strikes;
            if settings.cycles.is_some() {
                eprintln!("{}: {all}", self.name);
            }
        }
        Ok(Ended::Done(all))
    }
}

impl At {
    /// A store in a folder, which is not there yet.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.join("store"),
            log: folder.join("log"),
        }
    }
}

/// A folder that is removed, unless what happened in it is to be looked at.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    keep: bool,
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let base = std::env::var_os("ANNAL_FAULTS_DIR").map(PathBuf::from);
        let base = base.unwrap_or_else(std::env::temp_dir);
        let unique = uuid::Uuid::new_v4().simple();
        let path = base.join(format!("annal-faults-{name}-{unique}"));
        fs::create_dir_all(&path).unwrap();
        Self { path, keep: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            let _left = fs::remove_dir_all(&self.path);
        }
    }
}
