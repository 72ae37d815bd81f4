//! Records that were read together, their checksums found right.

use bytes::Bytes;

use crate::format::FormatError;
use crate::format::record::Layout;
use crate::model::{Position, RecordedEvent};

/// Verified records: ascending positions, in runs of adjacent ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    /// The runs, in the order of their positions.
    pub runs: Vec<Run>,
}

impl Chunk {
    /// How many events there are.
    pub(crate) fn events_count(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.count)).sum()
    }

    /// How many bytes the records take.
    pub(crate) fn len_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes.len()).sum()
    }

    /// All events, one after another.
    pub(crate) fn events(&self) -> impl Iterator<Item = Result<RecordedEvent, FormatError>> {
        self.runs.iter().flat_map(Run::events)
    }

    /// Adds a run, if there is something in it.
    pub(super) fn push(&mut self, run: Run) {
        if run.count > 0 {
            self.runs.push(run);
        }
    }
}

/// Adjacent records, one behind the other as they lie on the disk.
#[derive(Clone, Debug)]
pub struct Run {
    /// The position of the first record.
    pub first: Position,
    /// How many records there are.
    pub count: u32,
    /// Their bytes.
    pub bytes: Bytes,
}

impl Run {
    /// The position behind the last record.
    #[must_use]
    pub fn end(&self) -> Position {
        self.first.plus(self.count.into())
    }

    /// Each record with its position and where its parts lie.
    pub fn records(&self) -> impl Iterator<Item = Result<(Position, Layout, Bytes), FormatError>> {
        let mut rest = self.bytes.clone();
        (0..u64::from(self.count)).map(move |index| {
            let layout = Layout::parse(&rest)?;
            if layout.record_len() > rest.len() {
                return Err(FormatError::Truncated("a run of records"));
            }
            let record = rest.split_to(layout.record_len());
            Ok((self.first.plus(index), layout, record))
        })
    }

    /// Each event; its texts and bytes are shared with the run.
    pub fn events(&self) -> impl Iterator<Item = Result<RecordedEvent, FormatError>> {
        self.records().map(|record| {
            let (position, layout, bytes) = record?;
            layout.event(&bytes, position)
        })
    }
}
