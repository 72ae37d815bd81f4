//! What a power cut leaves of that which was not yet synced: the one place where dice are thrown.

use crate::disk::random::Random;

/// What a power cut leaves of everything that was not synced when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// Nothing: the disk had not begun to write.
    Lost,
    /// All of it: the system had just written everything by itself.
    Kept,
    /// Some of it, chosen by this seed: each sector, length and name on its own.
    Torn(u64),
}

/// The choices of one power cut.
#[derive(Debug)]
pub(super) enum Survival {
    Oldest,
    Newest,
    Any(Random, Mood),
}

/// Whole files that are old or new are as likely to find a fault as well mixed ones, and would
/// never come up if each sector were chosen on its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Oldest,
    Newest,
    Mixed,
}

impl Survival {
    pub(super) const fn new(unsynced: Unsynced) -> Self {
        match unsynced {
            Unsynced::Lost => Self::Oldest,
            Unsynced::Kept => Self::Newest,
            Unsynced::Torn(seed) => Self::Any(Random::new(seed), Mood::Mixed),
        }
    }

    /// Begins with another file, or with the directory.
    pub(super) fn turn(&mut self) {
        if let Self::Any(random, mood) = self {
            *mood = match random.up_to(3) {
                0 => Mood::Oldest,
                1 => Mood::Newest,
                _ => Mood::Mixed,
            };
        }
    }

    /// Which of the versions 0 (synced) to `newest` is found after the cut.
    pub(super) fn version(&mut self, newest: usize) -> usize {
        match self {
            Self::Oldest | Self::Any(_, Mood::Oldest) => 0,
            Self::Newest | Self::Any(_, Mood::Newest) => newest,
            Self::Any(random, Mood::Mixed) => random.up_to(newest),
        }
    }
}
