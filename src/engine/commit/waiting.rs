//! Requests that found no room, and whose turn it is when there is some.
//!
//! Each origin has a lane: within it requests stay in their order, and the lanes take turns, each
//! with so many bytes of requests. So however much one origin has sent, another one's request is
//! let in within a round. Where there are no places left, those are given up that the origin with
//! the most has sent last.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use crate::engine::origin::Origin;

/// What a lane may let in when it is its turn: requests cost their lengths in bytes. A larger one
/// waits as many turns as it costs.
const TURN_COST: usize = 16 * 1024;
/// What a request costs beside its length, so that short ones do not come without end.
const REQUEST_COST: usize = 128;

/// Requests that wait.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    lanes: BTreeMap<Origin, Lane<T>>,
    /// The lanes from which something can be let in, in the order of their turns.
    turns: VecDeque<Origin>,
    len: usize,
    len_bytes: usize,
}

/// The requests of one origin.
#[derive(Debug)]
struct Lane<T> {
    requests: VecDeque<(T, usize)>,
    len_bytes: usize,
    /// What is left of its turn.
    turn: usize,
    /// Requests that are going round again. Until each of them is back, later ones wait: what a
    /// connection sends one behind the other is judged in that order.
    going_round: usize,
}

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) requests_max: usize,
    pub(super) len_bytes_max: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            requests: VecDeque::new(),
            len_bytes: 0,
            turn: TURN_COST,
            going_round: 0,
        }
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            len: 0,
            len_bytes: 0,
        }
    }
}

impl<T> Lane<T> {
    fn is_ready(&self) -> bool {
        self.going_round == 0 && !self.requests.is_empty()
    }

    fn is_over(&self) -> bool {
        self.going_round == 0 && self.requests.is_empty()
    }

    fn push(&mut self, request: T, len_bytes: usize) {
        self.requests.push_back((request, len_bytes));
        self.len_bytes += len_bytes;
    }
}

impl<T> Waiting<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether something can be let in, if there is room.
    pub(super) fn is_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Whether a request of this origin is let in at once, if there is room.
    pub(super) fn is_turn_of(&self, origin: Origin) -> bool {
        !self.is_ready() && !self.lanes.contains_key(&origin)
    }

    /// Puts a request behind those of its origin. Gives the requests that have to go for it, or
    /// itself if it has to.
    pub(super) fn push(
        &mut self,
        origin: Origin,
        request: T,
        len_bytes: usize,
        places: Places,
    ) -> Vec<T> {
        let mut gone = Vec::new();
        while self.len >= places.requests_max || self.len_bytes + len_bytes > places.len_bytes_max {
            let by_bytes = self.len < places.requests_max;
            match self.give_up_one(origin, len_bytes, by_bytes) {
                Some(last) => gone.push(last),
                None => {
                    gone.push(request);
                    return gone;
                }
            }
        }
        let lane = self.lanes.entry(origin).or_default();
        lane.push(request, len_bytes);
        if lane.is_ready() && lane.requests.len() == 1 {
            self.turns.push_back(origin);
        }
        self.len += 1;
        self.len_bytes += len_bytes;
        gone
    }

    /// Takes out the last request of the origin with the most; none if that would be the one for
    /// which there is to be a place.
    fn give_up_one(&mut self, origin: Origin, len_bytes: usize, by_bytes: bool) -> Option<T> {
        let most = |lane: &Lane<T>| match by_bytes {
            true => lane.len_bytes,
            false => lane.requests.len(),
        };
        let mine = self.lanes.get(&origin).map_or(0, most);
        let mine = mine + if by_bytes { len_bytes } else { 1 };
        let (longest, lane) = self.lanes.iter().max_by_key(|(_, lane)| most(lane))?;
        if *longest == origin || most(lane) <= mine {
            return None;
        }
        let longest = *longest;
        let lane = self.lanes.get_mut(&longest)?;
        let (request, len_bytes) = lane.requests.pop_back()?;
        lane.len_bytes -= len_bytes;
        self.len -= 1;
        self.len_bytes -= len_bytes;
        self.tidy(longest);
        Some(request)
    }

    /// How long the request is whose turn it is, in bytes.
    pub(super) fn next_len_bytes(&mut self) -> Option<usize> {
        loop {
            let lane = self.lanes.get_mut(self.turns.front()?)?;
            let (_, len_bytes) = lane.requests.front()?;
            if len_bytes + REQUEST_COST <= lane.turn {
                return Some(*len_bytes);
            }
            lane.turn += TURN_COST;
            self.turns.rotate_left(1);
        }
    }

    /// Takes out the request of [`Self::next_len_bytes`].
    pub(super) fn pop(&mut self) -> Option<T> {
        let origin = *self.turns.front()?;
        let lane = self.lanes.get_mut(&origin)?;
        let (request, len_bytes) = lane.requests.pop_front()?;
        lane.len_bytes -= len_bytes;
        lane.turn = lane.turn.saturating_sub(len_bytes + REQUEST_COST);
        self.len -= 1;
        self.len_bytes -= len_bytes;
        self.tidy(origin);
        Some(request)
    }

    /// A request goes round again: the others of its origin wait until it is back.
    pub(super) fn leave(&mut self, origin: Origin) {
        self.lanes.entry(origin).or_default().going_round += 1;
        self.turns.retain(|other| *other != origin);
    }

    /// A request that went round is back.
    pub(super) fn come_back(&mut self, origin: Origin) {
        if let Entry::Occupied(mut lane) = self.lanes.entry(origin) {
            let lane = lane.get_mut();
            lane.going_round = lane.going_round.saturating_sub(1);
            if lane.is_ready() {
                self.turns.push_back(origin);
            }
        }
        self.tidy(origin);
    }

    /// Takes out all requests, in no order. What goes round comes back all the same.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len);
        for lane in self.lanes.values_mut() {
            lane.len_bytes = 0;
            all.extend(lane.requests.drain(..).map(|(request, _)| request));
        }
        self.lanes.retain(|_, lane| !lane.is_over());
        self.turns.clear();
        (self.len, self.len_bytes) = (0, 0);
        all
    }

    /// Forgets a lane that is over.
    fn tidy(&mut self, origin: Origin) {
        let Entry::Occupied(lane) = self.lanes.entry(origin) else {
            return;
        };
        if !lane.get().is_ready() {
            self.turns.retain(|other| *other != origin);
        }
        if lane.get().is_over() {
            lane.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::origin::Origins;

    const PLACES: Places = Places {
        requests_max: 100,
        len_bytes_max: 1_000_000,
    };

    /// Two origins, of which the first has handed over so many requests of so many bytes.
    fn flooded(requests: u32, len_bytes: usize) -> (Waiting<u32>, Origin, Origin) {
        let (origins, mut waiting) = (Origins::default(), Waiting::default());
        let (flood, other) = (origins.next(), origins.next());
        for request in 0..requests {
            assert!(waiting.push(flood, request, len_bytes, PLACES).is_empty());
        }
        (waiting, flood, other)
    }

    /// What is let in, up to a request.
    fn let_in_until(waiting: &mut Waiting<u32>, last: u32) -> Vec<u32> {
        let mut all = Vec::new();
        while all.last() != Some(&last) {
            waiting.next_len_bytes().unwrap();
            all.push(waiting.pop().unwrap());
        }
        all
    }

    #[test]
    fn the_origins_take_turns_and_each_keeps_its_order() {
        for (len_bytes, turn) in [(1_000, 14), (4_000, 3), (9_000, 1)] {
            let (mut waiting, _, other) = flooded(90, len_bytes);
            waiting.push(other, 1_000, 10, PLACES);
            let let_in = let_in_until(&mut waiting, 1_000);
            assert_eq!(let_in.len(), turn + 1, "{let_in:?}");
            let rest = let_in_until(&mut waiting, 89);
            let flood: Vec<u32> = let_in.into_iter().chain(rest).collect();
            let in_order: Vec<u32> = flood.into_iter().filter(|one| *one < 1_000).collect();
            assert_eq!(in_order, Vec::from_iter(0..90));
            assert!(waiting.is_empty() && waiting.lanes.is_empty());
        }
    }

    #[test]
    fn requests_without_a_length_have_turns_that_end() {
        let (origins, mut waiting) = (Origins::default(), Waiting::default());
        let (flood, other) = (origins.next(), origins.next());
        let places = Places {
            requests_max: 1_000,
            ..PLACES
        };
        for request in 0..500 {
            waiting.push(flood, request, 0, places);
        }
        waiting.push(other, 1_000, 0, places);
        let let_in = let_in_until(&mut waiting, 1_000);
        assert_eq!(let_in.len(), TURN_COST / REQUEST_COST + 1);
    }

    #[test]
    fn a_large_request_waits_for_as_many_turns_as_it_costs_and_then_comes() {
        let (mut waiting, _, other) = flooded(90, 9_000);
        waiting.push(other, 1_000, 3 * TURN_COST, PLACES);
        let before = let_in_until(&mut waiting, 1_000).len();
        assert!((4..12).contains(&before), "{before}");
    }

    #[test]
    fn what_goes_round_holds_up_its_own_origin_and_no_other() {
        let (mut waiting, flood, other) = flooded(3, 10);
        assert_eq!(let_in_until(&mut waiting, 0), [0]);
        waiting.leave(flood);
        waiting.leave(flood);
        assert_eq!(
            (waiting.next_len_bytes(), waiting.is_ready()),
            (None, false)
        );
        assert!(waiting.is_turn_of(other) && !waiting.is_turn_of(flood));
        waiting.push(other, 1_000, 10, PLACES);
        assert_eq!(let_in_until(&mut waiting, 1_000), [1_000]);
        waiting.come_back(flood);
        assert_eq!(waiting.next_len_bytes(), None);
        waiting.come_back(flood);
        assert_eq!(let_in_until(&mut waiting, 2), [1, 2]);
        assert!(waiting.lanes.is_empty());
    }

    #[test]
    fn whoever_has_the_most_gives_up_places_and_only_for_others() {
        let (mut waiting, flood, other) = flooded(100, 10);
        assert_eq!(waiting.push(flood, 100, 10, PLACES), [100]);
        for number in 0..49 {
            let gone = waiting.push(other, 1_000 + number, 10, PLACES);
            assert_eq!(gone, [99 - number]);
        }
        assert_eq!(waiting.push(other, 1_049, 10, PLACES), [50]);
        assert_eq!(
            waiting.push(other, 1_050, 10, PLACES),
            [1_050],
            "as many as the flood"
        );
        let (mut waiting, flood, other) = flooded(10, 100_000);
        assert_eq!(waiting.push(flood, 10, 1, PLACES), [10]);
        assert_eq!(waiting.push(other, 1_000, 150_000, PLACES), [9, 8]);
        let too_long = PLACES.len_bytes_max + 1;
        let gone = waiting.push(other, 1_001, too_long, PLACES);
        assert_eq!(gone.last(), Some(&1_001));
        assert_eq!(
            waiting.take_all().len(),
            waiting.take_all().len() + 10 - gone.len()
        );
    }
}
