//! The commit: requests are staged into the unit being built; one thread at a time writes the unit,
//! syncs it, makes it visible and answers everybody in it.
//!
//! While a unit is being synced the next one is built, by the callers themselves, so batches form
//! without a timer. Whoever holds the log's writer commits: the committer's thread, or a caller who
//! finds nobody doing it and is spared two wake-ups. A failed write or sync poisons the
//! store: the unit's own requests are answered `Unknown`, the ones behind it are certainly refused,
//! and nothing is ever retried.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::committed::Committed;
use super::error::AppendError;
use super::keeper::Bells;
use super::options::{Background, StoreOptions};
use super::pace::Pace;
use super::prepare::{Prepared, prepare};
use super::resolve::{Resolution, Resolved, Resolver};
use super::stage::Outcome;
use super::stats::Counters;
use crate::disk::Host;
use crate::format::unit::StateRecord;
use crate::index::{Index, Step};
use crate::log::{Log, LogWriter, StorageError, UnitBuffer, state_len_bytes};
use crate::model::Timestamp;
use crate::model::{Append, Receipt};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};

/// Told how a request ended.
pub(super) type Done = Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>;

/// A request on its way.
struct Work {
    prepared: Prepared,
    done: Done,
}

/// An answer that waits for the unit it belongs to.
enum Answer {
    Receipt(Receipt, Done),
    /// A refusal whose grounds are in the unit, or in front of it.
    Refusal(AppendError, Done),
    Again(Box<Work>),
}

/// An answer that waits for nothing.
type Ready = (Done, Result<Receipt, AppendError>);

/// Everything that staging changes, under one short lock.
struct Stage {
    unit: UnitBuffer,
    answers: Vec<Answer>,
    /// Requests that found no room, in order.
    waiting: VecDeque<(Box<Work>, Box<Resolution>)>,
    waiting_len_bytes: usize,
    /// Requests that are going round again. Until each of them is back, later ones wait: what a
    /// connection sends one behind the other is judged in that order.
    going_round: usize,
    /// The memory that the state records will take that are staged and not yet durable, in bytes,
    /// at most.
    states_len_bytes: u64,
    /// Why nothing is taken any more.
    stopped: Option<StorageError>,
    /// Whether the committer's thread sleeps and must be woken.
    idle: bool,
    /// Whether the committer's thread is to end.
    ending: bool,
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
            waiting: VecDeque::new(),
            waiting_len_bytes: 0,
            going_round: 0,
            states_len_bytes: 0,
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

    fn prepare(&self, append: Append) -> Result<Prepared, AppendError> {
        match self.options.read_only {
            true => Err(StorageError::ReadOnly.into()),
            false => prepare(append, &self.options),
        }
    }

    /// Takes a request and returns before it is durable. Somebody must see to it that it is
    /// committed: by [`Self::wake`] or [`Self::commit_within`].
    pub(super) fn enqueue(&self, append: Append, done: Done) {
        match self.prepare(append) {
            Err(error) => self.tell(done, Err(error)),
            Ok(prepared) => self.admit(Work { prepared, done }),
        }
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
        let prepared = self.prepare(append);
        let prepared = prepared.inspect_err(|_| self.counters.refused())?;
        let slot = Arc::new(Slot::default());
        let promise = Promise(Arc::clone(&slot));
        self.admit(Work {
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

    /// Resolves a request and stages it, or puts it in the queue.
    fn admit(&self, work: Work) {
        let ready = match self.resolve(&work.prepared) {
            Err(answer) => Some((work.done, answer)),
            Ok(resolution) => self.enter(&mut self.stage.lock(), Box::new(work), resolution),
        };
        if let Some((done, answer)) = ready {
            self.tell(done, answer);
        }
    }

    /// The same for a request that went round: it goes in front of all that wait.
    fn admit_again(&self, work: Work) {
        let resolved = self.resolve(&work.prepared);
        let ready = {
            let mut stage = self.stage.lock();
            stage.going_round = stage.going_round.saturating_sub(1);
            match (resolved, stage.stopped.clone()) {
                (Err(answer), _) => Some((work.done, answer)),
                (Ok(_), Some(error)) => Some((work.done, Err(AppendError::Storage(error)))),
                (Ok(resolution), None) => self.stage_one(&mut stage, Box::new(work), &resolution),
            }
        };
        if let Some((done, answer)) = ready {
            self.tell(done, answer);
        }
    }

    /// What is known of a request's streams, or its answer.
    fn resolve(
        &self,
        prepared: &Prepared,
    ) -> Result<Box<Resolution>, Result<Receipt, AppendError>> {
        let resolver = Resolver {
            log: &self.log,
            index: &self.index,
            committed: self.committed.end(),
        };
        match resolver.resolve(prepared) {
            Err(error) => Err(Err(error)),
            Ok(Resolved::Repeated(receipt)) => Err(Ok(receipt)),
            Ok(Resolved::Ready(resolution)) => Ok(resolution),
        }
    }

    fn enter(
        &self,
        stage: &mut MutexGuard<'_, Stage>,
        work: Box<Work>,
        resolution: Box<Resolution>,
    ) -> Option<Ready> {
        if let Some(error) = &stage.stopped {
            return Some((work.done, Err(AppendError::Storage(error.clone()))));
        }
        let in_turn = stage.waiting.is_empty() && stage.going_round == 0;
        if in_turn && self.has_room(stage, work.prepared.len_bytes) {
            return self.stage_one(stage, work, &resolution);
        }
        let len_bytes = stage
            .waiting_len_bytes
            .saturating_add(work.prepared.len_bytes);
        let full = stage.waiting.len() >= self.options.waiting_requests_max
            || len_bytes > self.options.waiting_len_bytes_max;
        if full {
            return Some((work.done, Err(AppendError::Busy)));
        }
        stage.waiting_len_bytes = len_bytes;
        stage.waiting.push_back((work, resolution));
        None
    }

    fn has_room(&self, stage: &Stage, len_bytes: usize) -> bool {
        let fits = stage.unit.is_empty()
            || stage.unit.len_bytes().saturating_add(len_bytes) <= self.options.unit_len_bytes;
        fits && !self.index.is_full()
    }

    fn stage_one(
        &self,
        stage: &mut Stage,
        work: Box<Work>,
        resolution: &Resolution,
    ) -> Option<Ready> {
        let states_len_bytes = match self.states_fit(stage, &work.prepared.states) {
            Ok(len_bytes) => len_bytes,
            Err(error) => return Some((work.done, Err(error))),
        };
        let now = Timestamp::from_micros(self.host.now_us());
        let mut index = self.index.stage();
        let request = (&work.prepared, resolution);
        match super::stage::stage(
            &mut stage.unit,
            &mut index,
            self.log.identity(),
            now,
            request,
        ) {
            Outcome::Staged(receipt) => {
                stage.states_len_bytes += states_len_bytes;
                stage.answers.push(Answer::Receipt(receipt, work.done));
            }
            Outcome::Refused(error) => stage.answers.push(Answer::Refusal(error, work.done)),
            Outcome::Again => {
                stage.going_round += 1;
                stage.answers.push(Answer::Again(work));
            }
            Outcome::Answered(answer) => return Some((work.done, answer)),
        }
        None
    }

    /// The memory that these records take, if all that will be durable with them is within the
    /// limit. What is staged is counted as if it replaced nothing, so a store that is nearly full
    /// may refuse what would have fitted. To remove a record is always allowed.
    fn states_fit(&self, stage: &Stage, states: &[StateRecord]) -> Result<u64, AppendError> {
        if states.is_empty() {
            return Ok(0);
        }
        let len_bytes = |state: &StateRecord, value: &[u8]| state_len_bytes(&state.key, value);
        let values = states
            .iter()
            .filter_map(|state| Some((state, state.value.as_deref()?)));
        let added: u64 = values
            .clone()
            .map(|(state, value)| len_bytes(state, value))
            .sum();
        let mut replaced = 0;
        let mut keys = BTreeSet::new();
        for (state, _) in values {
            if keys.insert((state.space, &state.key))
                && let Some(old) = self.log.state(state.space, &state.key)
            {
                replaced += len_bytes(state, &old);
            }
        }
        let max = self.options.state_memory_bytes;
        let held = self.log.states_len_bytes() + stage.states_len_bytes;
        match held + added <= max + replaced || added == 0 {
            true => Ok(added),
            false => Err(AppendError::OverLimit {
                what: "the memory for state records, in bytes,",
                value: held + added - replaced,
                max,
            }),
        }
    }

    /// Stages as many of the waiting requests as there is room for.
    fn let_in(&self, stage: &mut MutexGuard<'_, Stage>) -> Vec<Ready> {
        let mut ready = Vec::new();
        while let Some((work, _)) = stage.waiting.front() {
            let len_bytes = work.prepared.len_bytes;
            if stage.going_round > 0 || !self.has_room(stage, len_bytes) {
                break;
            }
            if let Some((work, resolution)) = stage.waiting.pop_front() {
                stage.waiting_len_bytes = stage.waiting_len_bytes.saturating_sub(len_bytes);
                ready.extend(self.stage_one(stage, work, &resolution));
            }
        }
        ready
    }

    /// Commits what is staged. Returns whether there was anything.
    fn commit_once(&self, writer: &mut Option<LogWriter>) -> bool {
        let (unit, answers, ready, states_len_bytes) = {
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
            let answers = std::mem::take(&mut stage.answers);
            let states_len_bytes = stage.states_len_bytes;
            // The next unit is filled while this one is written.
            ready.extend(self.let_in(&mut stage));
            (unit, answers, ready, states_len_bytes)
        };
        let mut ready = ready;
        self.answer_all(&mut ready);
        let written = match writer {
            None => Err(StorageError::Closed),
            Some(_) if unit.is_empty() => Ok(()),
            Some(writer) => self.write(writer, unit, answers.len()),
        };
        if states_len_bytes > 0 {
            self.stage.lock().states_len_bytes -= states_len_bytes;
        }
        match written {
            Ok(()) => self.answer(answers),
            Err(error) => self.poison(error, answers),
        }
        true
    }

    fn write(
        &self,
        writer: &mut LogWriter,
        unit: UnitBuffer,
        requests: usize,
    ) -> Result<(), StorageError> {
        let time_us = self.host.now_us().max(self.committed.time_us());
        let end = unit.end_position();
        let (events, len_bytes) = (end.0 - unit.first_position().0, unit.len_bytes());
        let began = Instant::now();
        writer.commit(unit, time_us)?;
        let took = began.elapsed();
        self.counters.committed(events, len_bytes, took);
        self.pace.committed(requests, began + took);
        let lone_us = match requests {
            0..=1 => u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        self.lone_commit_us.store(lone_us, Ordering::Relaxed);
        self.committed.publish(end, time_us);
        self.bells.log.ring();
        if self.index.wants_flush() || self.log.wants_checkpoint() {
            self.bells.index.ring();
        }
        Ok(())
    }

    fn answer(&self, answers: Vec<Answer>) {
        let is_receipt = |answer: &&Answer| matches!(answer, Answer::Receipt(..));
        self.counters
            .acknowledged(answers.iter().filter(is_receipt).count());
        let mut again = Vec::new();
        for answer in answers {
            match answer {
                Answer::Receipt(receipt, done) => self.tell(done, Ok(receipt)),
                Answer::Refusal(error, done) => self.tell(done, Err(error)),
                Answer::Again(work) => again.push(*work),
            }
        }
        if !again.is_empty() {
            self.again.lock().extend(again);
            self.again_arrived.notify_one();
        }
    }

    fn poison(&self, error: StorageError, answers: Vec<Answer>) {
        let stopped = self.stop_with(&error);
        for answer in answers {
            match answer {
                Answer::Receipt(_, done) | Answer::Refusal(_, done) => {
                    self.tell(done, Err(AppendError::Unknown(error.clone())));
                }
                Answer::Again(work) => {
                    self.tell(work.done, Err(AppendError::Storage(stopped.clone())));
                }
            }
        }
    }

    /// Takes nothing any more, and refuses what is not being written: that is certainly not in the
    /// log. Gives what it is refused with.
    fn stop_with(&self, error: &StorageError) -> StorageError {
        let stopped = match error.clone() {
            error @ (StorageError::Poisoned(_) | StorageError::Closed) => error,
            error => StorageError::Poisoned(Arc::new(error)),
        };
        let behind = {
            let mut stage = self.stage.lock();
            stage.stopped = Some(stopped.clone());
            stage.unit = UnitBuffer::new(self.committed.end());
            std::mem::take(&mut stage.answers)
        };
        for answer in behind {
            let done = match answer {
                Answer::Receipt(_, done) | Answer::Refusal(_, done) => done,
                Answer::Again(work) => work.done,
            };
            self.tell(done, Err(AppendError::Storage(stopped.clone())));
        }
        self.refuse_waiting(&stopped);
        stopped
    }

    /// Refuses the requests that wait for room. Whether there were any.
    pub(super) fn refuse_waiting(&self, error: &StorageError) -> bool {
        let waiting = {
            let mut stage = self.stage.lock();
            stage.waiting_len_bytes = 0;
            std::mem::take(&mut stage.waiting)
        };
        let any = !waiting.is_empty();
        for (work, _) in waiting {
            self.tell(work.done, Err(AppendError::Storage(error.clone())));
        }
        any
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
        let refused = self.index.is_full() && self.refuse_waiting(&error);
        *self.failure.lock() = Some(error);
        refused
    }

    /// The background work that failed was done after all.
    pub(super) fn background_recovered(&self) {
        *self.failure.lock() = None;
    }

    /// What stopped the store, or what the background work fails with.
    pub(super) fn failure(&self) -> Option<StorageError> {
        self.stopped().or_else(|| self.failure.lock().clone())
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
        let waiting = !stage.waiting.is_empty() && stage.going_round == 0 && !self.index.is_full();
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
            self.work.wait(&mut stage);
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

    fn answer_all(&self, ready: &mut Vec<Ready>) {
        for (done, answer) in ready.drain(..) {
            self.tell(done, answer);
        }
    }

    /// Gives an answer. Who panics over it has said so, and does not take the others' answers with
    /// him.
    fn tell(&self, done: Done, answer: Result<Receipt, AppendError>) {
        if answer.is_err() {
            self.counters.refused();
        }
        let _panicked = catch_unwind(AssertUnwindSafe(|| done(answer)));
    }
}

/// That a slot will be filled: also where the answer is lost with a thread that panicked.
struct Promise(Arc<Slot>);

impl Drop for Promise {
    fn drop(&mut self) {
        let lost = || Err(AppendError::Unknown(StorageError::Closed));
        self.0.answer.lock().get_or_insert_with(lost);
        self.0.filled.notify_one();
    }
}

/// Where a blocking caller finds its answer.
#[derive(Default)]
struct Slot {
    answer: Mutex<Option<Result<Receipt, AppendError>>>,
    filled: Condvar,
}

impl Slot {
    fn fill(&self, answer: Result<Receipt, AppendError>) {
        *self.answer.lock() = Some(answer);
        self.filled.notify_one();
    }

    fn take(&self) -> Option<Result<Receipt, AppendError>> {
        self.answer.lock().take()
    }

    fn wait(&self) -> Result<Receipt, AppendError> {
        let mut answer = self.answer.lock();
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            self.filled.wait(&mut answer);
        }
    }
}
