//! redb: one table, a write transaction that is durable at once.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::Engine;
use crate::payload::Digest;

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// An open database.
pub struct Redb {
    database: Database,
    next: u64,
}

impl Redb {
    /// Makes the database.
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::create(folder.join("events.redb"))?;
        Ok(Self { database, next: 0 })
    }
}

impl Engine for Redb {
    fn append(&mut self, events: &[Bytes]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut table = transaction.open_table(EVENTS)?;
        for event in events {
            table.insert(self.next, &event[..])?;
            self.next += 1;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn digest(&mut self) -> Result<Option<Digest>> {
        let table = self.database.begin_read()?.open_table(EVENTS)?;
        let mut digest = Digest::default();
        for entry in table.iter()? {
            digest.add(entry?.1.value());
        }
        Ok(Some(digest))
    }
}
