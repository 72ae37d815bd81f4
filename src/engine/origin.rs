//! Where appends come from.

use std::num::NonZeroU64;

use crate::sync::atomic::{AtomicU64, Ordering};

/// Where appends come from: a connection, say. Appends of one origin are judged in the order in
/// which they are handed over. Where appends have to wait, the origins take turns, so that none of
/// them holds up the others, however much it has handed over.
///
/// [`Store::origin`](super::Store::origin) gives a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(Option<NonZeroU64>);

impl Origin {
    /// Whoever does not say where his appends come from.
    pub const UNNAMED: Self = Self(None);
}

/// Gives out origins.
#[derive(Debug, Default)]
pub(super) struct Origins(AtomicU64);

impl Origins {
    /// One that nobody has.
    pub(super) fn next(&self) -> Origin {
        Origin(NonZeroU64::new(
            self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        ))
    }
}
