//! Annal within the program: each batch is an append to a new stream.

use std::path::Path;

use annal::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, ReadFrom, Store, StoreOptions,
    StreamName,
};
use anyhow::Result;
use bytes::Bytes;

use super::Engine;
use crate::payload::{Digest, TYPE};

/// An open store.
pub struct Annal {
    store: Store,
    event_type: EventType,
    streams: u64,
}

impl Annal {
    /// Makes the store.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self {
            store: Store::open(folder, StoreOptions::default())?,
            event_type: EventType::new(TYPE)?,
            streams: 0,
        })
    }
}

impl Engine for Annal {
    fn append(&mut self, events: &[Bytes]) -> Result<()> {
        self.streams += 1;
        let stream = StreamName::new(format!("new-{}", self.streams))?;
        let event = |data: &Bytes| NewEvent::binary(self.event_type.clone(), data.clone());
        let events = events.iter().map(event);
        self.store
            .append(Append::to(stream, ExpectedRevision::NoStream, events))?;
        Ok(())
    }

    fn digest(&mut self) -> Result<Option<Digest>> {
        let mut digest = Digest::default();
        let mut read = self
            .store
            .read_all(ReadFrom::Start, Direction::Forwards, None)?;
        while let Some(batch) = read.next_batch()? {
            for event in batch.events() {
                digest.add(&event?.data);
            }
        }
        Ok(Some(digest))
    }
}
