//! The layers of the index, newest first: the part being filled, the part being flushed, tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::index::memory::Part;

/// A memory part and what is asked of it without taking its lock.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) part: Arc<RwLock<Part>>,
    pub(super) full: AtomicBool,
    pub(super) bytes: AtomicUsize,
}

impl Cell {
    pub(super) fn new(part: Part) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(part.memory_bytes()),
            part: Arc::new(RwLock::new(part)),
            full: AtomicBool::new(false),
        })
    }

    /// Whether it should be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }
}

/// What is there at one moment. A change makes another one; whoever reads keeps his.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) filling: Arc<Cell>,
    pub(super) flushing: Option<Arc<Cell>>,
}

impl Layers {
    /// The memory parts, newest first.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        std::iter::once(&self.filling).chain(&self.flushing)
    }
}
