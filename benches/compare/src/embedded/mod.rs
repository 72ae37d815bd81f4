//! Engines within the program: one thread that appends batches and syncs after each, as fast as it
//! goes. Annal also checks the expected version of a new stream each time; the others are given
//! keys that grow. What was acknowledged is read back at the end.

mod annal;
mod fjall;
mod raw;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;

use crate::payload::{Digest, Payloads};
use crate::sample::Figures;
use crate::tally::Tally;
use crate::turn::Turn;
use crate::work::Work;
use crate::work::append::lane;

/// The sizes of batches, and the figures of their rates.
const BATCHES: [(usize, &str); 3] = [(1, "batch_1"), (64, "batch_64"), (1_000, "batch_1000")];

/// An engine with an open store.
trait Engine {
    /// Appends all the events or none; returns when they are on the disk.
    fn append(&mut self, events: &[Bytes]) -> Result<()>;

    /// What is there; nothing of an engine that cannot tell.
    fn digest(&mut self) -> Result<Option<Digest>>;
}

/// Which engine.
#[derive(Clone, Copy, Debug)]
pub enum Embedded {
    /// A file of zeros that is written over: the limit.
    Raw,
    /// Annal as a library.
    Annal,
    /// fjall, an LSM tree in Rust.
    Fjall,
    /// redb, a copy-on-write B-tree in Rust.
    Redb,
    /// RocksDB, an LSM tree in C++.
    RocksDb,
}

impl Embedded {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => crate::report::summary::RAW_LOG,
            Self::Annal => crate::report::summary::OURS,
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::RocksDb => "RocksDB",
        }
    }

    fn open(self, folder: &Path) -> Result<Box<dyn Engine>> {
        std::fs::create_dir_all(folder)?;
        Ok(match self {
            Self::Raw => Box::new(raw::Raw::open(folder)?),
            Self::Annal => Box::new(annal::Annal::open(folder)?),
            Self::Fjall => Box::new(fjall::Fjall::open(folder)?),
            Self::Redb => Box::new(redb::Redb::open(folder)?),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => Box::new(rocksdb::RocksDb::open(folder)?),
            #[cfg(not(feature = "rocksdb"))]
            Self::RocksDb => anyhow::bail!("the harness was built without it"),
        })
    }
}

impl Turn<'_> {
    /// All sizes of batches by one engine.
    pub fn embedded(&mut self, which: Embedded) -> Result<()> {
        let mut figures = Figures::new();
        let mut failures = Tally::default();
        for (batch, name) in BATCHES {
            let folder = self.folder.join(name);
            let mut engine = which.open(&folder)?;
            let mut payloads = Payloads::new(lane());
            let mut written = Digest::default();
            let began = Instant::now();
            while began.elapsed() < self.options.time() {
                let events = payloads.take(batch);
                engine.append(&events)?;
                events.iter().for_each(|event| written.add(event));
            }
            figures.insert(name, written.count as f64 / began.elapsed().as_secs_f64());
            if engine.digest()?.is_some_and(|found| found != written) {
                failures.failed(&anyhow::anyhow!("not what was acknowledged was read back"));
            }
            drop(engine);
            std::fs::remove_dir_all(&folder)?;
        }
        self.keep(Work::R, figures, &failures);
        Ok(())
    }
}
