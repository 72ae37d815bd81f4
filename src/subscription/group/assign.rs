//! Which member gets an event: one rule for each strategy.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::model::GroupStrategy;
use crate::model::Position;
use crate::subscription::group::core::{Choice, Core, MemberId};
use crate::subscription::group::message::{Lane, Seat};
use crate::subscription::group::seated::Seated;

/// Among how many parts the lanes of a pinned group are spread.
const BUCKETS_COUNT: usize = 1_024;

/// What is going on in one lane.
#[derive(Debug, Default)]
pub(super) struct LaneUse {
    pub(super) in_flight_count: usize,
    /// Who has what is in flight, in a pinned strategy.
    pub(super) member: MemberId,
    /// Events on the way to the parked stream.
    pub(super) parking_count: usize,
    /// In an ordered group: events in the parked stream that are not loaded for a replay.
    pub(super) parked_count: u64,
    /// In an ordered group that was restarted: what lies in front of this position in the lane was
    /// handled or parked before.
    pub(super) parked_end: Position,
    /// In an ordered group: one that was replayed failed again, so the ones behind it must not go
    /// before the next replay.
    pub(super) is_broken: bool,
}

impl LaneUse {
    fn is_idle(&self) -> bool {
        self.in_flight_count == 0 && !self.is_parked()
    }

    pub(super) fn is_parked(&self) -> bool {
        self.parking_count > 0 || self.parked_count > 0 || self.is_broken
    }
}

/// Which member has which part of the lanes.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    members: Vec<MemberId>,
}

impl Buckets {
    /// Shares out the parts among those who are there: as evenly as can be, moving as few as can
    /// be.
    pub(super) fn share(&mut self, members: &BTreeMap<MemberId, Seated>) {
        if members.is_empty() {
            self.members.clear();
            return;
        }
        self.members.resize(BUCKETS_COUNT, 0);
        let (share, over) = (BUCKETS_COUNT / members.len(), BUCKETS_COUNT % members.len());
        // The oldest members take the parts that cannot be shared evenly.
        let mut lacking: BTreeMap<MemberId, usize> = BTreeMap::new();
        for (at, id) in members.keys().enumerate() {
            lacking.insert(*id, share + usize::from(at < over));
        }
        let mut free = Vec::new();
        for bucket in &mut self.members {
            match lacking.get_mut(bucket) {
                Some(lacks) if *lacks > 0 => *lacks -= 1,
                _ => free.push(bucket),
            }
        }
        let takers = lacking
            .into_iter()
            .flat_map(|(id, lacks)| std::iter::repeat_n(id, lacks));
        for (bucket, taker) in free.into_iter().zip(takers) {
            *bucket = taker;
        }
    }

    /// Who has the part that a lane lies in.
    fn owner(&self, lane: &Lane) -> Option<MemberId> {
        // The same at all times, so that a stream stays with its member. Checksums of similar names
        // are similar; the multiplication spreads them.
        let spread = crc32fast::hash(lane.0.as_bytes()).wrapping_mul(0x9e37_79b1) >> 16;
        let bucket = usize::try_from(spread).unwrap_or(0) % BUCKETS_COUNT;
        self.members.get(bucket).copied()
    }
}

impl Core {
    /// A member with room, in a strategy that keeps no order within a lane by itself.
    pub(super) fn choose_any(&mut self) -> Choice {
        let after = match self.strategy() {
            GroupStrategy::DispatchToSingle => 0,
            _ => self.last_chosen,
        };
        let behind = self
            .members
            .range((Bound::Excluded(after), Bound::Unbounded));
        let around = behind.chain(self.members.range(..=after));
        let mut with_room = around.filter(|(_, member)| member.room() > 0);
        match with_room.next() {
            Some((id, _)) => {
                self.last_chosen = *id;
                Choice::Member(*id)
            }
            None => Choice::Full,
        }
    }

    /// A member for an event behind which nothing of its lane was chosen before.
    pub(super) fn choose_in_lane(&mut self, seat: Seat, lane: &Lane) -> Choice {
        match self.strategy().is_pinned() {
            true => self.choose_pinned(lane),
            false => self.choose_ordered(seat, lane),
        }
    }

    fn choose_pinned(&self, lane: &Lane) -> Choice {
        if self.members.values().all(|member| member.room() == 0) {
            return Choice::Full;
        }
        let Some(owner) = self.buckets.owner(lane) else {
            return Choice::Wait;
        };
        // The lane has moved, and something of it is still where it was.
        let elsewhere = self.lanes.get(lane);
        if elsewhere.is_some_and(|used| used.in_flight_count > 0 && used.member != owner) {
            return Choice::Wait;
        }
        match self.members.get(&owner) {
            Some(member) if member.room() > 0 => Choice::Member(owner),
            _ => Choice::Wait,
        }
    }

    fn choose_ordered(&mut self, seat: Seat, lane: &Lane) -> Choice {
        if let Some(used) = self.lanes.get(lane) {
            if used.in_flight_count > 0 {
                return Choice::Wait;
            }
            let is_parked = match seat {
                Seat::Replayed(_) => used.is_broken,
                Seat::Source(position) if position < used.parked_end => return Choice::Finish,
                Seat::Source(_) => used.parking_count > 0 || used.parked_count > 0,
            };
            if is_parked {
                return Choice::Park(Arc::from("An earlier event of its stream is parked."));
            }
        }
        let held = self.waiting.get(&seat).is_some_and(|message| message.held);
        match held {
            true if self.may_park(lane) => Choice::Park(Arc::from("Held back until now.")),
            true => Choice::Wait,
            false => self.choose_any(),
        }
    }

    /// Changes what is known of a lane, and forgets one in which nothing goes on.
    pub(super) fn change_lane(&mut self, lane: &Lane, change: impl FnOnce(&mut LaneUse)) {
        let used = self.lanes.entry(lane.clone()).or_default();
        self.parked_lanes_count -= usize::from(used.is_parked());
        change(used);
        self.parked_lanes_count += usize::from(used.is_parked());
        if used.is_idle() {
            self.lanes.remove(lane);
        }
    }
}
