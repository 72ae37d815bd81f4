//! What appends have in common, however they arrive: the events as they come in, within limits, and
//! the write itself.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::refused::Refused;
use crate::engine::AppendError;
use crate::grpc::auth::Wish;
use crate::grpc::convert::uuid;
use crate::grpc::incoming::Incoming;
use crate::grpc::system::StateStream;
use crate::grpc::wire::event_store::client::{ProposedMessage, StreamIdentifier};
use crate::grpc::{Shared, status};
use crate::model::{
    Append, ContentType, EventType, ExpectedRevision, NewEvent, Position, Receipt, Revision,
    StreamHead, StreamName, VirtualStream,
};

/// The last revision of a stream that has one.
pub(super) fn last_revision(head: StreamHead) -> Option<Revision> {
    match head {
        StreamHead::At(last) | StreamHead::Deleted(Some(last)) => Some(last),
        StreamHead::Absent | StreamHead::Deleted(None) => None,
        StreamHead::Tombstoned => Some(Revision::TOMBSTONE),
    }
}

/// A stream that a client wants to change. All events together are none, and what is computed, or
/// shows state, cannot be changed.
pub(super) fn writable(identifier: Option<StreamIdentifier>) -> Result<StreamName, Refused> {
    if identifier
        .as_ref()
        .is_some_and(|named| &*named.stream_name == b"$all")
    {
        return Err(Refused::AccessDenied);
    }
    let stream = crate::grpc::convert::stream(identifier)?;
    match is_made(&stream) {
        true => Err(Refused::AccessDenied),
        false => Ok(stream),
    }
}

/// Whether the events of a stream are made when somebody reads it.
pub(in crate::grpc) fn is_made(stream: &StreamName) -> bool {
    VirtualStream::of(stream).is_some() || StateStream::of(stream).is_some()
}

/// An append that arrives.
#[derive(Debug)]
pub(super) struct Proposed {
    pub(super) stream: StreamName,
    expected: ExpectedRevision,
    events: Vec<NewEvent>,
    /// As clients count it.
    len_bytes: usize,
    incoming: Incoming,
}

impl Proposed {
    /// Begins an append, if the caller may write there.
    pub(super) async fn begin(
        shared: &Shared,
        caller: &crate::access::Principal,
        stream: StreamName,
        expected: ExpectedRevision,
    ) -> Result<Self, Refused> {
        shared.allow(caller, Wish::Write(stream.clone())).await?;
        Ok(Self {
            stream,
            expected,
            events: Vec::new(),
            len_bytes: 0,
            incoming: Incoming::default(),
        })
    }

    /// Takes one event.
    pub(super) fn take(
        &mut self,
        shared: &Shared,
        message: ProposedMessage,
    ) -> Result<(), Refused> {
        let event = new_event(message)?;
        let limits = shared.store.options();
        let len_bytes =
            event.data.len() + event.metadata.len() + 2 * event.event_type.chars().count();
        let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        if len_bytes > limits.event_len_bytes_max {
            return Err(Refused::EventTooLarge {
                id: event.id.to_string(),
                size: number(len_bytes),
                max: number(limits.event_len_bytes_max),
            });
        }
        self.len_bytes += len_bytes;
        if self.len_bytes > limits.append_len_bytes_max
            || self.events.len() >= limits.append_events_max
        {
            return Err(Refused::AppendTooLarge {
                max: number(limits.append_len_bytes_max),
            });
        }
        self.incoming.hold(shared, self.len_bytes)?;
        self.events.push(event);
        Ok(())
    }

    /// Hands it to the store. Appends are judged in the order in which they are handed over.
    pub(super) fn submit(self, shared: &Shared) -> Submitted {
        let Self {
            stream,
            expected,
            events,
            incoming,
            ..
        } = self;
        let append = match events.is_empty() {
            false => Append::to(stream, expected, events),
            true => Append::bring_back(stream, expected),
        };
        Submitted {
            answered: shared.submit(append),
            incoming,
        }
    }
}

/// An append on its way.
pub(super) struct Submitted {
    answered: oneshot::Receiver<Result<Receipt, AppendError>>,
    incoming: Incoming,
}

/// What was written: the last revision of the stream, if it has one, and the position of the last
/// event, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) revision: Option<Revision>,
    pub(super) position: Option<Position>,
}

impl Submitted {
    /// Waits for the outcome.
    pub(super) async fn outcome(self, within: Duration) -> Result<Written, Refused> {
        let answered = timeout(within, self.answered).await;
        drop(self.incoming);
        let done = match answered {
            Err(_) => return Err(Refused::Timeout),
            Ok(Err(_)) => return Err(Refused::Status(status::not_ready())),
            Ok(Ok(done)) => done,
        };
        let receipt = done?;
        Ok(Written {
            revision: receipt.revisions.first().map(|(_, revision)| *revision),
            position: receipt.last,
        })
    }
}

/// An event as a client proposes it.
fn new_event(message: ProposedMessage) -> Result<NewEvent, Refused> {
    let ProposedMessage {
        id,
        metadata,
        custom_metadata,
        data,
    } = message;
    let id = uuid(id)?;
    // As in a map, the last one counts.
    let value = |key: &'static str| -> Result<Bytes, Refused> {
        let named = metadata
            .iter()
            .rev()
            .find(|entry| &*entry.key == key.as_bytes());
        let entry = named.ok_or(Refused::MissingMetadata(key))?;
        Ok(entry.value.clone())
    };
    let invalid = |error: crate::model::InvalidText| Refused::Invalid(error.to_string());
    let event_type = EventType::from_bytes(value("type")?).map_err(invalid)?;
    let content_type = match &*value("content-type")? {
        b"application/json" => ContentType::Json,
        _ => ContentType::Binary,
    };
    Ok(NewEvent {
        id,
        event_type,
        content_type,
        data,
        metadata: custom_metadata,
        tags: Vec::new(),
        created: None,
    })
}
