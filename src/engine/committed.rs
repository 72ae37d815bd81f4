//! The committed position: the end of what is durable, and so of what anybody sees.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Position;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Told of every commit, on the committer's thread, after its events became visible. It must be
/// quick: the next commit waits for it.
pub(crate) trait CommitListener: Any + Debug + Send + Sync {
    /// Everything before `end` is committed now.
    fn committed(&self, end: Position);

    /// The store was closed: nothing more will be committed.
    fn closed(&self);

    /// What was held back may be shown now, without a commit.
    fn changed(&self);
}

/// The one number that a commit publishes, and who waits for it.
#[derive(Debug)]
pub(crate) struct Committed {
    end: AtomicU64,
    time_us: AtomicI64,
    waiters: watch::Sender<Position>,
    listening: Mutex<Listening>,
}

#[derive(Debug)]
enum Listening {
    Nobody,
    Somebody(Arc<dyn CommitListener>),
    Over,
}

impl Committed {
    pub(super) fn new(end: Position, time_us: i64) -> Self {
        Self {
            end: AtomicU64::new(end.0),
            time_us: AtomicI64::new(time_us),
            waiters: watch::Sender::new(end),
            listening: Mutex::new(Listening::Nobody),
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

    /// Whether nothing more will be committed.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.listening.lock(), Listening::Over)
    }

    /// A receiver that is told of every later commit.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.waiters.subscribe()
    }

    /// The one who is told of commits, made when first asked for: there is one in the life of a
    /// store. None if the store is closed.
    pub(crate) fn listener<L: CommitListener>(
        &self,
        make: impl FnOnce() -> Arc<L>,
    ) -> Option<Arc<L>> {
        let mut listening = self.listening.lock();
        match &*listening {
            Listening::Nobody => {
                let made = make();
                *listening = Listening::Somebody(made.clone());
                Some(made)
            }
            Listening::Somebody(listener) => {
                let any: Arc<dyn Any + Send + Sync> = listener.clone();
                any.downcast().ok()
            }
            Listening::Over => None,
        }
    }

    /// Makes everything before `end` visible.
    pub(super) fn publish(&self, end: Position, time_us: i64) {
        self.time_us.store(time_us, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
        // Whether anybody waits is not asked first: between the question and the answer he may
        // come.
        self.waiters.send_replace(end);
        let listener = match &*self.listening.lock() {
            Listening::Somebody(listener) => Arc::clone(listener),
            Listening::Nobody | Listening::Over => return,
        };
        listener.committed(end);
    }

    /// Tells who listens that what was held back may be shown now.
    pub(super) fn changed(&self) {
        let listener = match &*self.listening.lock() {
            Listening::Somebody(listener) => Arc::clone(listener),
            Listening::Nobody | Listening::Over => return,
        };
        listener.changed();
    }

    /// Tells who listens that nothing more will come, and lets him go.
    pub(super) fn close(&self) {
        let listening = std::mem::replace(&mut *self.listening.lock(), Listening::Over);
        if let Listening::Somebody(listener) = listening {
            listener.closed();
        }
    }
}
