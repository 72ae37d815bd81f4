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
    /// The same on a disk that does not even write sectors whole: each may be torn at any byte.
    Shredded(u64),
}

/// The choices of one power cut.
#[derive(Debug)]
pub(super) enum Survival {
    Oldest,
    Newest,
    Any(Random, Mood, Grain),
}

/// How finely a write is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    Sector,
    Byte,
}

/// Whole files that are old or new are as likely to find a fault as well mixed ones, and would
/// never come up if each sector were chosen on its own. Nor would a write that lacks one sector.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Oldest,
    Newest,
    Mixed,
    /// All new, but for one sector or two of this file: so many come in front of the next of them.
    Nearly {
        in_front: usize,
        of: usize,
    },
}

impl Survival {
    pub(super) const fn new(unsynced: Unsynced) -> Self {
        match unsynced {
            Unsynced::Lost => Self::Oldest,
            Unsynced::Kept => Self::Newest,
            Unsynced::Torn(seed) => Self::Any(Random::new(seed), Mood::Mixed, Grain::Sector),
            Unsynced::Shredded(seed) => Self::Any(Random::new(seed), Mood::Mixed, Grain::Byte),
        }
    }

    /// Begins with another file, or with the directory, of which so many pieces were changed.
    pub(super) fn turn(&mut self, changed: usize) {
        if let Self::Any(random, mood, _) = self {
            *mood = match random.up_to(4) {
                0 => Mood::Oldest,
                1 => Mood::Newest,
                2 => Mood::Nearly {
                    in_front: random.up_to(changed.saturating_sub(1)),
                    of: changed,
                },
                _ => Mood::Mixed,
            };
        }
    }

    /// Which of the versions 0 (synced) to `newest` is found after the cut.
    pub(super) fn version(&mut self, newest: usize) -> usize {
        match self {
            Self::Oldest | Self::Any(_, Mood::Oldest, _) => 0,
            Self::Newest | Self::Any(_, Mood::Newest, _) => newest,
            Self::Any(random, Mood::Mixed, _) => random.up_to(newest),
            // Nothing was changed here.
            Self::Any(_, Mood::Nearly { .. }, _) if newest == 0 => 0,
            Self::Any(random, Mood::Nearly { in_front, of }, _) => match in_front.checked_sub(1) {
                Some(left) => {
                    *in_front = left;
                    newest
                }
                None => {
                    *in_front = random.up_to(*of);
                    random.up_to(newest - 1)
                }
            },
        }
    }

    /// Where in a sector of so many bytes one version ends and another begins; none on disks that
    /// write sectors whole.
    pub(super) fn tear(&mut self, sector_len: usize) -> Option<usize> {
        match self {
            Self::Any(random, Mood::Mixed, Grain::Byte) => Some(random.up_to(sector_len)),
            _ => None,
        }
    }

    /// What is found of a block of so many bytes whose rewriting was cut short, on disks that may
    /// then lose all of it; none if it was spared.
    pub(super) fn wreck(&mut self, block_len: usize) -> Option<Vec<u8>> {
        let Self::Any(random, Mood::Mixed, _) = self else {
            return None;
        };
        if random.up_to(2) > 0 {
            return None;
        }
        let byte = |random: &mut Random| u8::try_from(random.up_to(255)).unwrap_or(u8::MAX);
        let fill = byte(random);
        let noise = random.up_to(1) == 1;
        let bytes = (0..block_len).map(|_| if noise { byte(random) } else { fill });
        Some(bytes.collect())
    }
}
