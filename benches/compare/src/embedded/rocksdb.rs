//! RocksDB: the default column family, a write batch with a sync of the log, no compression, since
//! the events do not compress.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use rocksdb::{DB, DBCompressionType, IteratorMode, Options, WriteBatch, WriteOptions};

use super::Engine;
use crate::payload::Digest;

/// An open database.
pub struct RocksDb {
    database: DB,
    synced: WriteOptions,
    next: u64,
}

impl RocksDb {
    /// Makes the database.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self {
            database: DB::open(&options, folder)?,
            synced,
            next: 0,
        })
    }
}

impl Engine for RocksDb {
    fn append(&mut self, events: &[Bytes]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for event in events {
            batch.put(self.next.to_be_bytes(), event);
            self.next += 1;
        }
        Ok(self.database.write_opt(batch, &self.synced)?)
    }

    fn digest(&mut self) -> Result<Option<Digest>> {
        let mut digest = Digest::default();
        for entry in self.database.iterator(IteratorMode::Start) {
            digest.add(&entry?.1);
        }
        Ok(Some(digest))
    }
}
