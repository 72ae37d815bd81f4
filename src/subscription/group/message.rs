//! An event on its way through a group, and the key that keeps events in order.

use bytestring::ByteString;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::ResolvedEvent;
use crate::model::GroupStrategy;
use crate::model::{Link, Position, Revision};

/// What an event is charged beside its bytes.
const OVERHEAD_LEN_BYTES: usize = 512;

/// An event as a member gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event. A member acknowledges the id of [`ResolvedEvent::original`].
    pub event: ResolvedEvent,
    /// How often it was delivered before.
    pub retry_count: u32,
}

/// Where an event stands in the queue: replayed ones first, then the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seat {
    /// Of the parked stream, by its revision there.
    Replayed(Revision),
    /// Of the group's source, by the position of the original event.
    Source(Position),
}

/// Events with the same key are handled in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane(pub(super) ByteString);

/// An event that the group is responsible for.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) event: ResolvedEvent,
    pub(super) seat: Seat,
    /// None in strategies without order.
    pub(super) lane: Option<Lane>,
    pub(super) retry_count: u32,
    /// It was at a member before.
    pub(super) delivered: bool,
    /// It is to be parked, and there are too many parked streams already.
    pub(super) held: bool,
    pub(super) len_bytes: usize,
}

impl Message {
    pub(super) fn new(event: ResolvedEvent, seat: Seat, strategy: GroupStrategy) -> Self {
        Self {
            seat,
            lane: strategy.has_lanes().then(|| lane(&event, strategy)),
            retry_count: 0,
            delivered: false,
            held: false,
            len_bytes: event.len_bytes() + OVERHEAD_LEN_BYTES,
            event,
        }
    }

    /// The id that a member acknowledges.
    pub(super) fn id(&self) -> Uuid {
        self.event.original().id
    }
}

/// The key that orders an event: its stream, or the stream its link points to, or what it is
/// correlated by.
fn lane(event: &ResolvedEvent, strategy: GroupStrategy) -> Lane {
    let source = event.event().unwrap_or_else(|| event.original());
    let correlation = match strategy {
        GroupStrategy::PinnedByCorrelation => correlation(&source.metadata),
        _ => None,
    };
    let stream = || match Link::of_event(source) {
        Some(link) => ByteString::from(link.stream.as_str()),
        None => ByteString::from(source.stream.as_str()),
    };
    Lane(correlation.unwrap_or_else(stream))
}

fn correlation(metadata: &[u8]) -> Option<ByteString> {
    let value: Value = serde_json::from_slice(metadata).ok()?;
    let id = value.get("$correlationId")?.as_str()?;
    Some(ByteString::from(id))
}
