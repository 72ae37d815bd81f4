//! What both sides say in different words: positions, revisions, ids, events.
//!
//! A position of the log is told one higher than it is, as commit and as prepare position: to
//! clients 0 is in front of everything. All positions go through here.

use bytes::Bytes;
use prost_types::Timestamp as WireTimestamp;
use tonic::Status;

use super::status;
use super::wire::event_store::client::recorded_event::Entry;
use super::wire::event_store::client::{
    AllStreamPosition, RecordedEvent as WireEvent, StreamIdentifier, Uuid as WireUuid, uuid,
};
use crate::model::{
    ContentType, ExpectedRevision, Position, ReadFrom, RecordedEvent, Revision, StreamName,
    SubscribeFrom, Timestamp,
};

/// The number that stands for the end where it is unsigned.
const END: u64 = u64::MAX;
/// The largest revision, which only a tombstone has.
const REVISION_MAX: u64 = Revision::TOMBSTONE.0;

/// The number by which clients know an event's position.
pub(super) fn told(position: Position) -> u64 {
    position.0.saturating_add(1)
}

/// The number by which clients know that everything in front of a position was seen: that of the
/// last event there, or 0.
pub(super) fn told_end(end: Position) -> u64 {
    end.0
}

/// The position that a client names by a number; none for 0, which is in front of everything.
pub(super) fn position(told: u64) -> Option<Position> {
    told.checked_sub(1).map(Position)
}

/// A number where it is signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn all_position(position: Position) -> AllStreamPosition {
    let told = told(position);
    AllStreamPosition {
        commit_position: told,
        prepare_position: told,
    }
}

/// Where a read of all events begins; both directions stay on their side of it.
pub(super) fn read_from(commit: u64, prepare: u64) -> Result<ReadFrom<Position>, Status> {
    Ok(match commit {
        _ if prepare > commit => return Err(disordered()),
        END => ReadFrom::End,
        commit => ReadFrom::At(position(commit).unwrap_or(Position::START)),
    })
}

/// Behind which position a subscription to all events begins.
pub(super) fn subscribe_from(commit: u64, prepare: u64) -> Result<SubscribeFrom, Status> {
    Ok(match commit {
        _ if prepare > commit => return Err(disordered()),
        END => SubscribeFrom::End,
        commit => position(commit).map_or(SubscribeFrom::Start, SubscribeFrom::After),
    })
}

fn disordered() -> Status {
    status::invalid("the prepare position lies behind the commit position")
}

/// Where a read of a stream begins.
pub(super) fn read_from_revision(revision: u64) -> Result<ReadFrom<Revision>, Status> {
    match revision {
        END => Ok(ReadFrom::End),
        ..=REVISION_MAX => Ok(ReadFrom::At(Revision(revision))),
        _ => Err(no_revision(revision)),
    }
}

/// Behind which revision a subscription to a stream begins.
pub(super) fn subscribe_from_revision(revision: u64) -> Result<SubscribeFrom, Status> {
    match revision {
        END => Ok(SubscribeFrom::End),
        ..=REVISION_MAX => Ok(SubscribeFrom::AfterRevision(Revision(revision))),
        _ => Err(no_revision(revision)),
    }
}

/// The expectation of a revision.
pub(super) fn expected_revision(revision: u64) -> Result<ExpectedRevision, Status> {
    match revision {
        END => Ok(ExpectedRevision::NoStream),
        ..=REVISION_MAX => Ok(ExpectedRevision::Exactly(Revision(revision))),
        _ => Err(no_revision(revision)),
    }
}

fn no_revision(revision: u64) -> Status {
    status::invalid(format!("{revision} is no revision"))
}

/// A stream that a client names.
pub(super) fn stream(identifier: Option<StreamIdentifier>) -> Result<StreamName, Status> {
    let missing = || status::invalid("the stream identifier is missing");
    let name = identifier.ok_or_else(missing)?.stream_name;
    StreamName::from_bytes(name).map_err(|error| status::of_text(&error))
}

/// A stream as clients name it.
pub(super) fn stream_identifier(stream: &StreamName) -> StreamIdentifier {
    StreamIdentifier {
        stream_name: stream.to_bytes(),
    }
}

/// How ids are told to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UuidForm {
    /// As two numbers.
    Structured,
    /// As a text.
    Text,
}

/// An id in a form.
pub(super) fn wire_uuid(id: ::uuid::Uuid, form: UuidForm) -> WireUuid {
    let value = match form {
        UuidForm::Text => uuid::Value::String(id.hyphenated().to_string()),
        UuidForm::Structured => {
            let (high, low) = id.as_u64_pair();
            uuid::Value::Structured(uuid::Structured {
                most_significant_bits: high.cast_signed(),
                least_significant_bits: low.cast_signed(),
            })
        }
    };
    WireUuid { value: Some(value) }
}

/// An id, in whichever form it came.
pub(super) fn uuid(id: Option<WireUuid>) -> Result<::uuid::Uuid, Status> {
    match id.and_then(|id| id.value) {
        None => Err(status::invalid("an id is missing")),
        Some(uuid::Value::Structured(halves)) => Ok(::uuid::Uuid::from_u64_pair(
            halves.most_significant_bits.cast_unsigned(),
            halves.least_significant_bits.cast_unsigned(),
        )),
        Some(uuid::Value::String(text)) => ::uuid::Uuid::try_parse(&text)
            .map_err(|_| status::invalid(format!("{text:?} is no UUID"))),
    }
}

/// Ticks of 100 nanoseconds since 1970, in which clients count time.
pub(super) fn ticks(time: Timestamp) -> i64 {
    let seconds = time.seconds().saturating_mul(10_000_000);
    seconds.saturating_add(i64::from(time.nanos() / 100))
}

/// Microseconds since 1970 as clients take a time of the server.
pub(super) fn timestamp(micros: i64) -> WireTimestamp {
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    WireTimestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// An event as clients get it.
pub(super) fn recorded(event: RecordedEvent, form: UuidForm) -> WireEvent {
    let told = told(event.position);
    let content_type = match event.content_type {
        ContentType::Json => "application/json",
        ContentType::Binary | ContentType::Other(_) => "application/octet-stream",
    };
    let entry = |key: &'static str, value| Entry {
        key: Bytes::from_static(key.as_bytes()),
        value,
    };
    WireEvent {
        id: Some(wire_uuid(event.id, form)),
        stream_identifier: Some(stream_identifier(&event.stream)),
        stream_revision: event.revision.0,
        prepare_position: told,
        commit_position: told,
        metadata: vec![
            entry("type", event.event_type.to_bytes()),
            entry("created", Bytes::from(ticks(event.created).to_string())),
            entry("content-type", Bytes::from_static(content_type.as_bytes())),
        ],
        custom_metadata: event.metadata,
        data: event.data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_count_positions_from_one() {
        assert_eq!(told(Position(0)), 1);
        assert_eq!(position(told(Position(7))), Some(Position(7)));
        assert_eq!(position(0), None);
        // The end in front of an event is what the event before it is told as.
        assert_eq!(told_end(Position(7)), told(Position(6)));
        let start = read_from(0, 0).expect("it is a position");
        assert_eq!(start, ReadFrom::At(Position::START));
        assert!(read_from(1, 2).is_err());
        let after = subscribe_from(3, 3).expect("it is a position");
        assert_eq!(after, SubscribeFrom::After(Position(2)));
    }

    #[test]
    fn an_id_comes_back_in_either_form() {
        let id = ::uuid::Uuid::from_u128(0xf000_0000_0000_0001_8000_0000_0000_0002);
        for form in [UuidForm::Structured, UuidForm::Text] {
            let back = uuid(Some(wire_uuid(id, form))).expect("it is an id");
            assert_eq!(back, id);
        }
        assert!(uuid(None).is_err());
        assert!(
            uuid(Some(WireUuid {
                value: Some(uuid::Value::String("x".into()))
            }))
            .is_err()
        );
    }

    #[test]
    fn created_is_counted_in_ticks() {
        let at = |seconds, nanos| Timestamp::new(seconds, nanos, 9).expect("it is a time");
        assert_eq!(ticks(at(1, 123_456_789)), 11_234_567);
        assert_eq!(ticks(at(-1, 900_000_000)), -1_000_000);
    }
}
