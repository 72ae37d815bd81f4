//! How full the simulated disk is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::memory::page::{page_len, wide};

/// How much the files of one disk take, and may take, in bytes.
#[derive(Debug)]
pub(super) struct Space {
    capacity: AtomicU64,
    used: AtomicU64,
}

impl Space {
    pub(super) const UNLIMITED: u64 = 1 << 60;

    pub(super) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self {
            capacity: AtomicU64::new(capacity),
            used: AtomicU64::new(0),
        })
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::SeqCst)
    }

    pub(super) fn limit(&self, capacity: u64) {
        self.capacity.store(capacity, Ordering::SeqCst);
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity()
            .saturating_sub(self.used.load(Ordering::SeqCst))
    }

    pub(super) fn take_page(&self) -> io::Result<()> {
        let capacity = self.capacity();
        let more = |used: u64| Some(used + page_len()).filter(|used| *used <= capacity);
        match self
            .used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    pub(super) fn take(&self, pages: usize) {
        self.used
            .fetch_add(wide(pages) * page_len(), Ordering::SeqCst);
    }

    pub(super) fn give(&self, pages: usize) {
        self.used
            .fetch_sub(wide(pages) * page_len(), Ordering::SeqCst);
    }
}
