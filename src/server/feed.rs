//! What a read or a subscription may send: its credit, and whether anybody still wants it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The part of a feed that the session's task and the feed's own task share.
#[derive(Debug)]
pub(super) struct Feed {
    credit_bytes: AtomicU64,
    credit_bytes_max: u64,
    /// It ends only when it is cancelled.
    pub(super) is_endless: bool,
    cancelled: AtomicBool,
    changed: Notify,
}

impl Feed {
    pub(super) fn new(credit_bytes: u64, credit_bytes_max: u64, is_endless: bool) -> Self {
        Self {
            credit_bytes: AtomicU64::new(credit_bytes.min(credit_bytes_max)),
            credit_bytes_max,
            is_endless,
            cancelled: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Adds credit, up to the limit.
    pub(super) fn give(&self, bytes: u64) {
        let add = |credit: u64| Some(credit.saturating_add(bytes).min(self.credit_bytes_max));
        // The function never declines.
        let _before = self.credit_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        self.changed.notify_one();
    }

    /// Takes credit for bytes that are sent. One long record may take more than there is.
    pub(super) fn spend(&self, bytes: u64) {
        let take = |credit: u64| Some(credit.saturating_sub(bytes));
        let _before = self.credit_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
    }

    pub(super) fn credit_bytes(&self) -> u64 {
        self.credit_bytes.load(Ordering::Acquire)
    }

    /// Ends the feed at its next step.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Waits for credit or the end. Only the feed's own task may wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits for the end.
    pub(super) async fn cancelled(&self) {
        while !self.is_cancelled() {
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_stays_between_nothing_and_the_limit() {
        let feed = Feed::new(50, 100, false);
        feed.spend(70);
        assert_eq!(feed.credit_bytes(), 0);
        feed.give(30);
        assert_eq!(feed.credit_bytes(), 30);
        feed.give(u64::MAX);
        assert_eq!(feed.credit_bytes(), 100);
        assert_eq!(Feed::new(1000, 100, false).credit_bytes(), 100);
    }
}
