//! What a work counts: events, errors, latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::payload::Digest;

/// The longest latency that is told apart from longer ones.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// Latencies, exact to 1 %.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u32>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, LATENCY_MAX_NS, 2);
        Self(histogram.expect("the bounds and the digits are in order"))
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        self.0
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LATENCY_MAX_NS));
    }

    /// Counts all of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// What so many percent do not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1_000.0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

/// What came out of a work.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The events that were acknowledged or delivered.
    pub digest: Digest,
    /// Requests that failed.
    pub errors: u64,
    /// Why the first of them did.
    pub first_error: Option<String>,
    /// Of requests, or of deliveries.
    pub latencies: Latencies,
    /// How long it took as a whole.
    pub took: Duration,
}

impl Tally {
    /// Counts what another one counted at the same time.
    pub fn merge(&mut self, other: Self) {
        self.digest.merge(other.digest);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.merge(&other.latencies);
    }

    /// Counts a failure.
    pub fn failed(&mut self, error: &anyhow::Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Events by time.
    pub fn events_per_second(&self) -> f64 {
        self.digest.count as f64 / self.took.as_secs_f64()
    }
}
