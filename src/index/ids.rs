//! The window of ids: which events and requests the store has seen lately, to answer retries.
//!
//! Events are kept as 64-bit fingerprints of (stream, id) by position, the last so many of them;
//! a hit is confirmed by reading the event. Requests are kept as 128-bit fingerprints, which
//! nobody can make collide. Memory is bounded by the sizes of the two windows.

use std::collections::VecDeque;

use hashbrown::HashMap;
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
///
/// Positions whose fingerprints end in the same bits form a chain, from the latest to the oldest. A
/// chain ends where it leaves the window, so nothing is ever taken out of it.
#[derive(Debug)]
pub(super) struct IdWindow {
    events_max: u64,
    requests_max: usize,
    ring: Ring,
    low: u64,
    end: u64,
    /// With the number that each has among those that came in since the start; 0 if it was there.
    requests: HashMap<[u8; 16], (u64, SeenRequest)>,
    order: VecDeque<(u64, [u8; 16])>,
    /// The number of the last one that came in, and of the last one that is durable. Positions do
    /// not tell: a request without events stands in front of the next event, durable or not.
    requests_staged: u64,
    requests_durable: u64,
}

/// Three lists of one length, which is a power of two. Positions are kept by their low bits.
#[derive(Debug)]
struct Ring {
    /// By position modulo the length.
    fingerprints: Vec<u64>,
    /// The position before this one in its chain, by position modulo the length.
    before: Vec<u32>,
    /// Where a chain begins, by the fingerprint modulo the length.
    latest: Vec<u32>,
}

const RING_LEN_MIN: usize = 1024;

impl Ring {
    fn new(len: usize) -> Self {
        Self {
            fingerprints: vec![0; len],
            before: vec![0; len],
            latest: vec![0; len],
        }
    }

    fn len(&self) -> usize {
        self.fingerprints.len()
    }

    fn slot(&self, of: u64) -> usize {
        usize::try_from(of & to_u64(self.len()).wrapping_sub(1)).unwrap_or(0)
    }

    fn fingerprint(&self, position: u64) -> u64 {
        let at = self.slot(position);
        self.fingerprints.get(at).copied().unwrap_or(0)
    }

    fn before(&self, position: u64) -> u32 {
        self.before
            .get(self.slot(position))
            .copied()
            .unwrap_or_default()
    }

    fn set(&mut self, position: u64, fingerprint: u64, before: u32) {
        let at = self.slot(position);
        if let Some(slot) = self.fingerprints.get_mut(at) {
            *slot = fingerprint;
        }
        if let Some(slot) = self.before.get_mut(at) {
            *slot = before;
        }
    }

    /// Puts a fingerprint in front of its chain.
    fn push(&mut self, position: u64, fingerprint: u64) {
        let chain = self.slot(fingerprint);
        if let Some(latest) = self.latest.get_mut(chain) {
            let before = std::mem::replace(latest, low_bits(position));
            self.set(position, fingerprint, before);
        }
    }

    /// The positions of the chain of a fingerprint, from the latest on, that lie in this window.
    fn chain(&self, fingerprint: u64, low: u64, end: u64) -> impl Iterator<Item = u64> + '_ {
        // What was never set leads nowhere: down to a position that does not come before.
        let down = move |from: u64, to: u32| {
            let back = low_bits(from).wrapping_sub(to);
            from.checked_sub(back.into()).filter(|at| *at >= low)
        };
        let latest = self.latest.get(self.slot(fingerprint)).copied();
        let last = end.checked_sub(1);
        let first = latest.zip(last).and_then(|(to, last)| down(last, to));
        std::iter::successors(first, move |at| {
            down(*at, self.before(*at)).filter(|next| next < at)
        })
    }
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
            ring: Ring::new(RING_LEN_MIN),
            low: end,
            end,
            requests: HashMap::new(),
            order: VecDeque::new(),
            requests_staged: 0,
            requests_durable: 0,
        }
    }

    /// The lowest position that a window ending here can hold.
    pub(super) fn lowest(&self, end: u64) -> u64 {
        end.saturating_sub(self.events_max)
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.ring.len() * 16 + self.requests.capacity() * 56 + self.order.capacity() * 24
    }

    /// Adds the fingerprint of the event behind all others.
    pub(super) fn push(&mut self, position: u64, fingerprint: u64) {
        let lowest = self.lowest(position + 1);
        while self.order.front().is_some_and(|(at, _)| *at < lowest) {
            self.forget_request();
        }
        self.low = match self.low == self.end {
            true => position,
            false => self.low.max(lowest),
        };
        self.grow(self.low..self.end.max(self.low), position + 1 - self.low);
        self.end = position + 1;
        self.ring.push(position, fingerprint);
    }

    /// Adds the fingerprints of the events from `first` on, which come behind all others.
    pub(super) fn push_all(&mut self, first: u64, fingerprints: &[u64]) {
        for (position, fingerprint) in (first..).zip(fingerprints) {
            self.push(position, *fingerprint);
        }
    }

    /// Adds the fingerprint of an event before all others, as long as there is room; tables give
    /// them back after a start, the newest first.
    pub(super) fn push_front(&mut self, position: u64, fingerprint: u64) {
        if position + 1 != self.low || position < self.lowest(self.end) {
            return;
        }
        self.grow(self.low..self.end, self.end - position);
        self.low = position;
        let ring = &mut self.ring;
        // It becomes the last of its chain.
        let last = ring.chain(fingerprint, position + 1, self.end).last();
        ring.set(position, fingerprint, low_bits(position));
        let at = last.map_or(ring.slot(fingerprint), |last| ring.slot(last));
        let list = match last {
            Some(_) => &mut ring.before,
            None => &mut ring.latest,
        };
        if let Some(slot) = list.get_mut(at) {
            *slot = low_bits(position);
        }
    }

    /// Whether the event in front of the lowest known one would still have room.
    pub(super) fn has_room(&self) -> bool {
        self.low > self.lowest(self.end)
    }

    /// The lowest position whose id is known.
    pub(super) fn low(&self) -> u64 {
        self.low
    }

    /// Makes room for a window of so many events, and keeps the ones that are known.
    fn grow(&mut self, known: std::ops::Range<u64>, events: u64) {
        if events <= to_u64(self.ring.len()) {
            return;
        }
        let mut larger = Ring::new(self.ring.len() * 2);
        for position in known {
            larger.push(position, self.ring.fingerprint(position));
        }
        self.ring = larger;
    }

    /// The positions from `since` on whose fingerprint is this one, ascending.
    pub(super) fn find(&self, fingerprint: u64, since: u64) -> SmallVec<[u64; 2]> {
        let low = self.low.max(since);
        let chain = self.ring.chain(fingerprint, low, self.end);
        let mut found: SmallVec<[u64; 2]> = chain
            .filter(|position| self.ring.fingerprint(*position) == fingerprint)
            .collect();
        found.reverse();
        found
    }

    /// Remembers a request behind all others, which is not durable yet.
    pub(super) fn push_request(&mut self, fingerprint: [u8; 16], seen: SeenRequest) {
        self.requests_staged += 1;
        let numbered = (self.requests_staged, seen);
        if self.requests.insert(fingerprint, numbered).is_none() {
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

    /// How many requests came in since the start.
    pub(super) fn requests_staged(&self) -> u64 {
        self.requests_staged
    }

    /// So many of the requests that came in are durable.
    pub(super) fn set_requests_durable(&mut self, count: u64) {
        self.requests_durable = count;
    }

    /// Remembers a request before all others, as long as there is room. It is durable.
    pub(super) fn push_request_front(&mut self, fingerprint: [u8; 16], seen: SeenRequest) {
        let fits = self.order.len() < self.requests_max && seen.first >= self.lowest(self.end);
        if fits && !self.requests.contains_key(&fingerprint) {
            self.requests.insert(fingerprint, (0, seen));
            self.order.push_front((seen.first, fingerprint));
        }
    }

    /// What is remembered of a request, durable or not.
    pub(super) fn request(&self, principal: &str, id: Uuid) -> Option<SeenRequest> {
        self.numbered(principal, id).map(|(_, seen)| seen)
    }

    /// What is remembered of a request, if it is durable.
    pub(super) fn durable_request(&self, principal: &str, id: Uuid) -> Option<SeenRequest> {
        let (number, seen) = self.numbered(principal, id)?;
        (number <= self.requests_durable).then_some(seen)
    }

    fn numbered(&self, principal: &str, id: Uuid) -> Option<(u64, SeenRequest)> {
        let fingerprint = request_fingerprint(principal, id);
        self.requests.get(&fingerprint).copied()
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
            .filter_map(|(_, key)| Some((*key, self.requests.get(key)?.1)))
            .collect()
    }

    /// The fingerprints of the events of this range that are known, and the first one's position.
    pub(super) fn fingerprints_in(&self, first: u64, end: u64) -> (u64, Vec<u64>) {
        let first = first.max(self.low).min(end);
        let known = first..end.min(self.end);
        (
            first,
            known
                .map(|position| self.ring.fingerprint(position))
                .collect(),
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
        assert_eq!((window.low(), window.ring.len()), (17_007, 4096));
    }

    #[test]
    fn ids_of_one_chain_are_told_apart_while_it_grows_and_slides() {
        let mut window = IdWindow::new(3000, 2, 0);
        // Two of the last bits differ, so there are four chains however long the lists are.
        let id = |position: u64| (position << 20) | (position % 4);
        for position in 0..9_000 {
            window.push(position, id(position));
            for back in [0, 1, 4, 999, 2_999, 3_000, 3_001] {
                let Some(asked) = position.checked_sub(back) else {
                    continue;
                };
                let expected = Some(asked).filter(|_| back < 3_000);
                assert_eq!(
                    window.find(id(asked), 0).into_vec(),
                    Vec::from_iter(expected)
                );
            }
        }
    }

    #[test]
    fn older_ids_come_back_in_front_as_far_as_there_is_room() {
        let mut window = IdWindow::new(3000, 2, 5000);
        window.push(5000, 1);
        for position in (0..5000).rev() {
            window.push_front(position, spread(position));
            assert_eq!(window.find(spread(4_999), 0).into_vec(), [4_999]);
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
