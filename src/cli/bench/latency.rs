//! A histogram of durations: about 3 % exact, a fixed 16 KiB however many there are.

use std::time::Duration;

/// Buckets for each doubling.
const STEPS: u64 = 32;
const STEP_BITS: u32 = 5;
const BUCKETS: usize = 60 * 32;

/// How often each duration occurred.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

/// Small numbers have a bucket each; beyond, each doubling has as many buckets.
fn bucket(nanos: u64) -> usize {
    let exponent = nanos.max(1).ilog2();
    let at = match exponent.checked_sub(STEP_BITS) {
        None => nanos,
        Some(shift) => u64::from(shift) * STEPS + (nanos >> shift),
    };
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest number of a bucket.
fn upper(bucket: usize) -> u64 {
    let at = u64::try_from(bucket).unwrap_or(0);
    match (at / STEPS).checked_sub(1) {
        None => at,
        Some(shift) => {
            let low = (at - shift * STEPS) << shift;
            low + ((1 << shift) - 1)
        }
    }
}

impl Latencies {
    /// Counts one.
    pub(super) fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Counts all of another histogram.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }

    /// The duration that so many in a thousand do not exceed, in microseconds; none if there is no
    /// duration at all.
    pub(super) fn per_mille_us(&self, per_mille: u64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = (self.total.saturating_mul(per_mille))
            .div_ceil(1_000)
            .max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(|bucket| upper(bucket).div_ceil(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gaps() {
        let mut last = 0;
        for nanos in (0..5_000).chain([1 << 20, 1 << 33, (1 << 40) + 12_345, u64::MAX >> 5]) {
            let at = bucket(nanos);
            assert!(at == last || at == last + 1 || nanos > 5_000, "{nanos}");
            assert!(upper(at) >= nanos, "{nanos}");
            assert!(upper(at) - nanos <= nanos / 31, "{nanos}");
            last = at;
        }
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.per_mille_us(500), None);
        for micros in 1..=1_000 {
            let mut one = Latencies::default();
            one.add(Duration::from_micros(micros));
            latencies.merge(&one);
        }
        for (per_mille, expected) in [(500, 500), (990, 990), (999, 999), (1_000, 1_000)] {
            let found = latencies.per_mille_us(per_mille).unwrap();
            assert!(
                found.abs_diff(expected) <= expected / 30 + 1,
                "{found} {expected}"
            );
        }
    }
}
