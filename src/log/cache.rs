//! What was read before and is kept within a budget; what was used longest ago goes first.

use std::collections::HashMap;
use std::hash::Hash;

use crate::sync::Mutex;

/// Values by key, of a total weight. Meant for a few hundred large values: making room looks at all
/// of them.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: Mutex<Entries<K, V>>,
    weight_max: usize,
}

#[derive(Debug)]
struct Entries<K, V> {
    map: HashMap<K, Entry<V>>,
    weight: usize,
    clock: u64,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(weight_max: usize) -> Self {
        Self {
            entries: Mutex::new(Entries {
                map: HashMap::new(),
                weight: 0,
                clock: 0,
                hits: 0,
                misses: 0,
            }),
            weight_max,
        }
    }

    pub(super) fn find(&self, key: K) -> Option<V> {
        let mut entries = self.entries.lock();
        entries.clock += 1;
        let clock = entries.clock;
        let found = entries.map.get_mut(&key).map(|entry| {
            entry.used = clock;
            entry.value.clone()
        });
        match found {
            Some(_) => entries.hits += 1,
            None => entries.misses += 1,
        }
        found
    }

    /// How often something was found, and how often not.
    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        let entries = self.entries.lock();
        (entries.hits, entries.misses)
    }

    pub(super) fn remove(&self, key: K) {
        let mut entries = self.entries.lock();
        if let Some(old) = entries.map.remove(&key) {
            entries.weight -= old.weight;
        }
    }

    pub(super) fn insert(&self, key: K, value: V, weight: usize) {
        let mut entries = self.entries.lock();
        entries.clock += 1;
        let used = entries.clock;
        let entry = Entry {
            value,
            weight,
            used,
        };
        entries.weight += weight;
        if let Some(old) = entries.map.insert(key, entry) {
            entries.weight -= old.weight;
        }
        while entries.weight > self.weight_max && entries.map.len() > 1 {
            let oldest = entries.map.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                break;
            };
            if let Some(old) = entries.map.remove(&key) {
                entries.weight -= old.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys and weights.
    #[derive(Clone, Debug)]
    enum Step {
        Find(u8),
        Insert(u8, usize),
        Remove(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6u8).prop_map(Step::Find),
            (0..6u8, 0..8usize).prop_map(|(key, weight)| Step::Insert(key, weight)),
            (0..6u8).prop_map(Step::Remove),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn it_holds_what_was_used_last_within_its_budget(steps in steps()) {
            const BUDGET: usize = 12;
            let cache = Cache::new(BUDGET);
            // What was used longest ago comes first.
            let mut model = Vec::<(u8, usize, usize)>::new();
            let (mut hits, mut misses) = (0, 0);
            for (number, step) in steps.into_iter().enumerate() {
                let place = |key| model.iter().position(|entry| entry.0 == key);
                match step {
                    Step::Find(key) => {
                        let place = place(key);
                        let found = place.map(|place| model.remove(place));
                        prop_assert_eq!(cache.find(key), found.map(|entry| entry.1));
                        model.extend(found);
                        hits += u64::from(found.is_some());
                        misses += u64::from(found.is_none());
                    }
                    Step::Insert(key, weight) => {
                        cache.insert(key, number, weight);
                        model.retain(|entry| entry.0 != key);
                        model.push((key, number, weight));
                        while model.iter().map(|entry| entry.2).sum::<usize>() > BUDGET {
                            model.remove(0);
                        }
                    }
                    Step::Remove(key) => {
                        cache.remove(key);
                        model.retain(|entry| entry.0 != key);
                    }
                }
                prop_assert_eq!(cache.hits_and_misses(), (hits, misses));
            }
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Cache::new(10);
        cache.insert(1, "one", 4);
        cache.insert(2, "two", 4);
        assert_eq!(cache.find(1), Some("one"));
        cache.insert(3, "three", 4);
        assert_eq!(cache.find(2), None);
        assert_eq!(cache.find(1), Some("one"));
        cache.insert(1, "more", 8);
        assert_eq!((cache.find(1), cache.find(3)), (Some("more"), None));
        cache.insert(4, "larger than the budget", 99);
        assert_eq!(cache.find(4), Some("larger than the budget"));
        assert_eq!(cache.find(1), None);
    }
}
