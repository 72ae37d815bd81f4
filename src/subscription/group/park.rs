//! Parking: what cannot be handled goes to a stream of its own, and waits there to be replayed.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Value, json};

use crate::model::GroupStrategy;
use crate::model::{
    Append, ContentType, EventType, ExpectedRevision, InvalidText, Link, NewEvent, Position,
    RecordedEvent, Revision, StreamName, Timestamp,
};
use crate::model::{GroupName, GroupSource};
use crate::subscription::group::assign::LaneUse;
use crate::subscription::group::core::Core;
use crate::subscription::group::message::{Lane, Message, Seat};

/// How many events go to the parked stream at once.
const PARKED_MAX: usize = 256;

/// The keys in the metadata of what an ordered group has parked: which sequence the event belongs
/// to, and the position of the original event.
const SEQUENCE_KEY: &str = "sequence";
const POSITION_KEY: &str = "position";

/// The stream to which a group parks.
pub(super) fn parked_stream(
    source: &GroupSource,
    name: &GroupName,
) -> Result<StreamName, InvalidText> {
    StreamName::new(format!("$persistentsubscription-{source}::{name}-parked"))
}

/// The metadata of a parked stream whose events in front of a revision are not parked any more.
pub(super) fn parked_metadata(parked: &StreamName, first: Revision) -> Option<Append> {
    let admins = "$admins";
    let acl = json!({"$r": admins, "$w": admins, "$d": admins, "$mr": admins, "$mw": admins});
    let json = json!({"$tb": first.0, "$acl": acl}).to_string();
    Append::metadata(parked, ExpectedRevision::Any, json).ok()
}

/// Which sequence of an ordered group a parked event belongs to, and in front of which position
/// everything of that sequence was handled or parked when it was.
pub(super) fn sequence(parked: &RecordedEvent) -> Option<(Lane, Position)> {
    let value: Value = serde_json::from_slice(&parked.metadata).ok()?;
    let sequence = value.get(SEQUENCE_KEY)?.as_str()?;
    let position = value.get(POSITION_KEY).and_then(Value::as_u64);
    let end = position.map_or(Position::START, |position| Position(position).next());
    Some((Lane(ByteString::from(sequence)), end))
}

/// The event that stands for a parked one: a link to what was delivered.
fn parked_link(
    message: &Message,
    (sequence, reason): (Option<&Lane>, &str),
    now_us: i64,
) -> Option<NewEvent> {
    let original = message.event.original();
    let data = match message.event.event() {
        Some(event) => Bytes::from(format!("{}@{}", event.revision, event.stream)),
        // What the link points to is gone, so the link is passed on.
        None => original.data.clone(),
    };
    let mut metadata = json!({
        "added": Timestamp::from_micros(now_us).to_string(),
        "reason": reason,
        "subscriptionEventNumber": original.revision.0,
    });
    if let (Some(lane), Some(object)) = (sequence, metadata.as_object_mut()) {
        object.insert(SEQUENCE_KEY.into(), lane.0.to_string().into());
        if let Seat::Source(position) = message.seat {
            object.insert(POSITION_KEY.into(), position.0.into());
        }
    }
    let link = NewEvent::json(EventType::new(Link::EVENT_TYPE).ok()?, data);
    let link = NewEvent {
        content_type: ContentType::Binary,
        ..link
    };
    Some(link.with_metadata(metadata.to_string()))
}

impl Core {
    /// Sends an event to the parked stream.
    pub(super) fn park(&mut self, mut message: Message, reason: Arc<str>) {
        let seat = message.seat;
        if let (GroupStrategy::Ordered, Some(lane)) = (self.strategy(), message.lane.clone()) {
            let is_replayed = matches!(seat, Seat::Replayed(_));
            if !is_replayed && !self.may_park(&lane) {
                message.held = true;
                self.wait(message);
                return;
            }
            // It stays where it is in the parked stream, in front of what follows it there.
            if let Seat::Replayed(revision) = seat {
                self.len_bytes -= message.len_bytes;
                self.replay.keep(revision);
                self.change_lane(&lane, |used| {
                    used.parked_count += 1;
                    used.is_broken = true;
                });
                self.mend_lanes();
                return;
            }
            self.change_lane(&lane, |used| used.parking_count += 1);
        }
        self.parking.insert(seat, (message, reason));
        self.to_park.push_back(seat);
    }

    pub(super) fn park_waiting(&mut self, seat: Seat, reason: Arc<str>) {
        if let Some(mut message) = self.unwait(seat) {
            message.held = false;
            self.park(message, reason);
        }
    }

    /// Whether an ordered group remembers one more stream as parked.
    pub(super) fn may_park(&self, lane: &Lane) -> bool {
        let is_parked = self.lanes.get(lane).is_some_and(LaneUse::is_parked);
        is_parked || self.parked_lanes_count < self.options.parked_streams_max
    }

    /// What is to be appended to the parked stream next: the events, and where they stand here.
    pub(super) fn parking_next(&self, now_us: i64) -> (Vec<Seat>, Vec<NewEvent>) {
        let seats = self.to_park.iter().take(PARKED_MAX);
        let is_ordered = self.strategy() == GroupStrategy::Ordered;
        let link = |seat: &Seat| {
            let (message, reason) = self.parking.get(seat)?;
            let sequence = message.lane.as_ref().filter(|_| is_ordered);
            Some((*seat, parked_link(message, (sequence, reason), now_us)?))
        };
        seats.filter_map(link).unzip()
    }

    /// The append of these has ended; they are on stable storage in the parked stream, or stay to
    /// be tried again.
    pub(super) fn parked(&mut self, seats: &[Seat], is_done: bool) {
        self.parking_out = false;
        for seat in seats.iter().filter(|_| is_done) {
            let Some((message, _)) = self.parking.remove(seat) else {
                continue;
            };
            self.to_park.retain(|one| one != seat);
            if let (GroupStrategy::Ordered, Some(lane)) = (self.strategy(), &message.lane) {
                self.change_lane(lane, |used| {
                    used.parking_count -= 1;
                    used.parked_count += 1;
                });
            }
            self.finish(&message);
        }
        self.mend_lanes();
    }
}
