//! Damage to files, in every way that disks and people have: a copy of the disk is damaged, opened
//! and read. The store does not open, or says where it is damaged, or tells the truth; nothing is
//! lost in silence.

use std::sync::Arc;

use annal::disk::{Disk, MemoryDisk, SimulatedHost};
use annal::{OpenError, Position, Store, StoreOptions};

use crate::check::compare;
use crate::common::reference::Reference;
use crate::dice::Dice;
use crate::world::{StateRecords, Trouble, World, states_of};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    /// A block is zeros again.
    Zero(u64),
    /// A block has the bytes of another one of this file.
    Misplace(u64),
    Truncate,
    Destroy,
}

const DAMAGES: [Damage; 8] = [
    Damage::Flip,
    Damage::Flip,
    Damage::Zero(512),
    Damage::Zero(4096),
    Damage::Misplace(512),
    Damage::Misplace(4096),
    Damage::Truncate,
    Damage::Destroy,
];

/// What the log of a damaged store may have lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a> {
    /// Nothing in front of this.
    pub(crate) floor: Position,
    /// What is lost is told.
    pub(crate) told: bool,
    /// The last unit may have had no events: the state records may be so too.
    pub(crate) states: &'a [StateRecords],
}

impl World {
    pub(crate) fn damage_a_copy(&mut self) {
        if self.trouble != Trouble::None || self.deceived {
            return;
        }
        let settled = self.dice.percent(60);
        if settled {
            // The last commit is old enough for its witness.
            self.host.advance_us(60_000);
            self.store().maintain().unwrap();
            self.floor = self.reference.end();
            self.states_before.clear();
        }
        let copy = self.disk.snapshot();
        let Some((name, damage)) = damage_something(&copy, &mut self.dice) else {
            return;
        };
        self.counts.damages += 1;
        self.say(format_args!("{damage:?} {name}"));
        let told = matches!(damage, Damage::Flip);
        let floor = match told {
            true => self.floor.max(self.before_last),
            false => self.floor,
        };
        let allowed = Allowed {
            floor,
            told,
            states: &self.states_before,
        };
        check_damaged(&copy, &self.mix.options, &self.reference, &name, allowed);
    }
}

/// Damages a file; none if nothing changed.
fn damage_something(disk: &MemoryDisk, dice: &mut Dice) -> Option<(String, Damage)> {
    let mut files = disk.list().unwrap();
    files.retain(|(name, _)| name != "lock" && !name.starts_with("quarantine"));
    let (name, len) = files[dice.index(files.len())].clone();
    let damage = dice.pick(&DAMAGES);
    let before = disk.map(&name).unwrap();
    let block_at = |dice: &mut Dice, block: u64| dice.below(len.div_ceil(block)) * block;
    match damage {
        _ if len == 0 => disk.destroy(&name).unwrap(),
        Damage::Flip => disk.flip_bit(&name, dice.below(len * 8)).unwrap(),
        Damage::Zero(block) => {
            let at = block_at(dice, block);
            overwrite(disk, &name, at, &vec![0; usize::try_from(block).unwrap()]);
        }
        Damage::Misplace(block) => {
            let (from, to) = (block_at(dice, block), block_at(dice, block));
            let from = usize::try_from(from).unwrap();
            let end = (from + usize::try_from(block).unwrap()).min(before.len());
            overwrite(disk, &name, to, &before[from..end]);
        }
        Damage::Truncate => disk.truncate(&name, dice.below(len)).unwrap(),
        Damage::Destroy => disk.destroy(&name).unwrap(),
    }
    let unchanged = disk.map(&name).is_ok_and(|after| after == before);
    (!unchanged).then_some((name, damage))
}

fn overwrite(disk: &MemoryDisk, name: &str, at: u64, bytes: &[u8]) {
    if let Err(error) = disk.corrupt(name, at, bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

/// Opens a store of which one file is damaged, and reads everything. Says whether anything of the
/// damage was told.
pub(crate) fn check_damaged(
    disk: &MemoryDisk,
    options: &StoreOptions,
    reference: &Reference,
    name: &str,
    allowed: Allowed<'_>,
) -> bool {
    let before = contents(disk);
    let host = Arc::new(SimulatedHost::new(1));
    let mut options = options.clone();
    options.create = false;
    let store = match Store::open_on(Arc::new(disk.clone()), host, options) {
        Ok(store) => store,
        Err(OpenError::Damaged(_) | OpenError::NotFound(_) | OpenError::NewerFormat(_)) => {
            assert!(contents(disk) == before, "{name}: the log was changed");
            return true;
        }
        Err(error) => panic!("{name}: {error}"),
    };
    let end = store.committed();
    let is_told = !store.recovery().torn.is_empty() || !allowed.told;
    if end < reference.end() {
        assert!(end >= allowed.floor, "{name}: lost from {end} in silence");
        assert!(is_told, "{name}: lost in silence");
        return true;
    }
    let derived = ["table", "checkpoint", "state", "floor"];
    let is_derived = derived.iter().any(|derived| name.starts_with(derived));
    let mut left = reference.clone();
    let states = states_of(&store);
    let is_before = states != reference.states && allowed.states.contains(&states);
    let states_lost = is_before && !is_derived;
    if states_lost {
        assert!(is_told, "{name}: state records were lost in silence");
        left.states = states;
    }
    let found = compare(&store, &left).is_err();
    // What is derived is made again, and then everything is there.
    let maintained = store.maintain();
    let compared = compare(&store, &left);
    if is_derived {
        maintained.unwrap();
        compared.unwrap();
    }
    found || states_lost
}

/// The files that hold what is nowhere else.
fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let files = disk.list().unwrap().into_iter();
    let files = files.filter(|(name, _)| name.starts_with("segment") || name == "store");
    files
        .map(|(name, _)| (name.clone(), disk.map(&name).unwrap().to_vec()))
        .collect()
}
