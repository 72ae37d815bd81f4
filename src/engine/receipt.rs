//! Receipts: of appends that were just staged, and of those that were made before.

use uuid::Uuid;

use crate::format::store::Identity;
use crate::model::Receipt;
use crate::model::{Position, RecordedEvent, Revision, StreamName, Token};

/// The namespace of ids that the store gives to events of its own.
const OWN_EVENTS: Uuid = Uuid::from_u128(0xa11a_1000_5eed_5eed_8000_0000_0000_0001);

/// The id of an event that the store itself writes, so that equal logs have equal ids.
pub(super) fn own_event_id(stream: &StreamName, revision: Revision) -> Uuid {
    Uuid::new_v5(&OWN_EVENTS, format!("{revision}@{stream}").as_bytes())
}

/// What a receipt needs to know of an event in the log.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) stream: StreamName,
    pub(super) id: Uuid,
    pub(super) revision: Revision,
    pub(super) position: Position,
}

impl Written {
    pub(super) fn of(event: RecordedEvent) -> Self {
        let RecordedEvent {
            stream,
            id,
            revision,
            position,
            ..
        } = event;
        Self {
            stream,
            id,
            revision,
            position,
        }
    }
}

/// The receipt of a request that wrote these events, given once more. Events that the store itself
/// put behind the writer's own are not named.
pub(super) fn again(first: Position, events: &[Written], identity: &Identity) -> Receipt {
    let own = |event: &&Written| event.id == own_event_id(&event.stream, event.revision);
    let trailing = events.iter().rev().take_while(own).count();
    // A deletion or a tombstone is nothing but the store's own event.
    let named = match events.len() - trailing {
        0 => events,
        count => events.get(..count).unwrap_or(events),
    };
    let mut revisions: Vec<(StreamName, Revision)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for event in named {
        let place = *places.entry(&event.stream).or_insert(revisions.len());
        match revisions.get_mut(place) {
            Some((_, revision)) => *revision = event.revision,
            None => revisions.push((event.stream.clone(), event.revision)),
        }
    }
    let last = named.last().map(|event| event.position);
    Receipt {
        first,
        last,
        revisions,
        token: token(identity, last, first),
        repeated: true,
    }
}

/// The token that covers an append.
pub(super) fn token(identity: &Identity, last: Option<Position>, first: Position) -> Token {
    let end = last.map_or(first, Position::next);
    Token {
        store: identity.store,
        lineage: identity.lineage,
        end,
    }
}
