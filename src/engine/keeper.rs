//! Background work: the store's own threads, or one call that does what they would.
//!
//! Every piece of work is a bounded step of the layer that it belongs to; here is only who calls it
//! and when. Nothing here is needed for what was acknowledged to be safe.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::log::StorageError;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Instant, Mutex, thread};

/// How long a keeper sleeps when it knows of nothing to do and nobody wakes it.
const IDLE: Duration = Duration::from_secs(5);
/// How long after a failed step the next one is tried.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Wakes a keeper, and tells it to end.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// Whether it rang since the keeper last went to work: also while he works, so that what came
    /// behind his last look is not missed.
    rung: AtomicBool,
    /// Whether the keeper sleeps until it is woken, so that ringing costs a commit next to nothing
    /// at any other time.
    asleep: AtomicBool,
    ended: Mutex<bool>,
    changed: Condvar,
}

/// A bell for each keeper.
#[derive(Debug, Default)]
pub(super) struct Bells {
    pub(super) log: Bell,
    pub(super) spare: Bell,
    pub(super) index: Bell,
}

impl Bell {
    /// Something may be there to do.
    pub(super) fn ring(&self) {
        // Whoever rings sets one and asks for the other, whoever goes to sleep the other way round:
        // so one of the two sees the other.
        self.rung.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            drop(self.ended.lock());
            self.changed.notify_one();
        }
    }

    /// Nothing is to be done any more.
    pub(super) fn end(&self) {
        *self.ended.lock() = true;
        self.changed.notify_one();
    }

    /// Waits so long; or until the bell rings, and then for some time at most. Whether to go on.
    fn wait(&self, next: Next) -> bool {
        let (pause, called) = match next {
            Next::Now => (Duration::ZERO, false),
            Next::After(pause) => (pause, false),
            Next::WhenCalled => (IDLE, true),
        };
        let deadline = Instant::now() + pause;
        let mut ended = self.ended.lock();
        self.asleep.store(called, Ordering::SeqCst);
        while !(*ended || called && self.rung.load(Ordering::SeqCst)) {
            if self.changed.wait_until(&mut ended, deadline).timed_out() {
                break;
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
        self.rung.store(false, Ordering::SeqCst);
        !*ended
    }
}

/// What a thread of the store does.
type Job = fn(&Shared);

/// Starts the store's threads.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), StorageError> {
    let jobs: [(&str, Job); 5] = [
        ("annal-commit", |shared| shared.committer.run()),
        ("annal-resolve", |shared| shared.committer.run_again()),
        ("annal-log", |shared| {
            keep(shared, |shared| &shared.bells.log, Shared::log_step)
        }),
        ("annal-spare", |shared| {
            keep(shared, |shared| &shared.bells.spare, Shared::spare_step)
        }),
        ("annal-index", |shared| {
            keep(shared, |shared| &shared.bells.index, Shared::index_step)
        }),
    ];
    let mut ids = Vec::with_capacity(jobs.len());
    for (name, job) in jobs {
        let mine = Arc::clone(shared);
        let spawned = thread::Builder::new().name(name.into()).spawn(move || {
            let job = AssertUnwindSafe(|| job(&mine));
            if catch_unwind(job).is_err() {
                // Nobody would do its work, and appends would wait for that.
                let panicked = io::Error::other("it panicked");
                let error = StorageError::io("go on with the thread", name, panicked);
                mine.committer.background_failed(error);
            }
        });
        let thread =
            spawned.map_err(|error| StorageError::io("start a thread for", name, error))?;
        ids.push(thread.thread().id());
        shared.threads.lock().push(thread);
    }
    let _only_here = shared.thread_ids.set(ids);
    Ok(())
}

fn keep(
    shared: &Shared,
    bell: fn(&Shared) -> &Bell,
    step: fn(&Shared) -> Result<Next, StorageError>,
) {
    let mut next = Next::Now;
    let mut failed = false;
    while bell(shared).wait(next) {
        next = match step(shared) {
            Ok(next) => {
                if std::mem::take(&mut failed) {
                    shared.committer.background_recovered();
                }
                next
            }
            Err(error) => {
                failed = true;
                shared.committer.background_failed(error);
                if shared.committer.stopped().is_some() {
                    return;
                }
                Next::After(AFTER_FAILURE)
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_that_rang_while_the_keeper_worked_wakes_him_at_once() {
        let bell = Bell::default();
        let begun = Instant::now();
        assert!(bell.wait(Next::Now));
        bell.ring();
        assert!(bell.wait(Next::WhenCalled));
        assert!(begun.elapsed() < IDLE);
    }
}
