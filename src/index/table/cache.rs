//! Pages of tables that were read and found whole, kept in a bounded amount of memory.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::sync::Mutex;

const SHARDS: usize = 16;
/// What a page takes beside its content, about.
const OVERHEAD_BYTES: usize = 96;

/// A page: the number of its table, and its offset there.
type Address = (u32, u64);

/// Shared by all tables. What was not asked for since the hand went by last makes room first.
#[derive(Debug)]
pub(crate) struct PageCache {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    bytes_max: usize,
    bytes: usize,
    map: HashMap<Address, usize>,
    pages: Vec<Kept>,
    hand: usize,
    hits: u64,
    misses: u64,
}

/// What pages in memory were good for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheUse {
    /// How often a page was there.
    pub(crate) hits: u64,
    /// How often it was not.
    pub(crate) misses: u64,
    /// How many bytes of memory the pages take, about.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Kept {
    address: Address,
    page: Bytes,
    used: bool,
}

impl PageCache {
    /// A cache of at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let shard = || Shard {
            bytes_max: bytes_max / SHARDS,
            ..Shard::default()
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
        }
    }

    fn shard(&self, (table, offset): Address) -> Option<&Mutex<Shard>> {
        let mixed = (offset ^ u64::from(table) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let index = usize::try_from(mixed >> 60).unwrap_or(0);
        self.shards.get(index % SHARDS)
    }

    /// A page, if it is there.
    pub(crate) fn find(&self, address: Address) -> Option<Bytes> {
        let mut shard = self.shard(address)?.lock();
        let Some(index) = shard.map.get(&address).copied() else {
            shard.misses += 1;
            return None;
        };
        shard.hits += 1;
        let kept = shard.pages.get_mut(index)?;
        kept.used = true;
        Some(kept.page.clone())
    }

    /// Keeps a page.
    pub(crate) fn keep(&self, address: Address, page: &Bytes) {
        if let Some(shard) = self.shard(address) {
            shard.lock().keep(address, page);
        }
    }

    /// What it was good for.
    pub(crate) fn usage(&self) -> CacheUse {
        let mut usage = CacheUse::default();
        for shard in &self.shards {
            let shard = shard.lock();
            usage.hits += shard.hits;
            usage.misses += shard.misses;
            usage.bytes += shard.bytes;
        }
        usage
    }
}

impl Shard {
    fn keep(&mut self, address: Address, page: &Bytes) {
        let bytes = page.len() + OVERHEAD_BYTES;
        if bytes > self.bytes_max || self.map.contains_key(&address) {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            self.make_room();
        }
        self.bytes += bytes;
        self.map.insert(address, self.pages.len());
        self.pages.push(Kept {
            address,
            page: page.clone(),
            used: false,
        });
    }

    fn make_room(&mut self) {
        if self.hand >= self.pages.len() {
            self.hand = 0;
        }
        match self.pages.get_mut(self.hand) {
            Some(kept) if kept.used => {
                kept.used = false;
                self.hand += 1;
            }
            Some(_) => {
                let kept = self.pages.swap_remove(self.hand);
                self.bytes -= kept.page.len() + OVERHEAD_BYTES;
                self.map.remove(&kept.address);
                if let Some(moved) = self.pages.get(self.hand) {
                    self.map.insert(moved.address, self.hand);
                }
            }
            None => self.bytes = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let cache = PageCache::new(SHARDS * 10 * (1000 + OVERHEAD_BYTES));
        let page = Bytes::from(vec![0; 1000]);
        for offset in 0..10_000 {
            cache.keep((1, offset * 1004), &page);
            if offset % 10 == 0 {
                cache.keep((2, 0), &page);
                assert!(cache.find((2, 0)).is_some());
            }
            assert!(cache.usage().bytes <= SHARDS * 10 * (1000 + OVERHEAD_BYTES));
        }
        let kept = (0..10_000).filter(|at| cache.find((1, at * 1004)).is_some());
        assert!(kept.count() > 100);
        for (address, index) in cache.shards.iter().flat_map(|shard| {
            let shard = shard.lock();
            let all: Vec<_> = shard.map.iter().map(|(a, i)| (*a, *i)).collect();
            assert!(
                all.iter()
                    .all(|(address, index)| shard.pages[*index].address == *address)
            );
            all
        }) {
            assert!(index < 10, "{address:?}");
        }
    }
}
