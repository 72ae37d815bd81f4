//! A unit for which the disk has no space, and how the store goes on when it has.
//!
//! Later units rest on what this one has staged (revisions, ids, positions), and nothing staged is
//! ever taken back. So the unit is held, and what was staged behind it stays where it is; the log's
//! writer tries the same bytes at the same place again, now and then. Nothing of it was synced
//! before, so nobody has seen it, and a crash leaves what any crash in the middle of a write does.
//!
//! All of that may become durable later: whoever waits for it is told at once that the outcome is
//! unknown. What is not staged is refused for want of space, and certainly never becomes durable.

use std::time::Duration;

use super::answer::{Answer, Done};
use super::{Committer, Stage, UnitFacts};
use crate::engine::error::AppendError;
use crate::engine::options::Background;
use crate::log::{LogWriter, StorageError};
use crate::sync::{Instant, MutexGuard};

/// The unit is tried again after so long. Stores without threads try with each append.
const TRIED_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The unit that the log's writer holds.
#[derive(Debug)]
pub(super) struct Held {
    facts: UnitFacts,
    error: StorageError,
    /// Whether it is to be tried now.
    due: bool,
}

impl Held {
    /// Why it is held.
    pub(super) fn error(&self) -> &StorageError {
        &self.error
    }

    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    pub(super) fn set_due(&mut self) {
        self.due = true;
    }
}

impl Committer {
    /// The disk has no space for a unit. `answers` are its requests.
    pub(super) fn hold(&self, error: StorageError, facts: UnitFacts, answers: Vec<Answer>) {
        let behind = {
            let mut stage = self.stage.lock();
            stage.held = Some(Held {
                facts,
                error: error.clone(),
                due: self.tries_with_each_append(),
            });
            if std::mem::take(&mut stage.idle) {
                self.work.notify_one();
            }
            std::mem::take(&mut stage.answers)
        };
        for answer in answers.into_iter().chain(behind) {
            let refused = match &answer {
                Answer::Again(work) => {
                    self.stage.lock().waiting.come_back(work.origin);
                    AppendError::Storage(error.clone())
                }
                Answer::Receipt(..) | Answer::Refusal(..) => AppendError::Unknown(error.clone()),
            };
            let done: Done = answer.done();
            self.tell(done, Err(refused));
        }
        self.refuse_waiting(&error);
    }

    /// Tries the held unit again, if there is one and it is time to. None: nothing is held. Else
    /// whether the store goes on, or stops.
    pub(super) fn write_held(&self, writer: &mut Option<LogWriter>) -> Option<bool> {
        let facts = {
            let stage = self.stage.lock();
            let held = stage.held.as_ref()?;
            if !held.due {
                return Some(false);
            }
            held.facts
        };
        let began = Instant::now();
        let written = match writer {
            None => Err(StorageError::Closed),
            Some(writer) => writer.retry(),
        };
        match written {
            Err(error @ StorageError::Full(_)) => {
                if let Some(held) = &mut self.stage.lock().held {
                    held.due = self.tries_with_each_append();
                    held.error = error;
                }
                return Some(false);
            }
            Ok(_) => self.publish(&facts, began),
            Err(error) => self.poison(error, Vec::new()),
        }
        self.forget_states(&facts);
        self.stage.lock().held = None;
        Some(true)
    }

    /// Where no thread does, whoever appends tries first whether the disk has space again.
    pub(super) fn look_for_room(&self) {
        if self.tries_with_each_append()
            && self.held().is_some()
            && let Some(mut writer) = self.writer.try_lock()
        {
            self.commit_once(&mut writer);
        }
    }

    fn tries_with_each_append(&self) -> bool {
        self.options.background == Background::Manual
    }

    /// Why the store writes nothing until the disk has space.
    pub(in crate::engine) fn held(&self) -> Option<StorageError> {
        let stage = self.stage.lock();
        stage.held.as_ref().map(|held| held.error.clone())
    }

    /// The committer's thread sleeps until it is woken, or a held unit is due.
    pub(super) fn rest(&self, stage: &mut MutexGuard<'_, Stage>) {
        if stage.held.is_none() {
            return self.work.wait(stage);
        }
        let due = Instant::now() + TRIED_AGAIN_AFTER;
        if self.work.wait_until(stage, due).timed_out()
            && let Some(held) = &mut stage.held
        {
            held.due = true;
        }
    }
}
