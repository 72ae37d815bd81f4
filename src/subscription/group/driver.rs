//! The driver: reads for the groups, and writes what they park and how far they are. One thread for
//! all groups of a store; where the store has no threads, whoever calls [`Groups::drive`].
//!
//! [`Groups::drive`]: crate::subscription::group::Groups::drive

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use crate::engine::{AppendError, Background, ReadError, ResolvedEvent, StorageError};
use crate::model::{
    Append, Direction, ExpectedRevision, Position, ReadFrom, Revision, StateChange, StateSpace,
    SubscribeFrom,
};
use crate::model::{GroupSource, GroupStart, GroupStrategy};
use crate::subscription::group::MemberError;
use crate::subscription::group::core::Core;
use crate::subscription::group::entry::{Entry, Outcome};
use crate::subscription::group::hub::Hub;
use crate::subscription::group::message::{Lane, Message, Seat};
use crate::subscription::group::park::{parked_metadata, sequence};
use crate::subscription::{Feed, FeedNotice, FeedOptions, FeedSource};
use crate::sync::Instant;
use crate::sync::atomic::Ordering;

/// How often the clock is looked at while something may time out, and while nothing can.
const TURN: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);
/// How many batches a group reads until others get their turn.
const BATCHES_MAX: usize = 16;
/// After a failure a group rests so long.
const PAUSE_US: i64 = 1_000_000;
/// How many checkpoints are written at once.
const CURSORS_MAX: usize = 512;

impl Hub {
    /// Works until the last handle of the groups goes.
    pub(super) fn run(self: &Arc<Self>) {
        let mut swept = Instant::now();
        let mut is_busy = true;
        loop {
            let turn = if is_busy { TURN } else { REST };
            let entries = {
                let mut rung = self.bell.rung.lock();
                while rung.entries.is_empty() && !rung.is_over {
                    let sweep_at = swept + turn;
                    if self
                        .bell
                        .changed
                        .wait_until(&mut rung, sweep_at)
                        .timed_out()
                    {
                        break;
                    }
                }
                if rung.is_over {
                    break;
                }
                std::mem::take(&mut rung.entries)
            };
            for entry in &entries {
                self.visit(entry);
            }
            is_busy |= !entries.is_empty();
            if swept.elapsed() >= TURN {
                is_busy = self.sweep();
                swept = Instant::now();
            }
        }
        self.write_last_checkpoints();
    }

    /// Does all that is there to do, on this thread.
    pub(super) fn drive(self: &Arc<Self>) {
        self.sweep();
        loop {
            let entries = std::mem::take(&mut self.bell.rung.lock().entries);
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                self.visit(&entry);
            }
        }
        self.write_checkpoints();
    }

    /// Looks at the clock for all groups. Whether it has to look again soon.
    fn sweep(self: &Arc<Self>) -> bool {
        let mut is_busy = false;
        for entry in self.entries() {
            let busy = entry.change(|core, now_us| {
                core.expire(now_us);
                let was_full = std::mem::take(&mut core.is_full);
                was_full || core.has_deadline() || core.checkpoint_changed().is_some()
            });
            is_busy |= busy;
        }
        self.write_checkpoints();
        if self.store.is_closed() {
            for entry in self.entries() {
                entry.change(|core, _| core.end(MemberError::Closed));
            }
        }
        is_busy
    }

    /// Does what one group has to do.
    fn visit(self: &Arc<Self>, entry: &Arc<Entry>) {
        entry.answer();
        let outcomes = std::mem::take(&mut *entry.outcomes.lock());
        for outcome in outcomes {
            entry.change_quietly(|core, now_us| core.hear(outcome, now_us));
        }
        let mut feed = entry.feed.lock();
        if entry.core.lock().over.is_some() {
            *feed = None;
            return;
        }
        let worked = self
            .prepare(entry, &mut feed)
            .and_then(|()| self.read_parked(entry))
            .and_then(|()| match &mut *feed {
                Some(feed) => self.read(entry, feed),
                None => Ok(()),
            });
        drop(feed);
        self.park(entry);
        self.truncate(entry);
        let is_fine = worked.is_ok();
        let (_, more) = entry.change_quietly(|core, now_us| match worked {
            Ok(()) => {}
            Err(ReadError::Storage(StorageError::Closed)) => core.end(MemberError::Closed),
            Err(error) => core.fail(&error.to_string(), now_us),
        });
        if more && is_fine {
            entry.ring();
        }
    }

    /// Finds out what must be known before anything is delivered, and begins to read.
    fn prepare(&self, entry: &Entry, feed: &mut Option<Feed>) -> Result<(), ReadError> {
        if entry.core.lock().ready {
            return Ok(());
        }
        let first = self
            .parked_bounds(entry)?
            .map_or(Revision::START, |(first, _)| first);
        let mut lanes = Vec::new();
        if entry.definition.settings.strategy == GroupStrategy::Ordered {
            for event in self.parked_events(entry, first)? {
                let event = event?;
                let parked = event.original();
                let sequence = sequence(parked);
                lanes.extend(sequence.map(|sequence| (parked.revision, sequence)));
            }
        }
        if feed.is_none() {
            *feed = Some(self.open_feed(entry)?);
        }
        entry.change_quietly(|core, _| {
            core.replay.begin_at(first);
            core.forget_parked();
            for (revision, (lane, end)) in lanes {
                if core.replay.is_done(revision) {
                    continue;
                }
                core.change_lane(&lane, |used| {
                    used.parked_count += 1;
                    used.parked_end = used.parked_end.max(end);
                });
            }
            core.ready = true;
        });
        Ok(())
    }

    fn open_feed(&self, entry: &Entry) -> Result<Feed, ReadError> {
        let definition = &entry.definition;
        let source = match &definition.source {
            GroupSource::All { filter } => FeedSource::All(filter.clone()),
            GroupSource::Stream(stream) => FeedSource::Stream(stream.clone()),
        };
        let behind = |first: Position| match first.0.checked_sub(1) {
            Some(last) => SubscribeFrom::After(Position(last)),
            None => SubscribeFrom::Start,
        };
        let (written, end) = {
            let core = entry.core.lock();
            (core.written, core.read_end)
        };
        let from = match (written, definition.start) {
            (None, GroupStart::Revision(Revision(revision))) => match revision.checked_sub(1) {
                Some(last) => SubscribeFrom::AfterRevision(Revision(last)),
                None => SubscribeFrom::Start,
            },
            _ => behind(end),
        };
        let options = FeedOptions::default().resolve_links(definition.settings.resolve_links);
        self.store.feed(source, from, options)
    }

    /// Reads from the group's source while there is room.
    fn read(&self, entry: &Arc<Entry>, feed: &mut Feed) -> Result<(), ReadError> {
        let strategy = entry.definition.settings.strategy;
        for _ in 0..BATCHES_MAX {
            let total = self.bell.len_bytes.load(Ordering::Relaxed);
            let wanted = {
                let mut core = entry.core.lock();
                core.is_full = total >= self.options.buffered_len_bytes_max;
                core.wanted_count()
            };
            let Some(count) = wanted else {
                return Ok(());
            };
            let notice = feed.try_next(count)?;
            let is_rest = notice.is_none();
            let (end, is_live) = (feed.position(), &notice);
            let live = match is_live {
                Some(FeedNotice::CaughtUp(_)) => Some(true),
                Some(FeedNotice::FellBehind(_)) => Some(false),
                _ => None,
            };
            entry.change_quietly(|core, _| {
                if let Some(FeedNotice::Events(events)) = notice {
                    for event in events {
                        let seat = Seat::Source(event.original().position);
                        core.admit(Message::new(event, seat, strategy));
                    }
                }
                core.read_up_to(end);
                core.live = live.unwrap_or(core.live);
                core.at_end = is_rest;
            });
            if is_rest {
                let waker = entry.waker();
                // If something has come meanwhile, the waker is not kept, so it is rung here.
                if let std::task::Poll::Ready(changed) =
                    feed.poll_changed(&mut Context::from_waker(&waker))
                {
                    changed?;
                    entry.ring();
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first revision that is parked, and the one behind the last; none if nothing ever was.
    pub(super) fn parked_bounds(
        &self,
        entry: &Entry,
    ) -> Result<Option<(Revision, Revision)>, ReadError> {
        let info = match self.store.stream(&entry.parked) {
            Ok(info) => info,
            Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = info.head.next_revision().unwrap_or_default();
        let metadata = info.metadata.map(|metadata| metadata.parsed);
        let first = metadata.and_then(|metadata| metadata.truncate_before);
        let first = first.unwrap_or_default().min(end);
        Ok(Some((first, end)))
    }

    fn parked_events(
        &self,
        entry: &Entry,
        first: Revision,
    ) -> Result<impl Iterator<Item = Result<ResolvedEvent, ReadError>> + use<>, ReadError> {
        let (from, forwards) = (ReadFrom::At(first), Direction::Forwards);
        let events = match self
            .store
            .read_resolved(&entry.parked, from, forwards, true)
        {
            Ok(events) => Some(events),
            Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(events.into_iter().flatten())
    }

    /// Reads what is to be replayed.
    fn read_parked(&self, entry: &Entry) -> Result<(), ReadError> {
        let wanted = entry.core.lock().wanted_replay();
        let Some((from, stop, count)) = wanted else {
            return Ok(());
        };
        let strategy = entry.definition.settings.strategy;
        let mut events = Vec::new();
        let mut next = from;
        let mut parked = self.parked_events(entry, from)?;
        while events.len() < count {
            let Some(event) = parked.next().transpose()? else {
                next = stop;
                break;
            };
            let revision = event.original().revision;
            if revision >= stop {
                next = stop;
                break;
            }
            next = revision.next();
            let sequence = sequence(event.original());
            let mut message = Message::new(event, Seat::Replayed(revision), strategy);
            // The key is the one by which it was parked, also if what it links to is gone.
            message.lane = message
                .lane
                .map(|lane| sequence.map_or(lane, |(lane, _)| lane));
            events.push((revision, message));
        }
        entry.change_quietly(|core, _| {
            for (revision, message) in events {
                core.admit_replayed(revision, message);
            }
            core.replay_read(next);
        });
        Ok(())
    }

    /// Writes to the parked stream.
    fn park(&self, entry: &Arc<Entry>) {
        let now_us = self.bell.now_us();
        let (seats, links) = {
            let mut core = entry.core.lock();
            if core.parking_out || core.is_pausing(now_us) {
                return;
            }
            let next = core.parking_next(now_us);
            core.parking_out = !next.0.is_empty();
            next
        };
        if seats.is_empty() {
            return;
        }
        let append = Append::to(entry.parked.clone(), ExpectedRevision::Any, links);
        let told = Arc::clone(entry);
        self.write(append, move |result| {
            told.tell(Outcome::Parked(seats, result))
        });
    }

    /// Takes out of the parked stream what was replayed.
    fn truncate(&self, entry: &Arc<Entry>) {
        let now_us = self.bell.now_us();
        let first = {
            let mut core = entry.core.lock();
            let first = core
                .replay
                .truncation()
                .filter(|_| !core.is_pausing(now_us));
            core.replay.truncating |= first.is_some();
            first
        };
        let append = first.and_then(|first| Some((first, parked_metadata(&entry.parked, first)?)));
        if let Some((first, append)) = append {
            let told = Arc::clone(entry);
            self.write(append, move |result| {
                told.tell(Outcome::Truncated(first, result))
            });
        }
    }

    /// Writes the checkpoints that are due, of all groups at once, and not too often.
    fn write_checkpoints(&self) {
        let now_us = self.bell.now_us();
        let entries = self.entries();
        let handled: u64 = entries
            .iter()
            .map(|entry| entry.core.lock().handled_count)
            .sum();
        let mut written_us = self.written_us.lock();
        let interval = self.options.checkpoint_interval.as_micros();
        let interval_us = i64::try_from(interval).unwrap_or(i64::MAX);
        let is_soon = now_us.saturating_sub(*written_us) < interval_us;
        if is_soon && handled < self.options.checkpoint_count {
            return;
        }
        let due = entries.iter().filter_map(|entry| {
            let mut core = entry.core.lock();
            let checkpoint = core
                .checkpoint_due(now_us)
                .filter(|_| !core.is_pausing(now_us))?;
            Some((Arc::clone(entry), checkpoint, core.begin_checkpoint()))
        });
        let due: Vec<_> = due.take(CURSORS_MAX).collect();
        if due.is_empty() {
            return;
        }
        *written_us = now_us;
        let append = due
            .iter()
            .fold(Append::new(), |append, (entry, checkpoint, _)| {
                let key = entry.definition.key();
                let value = checkpoint.encode();
                append.state(StateChange::put(StateSpace::GroupCursors, key, value))
            });
        self.write(append, move |result| {
            for (entry, checkpoint, counted) in due {
                entry.tell(Outcome::Checkpoint(checkpoint, counted, result.clone()));
            }
        });
    }

    /// Writes how far the groups are, when nothing more will be delivered.
    pub(super) fn write_last_checkpoints(&self) {
        let states = self.entries().into_iter().filter_map(|entry| {
            let core = entry.core.lock();
            let checkpoint = core.checkpoint_last()?;
            let key = entry.definition.key();
            Some(StateChange::put(
                StateSpace::GroupCursors,
                key,
                checkpoint.encode(),
            ))
        });
        let states: Vec<StateChange> = states.collect();
        for states in states.chunks(CURSORS_MAX) {
            let append = states.iter().cloned().fold(Append::new(), Append::state);
            // Without them more is delivered again, and nothing is lost.
            let _unwritten = self.store.append(append);
        }
    }

    /// Appends, and tells how that ended; at once where the store has no threads.
    fn write(&self, append: Append, tell: impl FnOnce(Result<(), Arc<str>>) + Send + 'static) {
        let why = |error: AppendError| Arc::from(error.to_string());
        match self.store.background() {
            Background::Manual => tell(self.store.append(append).map(drop).map_err(why)),
            Background::Threads => {
                self.store
                    .submit(append, move |result| tell(result.map(drop).map_err(why)));
            }
        }
    }
}

impl Core {
    /// Hears how an append has ended.
    fn hear(&mut self, outcome: Outcome, now_us: i64) {
        let result = match outcome {
            Outcome::Parked(seats, result) => {
                self.parked(&seats, result.is_ok());
                result
            }
            Outcome::Truncated(first, result) => {
                self.replay.truncated(first, result.is_ok());
                result
            }
            Outcome::Checkpoint(checkpoint, counted, result) => {
                let counted = result.is_ok().then_some(counted);
                self.end_checkpoint(checkpoint, counted, now_us);
                result
            }
        };
        match result {
            Ok(()) => self.failure = None,
            Err(why) => self.fail(&why, now_us),
        }
    }

    fn fail(&mut self, why: &str, now_us: i64) {
        self.failure = Some((Arc::from(why), now_us.saturating_add(PAUSE_US)));
    }

    /// What was parked is counted anew.
    fn forget_parked(&mut self) {
        let lanes: Vec<Lane> = self.lanes.keys().cloned().collect();
        for lane in lanes {
            self.change_lane(&lane, |used| used.parked_count = 0);
        }
    }
}
