//! A member as its group sees it.

use std::collections::VecDeque;
use std::task::Waker;

use crate::subscription::group::JoinOptions;
use crate::subscription::group::measure::Meter;
use crate::subscription::group::message::Seat;

/// A member of a group.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) join: JoinOptions,
    /// Events on the way to the member, with the number of the delivery; some may have timed out.
    pub(super) outbox: VecDeque<(Seat, u64)>,
    /// Events on the way and at hand.
    pub(super) in_flight_count: usize,
    pub(super) waker: Option<Waker>,
    pub(super) meter: Meter,
}

impl Seated {
    pub(super) fn new(join: JoinOptions, measured: bool, now_us: i64) -> Self {
        let meter = match measured {
            true => Meter::measuring(now_us),
            false => Meter::new(now_us),
        };
        Self {
            join,
            outbox: VecDeque::new(),
            in_flight_count: 0,
            waker: None,
            meter,
        }
    }

    /// How many more events the member takes.
    pub(super) fn room(&self) -> usize {
        let size = usize::try_from(self.join.buffer_size).unwrap_or(usize::MAX);
        size.saturating_sub(self.in_flight_count)
    }
}
