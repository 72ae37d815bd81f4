//! Who waits for what. A waiter is woken once, and is gone then.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::model::Position;
use crate::subscription::interest::{Interest, KeyHash, Occurred, Wanted};
use crate::subscription::signal::Signal;

/// A subscription that has read everything in front of `from`.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) signal: Arc<Signal>,
    pub(super) interest: Arc<Interest>,
    /// What lies in front of this position does not concern it.
    pub(super) from: Position,
    /// It wants to be told how far it has come when this position is passed.
    pub(super) checkpoint_at: Option<Position>,
}

/// The number of a waiter; used again when it is gone.
pub(super) type Ticket = u32;

/// A signal to be fired, and the position in front of which there is nothing for it.
pub(super) type Woken = (Arc<Signal>, Position);

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    slots: Vec<Option<Waiter>>,
    free: Vec<Ticket>,
    by_key: HashMap<KeyHash, SmallVec<[Ticket; 2]>>,
    checkpoints: BTreeSet<(Position, Ticket)>,
    pub(super) wanted: Wanted,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    pub(super) fn insert(&mut self, waiter: Waiter) -> Ticket {
        let ticket = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Ticket::try_from(self.slots.len() - 1).expect("fewer than 2^32 subscriptions")
        });
        for key in &waiter.interest.keys {
            self.by_key.entry(*key).or_default().push(ticket);
        }
        if let Some(at) = waiter.checkpoint_at {
            self.checkpoints.insert((at, ticket));
        }
        self.wanted.add(&waiter.interest);
        waiter.signal.set_registered(true);
        if let Some(slot) = self.slots.get_mut(index(ticket)) {
            *slot = Some(waiter);
        }
        ticket
    }

    /// Takes out a waiter, if the ticket is still that of this signal.
    pub(super) fn cancel(&mut self, ticket: Ticket, signal: &Arc<Signal>) {
        let waiter = self.slots.get(index(ticket)).and_then(Option::as_ref);
        if waiter.is_some_and(|waiter| Arc::ptr_eq(&waiter.signal, signal)) {
            self.remove(ticket);
        }
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.slots.get_mut(index(ticket))?.take()?;
        waiter.signal.set_registered(false);
        for key in &waiter.interest.keys {
            if let Some(tickets) = self.by_key.get_mut(key) {
                tickets.retain(|one| *one != ticket);
                if tickets.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        if let Some(at) = waiter.checkpoint_at {
            self.checkpoints.remove(&(at, ticket));
        }
        self.wanted.remove(&waiter.interest);
        self.free.push(ticket);
        Some(waiter)
    }

    /// Takes out whoever is concerned by what occurred between two positions, and whose checkpoint
    /// is due.
    pub(super) fn take_concerned(
        &mut self,
        occurred: &Occurred,
        (from, to): (Position, Position),
    ) -> Vec<Woken> {
        let mut woken = Vec::new();
        // The smaller side is walked, the larger one asked.
        let keys: Vec<(KeyHash, Position)> = match self.by_key.len() < occurred.keys.len() {
            true => self
                .by_key
                .keys()
                .filter_map(|key| Some((*key, *occurred.keys.get(key)?)))
                .collect(),
            false => occurred
                .keys
                .iter()
                .map(|(key, last)| (*key, *last))
                .collect(),
        };
        for (key, last) in keys {
            // The list is taken out while it is walked: a long one would be searched again and
            // again for each who leaves it.
            let Some(mut tickets) = self.by_key.remove(&key) else {
                continue;
            };
            tickets.retain(|ticket| {
                let waiter = self.slots.get(index(*ticket)).and_then(Option::as_ref);
                if waiter.is_some_and(|waiter| waiter.from > last) {
                    return true;
                }
                let waiter = self.remove(*ticket);
                woken.extend(waiter.map(|waiter| (waiter.signal, waiter.from.max(from))));
                false
            });
            if !tickets.is_empty() {
                self.by_key.insert(key, tickets);
            }
        }
        while let Some((at, ticket)) = self.checkpoints.first().copied() {
            if at > to {
                break;
            }
            self.checkpoints.pop_first();
            let waiter = self.remove(ticket);
            woken.extend(waiter.map(|waiter| (waiter.signal, waiter.from.max(to))));
        }
        woken
    }

    /// Takes out everybody.
    pub(super) fn take_all(&mut self) -> Vec<Woken> {
        let waiters = std::mem::take(self).slots.into_iter().flatten();
        waiters
            .inspect(|waiter| waiter.signal.set_registered(false))
            .map(|waiter| (waiter.signal, waiter.from))
            .collect()
    }
}

fn index(ticket: Ticket) -> usize {
    usize::try_from(ticket).unwrap_or(usize::MAX)
}
