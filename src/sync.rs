//! Locks, atomics, threads, and the clock by which waits are measured, for every layer between
//! `disk` and the fronts.
//!
//! Those layers name none of them elsewhere. So `tests/interleavings` can compile the same source
//! once more, with a module of this name in which a scheduler decides who runs next.

pub(crate) use std::sync::atomic;
pub(crate) use std::thread;
pub(crate) use std::time::Instant;

pub(crate) use parking_lot::{ArcRwLockWriteGuard, Condvar, Mutex, MutexGuard, RawRwLock, RwLock};
