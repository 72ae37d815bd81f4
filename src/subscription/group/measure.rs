//! How much a group and its members do, and how long a member takes for an event.
//!
//! A meter measures by itself, at the end of each interval of the clock that it is shown. Who looks
//! changes nothing: however many look, and however often, all of them see the same.

use std::collections::VecDeque;

/// How many of the last events the figures of a member rest on.
const MEASURED_MAX: usize = 1_000;
/// How often is measured.
const INTERVAL_US: i64 = 5_000_000;

/// Counts events.
#[derive(Debug)]
pub(super) struct Meter {
    total_count: u64,
    /// When the present interval began, and the events since then.
    began_us: i64,
    since_count: u64,
    /// The events of the interval before; none if there was no such interval.
    before_count: Option<u64>,
    /// How long the last events took, in microseconds, if that is wanted.
    took_us: Option<VecDeque<i64>>,
}

/// What a meter shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) total_count: u64,
    pub(super) since_count: u64,
    pub(super) per_second: u64,
    pub(super) observed: Vec<Measurement>,
}

/// One figure of how long a member takes for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// What it is: `Mean`, `Median`, `Fastest`, `Quintile 1` to `Quintile 5`, `90%`, `95%`, `99%`,
    /// `99.5%`, `99.9%` or `Highest`.
    pub name: &'static str,
    /// The figure, in milliseconds.
    pub value_ms: u64,
}

impl Meter {
    pub(super) fn new(now_us: i64) -> Self {
        Self {
            total_count: 0,
            began_us: now_us,
            since_count: 0,
            before_count: None,
            took_us: None,
        }
    }

    pub(super) fn measuring(now_us: i64) -> Self {
        Self {
            took_us: Some(VecDeque::new()),
            ..Self::new(now_us)
        }
    }

    /// Counts one more; how many that makes.
    pub(super) fn count(&mut self, now_us: i64) -> u64 {
        self.measure(now_us);
        self.since_count += 1;
        self.total_count += 1;
        self.total_count
    }

    /// Ends the present interval if its time has come.
    fn measure(&mut self, now_us: i64) {
        let elapsed_us = now_us.saturating_sub(self.began_us);
        let passed = elapsed_us / INTERVAL_US;
        if passed > 0 {
            let count = std::mem::take(&mut self.since_count);
            self.before_count = Some(if passed == 1 { count } else { 0 });
            self.began_us = now_us.saturating_sub(elapsed_us % INTERVAL_US);
        }
    }

    pub(super) fn took(&mut self, took_us: i64) {
        if let Some(measured) = &mut self.took_us {
            if measured.len() == MEASURED_MAX {
                measured.pop_front();
            }
            measured.push_back(took_us.max(0));
        }
    }

    /// What it shows.
    pub(super) fn look(&mut self, now_us: i64) -> Measured {
        self.measure(now_us);
        let before_us = self.before_count.map_or(0, |_| INTERVAL_US);
        let elapsed_us = now_us.saturating_sub(self.began_us) + before_us;
        let count = self.since_count + self.before_count.unwrap_or(0);
        // What came within less than a second came in a second.
        let elapsed_us = u64::try_from(elapsed_us.max(1_000_000)).unwrap_or(u64::MAX);
        Measured {
            total_count: self.total_count,
            since_count: self.since_count,
            per_second: count.saturating_mul(1_000_000) / elapsed_us,
            observed: self.took_us.as_ref().map(observed).unwrap_or_default(),
        }
    }
}

/// Shares of the events, in thousandths, that took at most what is shown.
const SHARES: [(&str, usize); 13] = [
    ("Median", 500),
    ("Fastest", 0),
    ("Quintile 1", 200),
    ("Quintile 2", 400),
    ("Quintile 3", 600),
    ("Quintile 4", 800),
    ("Quintile 5", 1_000),
    ("90%", 900),
    ("95%", 950),
    ("99%", 990),
    ("99.5%", 995),
    ("99.9%", 999),
    ("Highest", 1_000),
];

fn observed(took_us: &VecDeque<i64>) -> Vec<Measurement> {
    let mut sorted: Vec<i64> = took_us.iter().copied().collect();
    sorted.sort_unstable();
    let count = i64::try_from(sorted.len()).unwrap_or(i64::MAX);
    let mean = sorted.iter().sum::<i64>().checked_div(count).unwrap_or(0);
    let ms = |value_us: i64| u64::try_from(value_us / 1_000).unwrap_or(0);
    let at = |share: usize| {
        let rank = (sorted.len() * share).div_ceil(1_000).max(1) - 1;
        sorted.get(rank).copied().unwrap_or(0)
    };
    let mean = Measurement {
        name: "Mean",
        value_ms: ms(mean),
    };
    let shares = SHARES.iter().map(|(name, share)| Measurement {
        name,
        value_ms: ms(at(*share)),
    });
    std::iter::once(mean).chain(shares).collect()
}
