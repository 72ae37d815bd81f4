//! Scavenging: giving back the space of events that nobody can read any more.
//!
//! Sealed segments are written again without the events of deleted and tombstoned streams, those
//! that `$maxCount`, `$maxAge` and `$tb` hide, metadata that was replaced, and state records that
//! were. The last event of a stream stays, and so do a tombstone, the last metadata, and the events
//! of named requests that are still recognised. Positions and revisions never move.
//!
//! One segment at a time, oldest first; each is whole before the next one begins. How far the work
//! is stands in a state record, so that it can go on where it was stopped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use super::error::AppendError;
use super::read::{is_young, sight_of};
use super::scavenge_info::{self, ScavengeInfo, ScavengeStatus};
use super::{Background, Shared, Store};
use crate::format::record::Layout;
use crate::format::rewrite::IndexKey;
use crate::format::unit::{StateRecord, Trailer};
use crate::index::{IndexError, Posting, Step, View};
use crate::log::{JudgedUnit, RewriteJudge, StorageError, UnitFate};
use crate::model::{Append, Position, Revision, StateChange, StateSpace, correlation_id};
use crate::sync::{Condvar, Instant, Mutex, thread};

/// How a scavenge is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScavengeOptions {
    /// The first segment to look at; older ones stay as they are. Default: 0, all of them; then a
    /// scavenge that was interrupted goes on.
    pub start_from_segment: u32,
    /// The most bytes to read and write in a second. Default: as many as the disk gives.
    pub bytes_per_second: Option<u64>,
    /// Segments that would give back less than this stay as they are. Default: 0, so that what was
    /// deleted is gone afterwards.
    pub at_least_bytes: u64,
}

/// Why a scavenge was not begun.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ScavengeError {
    /// One is running; one is enough.
    #[error("scavenge {0} is running; stop it, or wait for it")]
    Running(Uuid),
    /// What it begins with could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A scavenge that was begun. It goes on without the handle.
#[derive(Clone, Debug)]
pub struct ScavengeHandle(Arc<Running>);

/// What a scavenge shares with those who look at it.
#[derive(Debug)]
struct Running {
    info: Mutex<ScavengeInfo>,
    ended: Condvar,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

/// The scavenge of a store: one at a time.
#[derive(Debug, Default)]
pub(super) struct Scavenges(Mutex<Option<Arc<Running>>>);

impl ScavengeHandle {
    /// Which scavenge it is.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.0.info.lock().id
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> ScavengeInfo {
        self.0.info.lock().clone()
    }

    /// Has it end soon. What it did stays done, and the next scavenge goes on where it ended.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Waits for its end, and says how it ended.
    #[must_use]
    pub fn wait(&self) -> ScavengeInfo {
        let mut info = self.0.info.lock();
        while info.status == ScavengeStatus::Running {
            self.0.ended.wait(&mut info);
        }
        info.clone()
    }
}

impl Running {
    fn stop(&self) {
        *self.stopping.lock() = true;
        self.stopped.notify_all();
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.lock()
    }

    /// Waits so long, unless it is stopped. Whether to go on.
    fn pause(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut stopping = self.stopping.lock();
        while !*stopping && !self.stopped.wait_until(&mut stopping, deadline).timed_out() {}
        !*stopping
    }
}

impl Scavenges {
    /// Ends the running scavenge soon.
    pub(super) fn stop(&self) {
        if let Some(running) = &*self.0.lock() {
            running.stop();
        }
    }
}

impl Store {
    /// Begins to give back the space of events that nobody can read any more. With
    /// [`Background::Manual`] it is done when this returns.
    ///
    /// # Errors
    /// See [`ScavengeError`].
    pub fn scavenge(&self, options: ScavengeOptions) -> Result<ScavengeHandle, ScavengeError> {
        let shared = &self.0.shared;
        let running = {
            let mut current = shared.scavenges.0.lock();
            if let Some(running) = &*current {
                let info = running.info.lock();
                if info.status == ScavengeStatus::Running {
                    return Err(ScavengeError::Running(info.id));
                }
            }
            let running = Arc::new(Running {
                info: Mutex::new(shared.next_scavenge(&options)),
                ended: Condvar::new(),
                stopping: Mutex::new(false),
                stopped: Condvar::new(),
            });
            *current = Some(Arc::clone(&running));
            running
        };
        let first = running.info.lock().clone();
        if let Err(error) = shared.keep_scavenge(&first) {
            shared.end_scavenge(&running, ScavengeStatus::Failed, Some(error.to_string()));
            return Err(error.into());
        }
        let handle = ScavengeHandle(Arc::clone(&running));
        if shared.background == Background::Manual {
            shared.run_scavenge(&running, &options);
            return Ok(handle);
        }
        let mine = Arc::clone(shared);
        let name = "annal-scavenge";
        let thread = thread::Builder::new().name(name.into());
        let thread = thread.spawn(move || mine.run_scavenge(&running, &options));
        let thread = thread.map_err(|error| StorageError::io("start a thread for", name, error))?;
        let mut threads = shared.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(handle)
    }

    /// The scavenges of the store, the newest first: one that is running, and the last ones.
    #[must_use]
    pub fn scavenges(&self) -> Vec<ScavengeInfo> {
        let shared = &self.0.shared;
        let running = shared.scavenges.0.lock().clone();
        let running = running.map(|running| running.info.lock().clone());
        let mut all = shared.kept_scavenges();
        for info in &mut all {
            match &running {
                Some(running) if running.id == info.id => *info = running.clone(),
                _ if info.status == ScavengeStatus::Running => {
                    info.status = ScavengeStatus::Interrupted;
                }
                _ => {}
            }
        }
        all
    }

    /// The scavenge that is running or ran last since the store was opened, if it is this one.
    #[must_use]
    pub fn scavenge_handle(&self, id: Uuid) -> Option<ScavengeHandle> {
        let running = self.0.shared.scavenges.0.lock().clone()?;
        let same = running.info.lock().id == id;
        same.then_some(ScavengeHandle(running))
    }

    /// Merges all tables of the index into one now. It happens by itself when it is worth it.
    ///
    /// # Errors
    /// The disk's. Nothing is lost; where it was for want of space, it can be tried again.
    pub fn merge_indexes(&self) -> Result<(), StorageError> {
        let shared = &self.0.shared;
        if shared.is_read_only() {
            return Err(StorageError::ReadOnly);
        }
        let merge = || {
            while shared.index.rebuild_step()? == Step::Worked {}
            shared.index.merge_all()
        };
        merge().inspect_err(|error| {
            shared.committer.background_failed(error.clone());
        })
    }
}

impl Shared {
    /// The scavenges that the state records tell of, the newest first.
    fn kept_scavenges(&self) -> Vec<ScavengeInfo> {
        let kept = self.log.states(StateSpace::Scavenges.byte(), b"");
        let mut all: Vec<ScavengeInfo> = kept
            .iter()
            .filter_map(|(_, value)| scavenge_info::decode(value))
            .collect();
        all.sort_by_key(|info| std::cmp::Reverse((info.started_us, info.id)));
        all
    }

    /// A new scavenge, or the one that did not come to its end.
    fn next_scavenge(&self, options: &ScavengeOptions) -> ScavengeInfo {
        let unfinished = |info: &ScavengeInfo| {
            let ended = matches!(
                info.status,
                ScavengeStatus::Completed | ScavengeStatus::Failed
            );
            !ended && options.start_from_segment == 0
        };
        let last = self.kept_scavenges().into_iter().next();
        match last.filter(unfinished) {
            Some(last) => ScavengeInfo {
                status: ScavengeStatus::Running,
                ended_us: None,
                ..last
            },
            None => ScavengeInfo {
                id: self.host.random_uuid(),
                status: ScavengeStatus::Running,
                started_us: self.host.now_us(),
                ended_us: None,
                next_segment: options.start_from_segment,
                segments_left: 0,
                rewritten_segments: 0,
                removed_events: 0,
                freed_bytes: 0,
                error: None,
            },
        }
    }

    /// Writes down how far a scavenge is, and forgets the oldest.
    fn keep_scavenge(&self, info: &ScavengeInfo) -> Result<(), AppendError> {
        let key = |info: &ScavengeInfo| Bytes::copy_from_slice(info.id.as_bytes());
        let value = scavenge_info::encode(info);
        let put = StateChange::put(StateSpace::Scavenges, key(info), value);
        let mut append = Append::new().state(put);
        let known = self.kept_scavenges();
        let others = known.iter().filter(|other| other.id != info.id);
        for old in others.skip(scavenge_info::KEPT_MAX - 1) {
            append = append.state(StateChange::remove(StateSpace::Scavenges, key(old)));
        }
        self.committer.append(append).map(drop)
    }

    fn end_scavenge(&self, running: &Running, status: ScavengeStatus, error: Option<String>) {
        let mut ended = running.info.lock().clone();
        ended.status = status;
        ended.ended_us = Some(self.host.now_us());
        ended.error = error.or(ended.error);
        // Where it cannot be written down any more, the store says why.
        let _untold = self.keep_scavenge(&ended);
        *running.info.lock() = ended;
        running.ended.notify_all();
    }

    fn run_scavenge(&self, running: &Arc<Running>, options: &ScavengeOptions) {
        let outcome = self.scavenge_all(running, options);
        let (status, error) = match outcome {
            Ok(true) => (ScavengeStatus::Completed, None),
            Ok(false) => (ScavengeStatus::Stopped, None),
            Err(StorageError::Closed) => (ScavengeStatus::Stopped, None),
            Err(error) => (ScavengeStatus::Failed, Some(error.to_string())),
        };
        // A scavenge that fails concerns nobody else, unless the store cannot go on either.
        if let Some(failure) = self.log.manifest().failure() {
            self.committer.background_failed(failure);
        }
        let failed = running.info.lock().error.is_some();
        let status = match status {
            ScavengeStatus::Completed if failed => ScavengeStatus::Failed,
            status => status,
        };
        self.end_scavenge(running, status, error);
    }

    /// Goes through the segments; false if it was stopped.
    fn scavenge_all(
        &self,
        running: &Arc<Running>,
        options: &ScavengeOptions,
    ) -> Result<bool, StorageError> {
        // What is decided is looked up in tables; so they must cover what is looked at.
        while self.index.checkpoint(self.committed.end())? == Step::Waiting {
            if !running.pause(Duration::from_millis(5)) {
                return Ok(false);
            }
        }
        let from = running.info.lock().next_segment;
        let segments = self.log.rewritable();
        let segments: Vec<_> = segments.into_iter().filter(|(id, _)| *id >= from).collect();
        let mut left = u32::try_from(segments.len()).unwrap_or(u32::MAX);
        for (segment, len_bytes) in segments {
            running.info.lock().segments_left = left;
            let free_bytes = self.log.free_bytes()?;
            if free_bytes < len_bytes {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(StorageError::io("write again", "a segment", full));
            }
            let mut judge = Judge::new(self, running, options);
            let outcome = match self
                .log
                .rewrite(segment, options.at_least_bytes, &mut judge)
            {
                // It stays as it is, and keeps nobody from the others.
                Err(error) if error.is_damage() => {
                    running.info.lock().error.get_or_insert(error.to_string());
                    Default::default()
                }
                other => other?,
            };
            if outcome.stopped {
                return Ok(false);
            }
            left -= 1;
            let progress = {
                let mut info = running.info.lock();
                info.next_segment = segment + 1;
                info.segments_left = left;
                info.rewritten_segments += u32::from(outcome.rewritten);
                info.removed_events += outcome.removed_events;
                info.freed_bytes += outcome.freed_bytes;
                info.clone()
            };
            self.keep_scavenge(&progress).map_err(|error| match error {
                AppendError::Storage(error) | AppendError::Unknown(error) => error,
                _ => StorageError::Closed,
            })?;
        }
        Ok(!running.is_stopping())
    }
}

/// What stays of a stream.
#[derive(Clone, Copy, Debug)]
struct Fate {
    tombstoned: bool,
    /// The last event stays whatever hides it, so that revisions go on behind it.
    last: Option<Revision>,
    first: Revision,
    created_min_s: Option<i64>,
}

impl Fate {
    fn keeps(&self, layout: &Layout) -> bool {
        let revision = layout.revision();
        let is_tombstone = revision == Revision::TOMBSTONE;
        if is_tombstone || self.tombstoned {
            return is_tombstone;
        }
        let old = |min_s: i64| !is_young(layout.created(), min_s);
        Some(revision) == self.last
            || revision >= self.first && !self.created_min_s.is_some_and(old)
    }
}

/// Decides about the events of one segment.
struct Judge<'a> {
    shared: &'a Shared,
    running: &'a Running,
    view: View,
    now_us: i64,
    fates: HashMap<String, Fate>,
    bytes_per_second: Option<u64>,
    begun: Instant,
    done_bytes: u64,
}

impl<'a> Judge<'a> {
    fn new(shared: &'a Shared, running: &'a Running, options: &ScavengeOptions) -> Self {
        // A clock that runs ahead makes events look old; what was committed with a right one says
        // at least how late it is.
        let now_us = shared.host.now_us().min(shared.committed.time_us());
        Self {
            shared,
            running,
            view: shared.index.view(shared.committed.end()),
            now_us,
            fates: HashMap::new(),
            bytes_per_second: options.bytes_per_second,
            begun: Instant::now(),
            done_bytes: 0,
        }
    }

    fn fate(&mut self, name: &str) -> Result<Fate, StorageError> {
        if let Some(fate) = self.fates.get(name) {
            return Ok(*fate);
        }
        let entry = self.view.stream(name).map_err(storage)?;
        let last = entry.last.map(|(revision, _)| revision);
        let hidden = |last: Revision| Fate {
            tombstoned: entry.tombstoned.is_some(),
            last: Some(last),
            first: last,
            created_min_s: None,
        };
        let fate = match sight_of(name, &entry, self.now_us) {
            Some(window) => Fate {
                first: window.first,
                created_min_s: window.created_min_s,
                ..hidden(window.last)
            },
            None => hidden(last.unwrap_or(Revision::START)),
        };
        self.fates.insert(name.to_owned(), fate);
        Ok(fate)
    }

    /// Ranges of positions whose events belong to requests that are still recognised.
    fn recognised(
        &self,
        first: Position,
        trailer: &Trailer,
    ) -> Result<Vec<(u64, u64)>, StorageError> {
        let mut ranges = Vec::new();
        let mut at = first.0;
        for append in &trailer.appends {
            let end = at + u64::from(append.records);
            if let Some(request) = &append.request {
                let known = self.view.find_request(&request.principal, request.id);
                if known.map_err(storage)?.is_some_and(|seen| seen.first == at) {
                    ranges.push((at, end));
                }
            }
            at = end;
        }
        Ok(ranges)
    }

    /// A value that is still the last one stays, and a removal of what is still removed: an older
    /// value may lie in front of it.
    fn keeps_state(&self, state: &StateRecord) -> bool {
        let now = self.shared.log.state(state.space, &state.key);
        match (&state.value, now) {
            (Some(value), Some(now)) => **value == *now,
            (None, None) => true,
            _ => false,
        }
    }
}

impl RewriteJudge for Judge<'_> {
    fn judge(&mut self, unit: &JudgedUnit<'_>) -> Result<UnitFate, StorageError> {
        let recognised = self.recognised(unit.first, unit.trailer)?;
        let is_recognised = |at: Position| {
            let mut ranges = recognised.iter();
            ranges.any(|(first, end)| (*first..*end).contains(&at.0))
        };
        let mut removed = Vec::with_capacity(unit.records.len());
        for (position, layout, bytes) in &unit.records {
            // The record was verified: what is not UTF-8 was never a name.
            let stream = std::str::from_utf8(layout.stream(bytes)).unwrap_or_default();
            let stays = self.fate(stream)?.keeps(layout) || is_recognised(*position);
            removed.push(match stays {
                true => None,
                false => Some(keys_of(*position, layout, bytes)?),
            });
        }
        let states = unit.trailer.states.iter();
        let states = states.map(|state| self.keeps_state(state)).collect();
        Ok(UnitFate { removed, states })
    }

    fn go_on(&mut self, bytes: u64) -> bool {
        self.done_bytes += bytes;
        let Some(rate) = self.bytes_per_second else {
            return !self.running.is_stopping();
        };
        let due_us = self.done_bytes.saturating_mul(1_000_000) / rate.max(1);
        let due = Duration::from_micros(due_us);
        self.running.pause(due.saturating_sub(self.begun.elapsed()))
    }
}

/// The keys by which the index counts an event.
fn keys_of(
    position: Position,
    layout: &Layout,
    bytes: &[u8],
) -> Result<Vec<IndexKey>, StorageError> {
    let event = layout.event(&Bytes::copy_from_slice(bytes), position);
    let event = event.map_err(|error| StorageError::damaged("the log", 0, error))?;
    let metadata = Posting::metadata_of(&event);
    let correlation_id = correlation_id(&event.metadata);
    let said = (metadata.as_ref(), correlation_id.as_deref());
    let posting = Posting::of(&event, said, 0);
    let keys = posting.keys();
    Ok(keys
        .map(|key| (key.kind().byte(), key.text().into()))
        .collect())
}

fn storage(error: IndexError) -> StorageError {
    match error {
        IndexError::Storage(error) => error,
        IndexError::Rebuilding { .. } => {
            let error = std::io::Error::other("it is being made again; try again later");
            // To be read is what damage fails at.
            StorageError::io("ask", "the index", error)
        }
    }
}
