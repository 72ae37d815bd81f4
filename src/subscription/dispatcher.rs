//! The dispatcher: hears of every commit, looks once through what is new, and wakes those whom it
//! concerns.
//!
//! A subscription that has read everything registers with the position up to which it has read. No
//! wake-up is lost: whatever lies in front of `scanned` was looked at before, and who has not read
//! that far must read on instead of waiting; everything behind it is still to be looked at. When
//! few are to be woken the committer does it, in microseconds; when there are many, or a lot is
//! new, a thread does it, once in a millisecond.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{CommitListener, Reading};
use crate::model::Position;
use crate::subscription::census::Census;
use crate::subscription::interest::{Hasher, Occurred, Plan};
use crate::subscription::signal::Signal;
use crate::subscription::waiters::{Ticket, Waiter, Waiters, Woken};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, thread};

/// Under load, the thread looks and wakes at most once in this time.
const TURN: Duration = Duration::from_millis(1);
/// What the committer looks through and whom it wakes itself, in the time of a turn.
const INLINE_MAX: u64 = 32;
/// What is looked through at once, in events.
const SCANNED_MAX: u64 = 16_384;

/// What became of the wish to wait.
pub(super) enum Waiting {
    /// The signal will be fired.
    Registered(Ticket),
    /// Something is new already: read on.
    ReadOn,
    /// The store was closed.
    Closed,
}

/// Wakes the subscriptions of a store.
#[derive(Debug)]
pub(super) struct Dispatcher {
    reading: Reading,
    pub(super) hasher: Hasher,
    pub(super) census: Arc<Census>,
    /// Whether there is a thread to do what is too much for the committer.
    threaded: bool,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug)]
struct State {
    waiters: Waiters,
    /// Everything in front of this position was looked at.
    scanned: Position,
    /// What is being looked through, up to where.
    running: Option<(Arc<Plan>, Position)>,
    /// The thread is to look.
    asked: bool,
    /// To be woken by the thread.
    backlog: Vec<Woken>,
    /// When the present stretch of time began, and what the committer did in it.
    stretch: Instant,
    inline: u64,
    closed: bool,
}

impl Dispatcher {
    /// A dispatcher, with a thread of its own if it may have one.
    pub(super) fn start(reading: Reading, threaded: bool) -> Arc<Self> {
        let scanned = reading.committed_end();
        let make = |threaded| {
            Arc::new(Self {
                reading: reading.clone(),
                hasher: Hasher::default(),
                census: Arc::default(),
                threaded,
                state: Mutex::new(State {
                    waiters: Waiters::default(),
                    scanned,
                    running: None,
                    asked: false,
                    backlog: Vec::new(),
                    stretch: Instant::now(),
                    inline: 0,
                    closed: false,
                }),
                work: Condvar::new(),
            })
        };
        if threaded {
            let dispatcher = make(true);
            let runs = Arc::clone(&dispatcher);
            let builder = thread::Builder::new().name("annal-dispatch".into());
            if builder.spawn(move || runs.run()).is_ok() {
                return dispatcher;
            }
        }
        // Without a thread the committer does everything.
        make(false)
    }

    /// Registers somebody who has read everything in front of `waiter.from`.
    pub(super) fn wait(&self, waiter: Waiter) -> Waiting {
        let mut state = self.state.lock();
        if state.closed {
            return Waiting::Closed;
        }
        let committed = self.reading.committed_end();
        if state.waiters.is_empty() && state.running.is_none() {
            // Nobody waited, so nobody looked: what is new begins with him.
            state.scanned = waiter.from.min(committed);
        }
        let looked = match &state.running {
            Some((plan, to)) if !plan.covers(&waiter.interest) => *to,
            _ => state.scanned,
        };
        if waiter.from < looked {
            return Waiting::ReadOn;
        }
        let ticket = state.waiters.insert(waiter);
        if committed > state.scanned {
            self.see_to_it(state);
        }
        Waiting::Registered(ticket)
    }

    /// Up to where was looked, if every one of these is waiting: then nothing in front of it
    /// concerns any of them that was not delivered.
    pub(super) fn all_waiting<'a>(
        &self,
        mut signals: impl Iterator<Item = &'a Signal>,
    ) -> Option<Position> {
        let state = self.state.lock();
        signals.all(Signal::is_registered).then_some(state.scanned)
    }

    /// Nobody waits with this ticket any more.
    pub(super) fn cancel(&self, ticket: Ticket, signal: &Arc<Signal>) {
        self.state.lock().waiters.cancel(ticket, signal);
    }

    /// Looks at what is new, now or soon, on this thread or the other.
    fn see_to_it(&self, mut state: MutexGuard<'_, State>) {
        if state.running.is_some() || state.asked || state.waiters.is_empty() {
            // Whoever is looking looks again when he is done.
            return;
        }
        if !self.threaded {
            while self.has_news(&state) {
                let woken = self.turn(&mut state);
                MutexGuard::unlocked(&mut state, || fire(woken));
            }
            return;
        }
        let now = Instant::now();
        if now.duration_since(state.stretch) >= TURN {
            state.stretch = now;
            state.inline = 0;
        }
        let new = self
            .reading
            .committed_end()
            .0
            .saturating_sub(state.scanned.0);
        if state.inline + new > INLINE_MAX {
            state.asked = true;
            self.work.notify_one();
            return;
        }
        let mut woken = self.turn(&mut state);
        state.inline += new + u64::try_from(woken.len()).unwrap_or(INLINE_MAX);
        let many = usize::try_from(INLINE_MAX).unwrap_or(usize::MAX);
        if woken.len() > many {
            state.backlog.extend(woken.split_off(many));
            self.work.notify_one();
        }
        if self.has_news(&state) {
            state.asked = true;
            self.work.notify_one();
        }
        drop(state);
        fire(woken);
    }

    fn has_news(&self, state: &State) -> bool {
        let idle = state.waiters.is_empty() || state.running.is_some();
        !idle && self.reading.committed_end() > state.scanned
    }

    /// Looks through a bounded part of what is new, without the lock, and takes out whom it
    /// concerns.
    fn turn(&self, state: &mut MutexGuard<'_, State>) -> Vec<Woken> {
        let from = state.scanned;
        let to = self.reading.committed_end().min(from.plus(SCANNED_MAX));
        let plan = Arc::new(state.waiters.wanted.plan());
        state.running = Some((Arc::clone(&plan), to));
        let look = || Occurred::collect(&self.reading, (from, to), &plan, &self.hasher);
        let occurred = MutexGuard::unlocked(state, look);
        state.running = None;
        state.scanned = state.scanned.max(to);
        match occurred {
            Ok(occurred) => state.waiters.take_concerned(&occurred, (from, to)),
            // Whoever is concerned finds the error himself when he reads.
            Err(_) => state.waiters.take_all(),
        }
    }

    /// The thread: until the store is closed.
    fn run(&self) {
        let mut turned = None::<Instant>;
        let mut state = self.state.lock();
        while !state.closed {
            let backlog = std::mem::take(&mut state.backlog);
            if !backlog.is_empty() {
                MutexGuard::unlocked(&mut state, || fire(backlog));
                continue;
            }
            if !state.asked {
                self.work.wait(&mut state);
                continue;
            }
            let now = Instant::now();
            if let Some(due) = turned.map(|at| at + TURN).filter(|due| *due > now) {
                self.work.wait_until(&mut state, due);
                continue;
            }
            turned = Some(now);
            if self.has_news(&state) {
                let woken = self.turn(&mut state);
                MutexGuard::unlocked(&mut state, || fire(woken));
            }
            state.asked = self.has_news(&state);
        }
    }
}

impl CommitListener for Dispatcher {
    fn committed(&self, _end: Position) {
        self.see_to_it(self.state.lock());
    }

    fn changed(&self) {
        let woken = self.state.lock().waiters.take_all();
        fire(woken);
    }

    fn closed(&self) {
        let woken = {
            let mut state = self.state.lock();
            state.closed = true;
            let backlog = std::mem::take(&mut state.backlog);
            state
                .waiters
                .take_all()
                .into_iter()
                .chain(backlog)
                .collect()
        };
        self.work.notify_all();
        fire(woken);
    }
}

fn fire(woken: Vec<Woken>) {
    for (signal, nothing_before) in woken {
        signal.fire(nothing_before);
    }
}
