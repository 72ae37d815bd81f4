//! Why a call about a group fails, in the words that clients know it by.

use tonic::{Code, Status};

use crate::grpc::status::{self, exception};
use crate::subscription::{GroupError, MemberError};

fn about(code: Code, name: &'static str, (stream, group): (&str, &str), text: String) -> Status {
    exception(
        code,
        text,
        name,
        &[("stream-name", stream), ("group-name", group)],
    )
}

/// There is no such group; an empty name stands for any of the stream.
pub(super) fn not_found(stream: &str, group: &str) -> Status {
    about(
        Code::NotFound,
        "persistent-subscription-does-not-exist",
        (stream, group),
        format!("Subscription group {group} on stream {stream} does not exist."),
    )
}

/// What was asked of a group cannot be.
pub(super) fn failed(stream: &str, group: &str, reason: &str) -> Status {
    exception(
        Code::Internal,
        format!("Subscription group {group} on stream {stream} failed: '{reason}'"),
        "persistent-subscription-failed",
        &[
            ("stream-name", stream),
            ("group-name", group),
            ("reason", reason),
        ],
    )
}

/// Why something was not done with a group.
pub(super) fn of_group(error: &GroupError, stream: &str, group: &str) -> Status {
    match error {
        GroupError::NotFound { .. } => not_found(stream, group),
        GroupError::Exists { .. } => about(
            Code::AlreadyExists,
            "persistent-subscription-exists",
            (stream, group),
            format!("Subscription group {group} on stream {stream} exists."),
        ),
        GroupError::TooManyMembers(_) => about(
            Code::FailedPrecondition,
            "maximum-subscribers-reached",
            (stream, group),
            format!(
                "Maximum subscriptions reached for subscription group {group} on stream {stream}."
            ),
        ),
        GroupError::Append(error) => status::of_append(error),
        GroupError::Read(error) => status::of_read(error),
        _ => failed(stream, group, &error.to_string()),
    }
}

/// Why a member gets nothing more.
pub(super) fn of_member(error: MemberError, stream: &str, group: &str) -> Status {
    match error {
        MemberError::Closed => status::not_ready(),
        _ => about(
            Code::Cancelled,
            "persistent-subscription-dropped",
            (stream, group),
            format!("Subscription group {group} on stream {stream} was dropped."),
        ),
    }
}
