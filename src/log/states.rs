//! The state records: of each (space, key) the last durable value in the log, all in memory.
//!
//! A record is seen here only after the sync of its unit, and before the unit's events are.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::format::codec::to_u64;
use crate::format::state::KnownRequest;
use crate::format::unit::{AppendEntry, StateRecord, UnitHeader};
use crate::model::Position;
use crate::sync::RwLock;

/// What a record takes in memory beside its key and value, in bytes, about.
const RECORD_LEN_BYTES: u64 = 96;
/// How many bytes of records are shown under one lock.
const SHOWN_LEN_BYTES: usize = 256 * 1024;

/// The memory that a record takes, in bytes, about.
pub(crate) fn state_len_bytes(key: &[u8], value: &[u8]) -> u64 {
    RECORD_LEN_BYTES + to_u64(key.len()) + to_u64(value.len())
}

/// The values as of some unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StateMap {
    spaces: BTreeMap<u8, BTreeMap<Bytes, Bytes>>,
    len_bytes: u64,
    /// How many records were applied.
    changes: u64,
}

impl StateMap {
    /// Gives a key a value.
    pub(super) fn put(&mut self, space: u8, key: Bytes, value: Bytes) {
        self.remove(space, &key);
        self.len_bytes += state_len_bytes(&key, &value);
        self.spaces.entry(space).or_default().insert(key, value);
    }

    fn remove(&mut self, space: u8, key: &[u8]) {
        let keys = self.spaces.get_mut(&space);
        if let Some(value) = keys.and_then(|keys| keys.remove(key)) {
            self.len_bytes -= state_len_bytes(key, &value);
        }
    }

    /// Applies the records of a unit. To apply a stretch of the log again, from any place to the
    /// end, changes nothing.
    pub(super) fn apply(&mut self, records: Vec<StateRecord>) {
        for StateRecord { space, key, value } in records {
            self.changes += 1;
            match value {
                Some(value) => self.put(space, key.into(), value.into()),
                None => self.remove(space, &key),
            }
        }
    }

    fn range(
        &self,
        space: u8,
        from: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&Bytes, &Bytes)> + use<'_> {
        let keys = self.spaces.get(&space);
        let range = keys.map(|keys| keys.range::<[u8], _>((from, Bound::Unbounded)));
        range.into_iter().flatten()
    }
}

/// The most requests at one position that are kept for the next state file.
const IDLE_REQUESTS_MAX: usize = 131_072;

/// The named requests without events that stand at the end of the log: a table that ends there does
/// not have them, and a walk that begins there may not see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IdleRequests(Vec<KnownRequest>);

impl IdleRequests {
    /// Those of a list that stand at a position.
    pub(super) fn at(end: Position, known: &[KnownRequest]) -> Self {
        let idle = |request: &&KnownRequest| request.first == end.0 && request.count == 0;
        Self(known.iter().filter(idle).copied().collect())
    }

    /// Goes on behind a unit.
    pub(super) fn follow(&mut self, header: &UnitHeader, appends: &[AppendEntry]) {
        if header.records > 0 {
            self.0.clear();
        }
        let idle = |append: &&AppendEntry| append.records == 0;
        let count = appends.iter().rev().take_while(idle).count();
        let idle = appends.get(appends.len() - count..).unwrap_or_default();
        let requests = idle.iter();
        self.0
            .extend(requests.filter_map(|append| KnownRequest::of(header.end_position(), append)));
        let surplus = self.0.len().saturating_sub(IDLE_REQUESTS_MAX);
        self.0.drain(..surplus);
    }

    pub(super) fn requests(&self) -> &[KnownRequest] {
        &self.0
    }
}

/// The values as of the last durable unit.
#[derive(Debug, Default)]
pub(super) struct States(RwLock<StateMap>);

impl States {
    pub(super) fn new(map: StateMap) -> Self {
        Self(RwLock::new(map))
    }

    pub(super) fn apply(&self, records: Vec<StateRecord>) {
        self.0.write().apply(records);
    }

    pub(super) fn get(&self, space: u8, key: &[u8]) -> Option<Bytes> {
        self.0.read().spaces.get(&space)?.get(key).cloned()
    }

    pub(super) fn with_prefix(&self, space: u8, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let map = self.0.read();
        let range = map.range(space, Bound::Included(prefix));
        range
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The memory that all records take, in bytes, about.
    pub(super) fn len_bytes(&self) -> u64 {
        self.0.read().len_bytes
    }

    /// How many records were applied since the state file was read.
    pub(super) fn changes(&self) -> u64 {
        self.0.read().changes
    }

    /// Shows all records, some at a time: what changes meanwhile may be shown as it was or as it
    /// is. Whoever applies the log behind the place where he began gets what is right.
    pub(super) fn for_each(&self, mut show: impl FnMut(u8, &[u8], &[u8])) {
        let mut from = (0, Bound::Unbounded);
        while let Some(last) = self.show_some(&from, &mut show) {
            from = (last.0, Bound::Excluded(last.1));
        }
    }

    fn show_some(
        &self,
        from: &(u8, Bound<Bytes>),
        show: &mut impl FnMut(u8, &[u8], &[u8]),
    ) -> Option<(u8, Bytes)> {
        let map = self.0.read();
        let mut left = SHOWN_LEN_BYTES;
        for space in map.spaces.range(from.0..).map(|(space, _)| *space) {
            let start = match *space_start(space, from) {
                Bound::Excluded(ref key) => Bound::Excluded(&**key),
                Bound::Included(_) | Bound::Unbounded => Bound::Unbounded,
            };
            for (key, value) in map.range(space, start) {
                show(space, key, value);
                left = left.saturating_sub(key.len() + value.len() + 1);
                if left == 0 {
                    return Some((space, key.clone()));
                }
            }
        }
        None
    }
}

fn space_start(space: u8, from: &(u8, Bound<Bytes>)) -> &Bound<Bytes> {
    match space == from.0 {
        true => &from.1,
        false => &Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(space: u8, key: &str, value: &str) -> StateRecord {
        StateRecord {
            space,
            key: key.as_bytes().into(),
            value: Some(value.as_bytes().into()),
        }
    }

    fn all(states: &States) -> Vec<(u8, String, usize)> {
        let mut shown = Vec::new();
        states.for_each(|space, key, value| {
            let key = String::from_utf8_lossy(key).into_owned();
            shown.push((space, key, value.len()));
        });
        shown
    }

    #[test]
    fn the_last_value_counts_and_the_memory_is_counted() {
        let states = States::default();
        states.apply(vec![put(1, "a", "1"), put(2, "a", "2"), put(1, "ab", "3")]);
        let full = states.len_bytes();
        assert_eq!(full, 3 * RECORD_LEN_BYTES + 7);
        states.apply(vec![put(1, "a", "longer")]);
        assert_eq!(states.get(1, b"a").unwrap(), "longer");
        assert_eq!(states.len_bytes(), full + 5);
        let keys: Vec<Bytes> = states
            .with_prefix(1, b"a")
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["a", "ab"]);
        assert_eq!(states.with_prefix(1, b"b"), []);
        for (space, key) in [(1, "a"), (1, "ab"), (2, "a"), (3, "never")] {
            let mut removal = put(space, key, "");
            removal.value = None;
            states.apply(vec![removal]);
        }
        assert_eq!(states.len_bytes(), 0);
        assert_eq!(all(&states), []);
    }

    #[test]
    fn idle_requests_are_those_without_events_at_the_end() {
        let known = |first, count| KnownRequest {
            fingerprint: [7; 16],
            first,
            count,
            content: 0,
        };
        let all = [known(5, 0), known(4, 0), known(5, 1), known(5, 0)];
        let idle = IdleRequests::at(Position(5), &all);
        assert_eq!(idle.requests(), [all[0], all[3]]);
    }

    #[test]
    fn all_records_are_shown_though_only_some_at_a_time() {
        let states = States::default();
        let large = "x".repeat(SHOWN_LEN_BYTES);
        let mut expected = Vec::new();
        for space in [0, 3, 255] {
            for key in ["", "k", "l"] {
                states.apply(vec![put(space, key, &large)]);
                expected.push((space, key.to_owned(), large.len()));
            }
        }
        assert_eq!(all(&states), expected);
    }
}
