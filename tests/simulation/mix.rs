//! What a seed is like: each draws its own mix of operations, faults and options, so that one
//! seed does one thing very often, and another never. Options seek boundaries: a segment, table,
//! cache or unit ends every few events.

use annal::disk::FragileBlock;
use annal::{Background, StoreOptions};

use crate::dice::Dice;

/// What can be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// One request, waited for.
    Ask,
    /// A request that was made before, once more.
    Again,
    /// Several requests at once.
    Batch,
    /// The background work.
    Maintain,
    /// Subscriptions read on.
    Follow,
    /// Something is read and compared.
    Read,
    /// Everything is read and compared.
    Check,
    /// The clock moves, backwards too.
    Clock,
    /// Tables are merged.
    Merge,
    Scavenge,
    /// The process ends in order and begins again.
    Restart,
    /// The process ends without warning, between two operations.
    Kill,
    /// The power goes, between two operations.
    Cut,
    /// The process ends, or the power goes, in the middle of what comes next.
    Interrupt,
    /// A call to come fails.
    Fail,
    /// The disk gets full.
    Fill,
    /// A call to come is reported as done and is not, or goes to the wrong place.
    Deceive,
    /// A copy of the disk is damaged, opened and read.
    Damage,
}

/// How a seed is.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) options: StoreOptions,
    pub(crate) fragile: Option<FragileBlock>,
    /// How many steps it takes.
    pub(crate) steps: u64,
    pub(crate) operations: Vec<(Operation, u64)>,
    /// From how many ids events choose theirs; none: each has its own.
    pub(crate) ids: Option<u64>,
    /// The longest data of an event, in bytes.
    pub(crate) len_max: u64,
    pub(crate) events_max: u64,
    /// The chance that something happens while the store is opened, in percent.
    pub(crate) opening_trouble: u64,
    /// Scavenges find something to do: a thousand events lie in front.
    pub(crate) scavenges: bool,
}

/// How often an operation comes in a seed that does it as often as others.
const USUAL: &[(Operation, u64)] = &[
    (Operation::Again, 20),
    (Operation::Batch, 20),
    (Operation::Maintain, 20),
    (Operation::Follow, 15),
    (Operation::Read, 10),
    (Operation::Check, 2),
    (Operation::Clock, 10),
    (Operation::Merge, 3),
    (Operation::Restart, 6),
    (Operation::Kill, 4),
    (Operation::Cut, 6),
    (Operation::Interrupt, 15),
    (Operation::Fail, 8),
    (Operation::Fill, 2),
    (Operation::Damage, 4),
];

impl Mix {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let scavenges = dice.percent(3);
        let mut operations = vec![(Operation::Ask, 60)];
        for (operation, weight) in USUAL {
            let factor = dice.pick(&[0, 1, 1, 2, 4]);
            operations.push((*operation, weight * factor));
        }
        if dice.percent(10) {
            operations.push((Operation::Deceive, 6));
        }
        if scavenges {
            operations.push((Operation::Scavenge, 20));
            operations.retain(|(operation, _)| *operation != Operation::Again);
        }
        let (options, fragile) = draw_options(dice);
        Self {
            options,
            fragile,
            steps: dice.pick(&[20, 40, 80]),
            operations,
            ids: if scavenges {
                None
            } else {
                dice.pick(&[Some(6), Some(12), Some(60), None])
            },
            len_max: dice.pick(&[8, 60, 600, 4_000, 20_000]),
            events_max: dice.pick(&[2, 4, 9]),
            opening_trouble: dice.pick(&[0, 30, 70]),
            scavenges,
        }
    }
}

fn draw_options(dice: &mut Dice) -> (StoreOptions, Option<FragileBlock>) {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.unit_align_bytes = dice.pick(&[8, 8, 512, 4096]);
    options.zero_fill = dice.percent(50);
    options.read_cache_bytes = dice.pick(&[0, 64 << 10, 24 << 20]);
    options.recent_bytes = dice.pick(&[0, 2_000, 4 << 20]);
    options.open_files_max = dice.pick(&[4, 256]);
    options.index_cache_bytes = dice.pick(&[0, 64 << 10, 24 << 20]);
    options.index_flush_events = dice.pick(&[1, 3, 7, 40, 131_072]);
    options.unit_len_bytes = dice.pick(&[1, 400, 4 << 20]);
    options.waiting_requests_max = dice.pick(&[3, 16_384]);
    let fragile = match options.unit_align_bytes {
        512 => Some(FragileBlock::Sector),
        4096 => Some(FragileBlock::Page),
        _ => None,
    };
    (options, fragile.filter(|_| dice.percent(70)))
}
