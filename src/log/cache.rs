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
    use super::*;

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
