//! The clock and the random numbers of the machine.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

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
