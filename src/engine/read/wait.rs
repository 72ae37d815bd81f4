//! Waiting: for a token to be reached, and for any future on a thread without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::engine::ReadError;
use crate::engine::read::Reading;
use crate::model::Token;
use crate::sync::Instant;
use crate::sync::thread::{self, Thread};

impl Reading {
    /// Whether a token belongs to this history of this store.
    pub(crate) fn check(&self, token: Token) -> Result<(), ReadError> {
        let identity = self.log.identity();
        match (token.store, token.lineage) == (identity.store, identity.lineage) {
            true => Ok(()),
            false => Err(ReadError::ForeignToken(token)),
        }
    }

    /// Waits until everything that a token covers is committed.
    pub(crate) async fn reached(&self, token: Token) -> Result<(), ReadError> {
        self.check(token)?;
        let mut watch = self.committed.watch();
        // The sender lives as long as `self`.
        let _reached = watch.wait_for(|end| *end >= token.end).await;
        Ok(())
    }

    /// The same on this thread, for at most so long.
    pub(crate) fn wait_for(&self, token: Token, timeout: Duration) -> Result<(), ReadError> {
        self.check(token)?;
        if self.committed.end() >= token.end {
            return Ok(());
        }
        let deadline = Instant::now().checked_add(timeout);
        block_on_until(self.reached(token), deadline).unwrap_or_else(|| {
            Err(ReadError::NotReached {
                reached: self.committed.end(),
                asked: token.end,
                waited: timeout,
            })
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread until it is ready, or gives up at the deadline; none waits for
/// ever. The future must not need a runtime.
pub(crate) fn block_on_until<T>(
    future: impl Future<Output = T>,
    deadline: Option<Instant>,
) -> Option<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(ready) = future.as_mut().poll(&mut context) {
            return Some(ready);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}
