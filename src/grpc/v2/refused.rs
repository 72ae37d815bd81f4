//! Why a call of the second version ended, and the status that says so: its details are first what
//! is common to all errors, then what is special to this one, which some clients expect last.

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::engine::AppendError;
use crate::grpc::status::{self, expected_number};
use crate::grpc::wire::google::rpc::bad_request::FieldViolation;
use crate::grpc::wire::google::rpc::{BadRequest, ErrorInfo, Status as RichStatus};
use crate::grpc::wire::kurrent::rpc::AccessDeniedErrorDetails;
use crate::grpc::wire::kurrentdb::protocol::v2::streams::errors::consistency_violation::{
    StreamStateViolation, Type,
};
use crate::grpc::wire::kurrentdb::protocol::v2::streams::errors::{
    AppendConsistencyViolationErrorDetails, AppendRecordSizeExceededErrorDetails,
    AppendTransactionSizeExceededErrorDetails, ConsistencyViolation,
    StreamAlreadyInAppendSessionErrorDetails, StreamRevisionConflictErrorDetails,
    StreamTombstonedErrorDetails,
};
use crate::model::StreamHead;

/// Whose reasons they are.
const STREAMS: &str = "streams";
const SERVER: &str = "server";

/// Why an append was not made.
#[derive(Debug)]
pub(super) enum Refused {
    /// A field of the request makes no sense, and why.
    Invalid {
        field: &'static str,
        problem: String,
    },
    /// A session without a request.
    NoRequests,
    /// A session that names a stream twice.
    AlreadyInSession(String),
    RecordTooLarge {
        stream: String,
        record_id: String,
        size: usize,
        max: usize,
    },
    TransactionTooLarge {
        size: u64,
        max: u64,
    },
    /// The caller may not do that to a stream.
    AccessDenied {
        caller: String,
        operation: &'static str,
    },
    /// Checks that do not hold.
    Violations(Vec<Violation>),
    /// It was not done in time.
    Timeout,
    /// The store's word.
    Failed(AppendError),
    /// Anything else.
    Status(Status),
}

/// A stream that is not in the state in which it must be.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) index: usize,
    pub(super) stream: String,
    pub(super) expected: i64,
    pub(super) actual: i64,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument => Self::Invalid {
                field: "request",
                problem: status.message().to_owned(),
            },
            Code::DeadlineExceeded => Self::Timeout,
            _ => Self::Status(status),
        }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::OverLimit { value, max, .. } => {
                Self::TransactionTooLarge { size: value, max }
            }
            error => Self::Failed(error),
        }
    }
}

/// A field of the request makes no sense.
pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> Refused {
    let problem = problem.into();
    Refused::Invalid { field, problem }
}

impl Refused {
    pub(super) fn status(self) -> Status {
        match self {
            Self::Invalid { field, problem } => bad_request(field, problem),
            Self::NoRequests => rich(
                Code::FailedPrecondition,
                "a session appends something".to_owned(),
                (STREAMS, "APPEND_SESSION_NO_REQUESTS"),
                None,
            ),
            Self::AlreadyInSession(stream) => rich(
                Code::Aborted,
                format!("stream '{stream}' is in the session already"),
                (STREAMS, "STREAM_ALREADY_IN_APPEND_SESSION"),
                Some(any(&StreamAlreadyInAppendSessionErrorDetails { stream })),
            ),
            Self::RecordTooLarge {
                stream,
                record_id,
                size,
                max,
            } => rich(
                Code::InvalidArgument,
                format!("record {record_id} has {size} bytes, more than the {max} allowed"),
                (STREAMS, "APPEND_RECORD_SIZE_EXCEEDED"),
                Some(any(&AppendRecordSizeExceededErrorDetails {
                    stream,
                    record_id,
                    size: number(size),
                    max_size: number(max),
                })),
            ),
            Self::TransactionTooLarge { size, max } => rich(
                Code::Aborted,
                format!("the transaction has {size}, more than the {max} allowed"),
                (STREAMS, "APPEND_TRANSACTION_SIZE_EXCEEDED"),
                Some(any(&AppendTransactionSizeExceededErrorDetails {
                    size: number(size),
                    max_size: number(max),
                })),
            ),
            Self::AccessDenied { caller, operation } => rich(
                Code::PermissionDenied,
                "Access Denied".to_owned(),
                (SERVER, "ACCESS_DENIED"),
                Some(any(&AccessDeniedErrorDetails {
                    operation: operation.to_owned(),
                    username: Some(caller),
                    permission: None,
                })),
            ),
            Self::Violations(violations) => violated(violations),
            Self::Timeout => rich(
                Code::DeadlineExceeded,
                "the append was not acknowledged in time".to_owned(),
                (SERVER, "OPERATION_TIMEOUT"),
                None,
            ),
            Self::Failed(AppendError::WrongExpectedRevision {
                stream,
                expected,
                found,
            }) => conflict(stream.to_string(), expected_number(expected), found),
            Self::Failed(AppendError::StreamDeleted { stream, .. }) => rich(
                Code::FailedPrecondition,
                format!("stream '{stream}' is tombstoned"),
                (STREAMS, "STREAM_TOMBSTONED"),
                Some(any(&StreamTombstonedErrorDetails {
                    stream: stream.to_string(),
                })),
            ),
            Self::Failed(error) => of_server(&status::of_append(&error)),
            Self::Status(status) => of_server(&status),
        }
    }
}

fn bad_request(field: &str, problem: String) -> Status {
    let details = BadRequest {
        field_violations: vec![FieldViolation {
            field: field.to_owned(),
            description: problem.clone(),
        }],
    };
    rich(
        Code::InvalidArgument,
        problem,
        (SERVER, "BAD_REQUEST"),
        Some(any(&details)),
    )
}

fn conflict(stream: String, expected_revision: i64, found: StreamHead) -> Status {
    let actual_revision = status::actual_number(found);
    rich(
        Code::FailedPrecondition,
        format!(
            "stream '{stream}' was expected at {expected_revision}, and was found at \
             {actual_revision}"
        ),
        (STREAMS, "STREAM_REVISION_CONFLICT"),
        Some(any(&StreamRevisionConflictErrorDetails {
            stream,
            expected_revision,
            actual_revision,
        })),
    )
}

fn violated(violations: Vec<Violation>) -> Status {
    let text = format!("{} consistency checks do not hold", violations.len());
    let violation = |violation: Violation| ConsistencyViolation {
        check_index: number(violation.index),
        r#type: Some(Type::StreamState(StreamStateViolation {
            stream: violation.stream,
            expected_state: violation.expected,
            actual_state: violation.actual,
        })),
    };
    let details = AppendConsistencyViolationErrorDetails {
        violations: violations.into_iter().map(violation).collect(),
    };
    rich(
        Code::FailedPrecondition,
        text,
        (STREAMS, "APPEND_CONSISTENCY_VIOLATION"),
        Some(any(&details)),
    )
}

/// A status of the first version, with a reason.
fn of_server(status: &Status) -> Status {
    let reason = match status.code() {
        Code::InvalidArgument => return bad_request("request", status.message().to_owned()),
        Code::Unauthenticated => return status.clone(),
        Code::Unavailable => "SERVER_OVERLOADED",
        Code::Aborted | Code::DeadlineExceeded => "OPERATION_TIMEOUT",
        Code::PermissionDenied => "ACCESS_DENIED",
        _ => "SERVER_MALFUNCTION",
    };
    let text = status.message().to_owned();
    rich(status.code(), text, (SERVER, reason), None)
}

fn number(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

/// A message that knows its name.
trait Named: Message {
    const NAME: &'static str;
}

macro_rules! named {
    ($($package:literal: $($name:ident)*;)*) => {
        $($(impl Named for $name {
            const NAME: &'static str = concat!($package, ".", stringify!($name));
        })*)*
    };
}

named! {
    "google.rpc": ErrorInfo BadRequest;
    "kurrent.rpc": AccessDeniedErrorDetails;
    "kurrentdb.protocol.v2.streams.errors":
        StreamTombstonedErrorDetails StreamRevisionConflictErrorDetails
        AppendRecordSizeExceededErrorDetails AppendTransactionSizeExceededErrorDetails
        StreamAlreadyInAppendSessionErrorDetails AppendConsistencyViolationErrorDetails;
}

fn any<T: Named>(details: &T) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{}", T::NAME),
        value: details.encode_to_vec(),
    }
}

/// Clients compare code and message inside with those outside.
fn rich(
    code: Code,
    message: String,
    (domain, reason): (&str, &str),
    details: Option<Any>,
) -> Status {
    let info = ErrorInfo {
        reason: reason.to_owned(),
        domain: domain.to_owned(),
        metadata: std::collections::HashMap::new(),
    };
    let inside = RichStatus {
        code: code.into(),
        message: message.clone(),
        details: std::iter::once(any(&info)).chain(details).collect(),
    };
    Status::with_details(code, message, inside.encode_to_vec().into())
}
