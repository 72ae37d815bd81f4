//! How one subscription hears that something may be there for it.

use std::task::{Context, Poll, Waker};

use crate::model::Position;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Set once by the dispatcher for each time that the subscription waits.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    /// Whether the dispatcher knows that it is waited for; changed only under the dispatcher's
    /// lock.
    registered: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    fired: Option<Position>,
    waker: Option<Waker>,
}

impl Signal {
    pub(super) fn set_registered(&self, registered: bool) {
        self.registered.store(registered, Ordering::Release);
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Acquire)
    }

    /// Begins to wait: what came before counts no more.
    pub(super) fn arm(&self, waker: &Waker) {
        let mut state = self.state.lock();
        state.fired = None;
        state.waker = Some(waker.clone());
    }

    /// Something may be there, and in front of this position there is nothing.
    pub(super) fn fire(&self, nothing_before: Position) {
        let waker = {
            let mut state = self.state.lock();
            state.fired = Some(nothing_before);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once it was fired.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.fired.is_some() {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// What it was fired with, if it was.
    pub(super) fn fired(&self) -> Option<Position> {
        self.state.lock().fired
    }
}
