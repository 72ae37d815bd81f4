//! The clock and the random numbers of the machine.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::disk::random::Random;

/// What the engine asks of the machine beside its disk. Tests own a `Host` of their own, so that a
/// run depends on nothing but its seed.
pub trait Host: Debug + Send + Sync + 'static {
    /// The wall clock, in microseconds since 1970. It may jump; only information rests on it.
    fn now_us(&self) -> i64;

    /// A random (version 4) UUID, from a source that cannot be guessed.
    fn random_uuid(&self) -> Uuid;
}

/// The machine's own clock and random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsHost;

impl Host for OsHost {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system's clock"
    )]
    fn now_us(&self) -> i64 {
        let micros =
            |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        }
    }

    fn random_uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A clock that stands still until it is told to move, and "random" numbers that follow from a
/// seed. For tests: everybody can guess its numbers.
#[derive(Debug)]
pub struct SimulatedHost {
    now_us: Mutex<i64>,
    random: Mutex<Random>,
}

impl SimulatedHost {
    /// A host whose clock stands at 2026-01-01T00:00:00Z.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            now_us: Mutex::new(1_767_225_600_000_000),
            random: Mutex::new(Random::new(seed)),
        }
    }

    /// Puts the clock anywhere, in microseconds since 1970; backwards too.
    pub fn set_now_us(&self, now_us: i64) {
        *self.now_us.lock() = now_us;
    }

    /// Moves the clock by so many microseconds; backwards if negative.
    pub fn advance_us(&self, by_us: i64) {
        let mut now_us = self.now_us.lock();
        *now_us = now_us.saturating_add(by_us);
    }
}

impl Host for SimulatedHost {
    fn now_us(&self) -> i64 {
        *self.now_us.lock()
    }

    fn random_uuid(&self) -> Uuid {
        let mut random = self.random.lock();
        let (high, low) = (random.next(), random.next());
        drop(random);
        uuid::Builder::from_random_bytes(Uuid::from_u64_pair(high, low).into_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_host_depends_on_its_seed_and_its_owner_alone() {
        let [one, same, other] = [1, 1, 2].map(SimulatedHost::new);
        let id = one.random_uuid();
        assert_eq!(id, same.random_uuid());
        assert_ne!(id, other.random_uuid());
        assert_ne!(id, one.random_uuid());
        assert_eq!(id.get_version_num(), 4);

        let start = one.now_us();
        assert_eq!(one.now_us(), start);
        one.advance_us(5);
        assert_eq!(one.now_us(), start + 5);
        one.set_now_us(-1);
        one.advance_us(-1);
        assert_eq!(one.now_us(), -2);
    }

    #[test]
    fn the_systems_clock_and_numbers_are_its_own() {
        assert!(
            OsHost.now_us() > 1_767_225_600_000_000,
            "it is later than 2026-01-01"
        );
        assert_ne!(OsHost.random_uuid(), OsHost.random_uuid());
    }
}
