//! What a store answers to readers.

use std::time::Duration;

use crate::engine::read::{Events, Reading, StreamInfo, StreamSummary};
use crate::engine::{ReadError, Store};
use crate::index::Key;
use crate::model::{
    Direction, EventFilter, EventType, Position, ReadFrom, RecordedEvent, Revision, StreamName,
    Tag, Timestamp, Token,
};

impl Store {
    /// The events of a stream that its metadata lets be seen. From a revision, that revision
    /// belongs to the read in both directions; backwards from beyond the end, it begins at the end.
    ///
    /// # Errors
    /// [`ReadError::StreamNotFound`] if the stream was never written or is deleted,
    /// [`ReadError::StreamTombstoned`] also for the metadata stream of a tombstoned stream.
    pub fn read_stream(
        &self,
        stream: &StreamName,
        from: ReadFrom<Revision>,
        direction: Direction,
    ) -> Result<Events, ReadError> {
        let cursor = self.reading().stream_events(stream, from, direction)?;
        Ok(Events::new(cursor))
    }

    /// All events, or those that a filter chooses: also events of deleted and truncated streams,
    /// metadata and tombstones. Forwards, the position belongs to the read; backwards, the read
    /// stays in front of it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_all(
        &self,
        from: ReadFrom<Position>,
        direction: Direction,
        filter: Option<EventFilter>,
    ) -> Result<Events, ReadError> {
        let cursor = self.reading().all_events(from, direction, filter);
        Ok(Events::new(cursor))
    }

    /// The events of all streams of a category, as [`Self::read_all`] shows them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_category(
        &self,
        category: &str,
        from: ReadFrom<Position>,
        direction: Direction,
    ) -> Result<Events, ReadError> {
        self.listed(Key::Category(category), from, direction)
    }

    /// The events of a type, as [`Self::read_all`] shows them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_type(
        &self,
        event_type: &EventType,
        from: ReadFrom<Position>,
        direction: Direction,
    ) -> Result<Events, ReadError> {
        self.listed(Key::EventType(event_type), from, direction)
    }

    /// The events with a tag, as [`Self::read_all`] shows them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_tag(
        &self,
        tag: &Tag,
        from: ReadFrom<Position>,
        direction: Direction,
    ) -> Result<Events, ReadError> {
        self.listed(Key::Tag(tag), from, direction)
    }

    fn listed(
        &self,
        key: Key<'_>,
        from: ReadFrom<Position>,
        direction: Direction,
    ) -> Result<Events, ReadError> {
        let cursor = self.reading().listed_events(key, from, direction)?;
        Ok(Events::new(cursor))
    }

    /// The event at a position; none if there is none yet, or it was removed.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.reading().event_at(position)
    }

    /// The event of a stream with this revision; none if the stream does not show it.
    ///
    /// # Errors
    /// As [`Self::read_stream`].
    pub fn event(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        self.reading().event(stream, revision)
    }

    /// Where a stream stands, also a deleted or tombstoned one, and its metadata.
    ///
    /// # Errors
    /// [`ReadError::StreamNotFound`] if the stream was never written and has no metadata.
    pub fn stream(&self, stream: &StreamName) -> Result<StreamInfo, ReadError> {
        self.reading().info(stream)
    }

    /// The streams whose names begin with a prefix and lie behind `after` in the order of their
    /// bytes, at most `max`; deleted and tombstoned ones too.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn streams(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        max: usize,
    ) -> Result<Vec<StreamSummary>, ReadError> {
        self.reading().list(prefix, after, max)
    }

    /// The first position whose event was created at a time or later; the end of the log if there
    /// is none. Created times need not ascend: later events can be older.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn position_at(&self, created: Timestamp) -> Result<Position, ReadError> {
        self.reading().position_at(created)
    }

    /// Waits until everything that a token covers can be read.
    ///
    /// # Errors
    /// [`ReadError::ForeignToken`] if it is of another store or lineage,
    /// [`ReadError::NotReached`] if it took longer than the timeout.
    pub fn wait_for(&self, token: Token, timeout: Duration) -> Result<(), ReadError> {
        self.reading().wait_for(token, timeout)
    }

    /// The same without blocking and without a timeout; needs no runtime of any kind.
    ///
    /// # Errors
    /// [`ReadError::ForeignToken`].
    pub fn reached(
        &self,
        token: Token,
    ) -> impl Future<Output = Result<(), ReadError>> + Send + use<> {
        let reading: Reading = self.reading().clone();
        async move { reading.reached(token).await }
    }
}
