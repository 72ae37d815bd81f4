//! Why an append was not made: as the status of a call, or as one outcome of many.

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use super::proposed::last_revision;
use crate::engine::AppendError;
use crate::grpc::convert::stream_identifier;
use crate::grpc::status;
use crate::grpc::wire::event_store::client as wire;
use crate::grpc::wire::event_store::client::streams::Outcome;
use crate::model::{ExpectedRevision, StreamHead};

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
        // It is an error by where it stands, and clients know it by its text.
        Code::Unavailable => outcome(Code::Ok, text, &()),
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
