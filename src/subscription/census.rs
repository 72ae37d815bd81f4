//! Who follows a store now, and how far behind the slowest is.
//!
//! Every subscription has a place here as long as it lives, and writes into it what it has come to:
//! one atomic store a look. Nobody is asked anything else until somebody counts.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::{ReadError, Store};
use crate::model::Position;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Stands for a subscription that has delivered everything there is for it.
const RESTING: u64 = u64::MAX;

/// How the subscriptions of a store are: those of embedding programs, of clients and of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionStats {
    /// How many there are.
    pub count: u64,
    /// How many of them have something to deliver.
    pub behind_count: u64,
    /// How many events of the log the slowest of them has not looked at.
    pub lag_events_max: u64,
    /// How long ago the first of these was committed, or created where that is not known at once,
    /// in microseconds.
    pub lag_us_max: u64,
}

/// The places of all subscriptions.
#[derive(Debug, Default)]
pub(super) struct Census(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    next_id: u64,
    by_id: HashMap<u64, Arc<AtomicU64>>,
}

/// The place of one subscription; it goes with it.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    id: u64,
    next: Arc<AtomicU64>,
}

impl Census {
    /// A place for a subscription that begins at a position.
    pub(super) fn enter(self: &Arc<Self>, next: Position) -> Place {
        let next = Arc::new(AtomicU64::new(next.0));
        let mut places = self.0.lock();
        let id = places.next_id;
        places.next_id += 1;
        places.by_id.insert(id, Arc::clone(&next));
        Place {
            census: Arc::clone(self),
            id,
            next,
        }
    }

    /// How many there are, how many of them are behind, and where the slowest is.
    fn count(&self, end: Position) -> (usize, usize, Position) {
        let places = self.0.lock();
        let all = places.by_id.values();
        let behind = all.map(|next| next.load(Ordering::Relaxed));
        let behind = behind.filter(|next| *next < end.0);
        let (count, slowest) = behind.fold((0, end.0), |(count, slowest), next| {
            (count + 1, slowest.min(next))
        });
        (places.by_id.len(), count, Position(slowest))
    }
}

impl Place {
    /// Everything in front of the position was delivered.
    pub(super) fn at(&self, next: Position) {
        self.next.store(next.0, Ordering::Relaxed);
    }

    /// And nothing behind it concerns the subscription so far.
    pub(super) fn rests(&self) {
        self.next.store(RESTING, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.census.0.lock().by_id.remove(&self.id);
    }
}

impl Store {
    /// How many subscriptions there are, and how far behind the slowest is. It may read one event
    /// from the disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn subscription_stats(&self) -> Result<SubscriptionStats, ReadError> {
        let dispatcher = self.dispatcher().ok_or_else(ReadError::closed)?;
        let end = self.committed();
        let (count, behind, slowest) = dispatcher.census.count(end);
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let since_us = match slowest < end {
            false => None,
            true => match self.reading().committed_us(slowest.next()) {
                Some(committed_us) => Some(committed_us),
                None => self.event_at(slowest)?.map(|event| event.created.micros()),
            },
        };
        let lag_us = since_us.map_or(0, |since_us| self.now_us().saturating_sub(since_us));
        Ok(SubscriptionStats {
            count: wide(count),
            behind_count: wide(behind),
            lag_events_max: end.0.saturating_sub(slowest.0),
            lag_us_max: u64::try_from(lag_us).unwrap_or(0),
        })
    }
}
