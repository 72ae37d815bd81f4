//! The body of a frame of records: runs of stored records, byte for byte as they lie on the disk.
//!
//! A run is records of adjacent positions, ascending, one behind the other. A frame holds runs one
//! behind the other, ascending too. A backward read takes the records of a frame from the last to
//! the first; its next frame lies in front of this one.

use bytes::Bytes;

use crate::format::checksum::Salt;
use crate::format::codec::{Reader, to_u64};
use crate::format::record::{self, Layout};
use crate::format::{Field, FormatError};
use crate::model::{Position, RecordedEvent, Revision};

/// The position of the first record, as a `u64`.
pub const RUN_FIRST: Field = Field::first("position of the first record", 8);
/// How many records there are, as a `u32`.
pub const RUN_COUNT: Field = RUN_FIRST.then("number of records", 4);
/// How many bytes they have, as a `u32`.
pub const RUN_LEN: Field = RUN_COUNT.then("length of the records", 4);
/// What stands in front of the records of a run.
pub const RUN_FIELDS: [Field; 3] = [RUN_FIRST, RUN_COUNT, RUN_LEN];
/// The length of what stands in front of the records of a run, in bytes.
pub const RUN_HEADER_LEN_BYTES: usize = RUN_LEN.end();
/// A frame of records ends as soon as it has as many bytes, and earlier if the next record would
/// not fit.
pub const RECORDS_LEN_BYTES: usize = 256 * 1024;

/// Records of adjacent positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The position of the first.
    pub first: Position,
    /// How many there are.
    pub count: u32,
    /// The records one behind the other.
    pub bytes: Bytes,
}

impl Run {
    /// Appends the events of the run, in the order of their positions, each checked for this store.
    ///
    /// # Errors
    /// If a record is damaged, or of another store or place. The events in front of it were
    /// appended.
    pub fn take_events(
        &self,
        salt: &Salt,
        events: &mut Vec<RecordedEvent>,
    ) -> Result<(), FormatError> {
        record::decode_all(&self.bytes, self.count, self.first, salt, events)
    }
}

/// The events of all runs, each checked for this store.
///
/// # Errors
/// As [`Run::take_events`].
pub fn all_events(runs: &[Run], salt: &Salt) -> Result<Vec<RecordedEvent>, FormatError> {
    // What a frame claims does not decide how much memory is taken.
    let room = |run: &Run| to_u64(run.bytes.len() / record::EVENT_ID.end());
    let count: u64 = runs
        .iter()
        .map(|run| u64::from(run.count).min(room(run)))
        .sum();
    let mut events = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for run in runs {
        run.take_events(salt, &mut events)?;
    }
    Ok(events)
}

/// Appends what stands in front of the records of a run.
pub fn put_run_header(out: &mut Vec<u8>, first: Position, count: u32, len_bytes: usize) {
    let len = u32::try_from(len_bytes).unwrap_or(u32::MAX);
    out.extend_from_slice(&first.0.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
}

/// Appends runs.
pub fn put_runs(runs: &[Run], out: &mut Vec<u8>) {
    for run in runs {
        put_run_header(out, run.first, run.count, run.bytes.len());
        out.extend_from_slice(&run.bytes);
    }
}

/// Reads runs, which share the bytes; the records in them are not looked at.
///
/// # Errors
/// If the bytes do not end with a run, or a run has no record or more records than bytes.
pub fn take_runs(bytes: &Bytes) -> Result<Vec<Run>, FormatError> {
    let mut reader = Reader::new(bytes, "a run of records");
    let mut runs = Vec::new();
    while reader.remaining() > 0 {
        let first = Position(reader.u64()?);
        let count = reader.u32()?;
        let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count == 0 || u64::from(count) > to_u64(len) {
            return Err(FormatError::Invalid("the number of records in a run"));
        }
        runs.push(Run {
            first,
            count,
            bytes: bytes.slice_ref(reader.take(len)?),
        });
    }
    Ok(runs)
}

/// The revisions of the first and the last of the records, which were verified before.
#[must_use]
pub fn revisions(records: &[u8]) -> Option<(Revision, Revision)> {
    let mut layout = Layout::parse(records).ok()?;
    let first = layout.revision();
    let mut rest = records;
    loop {
        rest = rest.get(layout.record_len()..)?;
        if rest.is_empty() {
            return Some((first, layout.revision()));
        }
        layout = Layout::parse(rest).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Record, encode, payload_checksum};
    use crate::model::{EventType, NewEvent, Revision, StreamName, Timestamp};
    use proptest::prelude::*;

    fn run(first: u64, count: u32, salt: &Salt) -> Run {
        let stream = StreamName::new("order-1").unwrap();
        let event = NewEvent::json(EventType::new("Placed").unwrap(), "{}");
        let mut bytes = Vec::new();
        for index in 0..u64::from(count) {
            let record = Record {
                stream: &stream,
                revision: Revision(index),
                event: &event,
                created: Timestamp::from_micros(0),
                payload_checksum: payload_checksum(&event),
            };
            encode(&record, Position(first + index), salt, &mut bytes);
        }
        Run {
            first: Position(first),
            count,
            bytes: bytes.into(),
        }
    }

    #[test]
    fn runs_come_back_and_their_events_are_checked() {
        let salt = Salt::new([3; 16]);
        let runs = vec![run(7, 3, &salt), run(100, 1, &salt)];
        let mut out = Vec::new();
        put_runs(&runs, &mut out);
        let back = take_runs(&Bytes::from(out)).unwrap();
        assert_eq!(back, runs);
        let positions = |events: Vec<RecordedEvent>| -> Vec<u64> {
            events.iter().map(|event| event.position.0).collect()
        };
        assert_eq!(positions(all_events(&back, &salt).unwrap()), [7, 8, 9, 100]);

        assert_eq!(revisions(&runs[0].bytes), Some((Revision(0), Revision(2))));
        assert_eq!(revisions(&runs[0].bytes[1..]), None);

        let elsewhere = Run {
            first: Position(8),
            ..runs[0].clone()
        };
        let mut events = Vec::new();
        assert!(
            elsewhere.take_events(&salt, &mut events).is_err(),
            "a record in the wrong place"
        );
        let foreign = Salt::new([4; 16]);
        assert!(
            runs[0].take_events(&foreign, &mut events).is_err(),
            "a record of another store"
        );
        assert!(events.is_empty());
        let longer = Run {
            count: 4,
            ..runs[0].clone()
        };
        assert!(
            longer.take_events(&salt, &mut events).is_err(),
            "fewer records than announced"
        );
        assert_eq!(positions(events), [7, 8, 9]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100)
        ) {
            let runs = take_runs(&Bytes::from(bytes)).unwrap_or_default();
            let _judged = all_events(&runs, &Salt::new([0; 16]));
        }
    }
}
