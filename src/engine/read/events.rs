//! A read as a program takes it: event by event, or batch by batch.

use std::vec;

use crate::engine::ReadError;
use crate::engine::read::batch::{Batch, BatchLimit};
use crate::engine::read::cursor::Cursor;
use crate::model::{Direction, RecordedEvent};

/// How many events a reader fetches first. Many readers want one.
const FETCHED_FIRST: usize = 4;
/// How many events a reader decodes at once.
const FETCHED_MAX: usize = 1024;

/// The events of a read, in its direction, as of the moment when the read began.
///
/// It keeps a view of the index alive: drop it when it is not needed, and begin another read where
/// this one ended.
#[derive(Debug)]
pub struct Events {
    cursor: Cursor,
    fetched: vec::IntoIter<RecordedEvent>,
    fetch: usize,
    failed: bool,
}

/// What a look found that takes a bounded time however little there is to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked<T> {
    /// The next one.
    Found(T),
    /// Nothing in one block of the log, or in some hundred events: look again.
    Nothing,
    /// Nothing, and there is nothing more.
    End,
}

impl Events {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self {
            cursor,
            fetched: Vec::new().into_iter(),
            fetch: FETCHED_FIRST,
            failed: false,
        }
    }

    /// The next events as they are stored, about 256 KiB of them; none at the end. Do not mix with
    /// [`Iterator::next`], which decodes ahead.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        self.next_batch_within(BatchLimit::default())
    }

    /// The same within a limit. Of the events that a filter does not choose nothing is seen; a
    /// batch is never empty.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_batch_within(&mut self, limit: BatchLimit) -> Result<Option<Batch>, ReadError> {
        loop {
            match self.cursor.next_batch(limit)? {
                Some(batch) if batch.is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    /// The next events within the limit. A batch is empty where nothing was found in one block of
    /// the log, or in some hundred events; it tells how far was looked.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn look_within(&mut self, limit: BatchLimit) -> Result<Option<Batch>, ReadError> {
        self.cursor.next_batch(limit)
    }

    /// The next event, if it is found soon. After an error there is nothing more.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn look(&mut self) -> Result<Looked<RecordedEvent>, ReadError> {
        if let Some(event) = self.fetched.next() {
            return Ok(Looked::Found(event));
        }
        if self.failed {
            return Ok(Looked::End);
        }
        let fetched = self.fetch();
        self.failed = fetched.is_err();
        if !fetched? {
            return Ok(Looked::End);
        }
        Ok(self.fetched.next().map_or(Looked::Nothing, Looked::Found))
    }

    /// Decodes some events, if some are found soon; says whether there may be more.
    fn fetch(&mut self) -> Result<bool, ReadError> {
        let limit = BatchLimit {
            events_max: self.fetch,
            ..BatchLimit::default()
        };
        self.fetch = FETCHED_MAX.min(self.fetch * 4);
        let Some(batch) = self.look_within(limit)? else {
            return Ok(false);
        };
        let events: Result<Vec<_>, _> = batch.events().collect();
        let mut events = events.map_err(ReadError::unreadable)?;
        if self.cursor.direction == Direction::Backwards {
            events.reverse();
        }
        self.fetched = events.into_iter();
        Ok(true)
    }
}

impl Iterator for Events {
    type Item = Result<RecordedEvent, ReadError>;

    /// The next event. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.look() {
                Ok(Looked::Found(event)) => return Some(Ok(event)),
                Ok(Looked::Nothing) => {}
                Ok(Looked::End) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
