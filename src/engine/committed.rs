//! The committed position: the end of what is durable, and so of what anybody sees.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::watch;

use crate::model::Position;

/// Told of every commit, on the committer's thread, after its events became visible. It must be
/// quick: the next commit waits for it.
pub(crate) trait CommitListener: std::fmt::Debug + Send + Sync {
    /// Everything before `end` is committed now.
    fn committed(&self, end: Position);
}

/// The one number that a commit publishes, and who waits for it.
#[derive(Debug)]
pub(crate) struct Committed {
    end: AtomicU64,
    time_us: AtomicI64,
    waiters: watch::Sender<Position>,
    listener: OnceLock<std::sync::Arc<dyn CommitListener>>,
}

impl Committed {
    pub(super) fn new(end: Position, time_us: i64) -> Self {
        Self {
            end: AtomicU64::new(end.0),
            time_us: AtomicI64::new(time_us),
            waiters: watch::Sender::new(end),
            listener: OnceLock::new(),
        }
    }

    /// The position behind the last committed event.
    pub(crate) fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// When the last commit was made, in microseconds since 1970; no less than any before.
    pub(crate) fn time_us(&self) -> i64 {
        self.time_us.load(Ordering::Acquire)
    }

    /// A receiver that is told of every later commit.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.waiters.subscribe()
    }

    /// Sets who is told of commits; once in the life of a store.
    pub(crate) fn listen(&self, listener: std::sync::Arc<dyn CommitListener>) {
        // A second listener would be a mistake of this crate; the first one stays.
        let _already_set = self.listener.set(listener);
    }

    /// Makes everything before `end` visible.
    pub(super) fn publish(&self, end: Position, time_us: i64) {
        self.time_us.store(time_us, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
        if self.waiters.receiver_count() > 0 {
            self.waiters.send_replace(end);
        }
        if let Some(listener) = self.listener.get() {
            listener.committed(end);
        }
    }
}
