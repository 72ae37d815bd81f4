//! What appends have in common, however they arrive: the events as they come in, within limits; the
//! write itself; and why it was not made, as a status or as one outcome of many.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use prost_types::Any;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::engine::AppendError;
use crate::grpc::auth::Wish;
use crate::grpc::convert::{stream_identifier, uuid};
use crate::grpc::incoming::Incoming;
use crate::grpc::system::StateStream;
use crate::grpc::wire::event_store::client as wire;
use crate::grpc::wire::event_store::client::streams::Outcome;
use crate::grpc::wire::event_store::client::{ProposedMessage, StreamIdentifier};
use crate::grpc::{Shared, status};
use crate::model::{
    Append, ContentType, EventType, ExpectedRevision, NewEvent, Position, Receipt, Revision,
    StreamHead, StreamName, VirtualStream,
};

/// Why an append was not made.
#[derive(Debug)]
pub(super) enum Refused {
    /// What was sent makes no sense, and why.
    Invalid(String),
    /// An event lacks this key.
    MissingMetadata(&'static str),
    EventTooLarge {
        id: String,
        size: u64,
        max: u64,
    },
    AppendTooLarge {
        max: u64,
    },
    AccessDenied,
    /// It was not done in time; whether it will be is not known.
    Timeout,
    /// The store's word.
    Failed(AppendError),
    /// Anything else.
    Status(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument => Self::Invalid(status.message().to_owned()),
            Code::PermissionDenied => Self::AccessDenied,
            _ => Self::Status(status),
        }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            // Records are a little longer than what clients count.
            AppendError::OverLimit { what, max, .. } if what.starts_with("the append") => {
                Self::AppendTooLarge { max }
            }
            error => Self::Failed(error),
        }
    }
}

impl Refused {
    /// As the status of a call.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Invalid(problem) => status::invalid(problem),
            Self::MissingMetadata(key) => status::missing_metadata(key),
            Self::EventTooLarge { id, size, max } => status::event_too_large(&id, size, max),
            Self::AppendTooLarge { max } => status::append_too_large(max),
            Self::AccessDenied => status::access_denied(),
            Self::Timeout => status::write_timeout(),
            Self::Failed(error) => status::of_append(&error),
            Self::Status(status) => status,
        }
    }

    /// As one outcome of many.
    pub(super) fn outcome(self) -> Outcome {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        match self {
            Self::Failed(AppendError::WrongExpectedRevision {
                expected, found, ..
            }) => outcome(
                Code::AlreadyExists,
                "WrongExpectedVersion",
                &wrong_expected_version(expected, found),
            ),
            Self::Failed(AppendError::StreamDeleted { stream, .. }) => outcome(
                Code::NotFound,
                "StreamDeleted",
                &wire::StreamDeleted {
                    stream_identifier: Some(stream_identifier(&stream)),
                },
            ),
            Self::AccessDenied => outcome(
                Code::PermissionDenied,
                "AccessDenied",
                &wire::AccessDenied {},
            ),
            Self::Timeout => outcome(Code::DeadlineExceeded, "Timeout", &wire::Timeout {}),
            Self::EventTooLarge { id, size, max } => outcome(
                Code::InvalidArgument,
                "MaximumAppendEventSizeExceeded",
                &wire::MaximumAppendEventSizeExceeded {
                    event_id: id,
                    proposed_event_size: number(size),
                    max_append_event_size: number(max),
                },
            ),
            Self::AppendTooLarge { max } => outcome(
                Code::InvalidArgument,
                "MaximumAppendSizeExceeded",
                &wire::MaximumAppendSizeExceeded {
                    max_append_size: number(max),
                },
            ),
            other => of_status(&other.status()),
        }
    }
}

fn of_status(status: &Status) -> Outcome {
    let text = status.message();
    match status.code() {
        Code::InvalidArgument => {
            let message = text.to_owned();
            outcome(Code::InvalidArgument, text, &wire::BadRequest { message })
        }
        Code::Unavailable => outcome(Code::Unavailable, text, &()),
        _ => outcome(Code::Unknown, text, &wire::Unknown {}),
    }
}

/// The details have the name of their message.
trait Named: Message {
    const NAME: &'static str;
}

macro_rules! named {
    ($($name:ident)*) => {
        $(impl Named for wire::$name {
            const NAME: &'static str = concat!("event_store.client.", stringify!($name));
        })*
    };
}

named! {
    WrongExpectedVersion AccessDenied StreamDeleted Timeout Unknown BadRequest
    MaximumAppendSizeExceeded MaximumAppendEventSizeExceeded
}

impl Named for () {
    const NAME: &'static str = "google.protobuf.Empty";
}

fn outcome<T: Named>(code: Code, message: &str, details: &T) -> Outcome {
    Outcome {
        code: code.into(),
        message: message.to_owned(),
        details: Some(Any {
            type_url: format!("type.googleapis.com/{}", T::NAME),
            value: details.encode_to_vec(),
        }),
    }
}

fn wrong_expected_version(
    expected: ExpectedRevision,
    found: StreamHead,
) -> wire::WrongExpectedVersion {
    use wire::wrong_expected_version::{CurrentStreamRevisionOption, ExpectedStreamPositionOption};
    wire::WrongExpectedVersion {
        current_stream_revision_option: Some(match last_revision(found) {
            Some(last) => CurrentStreamRevisionOption::CurrentStreamRevision(last.0),
            None => CurrentStreamRevisionOption::CurrentNoStream(()),
        }),
        expected_stream_position_option: Some(match expected {
            ExpectedRevision::Exactly(revision) => {
                ExpectedStreamPositionOption::ExpectedStreamPosition(revision.0)
            }
            ExpectedRevision::Any => ExpectedStreamPositionOption::ExpectedAny(()),
            ExpectedRevision::StreamExists => {
                ExpectedStreamPositionOption::ExpectedStreamExists(())
            }
            ExpectedRevision::NoStream => ExpectedStreamPositionOption::ExpectedNoStream(()),
        }),
    }
}

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
        let is_empty = events.is_empty();
        let (answer, answered) = oneshot::channel();
        let append = match is_empty {
            false => Append::to(stream.clone(), expected, events),
            true => Append::new().expect(stream.clone(), expected),
        };
        shared.store.submit(append, move |done| {
            // Whoever asked may have gone.
            let _gone = answer.send(done);
        });
        Submitted {
            stream,
            is_empty,
            answered,
            incoming,
        }
    }
}

/// An append on its way.
pub(super) struct Submitted {
    stream: StreamName,
    is_empty: bool,
    answered: oneshot::Receiver<Result<Receipt, AppendError>>,
    incoming: Incoming,
}

/// What was written: the last revision of the stream, and the position of the last event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) revision: Option<Revision>,
    pub(super) position: Option<Position>,
}

impl Submitted {
    /// Waits for the outcome.
    pub(super) async fn outcome(
        self,
        shared: &Shared,
        within: Duration,
    ) -> Result<Written, Refused> {
        let answered = timeout(within, self.answered).await;
        drop(self.incoming);
        let done = match answered {
            Err(_) => return Err(Refused::Timeout),
            Ok(Err(_)) => return Err(Refused::Status(status::not_ready())),
            Ok(Ok(done)) => done,
        };
        match done {
            Ok(_) if self.is_empty => nothing_written(shared, self.stream).await,
            Ok(receipt) => Ok(Written {
                revision: receipt.revisions.first().map(|(_, revision)| *revision),
                position: receipt.last,
            }),
            Err(AppendError::WrongExpectedRevision {
                stream,
                expected: ExpectedRevision::StreamExists,
                found: found @ StreamHead::Deleted(_),
            })
            | Err(AppendError::WrongExpectedRevision {
                stream,
                found: found @ StreamHead::Tombstoned,
                ..
            }) => Err(AppendError::StreamDeleted { stream, found }.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is answered to an append without events: where the stream ends. To a stream that is closed
/// for ever nothing can be written, not even nothing.
async fn nothing_written(shared: &Shared, stream: StreamName) -> Result<Written, Refused> {
    let name = stream.clone();
    let info = shared.on_disk(move |store| store.stream(&name)).await?;
    let head = match info {
        Ok(info) => info.head,
        Err(crate::engine::ReadError::StreamNotFound(_)) => StreamHead::Absent,
        Err(error) => return Err(Refused::Status(status::of_read(&error))),
    };
    match head {
        found @ StreamHead::Tombstoned => Err(AppendError::StreamDeleted { stream, found }.into()),
        head => Ok(Written {
            revision: last_revision(head),
            position: None,
        }),
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
