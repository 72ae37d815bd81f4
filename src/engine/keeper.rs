//! Background work: the store's own threads, or one call that does what they would.
//!
//! Every piece of work is a bounded step of the layer that it belongs to; here is only who calls it
//! and when. Nothing here is needed for what was acknowledged to be safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::log::StorageError;

/// How long a keeper sleeps when it knows of nothing to do and nobody wakes it.
const IDLE: Duration = Duration::from_secs(5);
/// How long after a failed step the next one is tried.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Wakes a keeper, and tells it to end.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// Whether the keeper sleeps until it is woken, so that ringing costs a commit next to nothing
    /// at any other time.
    asleep: AtomicBool,
    state: Mutex<BellState>,
    rung: Condvar,
}

/// A bell for each keeper.
#[derive(Debug, Default)]
pub(super) struct Bells {
    pub(super) log: Bell,
    pub(super) index: Bell,
}

#[derive(Debug, Default)]
struct BellState {
    rung: bool,
    ended: bool,
}

impl Bell {
    /// Something may be there to do.
    pub(super) fn ring(&self) {
        if self.asleep.swap(false, Ordering::AcqRel) {
            self.state.lock().rung = true;
            self.rung.notify_one();
        }
    }

    /// Nothing is to be done any more.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.rung.notify_one();
    }

    /// Waits so long; or until the bell rings, and then for some time at most. Whether to go on.
    fn wait(&self, next: Next) -> bool {
        let pause = match next {
            Next::Now => Duration::ZERO,
            Next::After(pause) => pause,
            Next::WhenCalled => IDLE,
        };
        let deadline = Instant::now() + pause;
        let mut state = self.state.lock();
        if next == Next::WhenCalled {
            self.asleep.store(true, Ordering::Release);
        }
        while !state.ended && !state.rung {
            if self.rung.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.rung = false;
        !state.ended
    }
}

/// What a thread of the store does.
type Job = fn(&Shared);

/// Starts the store's threads.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>, StorageError> {
    let jobs: [(&str, Job); 4] = [
        ("annal-commit", |shared| shared.committer.run()),
        ("annal-resolve", |shared| shared.committer.run_again()),
        ("annal-log", |shared| {
            keep(shared, |shared| &shared.bells.log, Shared::log_step)
        }),
        ("annal-index", |shared| {
            keep(shared, |shared| &shared.bells.index, Shared::index_step)
        }),
    ];
    let mut threads = Vec::with_capacity(jobs.len());
    for (name, job) in jobs {
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || job(&shared));
        threads.push(thread.map_err(|error| StorageError::io("start a thread for", name, error))?);
    }
    Ok(threads)
}

fn keep(
    shared: &Shared,
    bell: fn(&Shared) -> &Bell,
    step: fn(&Shared) -> Result<Next, StorageError>,
) {
    let mut next = Next::Now;
    while bell(shared).wait(next) {
        next = step(shared).unwrap_or_else(|error| {
            shared.background_failed(error);
            Next::After(AFTER_FAILURE)
        });
    }
}

/// When a step wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At once: there is more to do.
    Now,
    /// After this pause.
    After(Duration),
    /// When something happened.
    WhenCalled,
}
