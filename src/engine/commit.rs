//! The commit: requests are staged into the unit being built; one thread at a time writes the unit,
//! syncs it, makes it visible and answers everybody in it.
//!
//! While a unit is being synced the next one is built, by the callers themselves, so batches form
//! without a timer. Whoever holds the log's writer commits: the committer's thread, or a caller who
//! finds nobody doing it and is spared two wake-ups. A failed write or sync poisons the
//! store: the unit's own requests are answered `Unknown`, the ones behind it are certainly refused,
//! and nothing is ever retried. Only a unit for which the disk has no space is held and written
//! again: see `held.rs`.

mod admit;
mod answer;
mod held;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use super::committed::Committed;
use super::error::AppendError;
use super::keeper::Bells;
use super::options::{Background, StoreOptions};
use super::origin::Origin;
use super::pace::Pace;
use super::resolve::Resolution;
use super::stats::Counters;
use crate::disk::Host;
use crate::index::{Index, Step};
use crate::log::{Log, LogWriter, StorageError, UnitBuffer};
use crate::model::{Append, Position, Receipt};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex};
use answer::{Answer, Promise, Slot, Work};
use held::Held;
use waiting::Waiting;

/// Everything that staging changes, under one short lock.
struct Stage {
    unit: UnitBuffer,
    answers: Vec<Answer>,
    /// Requests that found no room.
    waiting: Waiting<(Box<Work>, Box<Resolution>)>,
    /// The memory that the state records will take that are staged and not yet durable, in bytes,
    /// at most.
    states_len_bytes: u64,
    /// The unit for which the disk has no space. What is staged behind it waits for it.
    held: Option<Held>,
    /// Why nothing is taken any more.
    stopped: Option<StorageError>,
    /// Whether the committer's thread sleeps and must be woken.
    idle: bool,
    /// Whether the committer's thread is to end.
    ending: bool,
}

/// What is to be told of a unit when it is durable.
#[derive(Clone, Copy, Debug)]
struct UnitFacts {
    end: Position,
    events: u64,
    len_bytes: usize,
    requests: usize,
    /// How many named requests had been staged when it was closed.
    named_requests: u64,
    states_len_bytes: u64,
    time_us: i64,
}

/// What a committer is made of.
pub(super) struct Parts {
    pub(super) log: Log,
    pub(super) writer: LogWriter,
    pub(super) index: Index,
    pub(super) host: Arc<dyn Host>,
    pub(super) committed: Arc<Committed>,
    pub(super) bells: Arc<Bells>,
    pub(super) counters: Arc<Counters>,
    pub(super) options: StoreOptions,
}

/// The gate through which every change of the store passes.
pub(super) struct Committer {
    log: Log,
    index: Index,
    host: Arc<dyn Host>,
    committed: Arc<Committed>,
    bells: Arc<Bells>,
    counters: Arc<Counters>,
    pace: Pace,
    options: StoreOptions,
    stage: Mutex<Stage>,
    work: Condvar,
    writer: Mutex<Option<LogWriter>>,
    /// How long the last commit took, in microseconds; the most there is if it had more than one
    /// request.
    lone_commit_us: AtomicU64,
    /// Requests to be resolved again, by a thread that may read the disk.
    again: Mutex<Vec<Work>>,
    again_arrived: Condvar,
    /// What the background work failed with and tries again.
    failure: Mutex<Option<StorageError>>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}

impl Committer {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            log,
            writer,
            index,
            host,
            committed,
            bells,
            counters,
            options,
        } = parts;
        let stage = Stage {
            unit: UnitBuffer::new(log.end()),
            answers: Vec::new(),
            waiting: Waiting::default(),
            states_len_bytes: 0,
            held: None,
            stopped: None,
            idle: false,
            ending: false,
        };
        Self {
            log,
            index,
            host,
            committed,
            bells,
            counters,
            pace: Pace::new(options.bulk_read_bytes_per_s),
            options,
            stage: Mutex::new(stage),
            work: Condvar::new(),
            writer: Mutex::new(Some(writer)),
            lone_commit_us: AtomicU64::new(0),
            again: Mutex::new(Vec::new()),
            again_arrived: Condvar::new(),
            failure: Mutex::new(None),
        }
    }

    /// The options of the store.
    pub(super) fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// How long somebody who has just read so much pauses for the sake of appends.
    pub(super) fn pause_of_reader(&self, len_bytes: usize) -> Duration {
        self.pace.pause(len_bytes, Instant::now())
    }

    /// Commits what came in, on this thread, if nobody does that already, the last commit took no
    /// longer than `within`, and it had one request: for many the committer's thread makes larger
    /// units. That thread does the rest.
    pub(super) fn commit_within(&self, within: Duration) {
        let last = Duration::from_micros(self.lone_commit_us.load(Ordering::Relaxed));
        if last <= within
            && let Some(mut writer) = self.writer.try_lock()
        {
            self.commit_once(&mut writer);
        }
        self.hand_over();
    }

    /// Takes a request and returns when it is durable or refused.
    pub(super) fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.look_for_room();
        let prepared = self.prepare(append);
        let prepared = prepared.inspect_err(|_| self.counters.refused())?;
        let slot = Arc::new(Slot::default());
        let promise = Promise(Arc::clone(&slot));
        self.admit(Work {
            origin: Origin::UNNAMED,
            prepared,
            done: Box::new(move |answer| promise.0.fill(answer)),
        });
        let answer = loop {
            if let Some(answer) = slot.take() {
                break answer;
            }
            // Whoever has the writer looks for more before he stops.
            let Some(mut writer) = self.writer.try_lock() else {
                break slot.wait();
            };
            let committed = self.commit_once(&mut writer);
            drop(writer);
            if !self.resolve_again() && !committed && !self.make_room() {
                break slot.wait();
            }
        };
        self.hand_over();
        answer
    }

    /// Flushes the index where nobody else does, if appends wait for that. Whether some of them can
    /// go on, or were refused because the disk failed.
    fn make_room(&self) -> bool {
        if self.options.background == Background::Threads || !self.has_waiting() {
            return false;
        }
        match self.index.flush(self.committed.end(), false) {
            Ok(step) => step == Step::Worked,
            Err(error) => self.background_failed(error),
        }
    }

    /// Sees to it that somebody commits what came in while the caller was committing.
    fn hand_over(&self) {
        match self.options.background {
            Background::Threads => self.wake(),
            Background::Manual => while self.drain() || self.make_room() {},
        }
    }

    /// Commits what is staged. Returns whether there was anything.
    fn commit_once(&self, writer: &mut Option<LogWriter>) -> bool {
        if let Some(went_on) = self.write_held(writer) {
            return went_on;
        }
        let (unit, answers, facts, mut ready) = {
            let mut stage = self.stage.lock();
            let mut ready = self.let_in(&mut stage);
            if stage.unit.is_empty() && stage.answers.is_empty() {
                drop(stage);
                let any = !ready.is_empty();
                self.answer_all(&mut ready);
                return any;
            }
            let next = stage.unit.next();
            let unit = std::mem::replace(&mut stage.unit, next);
            let room = Vec::with_capacity(stage.answers.len());
            let answers = std::mem::replace(&mut stage.answers, room);
            let facts = UnitFacts {
                end: unit.end_position(),
                events: unit.end_position().0 - unit.first_position().0,
                len_bytes: unit.len_bytes(),
                requests: answers.len(),
                named_requests: self.index.requests_staged(),
                states_len_bytes: stage.states_len_bytes,
                time_us: self.host.now_us().max(self.committed.time_us()),
            };
            // The next unit is filled while this one is written.
            ready.extend(self.let_in(&mut stage));
            (unit, answers, facts, ready)
        };
        self.answer_all(&mut ready);
        let began = Instant::now();
        let written = match writer {
            None => Err(StorageError::Closed),
            Some(_) if unit.is_empty() => Ok(()),
            Some(writer) => writer.commit(unit, facts.time_us).map(|end| {
                debug_assert_eq!(end, facts.end);
                self.publish(&facts, began);
            }),
        };
        if let Err(error @ StorageError::Full(_)) = written {
            self.hold(error, facts, answers);
            return true;
        }
        self.forget_states(&facts);
        match written {
            Ok(()) => self.answer(answers),
            Err(error) => self.poison(error, answers),
        }
        true
    }

    /// The state records of a unit are durable, or will never be.
    fn forget_states(&self, facts: &UnitFacts) {
        if facts.states_len_bytes > 0 {
            self.stage.lock().states_len_bytes -= facts.states_len_bytes;
        }
    }

    /// Makes a unit visible that is durable, and whose writing began then.
    fn publish(&self, facts: &UnitFacts, began: Instant) {
        let took = began.elapsed();
        self.counters.committed(facts.events, facts.len_bytes, took);
        self.pace.committed(facts.requests, began + took);
        let lone_us = match facts.requests {
            0..=1 => u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        self.lone_commit_us.store(lone_us, Ordering::Relaxed);
        self.index.requests_durable(facts.named_requests);
        self.committed.publish(facts.end, facts.time_us);
        self.bells.log.ring();
        if self.log.wants_spare() {
            self.bells.spare.ring();
        }
        if self.index.wants_flush() || self.log.wants_checkpoint() {
            self.bells.index.ring();
        }
    }

    /// A step of the background work failed. A disk without space may get some, so only what waits
    /// for the index is refused; anything else stops the store. Whether appends were refused.
    pub(super) fn background_failed(&self, error: StorageError) -> bool {
        let lasting = match error.is_for_want_of_space() {
            true => self.log.manifest().failure(),
            false => Some(error.clone()),
        };
        if let Some(error) = lasting {
            self.stop_with(&error);
            return true;
        }
        let refused = self.index.is_full() && self.refuse_waiting(&error.clone().or_full());
        *self.failure.lock() = Some(error);
        refused
    }

    /// The background work that failed was done after all.
    pub(super) fn background_recovered(&self) {
        *self.failure.lock() = None;
    }

    /// What stopped the store, why it waits for space, or what the background work fails with.
    pub(super) fn failure(&self) -> Option<StorageError> {
        let failure = self.stopped().or_else(|| self.held());
        failure.or_else(|| self.failure.lock().clone())
    }

    /// Sends every request round again whose grounds have become durable.
    fn resolve_again(&self) -> bool {
        let again = std::mem::take(&mut *self.again.lock());
        let any = !again.is_empty();
        for work in again {
            self.admit_again(work);
        }
        any
    }

    fn has_work(&self, stage: &Stage) -> bool {
        if let Some(held) = &stage.held {
            return held.is_due();
        }
        let waiting = stage.waiting.is_ready() && !self.index.is_full();
        !stage.unit.is_empty() || !stage.answers.is_empty() || waiting
    }

    /// Whether requests wait for room.
    pub(super) fn has_waiting(&self) -> bool {
        !self.stage.lock().waiting.is_empty()
    }

    /// Wakes the committer's thread, if it sleeps and there is work.
    pub(super) fn wake(&self) {
        let mut stage = self.stage.lock();
        if stage.idle && self.has_work(&stage) {
            stage.idle = false;
            self.work.notify_one();
        }
    }

    /// The committer's thread: commits until it is told to end and nothing is left.
    pub(super) fn run(&self) {
        loop {
            while self.commit_once(&mut self.writer.lock()) {}
            let mut stage = self.stage.lock();
            if self.has_work(&stage) {
                continue;
            }
            if stage.ending {
                return;
            }
            stage.idle = true;
            self.rest(&mut stage);
            stage.idle = false;
        }
    }

    /// The resolver's thread: sends requests round again until it is told to end.
    pub(super) fn run_again(&self) {
        loop {
            if self.resolve_again() {
                self.wake();
                continue;
            }
            let mut again = self.again.lock();
            if self.stage.lock().ending {
                return;
            }
            if again.is_empty() {
                self.again_arrived.wait(&mut again);
            }
        }
    }

    /// Commits and resolves until nothing is left, on the caller's thread.
    pub(super) fn drain(&self) -> bool {
        let mut any = false;
        while self.commit_once(&mut self.writer.lock()) | self.resolve_again() {
            any = true;
        }
        any
    }

    /// Refuses new requests, and tells the threads to end when nothing is left.
    pub(super) fn stop(&self) {
        {
            let mut stage = self.stage.lock();
            stage.stopped.get_or_insert(StorageError::Closed);
            stage.ending = true;
            if let Some(held) = &mut stage.held {
                held.set_due();
            }
            self.work.notify_all();
        }
        let _again = self.again.lock();
        self.again_arrived.notify_all();
    }

    /// The log's writer, to be closed; none if it was taken before.
    pub(super) fn take_writer(&self) -> Option<LogWriter> {
        self.writer.lock().take()
    }

    /// The failure that stopped the store, if one did.
    pub(super) fn stopped(&self) -> Option<StorageError> {
        self.stage.lock().stopped.clone()
    }
}
