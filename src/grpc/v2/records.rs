//! `AppendRecords`: records of many streams in one order, and checks of streams, written or not.
//!
//! Checks are expectations of the append, so that they hold at the moment when it is made. What a
//! check asks that no expectation can say is looked at before, and held by what can be expected:
//! that nothing was written to the stream and to its metadata since. A tombstone holds by itself.
//!
//! A request that is sent again is answered as the first time, whatever became of the streams that
//! it checks. The store recognises it; so also what was found not to hold becomes an expectation,
//! one that nothing fulfils.

use tonic::Status;

use super::record::stream;
use super::refused::{Refused, Violation, invalid};
use super::transaction::{Transaction, allow, expected};
use crate::access::Principal;
use crate::engine::{AppendError, ReadError, StreamInfo};
use crate::grpc::auth::Wish;
use crate::grpc::convert::{signed, told};
use crate::grpc::wire::kurrentdb::protocol::v2::streams::consistency_check::Type;
use crate::grpc::wire::kurrentdb::protocol::v2::streams::{
    AppendRecordsRequest, AppendRecordsResponse, ConsistencyCheck, StreamRevision,
};
use crate::grpc::{Shared, status};
use crate::model::{ExpectedRevision, Revision, StreamHead, StreamName};

const ABSENT: i64 = -1;
const ANY: i64 = -2;
const DELETED: i64 = -5;
const TOMBSTONED: i64 = -6;

/// Of no stream does this hold.
const NEVER: ExpectedRevision = ExpectedRevision::Exactly(Revision(u64::MAX));

/// What is expected of streams, each once.
type Expectations = Vec<(StreamName, ExpectedRevision)>;

/// A stream that the request names, and the state in which it must be.
#[derive(Clone, Debug)]
struct Subject {
    stream: StreamName,
    state: State,
    written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Expected(ExpectedRevision),
    Deleted,
    Tombstoned,
}

impl State {
    fn of(number: i64) -> Option<Self> {
        match number {
            ANY => None,
            DELETED => Some(Self::Deleted),
            TOMBSTONED => Some(Self::Tombstoned),
            number => expected(number).map(Self::Expected),
        }
    }

    fn number(self) -> i64 {
        match self {
            Self::Expected(expected) => status::expected_number(expected),
            Self::Deleted => DELETED,
            Self::Tombstoned => TOMBSTONED,
        }
    }
}

/// Makes the append.
pub(super) async fn append(
    shared: &Shared,
    caller: &Principal,
    request: AppendRecordsRequest,
) -> Result<AppendRecordsResponse, Refused> {
    let AppendRecordsRequest { records, checks } = request;
    if records.is_empty() {
        return Err(invalid("records", "there is at least one record"));
    }
    let mut subjects = checked(checks)?;
    let mut transaction = Transaction::default();
    for mut record in records {
        let missing = || invalid("stream", "a record names its stream");
        let stream = stream(record.stream.take().ok_or_else(missing)?)?;
        match subjects.iter_mut().find(|subject| subject.stream == stream) {
            Some(subject) => subject.written = true,
            None => subjects.push(Subject {
                stream: stream.clone(),
                state: State::Expected(ExpectedRevision::Any),
                written: true,
            }),
        }
        transaction.add(shared, &stream, record)?;
    }
    for subject in &subjects {
        let stream = subject.stream.clone();
        match subject.written {
            true => allow(shared, caller, Wish::Write(stream), "append").await?,
            false => allow(shared, caller, Wish::Read(stream), "read").await?,
        }
    }
    let (held, violated) = hold(shared, &subjects).await?;
    for (stream, expected) in held {
        transaction.expect(stream, expected);
    }
    let receipt = match transaction.commit(shared).await {
        Ok(receipt) => receipt,
        Err(Refused::Failed(
            AppendError::WrongExpectedRevision { stream, found, .. }
            | AppendError::StreamDeleted { stream, found },
        )) => {
            // Of what was found before, the store's word is about a stand-in.
            let refused = match violated.is_empty() {
                true => vec![(stream, found)],
                false => violated,
            };
            return Err(violations(shared, subjects, &refused).await?);
        }
        Err(refused) => return Err(refused),
    };
    let revision = |(stream, revision): (StreamName, Revision)| StreamRevision {
        stream: stream.to_string(),
        revision: signed(revision.0),
    };
    Ok(AppendRecordsResponse {
        revisions: receipt.revisions.into_iter().map(revision).collect(),
        position: signed(receipt.last.map_or(0, told)),
    })
}

/// The checks, each of another stream.
fn checked(checks: Vec<ConsistencyCheck>) -> Result<Vec<Subject>, Refused> {
    let mut subjects: Vec<Subject> = Vec::with_capacity(checks.len());
    for check in checks {
        let Some(Type::StreamState(check)) = check.r#type else {
            return Err(invalid("checks", "there is no such check"));
        };
        let none = || invalid("checks", "there is no such state to check");
        let state = State::of(check.expected_state).ok_or_else(none)?;
        let stream = stream(check.stream)?;
        if subjects.iter().any(|subject| subject.stream == stream) {
            return Err(invalid("checks", "a stream is checked only once"));
        }
        subjects.push(Subject {
            stream,
            state,
            written: false,
        });
    }
    Ok(subjects)
}

/// What the append must expect for all checks to hold, and the streams whose checks do not, as they
/// were found.
async fn hold(
    shared: &Shared,
    subjects: &[Subject],
) -> Result<(Expectations, Vec<(StreamName, StreamHead)>), Refused> {
    let mut held: Expectations = subjects
        .iter()
        .filter_map(|subject| match subject.state {
            State::Expected(expected) => Some((subject.stream.clone(), expected)),
            State::Deleted | State::Tombstoned => None,
        })
        .collect();
    let mut violated = Vec::new();
    for subject in subjects {
        if matches!(subject.state, State::Expected(_)) {
            continue;
        }
        let stream = &subject.stream;
        let info = info(shared, stream).await?;
        let head = head(info.as_ref());
        let metadata_stream = stream.metadata_stream();
        if violates(subject.state, subject.written, head) {
            violated.push((stream.clone(), head));
            // If the stream is written, its events tell whether the request is sent again.
            let stand_in = metadata_stream.filter(|_| subject.written);
            also(&mut held, stand_in.unwrap_or(stream.clone()), NEVER);
        } else if let StreamHead::Deleted(last) = head {
            let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exactly);
            also(&mut held, stream.clone(), expected);
            let metadata = info.and_then(|info| info.metadata);
            if let (Some(named), Some(metadata)) = (metadata_stream, metadata) {
                also(
                    &mut held,
                    named,
                    ExpectedRevision::Exactly(metadata.revision),
                );
            }
        }
    }
    Ok((held, violated))
}

/// Adds an expectation to those that the client states, which are in no need of it.
fn also(held: &mut Expectations, stream: StreamName, expected: ExpectedRevision) {
    match held.iter_mut().find(|(of, _)| *of == stream) {
        None => held.push((stream, expected)),
        Some((_, stated)) if expected == NEVER || *stated == ExpectedRevision::Any => {
            *stated = expected;
        }
        Some(_) => {}
    }
}

async fn info(shared: &Shared, stream: &StreamName) -> Result<Option<StreamInfo>, Status> {
    let stream = stream.clone();
    match shared.on_disk(move |store| store.stream(&stream)).await? {
        Ok(info) => Ok(Some(info)),
        Err(ReadError::StreamNotFound(_)) => Ok(None),
        Err(error) => Err(status::of_read(&error)),
    }
}

fn head(info: Option<&StreamInfo>) -> StreamHead {
    info.map_or(StreamHead::Absent, |info| info.head)
}

/// Whether a stream is not in the state in which it must be.
fn violates(state: State, written: bool, head: StreamHead) -> bool {
    let tombstoned = head == StreamHead::Tombstoned;
    if written && tombstoned {
        return true;
    }
    let last = match head {
        StreamHead::At(last) | StreamHead::Deleted(Some(last)) => Some(last),
        StreamHead::Absent | StreamHead::Deleted(None) | StreamHead::Tombstoned => None,
    };
    let deleted = matches!(head, StreamHead::Deleted(_));
    let holds = match state {
        State::Expected(ExpectedRevision::Any) => true,
        State::Expected(ExpectedRevision::NoStream) => !matches!(head, StreamHead::At(_)),
        State::Expected(ExpectedRevision::StreamExists) => matches!(head, StreamHead::At(_)),
        State::Expected(ExpectedRevision::Exactly(revision)) => last == Some(revision),
        State::Deleted => deleted,
        State::Tombstoned => tombstoned,
    };
    !holds
}

/// The state in which a stream is, as a violation of another one tells it.
fn actual(state: State, head: StreamHead) -> i64 {
    match (head, state) {
        (StreamHead::Absent, _) => ABSENT,
        (StreamHead::Tombstoned, _) => TOMBSTONED,
        (StreamHead::At(last), _) => signed(last.0),
        (StreamHead::Deleted(_), State::Expected(ExpectedRevision::StreamExists))
        | (StreamHead::Deleted(None), _) => DELETED,
        (StreamHead::Deleted(Some(last)), _) => signed(last.0),
    }
}

/// Every check that does not hold now, and those by which the append was refused.
async fn violations(
    shared: &Shared,
    subjects: Vec<Subject>,
    refused: &[(StreamName, StreamHead)],
) -> Result<Refused, Refused> {
    let mut violations = Vec::new();
    for (index, subject) in subjects.into_iter().enumerate() {
        let of_refusal = refused.iter().find(|(stream, _)| *stream == subject.stream);
        let head = match of_refusal {
            Some((_, found)) => *found,
            None => head(info(shared, &subject.stream).await?.as_ref()),
        };
        if of_refusal.is_some() || violates(subject.state, subject.written, head) {
            violations.push(Violation {
                index,
                expected: subject.state.number(),
                actual: actual(subject.state, head),
                stream: subject.stream.to_string(),
            });
        }
    }
    Ok(Refused::Violations(violations))
}
