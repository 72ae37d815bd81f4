//! What a group knows and decides: pure, without files, threads or a clock of its own.
//!
//! Every event that the group has read and not yet finished is in exactly one of three places:
//! `waiting` (to be delivered, for the first time or again), `in_flight` (at a member) or `parking`
//! (on its way to the parked stream). The checkpoint stays in front of the lowest of them, so
//! nothing is lost whatever happens next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use crate::model::{GroupSettings, GroupStrategy};
use crate::model::{Position, Revision};
use crate::subscription::group::assign::{Buckets, LaneUse};
use crate::subscription::group::checkpoint::Checkpoint;
use crate::subscription::group::measure::Meter;
use crate::subscription::group::message::{Delivery, Lane, Message, Seat};
use crate::subscription::group::replay::Replay;
use crate::subscription::group::seated::Seated;
use crate::subscription::group::settings::GroupOptions;
use crate::subscription::group::{JoinOptions, MemberError, NackAction};

/// The number of a member, never used again in the life of a group.
pub(super) type MemberId = u64;

/// A timeout of zero is taken for this: who took an event can hardly have handled it yet.
const TIMEOUT_US_MIN: i64 = 1_000_000;

/// How much is kept of the reason that a member gives.
const REASON_LEN_BYTES_MAX: usize = 1_024;

/// An event at a member.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) message: Message,
    pub(super) member: MemberId,
    pub(super) since_us: i64,
    deadline_us: i64,
    /// Counts deliveries, so that those of one event are told apart.
    delivery: u64,
    /// The member has it at hand, and not only on the way.
    taken: bool,
}

/// The last event of a kind that a group has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) revision: Revision,
}

/// The state of one group.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: GroupSettings,
    pub(super) options: GroupOptions,
    pub(super) members: BTreeMap<MemberId, Seated>,
    next_member: MemberId,
    /// The member that was chosen last, where they take turns.
    pub(super) last_chosen: MemberId,
    pub(super) waiting: BTreeMap<Seat, Message>,
    pub(super) in_flight: BTreeMap<Seat, InFlight>,
    /// On the way to the parked stream, with the reason.
    pub(super) parking: BTreeMap<Seat, (Message, Arc<str>)>,
    /// The order in which they go there.
    pub(super) to_park: VecDeque<Seat>,
    by_id: HashMap<Uuid, Seat>,
    deadlines: BTreeSet<(i64, Seat)>,
    /// An append to the parked stream is on its way.
    pub(super) parking_out: bool,
    pub(super) lanes: HashMap<Lane, LaneUse>,
    /// How many lanes are parked.
    pub(super) parked_lanes_count: usize,
    pub(super) buckets: Buckets,
    pub(super) replay: Replay,
    /// What of `waiting` was never delivered, and is not replayed.
    pub(super) fresh_count: usize,
    pub(super) len_bytes: usize,
    /// Everything in front of it was read.
    pub(super) read_end: Position,
    pub(super) live: bool,
    /// There is nothing to read until somebody says so.
    pub(super) at_end: bool,
    /// All groups together keep as much in memory as they may.
    pub(super) is_full: bool,
    /// What has to be known before anything is delivered was read.
    pub(super) ready: bool,
    pub(super) last_read: Option<Place>,
    pub(super) last_delivered: Option<Place>,
    pub(super) last_acked: Option<Place>,
    /// The last checkpoint that is on stable storage.
    pub(super) written: Option<Checkpoint>,
    pub(super) written_us: i64,
    /// A checkpoint is on its way.
    pub(super) writing: bool,
    /// Events handled since the last checkpoint.
    pub(super) handled_count: u64,
    pub(super) meter: Meter,
    /// What went wrong last, and when to try again.
    pub(super) failure: Option<(Arc<str>, i64)>,
    pub(super) over: Option<MemberError>,
    pub(super) wakers: Vec<Waker>,
}

impl Core {
    pub(super) fn new(
        settings: GroupSettings,
        options: GroupOptions,
        (begin, written): (Position, Option<Checkpoint>),
        now_us: i64,
    ) -> Self {
        Self {
            settings,
            options,
            members: BTreeMap::new(),
            next_member: 1,
            last_chosen: 0,
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            parking: BTreeMap::new(),
            to_park: VecDeque::new(),
            by_id: HashMap::new(),
            deadlines: BTreeSet::new(),
            parking_out: false,
            lanes: HashMap::new(),
            parked_lanes_count: 0,
            buckets: Buckets::default(),
            replay: Replay::default(),
            fresh_count: 0,
            len_bytes: 0,
            read_end: written.map_or(begin, |written| written.end),
            live: false,
            at_end: false,
            is_full: false,
            ready: false,
            last_read: None,
            last_delivered: None,
            last_acked: None,
            written,
            written_us: now_us,
            writing: false,
            handled_count: 0,
            meter: Meter::new(now_us),
            failure: None,
            over: None,
            wakers: Vec::new(),
        }
    }

    /// Takes a member.
    pub(super) fn join(&mut self, join: JoinOptions, now_us: i64) -> MemberId {
        let id = self.next_member;
        self.next_member += 1;
        let measured = self.settings.extra_statistics;
        self.members.insert(id, Seated::new(join, measured, now_us));
        self.buckets.share(&self.members);
        id
    }

    /// Lets a member go. What it had at hand goes to others and counts as tried; what was still on
    /// the way to it does not.
    pub(super) fn leave(&mut self, id: MemberId) {
        if self.members.remove(&id).is_none() {
            return;
        }
        self.buckets.share(&self.members);
        let held = self.in_flight.iter().filter(|(_, one)| one.member == id);
        let held: Vec<Seat> = held.map(|(seat, _)| *seat).collect();
        for seat in held {
            self.give_to_others(seat);
        }
    }

    /// Takes an event from the member that has it. It counts as tried if the member had it at hand.
    fn give_to_others(&mut self, seat: Seat) {
        let is_tried = self.in_flight.get(&seat).is_some_and(|one| one.taken);
        let Some(message) = self.take_back(seat) else {
            return;
        };
        match is_tried {
            true => self.retry(message),
            false => self.wait(message),
        }
    }

    /// Ends the group: members are told why, and nothing is kept for them.
    pub(super) fn end(&mut self, why: MemberError) {
        self.over.get_or_insert(why);
        for member in self.members.values_mut() {
            self.wakers.extend(member.waker.take());
        }
        self.waiting.clear();
        self.in_flight.clear();
        self.parking.clear();
        self.to_park.clear();
        self.by_id.clear();
        self.deadlines.clear();
        (self.fresh_count, self.len_bytes) = (0, 0);
    }

    /// The next event for a member.
    pub(super) fn take(&mut self, id: MemberId) -> Option<Delivery> {
        let member = self.members.get_mut(&id)?;
        while let Some((seat, delivery)) = member.outbox.pop_front() {
            // It may have timed out on the way, and be on another one.
            let one = self.in_flight.get_mut(&seat);
            let Some(one) = one.filter(|one| one.delivery == delivery) else {
                continue;
            };
            one.taken = true;
            return Some(Delivery {
                event: one.message.event.clone(),
                retry_count: one.message.retry_count,
            });
        }
        None
    }

    /// A member has handled these. Ids that it does not hold are ignored.
    pub(super) fn ack(&mut self, member: MemberId, ids: &[Uuid], now_us: i64) {
        for id in ids {
            let Some(message) = self.give_back(member, *id, now_us) else {
                continue;
            };
            self.last_acked = place(&message).max_by_position(self.last_acked);
            self.finish(&message);
        }
    }

    /// A member does not handle these.
    pub(super) fn nack(
        &mut self,
        member: MemberId,
        ids: &[Uuid],
        (action, reason): (NackAction, &str),
        now_us: i64,
    ) {
        // One for all of them, however many they are.
        let end = reason.floor_char_boundary(REASON_LEN_BYTES_MAX);
        let reason = reason.get(..end).unwrap_or_default();
        let reason: Arc<str> = format!("Client explicitly NAK'ed message.\n{reason}").into();
        for id in ids {
            let Some(message) = self.give_back(member, *id, now_us) else {
                continue;
            };
            match action {
                NackAction::Park => self.park(message, Arc::clone(&reason)),
                NackAction::Retry | NackAction::Unknown => self.retry(message),
                NackAction::Skip | NackAction::Stop => self.finish(&message),
            }
        }
    }

    /// Takes back what members kept for too long.
    pub(super) fn expire(&mut self, now_us: i64) {
        while let Some((deadline_us, seat)) = self.deadlines.first().copied() {
            if deadline_us > now_us {
                break;
            }
            self.deadlines.pop_first();
            self.give_to_others(seat);
        }
    }

    /// Whether a member may keep something for too long.
    pub(super) fn has_deadline(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// Takes an event that was read.
    pub(super) fn admit(&mut self, message: Message) {
        if let Seat::Source(position) = message.seat {
            self.read_end = self.read_end.max(position.next());
            self.last_read = place(&message);
        }
        self.len_bytes += message.len_bytes;
        self.wait(message);
    }

    /// Everything in front of a position was read.
    pub(super) fn read_up_to(&mut self, end: Position) {
        self.read_end = self.read_end.max(end);
    }

    /// How many events of the source are to be read now.
    pub(super) fn wanted_count(&self) -> Option<usize> {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let batch = size(self.settings.read_batch_size);
        let room = match self.live {
            true => size(self.settings.live_buffer_size).max(batch),
            false => size(self.settings.history_buffer_size),
        };
        let has_room = self.fresh_count + batch <= room && !(self.is_full && self.fresh_count > 0);
        let wanted = self.over.is_none() && self.ready && has_room;
        wanted.then_some(batch)
    }

    /// Whether the group rests after a failure.
    pub(super) fn is_pausing(&self, now_us: i64) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|(_, again_us)| *again_us > now_us)
    }

    /// Whether there is something to do that needs the store.
    pub(super) fn wants_driver(&self, now_us: i64) -> bool {
        if self.is_pausing(now_us) {
            return false;
        }
        let reads = !self.at_end && self.wanted_count().is_some();
        let parks = !self.parking_out && !self.to_park.is_empty();
        let replays = self.wanted_replay().is_some() || self.replay.truncation().is_some();
        let closes = self.over.is_some();
        reads || parks || replays || closes
    }

    /// Gives members what they have room for. Whoever changes anything calls this afterwards.
    pub(super) fn dispatch(&mut self, now_us: i64) {
        if self.over.is_some() || !self.ready {
            return;
        }
        let mut stuck = HashSet::new();
        let mut behind = Bound::Unbounded;
        while self.in_flight.len() < self.options.in_flight_max {
            let mut rest = self.waiting.range((behind, Bound::Unbounded));
            let Some((seat, _)) = rest.next() else {
                break;
            };
            let seat = *seat;
            behind = Bound::Excluded(seat);
            match self.choose(seat, &mut stuck) {
                Choice::Member(member) => self.deliver(seat, member, now_us),
                Choice::Park(reason) => self.park_waiting(seat, reason),
                Choice::Finish => {
                    if let Some(message) = self.unwait(seat) {
                        self.finish(&message);
                    }
                }
                Choice::Wait => {}
                Choice::Full => break,
            }
        }
    }

    fn choose(&mut self, seat: Seat, stuck: &mut HashSet<Lane>) -> Choice {
        let Some(message) = self.waiting.get(&seat) else {
            return Choice::Wait;
        };
        let lane = message.lane.clone();
        // Acknowledgements name ids, so that two events of one id are not out at once.
        let doubled = self.by_id.contains_key(&message.id());
        let choice = match (&lane, doubled) {
            (_, true) => Choice::Wait,
            (None, false) => self.choose_any(),
            (Some(lane), false) if stuck.contains(lane) => Choice::Wait,
            (Some(lane), false) => self.choose_in_lane(seat, lane),
        };
        if let (Choice::Wait, Some(lane)) = (&choice, lane) {
            stuck.insert(lane);
        }
        choice
    }

    fn deliver(&mut self, seat: Seat, id: MemberId, now_us: i64) {
        let Some(mut message) = self.unwait(seat) else {
            return;
        };
        message.delivered = true;
        if let Seat::Source(_) = seat {
            self.last_delivered = place(&message).max_by_position(self.last_delivered);
        }
        if let Some(lane) = &message.lane {
            let used = self.lanes.entry(lane.clone()).or_default();
            used.in_flight_count += 1;
            used.member = id;
        }
        self.by_id.insert(message.id(), seat);
        let timeout = self.settings.message_timeout.as_micros();
        let timeout_us = match i64::try_from(timeout).unwrap_or(i64::MAX) {
            0 => TIMEOUT_US_MIN,
            timeout_us => timeout_us,
        };
        let deadline_us = now_us.saturating_add(timeout_us);
        self.deadlines.insert((deadline_us, seat));
        let delivery = self.meter.count(now_us);
        if let Some(member) = self.members.get_mut(&id) {
            member.meter.count(now_us);
            member.in_flight_count += 1;
            member.outbox.push_back((seat, delivery));
            self.wakers.extend(member.waker.take());
        }
        let one = InFlight {
            message,
            member: id,
            since_us: now_us,
            deadline_us,
            delivery,
            taken: false,
        };
        self.in_flight.insert(seat, one);
    }

    /// What a member holds under this id, if it does.
    fn give_back(&mut self, member: MemberId, id: Uuid, now_us: i64) -> Option<Message> {
        let seat = *self.by_id.get(&id)?;
        let one = self.in_flight.get(&seat)?;
        if one.member != member {
            return None;
        }
        let took_us = now_us.saturating_sub(one.since_us);
        if let Some(seated) = self.members.get_mut(&member) {
            seated.meter.took(took_us);
        }
        self.take_back(seat)
    }

    fn take_back(&mut self, seat: Seat) -> Option<Message> {
        let one = self.in_flight.remove(&seat)?;
        self.deadlines.remove(&(one.deadline_us, seat));
        self.by_id.remove(&one.message.id());
        if let Some(member) = self.members.get_mut(&one.member) {
            member.in_flight_count -= 1;
        }
        if let Some(lane) = &one.message.lane {
            self.change_lane(lane, |used| used.in_flight_count -= 1);
        }
        Some(one.message)
    }

    /// Delivers again, or parks when that was tried often enough.
    fn retry(&mut self, mut message: Message) {
        if message.retry_count >= self.settings.max_retry_count {
            let reason = format!("Reached retry count of {}", message.retry_count);
            self.park(message, reason.into());
            return;
        }
        message.retry_count += 1;
        if let (true, Some(lane)) = (self.strategy().is_pinned(), message.lane.clone()) {
            self.recall(&lane);
        }
        self.wait(message);
    }

    /// Takes back what of a lane is still on the way to its member, so that it comes behind what is
    /// delivered again.
    fn recall(&mut self, lane: &Lane) {
        let on_the_way = |one: &InFlight| !one.taken && one.message.lane.as_ref() == Some(lane);
        let seats = self.in_flight.iter().filter(|(_, one)| on_the_way(one));
        let seats: Vec<Seat> = seats.map(|(seat, _)| *seat).collect();
        for seat in seats {
            if let Some(message) = self.take_back(seat) {
                self.wait(message);
            }
        }
    }

    pub(super) fn wait(&mut self, message: Message) {
        self.fresh_count += usize::from(is_fresh(&message));
        self.waiting.insert(message.seat, message);
    }

    pub(super) fn unwait(&mut self, seat: Seat) -> Option<Message> {
        let message = self.waiting.remove(&seat)?;
        self.fresh_count -= usize::from(is_fresh(&message));
        Some(message)
    }

    /// The group is done with an event.
    pub(super) fn finish(&mut self, message: &Message) {
        self.len_bytes -= message.len_bytes;
        match message.seat {
            Seat::Source(_) => self.handled_count += 1,
            Seat::Replayed(revision) => {
                self.replay.resolved(revision);
                self.mend_lanes();
            }
        }
    }

    pub(super) fn strategy(&self) -> GroupStrategy {
        self.settings.strategy
    }
}

/// What becomes of an event that waits.
pub(super) enum Choice {
    Member(MemberId),
    Park(Arc<str>),
    /// It is parked or handled already.
    Finish,
    Wait,
    /// Nobody has room, so nothing behind it can go either.
    Full,
}

fn is_fresh(message: &Message) -> bool {
    !message.delivered && matches!(message.seat, Seat::Source(_))
}

/// Where an event of the source stands; none for a replayed one.
pub(super) fn place(message: &Message) -> Option<Place> {
    let Seat::Source(position) = message.seat else {
        return None;
    };
    let revision = message.event.original().revision;
    Some(Place { position, revision })
}

trait MaxByPosition {
    fn max_by_position(self, other: Self) -> Self;
}

impl MaxByPosition for Option<Place> {
    fn max_by_position(self, other: Self) -> Self {
        let key = |place: &Self| place.map(|place| place.position);
        match key(&self) >= key(&other) {
            true => self,
            false => other,
        }
    }
}
