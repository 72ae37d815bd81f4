//! The window of ids: which events and requests the store has seen lately, to answer retries.
//!
//! Events are kept as 64-bit fingerprints of (stream, id) by position, the last so many of them;
//! a hit is confirmed by reading the event. Requests are kept as 128-bit fingerprints, which
//! nobody can make collide. Memory is bounded by the sizes of the two windows.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::format::codec::to_u64;
use crate::format::state::KnownRequest;
pub(crate) use crate::format::state::request_fingerprint;
use crate::format::unit::RequestEntry;

/// What was remembered of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenRequest {
    /// The position of its first event; where it stood if it had none.
    pub(crate) first: u64,
    /// How many events it had.
    pub(crate) count: u32,
    /// The hash of what was asked.
    pub(crate) content: u64,
}

/// The last ids by position.
#[derive(Debug)]
pub(super) struct IdWindow {
    events_max: u64,
    requests_max: usize,
    /// Fingerprints by position modulo the length, which is a power of two.
    ring: Vec<u64>,
    /// The positions of known fingerprints, their low 32 bits.
    table: HashTable<u32>,
    low: u64,
    end: u64,
    requests: HashMap<[u8; 16], SeenRequest>,
    order: VecDeque<(u64, [u8; 16])>,
}

const RING_LEN_MIN: usize = 1024;

fn slot(ring: &[u64], position: u64) -> usize {
    usize::try_from(position & (to_u64(ring.len()).wrapping_sub(1))).unwrap_or(0)
}

fn low_bits(position: u64) -> u32 {
    u32::try_from(position & u64::from(u32::MAX)).unwrap_or(0)
}

impl IdWindow {
    /// A window without ids, behind which the event at `end` comes next.
    pub(super) fn new(events_max: u64, requests_max: usize, end: u64) -> Self {
        Self {
            events_max: events_max.clamp(1, 1 << 30),
            requests_max,
            ring: vec![0; RING_LEN_MIN],
            table: HashTable::new(),
            low: end,
            end,
            requests: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The lowest position that a window ending here can hold.
    pub(super) fn lowest(&self, end: u64) -> u64 {
        end.saturating_sub(self.events_max)
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.ring.capacity() * 8
            + self.table.capacity() * 6
            + self.requests.capacity() * 48
            + self.order.capacity() * 24
    }

    /// Adds the fingerprint of the event behind all others.
    pub(super) fn push(&mut self, position: u64, fingerprint: u64) {
        let lowest = self.lowest(position + 1);
        while self.order.front().is_some_and(|(at, _)| *at < lowest) {
            self.forget_request();
        }
        while self.low < self.end && position - self.low >= self.events_max {
            self.forget(self.low);
            self.low += 1;
        }
        if self.low == self.end {
            self.low = position;
        }
        self.end = position + 1;
        self.grow();
        self.put(position, fingerprint);
    }

    /// Adds the fingerprint of an event before all others, as long as there is room; tables give
    /// them back after a start, the newest first.
    pub(super) fn push_front(&mut self, position: u64, fingerprint: u64) {
        if position + 1 != self.low || position < self.lowest(self.end) {
            return;
        }
        self.low = position;
        self.grow();
        self.put(position, fingerprint);
    }

    /// Whether the event in front of the lowest known one would still have room.
    pub(super) fn has_room(&self) -> bool {
        self.low > self.lowest(self.end)
    }

    /// The lowest position whose id is known.
    pub(super) fn low(&self) -> u64 {
        self.low
    }

    fn fingerprint(&self, position: u64) -> u64 {
        self.ring
            .get(slot(&self.ring, position))
            .copied()
            .unwrap_or(0)
    }

    fn put(&mut self, position: u64, fingerprint: u64) {
        let at = slot(&self.ring, position);
        if let Some(slot) = self.ring.get_mut(at) {
            *slot = fingerprint;
        }
        let Self { ring, table, .. } = self;
        let rehash = |low: &u32| ring.get(slot(ring, u64::from(*low))).copied().unwrap_or(0);
        table.insert_unique(fingerprint, low_bits(position), rehash);
    }

    fn forget(&mut self, position: u64) {
        let low = low_bits(position);
        let fingerprint = self.fingerprint(position);
        if let Ok(entry) = self.table.find_entry(fingerprint, |other| *other == low) {
            entry.remove();
        }
    }

    fn grow(&mut self) {
        if self.end - self.low <= to_u64(self.ring.len()) {
            return;
        }
        let mut larger = vec![0; self.ring.len() * 2];
        for position in self.low..self.end {
            let at = slot(&larger, position);
            if let Some(slot) = larger.get_mut(at) {
                *slot = self.fingerprint(position);
            }
        }
        self.ring = larger;
    }

    /// The positions from `since` on whose fingerprint is this one, ascending.
    pub(super) fn find(&self, fingerprint: u64, since: u64) -> SmallVec<[u64; 2]> {
        let mut found = SmallVec::new();
        for low in self.table.iter_hash(fingerprint) {
            let back = low_bits(self.end.wrapping_sub(1)).wrapping_sub(*low);
            let position = (self.end - 1).saturating_sub(u64::from(back));
            if position >= since.max(self.low) && self.fingerprint(position) == fingerprint {
                found.push(position);
            }
        }
        found.sort_unstable();
        found
    }

    /// Remembers a request behind all others.
    pub(super) fn push_request(&mut self, fingerprint: [u8; 16], seen: SeenRequest) {
        if self.requests.insert(fingerprint, seen).is_none() {
            self.order.push_back((seen.first, fingerprint));
        }
        if self.order.len() > self.requests_max {
            self.forget_request();
        }
    }

    fn forget_request(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.requests.remove(&oldest);
        }
    }

    /// Remembers a request before all others, as long as there is room.
    pub(super) fn push_request_front(&mut self, fingerprint: [u8; 16], seen: SeenRequest) {
        let fits = self.order.len() < self.requests_max && seen.first >= self.lowest(self.end);
        if fits && !self.requests.contains_key(&fingerprint) {
            self.requests.insert(fingerprint, seen);
            self.order.push_front((seen.first, fingerprint));
        }
    }

    /// What is remembered of a request.
    pub(super) fn request(&self, principal: &str, id: Uuid) -> Option<SeenRequest> {
        self.requests
            .get(&request_fingerprint(principal, id))
            .copied()
    }

    /// The requests that stood at positions of this range, in order.
    pub(super) fn requests_in(&self, first: u64, end: u64) -> Vec<([u8; 16], SeenRequest)> {
        let start = self.order.partition_point(|(at, _)| *at < first);
        let range = self
            .order
            .iter()
            .skip(start)
            .take_while(|(at, _)| *at < end);
        range
            .filter_map(|(_, key)| Some((*key, *self.requests.get(key)?)))
            .collect()
    }

    /// The fingerprints of the events of this range that are known, and the first one's position.
    pub(super) fn fingerprints_in(&self, first: u64, end: u64) -> (u64, Vec<u64>) {
        let first = first.max(self.low).min(end);
        let known = first..end.min(self.end);
        (
            first,
            known.map(|position| self.fingerprint(position)).collect(),
        )
    }
}

impl SeenRequest {
    /// What is remembered of it elsewhere.
    pub(super) fn known(known: &KnownRequest) -> Self {
        Self {
            first: known.first,
            count: known.count,
            content: known.content,
        }
    }

    /// What is remembered of an append that answered a request.
    pub(super) fn of(first: u64, count: u32, request: &RequestEntry) -> Self {
        Self {
            first,
            count,
            content: request.content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn the_window_slides_and_grows() {
        let mut window = IdWindow::new(3000, 2, 7);
        for position in 7..20_007 {
            window.push(position, spread(position / 2));
        }
        let find = |position: u64| window.find(spread(position / 2), 0).into_vec();
        assert_eq!(find(20_004), [20_004, 20_005]);
        assert_eq!(find(17_008), [17_008, 17_009]);
        assert_eq!(find(17_006), [17_007]);
        assert_eq!(find(17_004), Vec::<u64>::new());
        assert_eq!(window.table.len(), 3000);
    }

    #[test]
    fn older_ids_come_back_in_front_as_far_as_there_is_room() {
        let mut window = IdWindow::new(3000, 2, 5000);
        window.push(5000, 1);
        for position in (0..5000).rev() {
            window.push_front(position, spread(position));
        }
        assert_eq!(window.find(1, 0).into_vec(), [5000]);
        assert_eq!((window.low(), window.has_room()), (2001, false));
        let one = spread(2001);
        assert_eq!(window.find(one, 0).into_vec(), [2001]);
        assert_eq!(window.find(one, 2002).into_vec(), Vec::<u64>::new());
    }

    #[test]
    fn only_the_last_requests_are_remembered() {
        let mut window = IdWindow::new(10, 2, 0);
        for number in 0..3u64 {
            let seen = SeenRequest {
                first: number,
                count: 1,
                content: 9,
            };
            let id = Uuid::from_u128(number.into());
            window.push_request(request_fingerprint("ann", id), seen);
        }
        assert_eq!(window.request("ann", Uuid::from_u128(0)), None);
        assert_eq!(window.request("bob", Uuid::from_u128(2)), None);
        let found = window.request("ann", Uuid::from_u128(2)).unwrap();
        assert_eq!(found.first, 2);
        assert_eq!(window.requests_in(0, 2).len(), 1);
    }
}
