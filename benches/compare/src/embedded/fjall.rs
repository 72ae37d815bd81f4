//! fjall: one keyspace, a write batch with a sync of the journal's data.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::Engine;
use crate::payload::Digest;

/// An open database.
pub struct Fjall {
    database: Database,
    events: Keyspace,
    next: u64,
}

impl Fjall {
    /// Makes the database.
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        Ok(Self {
            database,
            events,
            next: 0,
        })
    }
}

impl Engine for Fjall {
    fn append(&mut self, events: &[Bytes]) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for event in events {
            batch.insert(&self.events, self.next.to_be_bytes(), &event[..]);
            self.next += 1;
        }
        Ok(batch.commit()?)
    }

    fn digest(&mut self) -> Result<Option<Digest>> {
        let mut digest = Digest::default();
        for entry in self.events.iter() {
            digest.add(&entry.value()?);
        }
        Ok(Some(digest))
    }
}
