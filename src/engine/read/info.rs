//! What is known of streams without reading them.

use bytes::Bytes;

use crate::engine::read::Reading;
use crate::engine::read::window::{Sight, head};
use crate::engine::{ReadError, Store};
use crate::format::table::Kind;
use crate::model::{Position, Revision, StreamHead, StreamMetadata, StreamName};

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamName,
    /// Where it ends.
    pub head: StreamHead,
    /// The position of its last event.
    pub last_position: Option<Position>,
    /// The first revision that its metadata lets be seen, age aside, which hides events one by one.
    /// None if nothing is shown.
    pub first: Option<Revision>,
    /// How many events were ever written to it, tombstones aside.
    pub events_count: u64,
    /// What its metadata stream says last.
    pub metadata: Option<StoredMetadata>,
}

/// The metadata of a stream, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMetadata {
    /// The revision in the metadata stream: what a change of the metadata may expect.
    pub revision: Revision,
    /// The text, as it was written.
    pub json: Bytes,
    /// What of it the store acts on.
    pub parsed: StreamMetadata,
}

/// One stream of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// The stream.
    pub stream: StreamName,
    /// Where it ends.
    pub head: StreamHead,
    /// How many events were ever written to it, tombstones aside.
    pub events_count: u64,
}

impl Reading {
    /// Where a stream stands; an error only if nothing was ever said of it.
    pub(crate) fn info(&self, stream: &StreamName) -> Result<StreamInfo, ReadError> {
        let view = self.view();
        let entry = view.stream(stream)?;
        let head = head(&entry);
        if head == StreamHead::Absent && entry.metadata.is_none() {
            return Err(ReadError::StreamNotFound(stream.clone()));
        }
        let first = match self.sight(&view, stream, &entry)? {
            Sight::Window(window) => (window.first <= window.last).then_some(window.first),
            Sight::NotFound | Sight::Tombstoned => None,
        };
        let metadata = match &entry.metadata {
            None => None,
            Some((position, parsed)) => self.event_at(*position)?.map(|event| StoredMetadata {
                revision: event.revision,
                json: event.data,
                parsed: parsed.clone(),
            }),
        };
        Ok(StreamInfo {
            stream: stream.clone(),
            head,
            last_position: entry.last.map(|(_, position)| position),
            first,
            events_count: entry.events(),
            metadata,
        })
    }

    /// The streams whose names begin with a prefix and lie behind another name, in the order of
    /// their bytes; deleted and tombstoned ones too.
    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        max: usize,
    ) -> Result<Vec<StreamSummary>, ReadError> {
        let view = self.view();
        let names = view.list(Kind::Stream, prefix, after.map(StreamName::as_str), max)?;
        let summary = |(name, _): (String, u64)| {
            let entry = view.stream(&name)?;
            // What is in the index was a name when it was written.
            let Ok(stream) = StreamName::new(name) else {
                return Ok(None);
            };
            Ok(Some(StreamSummary {
                stream,
                head: head(&entry),
                events_count: entry.events(),
            }))
        };
        names
            .into_iter()
            .filter_map(|name| summary(name).transpose())
            .collect()
    }
}

/// What access rules rest on: where they lie, without reading them. A stream is named by text here,
/// because `$all` has rules too.
impl Store {
    /// Where the metadata event lies that gives a stream, or `$all`, an access list; none if its
    /// last metadata say nothing of one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn acl_position(&self, stream: &str) -> Result<Option<Position>, ReadError> {
        let metadata = self.reading().view().stream(stream)?.metadata;
        Ok(metadata.and_then(|(position, parsed)| parsed.has_acl.then_some(position)))
    }

    /// Where the last event of a stream lies, whatever its metadata say.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn last_position(&self, stream: &str) -> Result<Option<Position>, ReadError> {
        let last = self.reading().view().stream(stream)?.last;
        Ok(last.map(|(_, position)| position))
    }

    /// The position behind the last event that may change who may do what: a stream's metadata, or
    /// the store's settings. It may be ahead of what is committed.
    #[must_use]
    pub fn rules_end(&self) -> Position {
        self.reading().index.rules_end()
    }
}
