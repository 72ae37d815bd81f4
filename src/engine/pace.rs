//! Which goes first: while many appends share each commit, those who read much pause between their
//! steps, so that all of them together read at a rate that leaves the processor to the appends.

use std::time::Duration;

use crate::sync::{Instant, Mutex};

/// So many requests in one commit show that appends wait for each other.
const SHARED_BY_MIN: usize = 4;
/// For so long after such a commit readers pause.
const PRESSED_FOR: Duration = Duration::from_millis(10);

/// Says how long readers pause.
#[derive(Debug)]
pub(super) struct Pace {
    rate_bytes_per_s: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pressed_until: Option<Instant>,
    /// When all that was read is paid for.
    even: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate_bytes_per_s: u64) -> Self {
        Self {
            rate_bytes_per_s: rate_bytes_per_s.max(1),
            state: Mutex::default(),
        }
    }

    /// A commit that ended at `now` had so many requests.
    pub(super) fn committed(&self, requests: usize, now: Instant) {
        if requests >= SHARED_BY_MIN {
            self.state.lock().pressed_until = Some(now + PRESSED_FOR);
        }
    }

    /// How long somebody who has read `len_bytes` by `now` pauses.
    pub(super) fn pause(&self, len_bytes: usize, now: Instant) -> Duration {
        let mut state = self.state.lock();
        if state.pressed_until.is_none_or(|until| until < now) {
            state.even = None;
            return Duration::ZERO;
        }
        let len_bytes = u64::try_from(len_bytes).unwrap_or(u64::MAX);
        let cost_us = len_bytes.saturating_mul(1_000_000) / self.rate_bytes_per_s;
        let even = state.even.map_or(now, |even| even.max(now)) + Duration::from_micros(cost_us);
        state.even = Some(even);
        even - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_pause_only_while_appends_share_their_commits() {
        let pace = Pace::new(1_000_000);
        let (now, half) = (Instant::now(), Duration::from_millis(500));
        assert_eq!(pace.pause(500_000, now), Duration::ZERO);
        pace.committed(SHARED_BY_MIN - 1, now);
        assert_eq!(pace.pause(500_000, now), Duration::ZERO);
        pace.committed(SHARED_BY_MIN, now);
        assert_eq!(pace.pause(500_000, now), half);
        // The next one waits for what the first one took, too.
        assert_eq!(pace.pause(500_000, now), 2 * half);
        assert_eq!(pace.pause(500_000, now + 2 * PRESSED_FOR), Duration::ZERO);
        // What was read meanwhile is forgiven.
        let later = now + half;
        pace.committed(SHARED_BY_MIN, later);
        assert_eq!(pace.pause(500_000, later), half);
    }
}
