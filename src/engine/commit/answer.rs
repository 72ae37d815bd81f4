//! Who waits for what becomes of a request, and how he is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Committer;
use crate::engine::error::AppendError;
use crate::engine::origin::Origin;
use crate::engine::prepare::Prepared;
use crate::log::{StorageError, UnitBuffer};
use crate::model::Receipt;
use crate::sync::{Condvar, Mutex};

/// Told how a request ended.
pub(in crate::engine) type Done = Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>;

/// A request on its way.
pub(super) struct Work {
    pub(super) origin: Origin,
    pub(super) prepared: Prepared,
    pub(super) done: Done,
}

/// An answer that waits for the unit it belongs to.
pub(super) enum Answer {
    Receipt(Receipt, Done),
    /// A refusal whose grounds are in the unit, or in front of it.
    Refusal(AppendError, Done),
    Again(Box<Work>),
}

/// An answer that waits for nothing.
pub(super) type Ready = (Done, Result<Receipt, AppendError>);

impl Answer {
    /// Whom it is for.
    pub(super) fn done(self) -> Done {
        match self {
            Self::Receipt(_, done) | Self::Refusal(_, done) => done,
            Self::Again(work) => work.done,
        }
    }
}

impl Committer {
    /// Answers the requests of a unit that is durable.
    pub(super) fn answer(&self, answers: Vec<Answer>) {
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

    /// Answers the requests of a unit of which nobody knows whether it is durable.
    pub(super) fn poison(&self, error: StorageError, answers: Vec<Answer>) {
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
    pub(super) fn stop_with(&self, error: &StorageError) -> StorageError {
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
            self.tell(answer.done(), Err(AppendError::Storage(stopped.clone())));
        }
        self.refuse_waiting(&stopped);
        stopped
    }

    pub(super) fn answer_all(&self, ready: &mut Vec<Ready>) {
        for (done, answer) in ready.drain(..) {
            self.tell(done, answer);
        }
    }

    /// Gives an answer. Who panics over it has said so, and does not take the others' answers with
    /// him.
    pub(super) fn tell(&self, done: Done, answer: Result<Receipt, AppendError>) {
        if answer.is_err() {
            self.counters.refused();
        }
        let _panicked = catch_unwind(AssertUnwindSafe(|| done(answer)));
    }
}

/// That a slot will be filled: also where the answer is lost with a thread that panicked.
pub(super) struct Promise(pub(super) Arc<Slot>);

impl Drop for Promise {
    fn drop(&mut self) {
        let lost = || Err(AppendError::Unknown(StorageError::Closed));
        self.0.answer.lock().get_or_insert_with(lost);
        self.0.filled.notify_one();
    }
}

/// Where a blocking caller finds its answer.
#[derive(Default)]
pub(super) struct Slot {
    answer: Mutex<Option<Result<Receipt, AppendError>>>,
    filled: Condvar,
}

impl Slot {
    pub(super) fn fill(&self, answer: Result<Receipt, AppendError>) {
        *self.answer.lock() = Some(answer);
        self.filled.notify_one();
    }

    pub(super) fn take(&self) -> Option<Result<Receipt, AppendError>> {
        self.answer.lock().take()
    }

    pub(super) fn wait(&self) -> Result<Receipt, AppendError> {
        let mut answer = self.answer.lock();
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            self.filled.wait(&mut answer);
        }
    }
}
