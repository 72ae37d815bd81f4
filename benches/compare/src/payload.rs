//! The events: 256 bytes each that do not compress and are all different; and digests of them that
//! do not depend on their order, so that what is read back can be compared with what was written.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of data in an event.
pub const LEN_BYTES: usize = 256;
/// The type of every event.
pub const TYPE: &str = "Measured";

const POOL_LEN_BYTES: usize = 1 << 20;
/// In front of the random bytes: when the event was made, and which one it is.
const HEAD_LEN_BYTES: usize = 24;

/// Nanoseconds since this process began to measure.
pub fn now_ns() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// When an event was made, by its data.
pub fn made_ns(data: &[u8]) -> u64 {
    data.first_chunk()
        .map_or(0, |stamp| u64::from_le_bytes(*stamp))
}

fn pool() -> Arc<[u8]> {
    static POOL: OnceLock<Arc<[u8]>> = OnceLock::new();
    let make = || {
        let blocks = (0..POOL_LEN_BYTES / 8).map(|at| xxh3_64(&at.to_le_bytes()).to_le_bytes());
        blocks.flatten().collect()
    };
    Arc::clone(POOL.get_or_init(make))
}

/// Makes events; two of different lanes never make the same one.
#[derive(Debug)]
pub struct Payloads {
    pool: Arc<[u8]>,
    lane: u64,
    number: u64,
}

impl Payloads {
    /// For one writer.
    pub fn new(lane: u64) -> Self {
        Self {
            pool: pool(),
            lane,
            number: 0,
        }
    }

    /// The next so many events; they share one piece of memory.
    pub fn take(&mut self, count: usize) -> Vec<Bytes> {
        let mut bytes = BytesMut::with_capacity(count * LEN_BYTES);
        for _ in 0..count {
            self.number += 1;
            bytes.extend_from_slice(&now_ns().to_le_bytes());
            bytes.extend_from_slice(&self.lane.to_le_bytes());
            bytes.extend_from_slice(&self.number.to_le_bytes());
            let spread = (self.lane << 20).wrapping_add(self.number.wrapping_mul(8));
            let from = spread as usize % (POOL_LEN_BYTES - LEN_BYTES);
            bytes.extend_from_slice(&self.pool[from..from + LEN_BYTES - HEAD_LEN_BYTES]);
        }
        let mut bytes = bytes.freeze();
        (0..count).map(|_| bytes.split_to(LEN_BYTES)).collect()
    }
}

/// How many events, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub count: u64,
    sum: u64,
}

impl Digest {
    /// Counts one event in.
    pub fn add(&mut self, data: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(data));
    }

    /// What so many who each got all of it have together.
    pub fn times(self, readers: u64) -> Self {
        Self {
            count: self.count * readers,
            sum: self.sum.wrapping_mul(readers),
        }
    }

    /// Counts in what another one counted.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_sees_a_lost_a_doubled_and_a_changed_event_but_not_the_order() {
        let mut payloads = Payloads::new(7);
        let events = payloads.take(100);
        let of = |events: &[Bytes]| {
            let mut digest = Digest::default();
            events.iter().for_each(|event| digest.add(event));
            digest
        };
        let whole = of(&events);
        let mut turned = events.clone();
        turned.reverse();
        assert_eq!(of(&turned), whole);
        assert_ne!(of(&events[1..]), whole);
        let mut doubled = events.clone();
        doubled[0] = doubled[1].clone();
        assert_ne!(of(&doubled), whole);
        let mut changed = events;
        let mut bytes = changed[0].to_vec();
        bytes[255] ^= 1;
        changed[0] = bytes.into();
        assert_ne!(of(&changed), whole);
    }
}
