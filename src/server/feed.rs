//! What a read or a subscription may send: its credit, and whether anybody still wants it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

/// The part of a feed that the session's task and the feed's own task share.
#[derive(Debug)]
pub(super) struct Feed {
    /// Below zero by part of one record at most, so that no byte is granted twice.
    credit_bytes: AtomicI64,
    credit_bytes_max: i64,
    /// It ends only when it is cancelled.
    pub(super) is_endless: bool,
    cancelled: AtomicBool,
    changed: Notify,
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Feed {
    pub(super) fn new(credit_bytes: u64, credit_bytes_max: u64, is_endless: bool) -> Self {
        Self {
            credit_bytes: AtomicI64::new(signed(credit_bytes.min(credit_bytes_max))),
            credit_bytes_max: signed(credit_bytes_max),
            is_endless,
            cancelled: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Adds credit, up to the limit.
    pub(super) fn give(&self, bytes: u64) {
        self.change(|credit| {
            credit
                .saturating_add(signed(bytes))
                .min(self.credit_bytes_max)
        });
        self.changed.notify_one();
    }

    /// Takes credit for records that are sent. One long record may take more than there is.
    pub(super) fn spend(&self, bytes: u64) {
        self.change(|credit| credit.saturating_sub(signed(bytes)));
    }

    fn change(&self, change: impl Fn(i64) -> i64) {
        let always = |credit| Some(change(credit));
        let _before = self
            .credit_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, always);
    }

    /// How many bytes of records may be sent; one record always, if it is not 0.
    pub(super) fn credit_bytes(&self) -> u64 {
        u64::try_from(self.credit_bytes.load(Ordering::Acquire)).unwrap_or(0)
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
    fn credit_has_a_limit_and_what_was_sent_beyond_it_is_owed() {
        let feed = Feed::new(50, 100, false);
        feed.spend(70);
        assert_eq!(feed.credit_bytes(), 0);
        feed.give(30);
        assert_eq!(feed.credit_bytes(), 10);
        feed.give(u64::MAX);
        assert_eq!(feed.credit_bytes(), 100);
        assert_eq!(Feed::new(1000, 100, false).credit_bytes(), 100);
    }
}
