//! The way into the unit being built: limits, what the disk knows, the queue, the verdict.

use std::collections::BTreeSet;

use super::answer::{Answer, Done, Ready, Work};
use super::waiting::Places;
use super::{Committer, Stage};
use crate::engine::error::AppendError;
use crate::engine::origin::Origin;
use crate::engine::prepare::{Prepared, prepare};
use crate::engine::resolve::{Resolution, Resolved, Resolver};
use crate::engine::stage::{self, Outcome};
use crate::format::unit::StateRecord;
use crate::log::{StorageError, state_len_bytes};
use crate::model::{Append, Receipt, Timestamp};
use crate::sync::MutexGuard;

impl Stage {
    /// Why nothing is taken, until the disk has space or ever.
    fn refuses(&self) -> Option<StorageError> {
        let held = || Some(self.held.as_ref()?.error().clone());
        self.stopped.clone().or_else(held)
    }
}

impl Committer {
    pub(super) fn prepare(&self, append: Append) -> Result<Prepared, AppendError> {
        match self.options.read_only {
            true => Err(StorageError::ReadOnly.into()),
            false => prepare(append, &self.options),
        }
    }

    /// Takes a request and returns before it is durable. Somebody must see to it that it is
    /// committed: by [`Self::wake`] or [`Self::commit_within`].
    pub(in crate::engine) fn enqueue(&self, origin: Origin, append: Append, done: Done) {
        self.look_for_room();
        match self.prepare(append) {
            Err(error) => self.tell(done, Err(error)),
            Ok(prepared) => self.admit(Work {
                origin,
                prepared,
                done,
            }),
        }
    }

    /// Resolves a request and stages it, or puts it in the queue.
    pub(super) fn admit(&self, work: Work) {
        let mut ready = match self.resolve(&work.prepared) {
            Err(answer) => vec![(work.done, answer)],
            Ok(resolution) => self.enter(&mut self.stage.lock(), Box::new(work), resolution),
        };
        self.answer_all(&mut ready);
    }

    /// The same for a request that went round: it goes in front of all that wait.
    pub(super) fn admit_again(&self, work: Work) {
        let resolved = self.resolve(&work.prepared);
        let ready = {
            let mut stage = self.stage.lock();
            stage.waiting.come_back(work.origin);
            match (resolved, stage.refuses()) {
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
    ) -> Vec<Ready> {
        if let Some(error) = stage.refuses() {
            return vec![(work.done, Err(AppendError::Storage(error)))];
        }
        let (origin, len_bytes) = (work.origin, work.prepared.len_bytes);
        if stage.waiting.is_turn_of(origin) && self.has_room(stage, len_bytes) {
            return Vec::from_iter(self.stage_one(stage, work, &resolution));
        }
        let places = Places {
            requests_max: self.options.waiting_requests_max,
            len_bytes_max: self.options.waiting_len_bytes_max,
        };
        let gone = stage
            .waiting
            .push(origin, (work, resolution), len_bytes, places);
        let refused = gone.into_iter();
        refused
            .map(|(work, _)| (work.done, Err(AppendError::Busy)))
            .collect()
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
        match stage::stage(
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
                stage.waiting.leave(work.origin);
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
    pub(super) fn let_in(&self, stage: &mut MutexGuard<'_, Stage>) -> Vec<Ready> {
        let mut ready = Vec::new();
        while let Some(len_bytes) = stage.waiting.next_len_bytes()
            && self.has_room(stage, len_bytes)
            && let Some((work, resolution)) = stage.waiting.pop()
        {
            ready.extend(self.stage_one(stage, work, &resolution));
        }
        ready
    }

    /// Refuses the requests that wait for room. Whether there were any.
    pub(in crate::engine) fn refuse_waiting(&self, error: &StorageError) -> bool {
        let waiting = self.stage.lock().waiting.take_all();
        let any = !waiting.is_empty();
        for (work, _) in waiting {
            self.tell(work.done, Err(AppendError::Storage(error.clone())));
        }
        any
    }
}
