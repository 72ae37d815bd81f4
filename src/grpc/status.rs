//! Every status that ends a call of the v1 protocol: its code, its text and its trailers.
//!
//! Some clients tell errors apart by the text and some by the trailers, so both are part of the
//! protocol. A value that is no printable ASCII travels percent-encoded: a trailer can hold nothing
//! else.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::engine::{AppendError, ReadError, StorageError};
use crate::model::{ExpectedRevision, InvalidText, StreamHead};

/// What is encoded of a value that is not printable ASCII as a whole.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// A status with the trailers by which clients know it.
pub(super) fn exception(
    code: Code,
    text: String,
    name: &'static str,
    trailers: &[(&'static str, &str)],
) -> Status {
    let mut metadata = MetadataMap::new();
    for (key, value) in std::iter::once(&("exception", name)).chain(trailers) {
        let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let value = match printable {
            true => MetadataValue::try_from(*value),
            false => MetadataValue::try_from(utf8_percent_encode(value, ENCODED).to_string()),
        };
        // Nothing is left that a value could not hold.
        if let Ok(value) = value {
            metadata.insert(*key, value);
        }
    }
    Status::with_metadata(code, text, metadata)
}

/// The number that stands for an expectation in texts and trailers.
pub(super) fn expected_number(expected: ExpectedRevision) -> i64 {
    match expected {
        ExpectedRevision::NoStream => -1,
        ExpectedRevision::Any => -2,
        ExpectedRevision::StreamExists => -4,
        ExpectedRevision::Exactly(revision) => i64::try_from(revision.0).unwrap_or(i64::MAX),
    }
}

/// The number that stands for where a stream ends: its last revision, or -1.
pub(super) fn actual_number(found: StreamHead) -> i64 {
    match found {
        StreamHead::At(last) | StreamHead::Deleted(Some(last)) => {
            i64::try_from(last.0).unwrap_or(i64::MAX)
        }
        StreamHead::Absent | StreamHead::Deleted(None) => -1,
        StreamHead::Tombstoned => i64::MAX,
    }
}

/// A stream that was to be ended is not where it was expected.
pub(super) fn wrong_expected_version(
    stream: &str,
    expected: ExpectedRevision,
    found: StreamHead,
) -> Status {
    let (expected, actual) = (expected_number(expected), actual_number(found));
    exception(
        Code::FailedPrecondition,
        format!(
            "Delete failed due to WrongExpectedVersion. Stream: {stream}, \
             Expected version: {expected}, Actual version: {actual}"
        ),
        "wrong-expected-version",
        &[
            ("stream-name", stream),
            ("expected-version", &expected.to_string()),
            ("actual-version", &actual.to_string()),
        ],
    )
}

/// The stream is closed for ever, or deleted where it was expected to exist.
pub(super) fn stream_deleted(stream: &str) -> Status {
    exception(
        Code::FailedPrecondition,
        format!("Event stream '{stream}' is deleted."),
        "stream-deleted",
        &[("stream-name", stream)],
    )
}

/// There is no such stream, where a call has no message to say so.
pub(super) fn stream_not_found(stream: &str) -> Status {
    exception(
        Code::NotFound,
        format!("Event stream '{stream}' is not found."),
        "stream-not-found",
        &[("stream-name", stream)],
    )
}

/// There is no such index.
pub(super) fn index_not_found(index: &str) -> Status {
    exception(
        Code::NotFound,
        format!("Index '{index}' not found."),
        "index-not-found",
        &[("index-name", index)],
    )
}

/// The caller may not do that.
pub(super) fn access_denied() -> Status {
    exception(
        Code::PermissionDenied,
        "Access Denied".to_owned(),
        "access-denied",
        &[],
    )
}

/// The caller is not who he says he is.
pub(super) fn unauthenticated() -> Status {
    Status::unauthenticated("Unauthenticated")
}

/// Too much is going on; the same may be tried again later.
pub(super) fn too_busy() -> Status {
    Status::unavailable("Server Is Too Busy")
}

/// The server begins, or ends.
pub(super) fn not_ready() -> Status {
    Status::unavailable("Server Is Not Ready")
}

/// An append is larger than it may be.
pub(super) fn append_too_large(max: u64) -> Status {
    exception(
        Code::InvalidArgument,
        format!("Maximum Append Size of {max} Exceeded."),
        "maximum-append-size-exceeded",
        &[("maximum-append-size", &max.to_string())],
    )
}

/// An event is larger than it may be.
pub(super) fn event_too_large(id: &str, size: u64, max: u64) -> Status {
    exception(
        Code::InvalidArgument,
        format!("Maximum Append Event Size of {max} Exceeded: event {id} has {size}."),
        "maximum-append-event-size-exceeded",
        &[
            ("maximum-append-event-size", &max.to_string()),
            ("event-id", id),
            ("proposed-append-event-size", &size.to_string()),
        ],
    )
}

/// An event lacks a key of its metadata that it must have.
pub(super) fn missing_metadata(key: &str) -> Status {
    exception(
        Code::InvalidArgument,
        format!("Required Metadata Property '{key}' is missing"),
        "missing-required-metadata-property",
        &[("required-metadata-properties", "type,content-type")],
    )
}

/// No scavenge of this id is remembered.
pub(super) fn scavenge_not_found(id: &str) -> Status {
    exception(
        Code::NotFound,
        "Scavenge id was invalid.".into(),
        "scavenge-not-found",
        &[("scavenge-id", id)],
    )
}

/// A write was not done in time; whether it will be is not known.
pub(super) fn write_timeout() -> Status {
    Status::aborted("Operation timed out: the write was not acknowledged in time")
}

/// A caller owes the next message of a call, and it does not come.
pub(super) fn too_slow() -> Status {
    Status::deadline_exceeded("the next message of the call did not come in time")
}

/// Why no further message of a call can be taken. What cannot be read is the caller's fault.
pub(super) fn of_incoming(error: Status) -> Status {
    match error.code() {
        Code::Internal => invalid(error.message()),
        _ => error,
    }
}

/// What was asked for makes no sense.
pub(super) fn invalid(problem: impl Into<String>) -> Status {
    Status::invalid_argument(problem)
}

/// A text that cannot be what it was to be.
pub(super) fn of_text(error: &InvalidText) -> Status {
    invalid(error.to_string())
}

/// Why a read ended. That a stream is not there most calls say otherwise.
pub(super) fn of_read(error: &ReadError) -> Status {
    match error {
        ReadError::StreamNotFound(stream) => stream_not_found(stream),
        ReadError::StreamTombstoned(stream) => stream_deleted(stream),
        ReadError::FilterTooCostly(_) | ReadError::ForeignToken(_) => invalid(error.to_string()),
        ReadError::NotReached { .. } => Status::deadline_exceeded(error.to_string()),
        ReadError::IndexRebuilding { .. } => Status::unavailable(error.to_string()),
        ReadError::Storage(error) => of_storage(error),
    }
}

/// Why a write was not made. Wrong expectations most calls say otherwise.
pub(super) fn of_append(error: &AppendError) -> Status {
    match error {
        AppendError::WrongExpectedRevision {
            stream,
            expected,
            found,
        } => wrong_expected_version(stream, *expected, *found),
        AppendError::StreamDeleted { stream, .. } => stream_deleted(stream),
        AppendError::OverLimit { .. }
        | AppendError::Invalid(_)
        | AppendError::RequestIdReused(_) => invalid(error.to_string()),
        AppendError::Busy => too_busy(),
        AppendError::IndexRebuilding { .. } => Status::unavailable(error.to_string()),
        // The text says that the outcome is not known; sending it again is safe.
        AppendError::Unknown(_) => Status::aborted(error.to_string()),
        AppendError::Storage(error) => of_storage(error),
    }
}

/// What the disk has brought a call to.
pub(super) fn of_storage(error: &StorageError) -> Status {
    match error {
        StorageError::Damaged { .. } | StorageError::Missing { .. } => {
            Status::data_loss(error.to_string())
        }
        StorageError::Closed => not_ready(),
        // No trailer that clients know fits: they would look for another node, and there is none.
        StorageError::ReadOnly => Status::failed_precondition(error.to_string()),
        StorageError::Full(_) => Status::resource_exhausted(error.to_string()),
        StorageError::Io { .. } | StorageError::Poisoned(_) => {
            Status::unavailable(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_trailer_can_hold_is_encoded() {
        let trailer = |name: &str| {
            let status = stream_deleted(name);
            let value = status.metadata().get("stream-name").cloned();
            value
                .expect("it is there")
                .to_str()
                .expect("it is text")
                .to_owned()
        };
        assert_eq!(trailer("order-100% ~"), "order-100% ~");
        assert_eq!(trailer("stra\u{df}e%"), "stra%C3%9Fe%25");
    }
}
