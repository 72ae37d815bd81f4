//! Subscriptions: a reader that waits.
//!
//! A subscription reads up to the committed position, says that it has caught up, waits, and reads
//! on. There is no second path for live events and no copy of them in a queue, so there is no
//! hand-off at which one could be lost or doubled, and a slow subscriber costs nothing but its
//! place. Between two calls it holds no part of the log or the index, only a position.
//!
//! The `dispatcher` tells a waiting subscription that something may be there for it. Ten thousand
//! that wait for their streams cost nothing while others are written.

mod census;
mod dispatcher;
mod feed;
mod group;
mod interest;
mod notice;
mod signal;
mod waiters;

pub use crate::model::{GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy};
pub use census::SubscriptionStats;
pub use feed::{CaughtUp, Feed, FeedNotice, FeedOptions, FeedSource};
pub use group::{
    Delivery, GroupError, GroupInfo, GroupOptions, GroupPlace, GroupStatus, Groups, InFlightInfo,
    JoinOptions, Measurement, Member, MemberError, MemberHandle, MemberInfo, NackAction,
};
pub use notice::{Notice, Progress, SubscribeOptions};

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::{
    Background, Batch, BatchLimit, ReadError, Reading, Store, StreamStart, Track, block_on_until,
};
use crate::model::{Position, Revision, Source, SubscribeFrom};
use crate::subscription::census::Place;
use crate::subscription::dispatcher::{Dispatcher, Waiting};
use crate::subscription::interest::Interest;
use crate::subscription::signal::Signal;
use crate::subscription::waiters::{Ticket, Waiter};
use crate::sync::Instant;

/// Follows a source: what is there already, then what is committed, each event once, in order.
///
/// The past of a stream is shown as its metadata says; what is committed after the subscription
/// began is delivered whole. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    reading: Reading,
    dispatcher: Arc<Dispatcher>,
    track: Track,
    options: SubscribeOptions,
    start: StreamStart,
    /// Everything in front of it was looked at and delivered.
    next: Position,
    /// The last position that the owner knows of.
    told: Position,
    live: bool,
    /// To be delivered before anything else is read.
    held: Option<Batch>,
    tombstoned: Option<Position>,
    interest: Arc<Interest>,
    signal: Arc<Signal>,
    rest: Rest,
    place: Place,
    wakes_count: u64,
    /// It waits for a stopped projection, not for a commit.
    stalled: bool,
}

/// Whether there is reason to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// There may be something to read.
    None,
    /// Everything was read.
    Resting,
    /// And the dispatcher knows.
    Registered(Ticket),
}

impl Store {
    /// Follows a source from some place on.
    ///
    /// A stream that is not there, or is deleted, is waited for. From behind a position or revision
    /// that is not reached yet, everything up to there is left out when it comes.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn subscribe(
        &self,
        source: Source,
        from: SubscribeFrom,
    ) -> Result<Subscription, ReadError> {
        self.subscribe_with(source, from, SubscribeOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn subscribe_with(
        &self,
        source: Source,
        from: SubscribeFrom,
        options: SubscribeOptions,
    ) -> Result<Subscription, ReadError> {
        let dispatcher = self.dispatcher().ok_or_else(ReadError::closed)?;
        let track = Track::Source(source);
        Subscription::open(self.reading().clone(), dispatcher, (track, from), options)
    }

    /// The one dispatcher of the store; none if the store is closed.
    fn dispatcher(&self) -> Option<Arc<Dispatcher>> {
        let threaded = self.background() == Background::Threads;
        let reading = self.reading();
        reading.listener(|| Dispatcher::start(reading.clone(), threaded))
    }
}

/// Tells of a subscription, from elsewhere, whether it waits.
#[derive(Clone, Debug)]
pub struct Resting(Arc<Signal>);

impl Store {
    /// If all of these subscriptions have delivered everything and wait: how far the log was looked
    /// through for them. Nothing in front of that position concerns any of them any more.
    pub fn all_resting<'a>(
        &self,
        subscriptions: impl Iterator<Item = &'a Resting>,
    ) -> Option<Progress> {
        let dispatcher = self.dispatcher()?;
        let position = dispatcher.all_waiting(subscriptions.map(|resting| &*resting.0))?;
        Some(Progress {
            position,
            committed_us: self.reading().committed_us(position),
        })
    }
}

impl Subscription {
    /// A handle that tells whether this subscription waits; see [`Store::all_resting`].
    #[must_use]
    pub fn resting(&self) -> Resting {
        Resting(Arc::clone(&self.signal))
    }

    fn open(
        reading: Reading,
        dispatcher: Arc<Dispatcher>,
        (track, from): (Track, SubscribeFrom),
        options: SubscribeOptions,
    ) -> Result<Self, ReadError> {
        let revision = match from {
            SubscribeFrom::AfterRevision(revision) => revision.next(),
            _ => Revision::START,
        };
        // Found out before `next`: what is committed in between is not of the past.
        let start = match track.stream() {
            Some(stream) => reading.stream_start(stream, revision)?,
            None => StreamStart {
                from: Revision::START,
                live: Revision::START,
                live_at: Position::START,
            },
        };
        let next = match from {
            SubscribeFrom::Start | SubscribeFrom::AfterRevision(_) => Position::START,
            SubscribeFrom::After(position) => position.next(),
            SubscribeFrom::End => reading.committed_end(),
        };
        let interest = Arc::new(Interest::of(&track, &dispatcher.hasher));
        let place = dispatcher.census.enter(next);
        Ok(Self {
            reading,
            dispatcher,
            track,
            options,
            start,
            next,
            told: next,
            live: false,
            held: None,
            tombstoned: None,
            interest,
            signal: Arc::default(),
            rest: Rest::None,
            place,
            wakes_count: 0,
            stalled: false,
        })
    }

    /// Everything in front of this position was looked at, and what concerns the subscription was
    /// delivered. To go on from here later, subscribe behind the position in front of it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.next
    }

    /// How often it was woken while it waited.
    #[must_use]
    pub fn wakes_count(&self) -> u64 {
        self.wakes_count
    }

    /// The next notice, if there is one without waiting. Events within the limit, but at least one.
    /// May read from the disk.
    ///
    /// # Errors
    /// See [`ReadError`]. After an error the same can be tried again.
    pub fn try_next(&mut self, limit: BatchLimit) -> Result<Option<Notice>, ReadError> {
        let found = self.look(limit);
        match found {
            Ok(None) => self.place.rests(),
            Ok(Some(_)) | Err(_) => self.place.at(self.next),
        }
        found
    }

    fn look(&mut self, limit: BatchLimit) -> Result<Option<Notice>, ReadError> {
        if let Some(batch) = self.held.take() {
            return Ok(Some(self.deliver(batch)));
        }
        self.stop_waiting();
        loop {
            if let Some(position) = self.tombstoned {
                return Ok(Some(Notice::StreamTombstoned(position)));
            }
            if self.next.0.saturating_sub(self.told.0) >= self.checkpoint_events() {
                return Ok(Some(Notice::Checkpoint(self.progress())));
            }
            if self.live && self.next >= self.end() {
                self.rest = Rest::Resting;
                return Ok(None);
            }
            let found = self
                .reading
                .follow(&self.track, self.start, self.next, limit)?;
            self.tombstoned = found.tombstoned;
            if !found.batch.is_empty() {
                return Ok(Some(self.found(found.batch)));
            }
            self.next = found.batch.next;
            if found.at_end && !self.live && self.tombstoned.is_none() {
                self.live = true;
                return Ok(Some(Notice::CaughtUp(self.progress())));
            }
        }
    }

    /// Waits for the next notice, blocking this thread.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next(&mut self, limit: BatchLimit) -> Result<Notice, ReadError> {
        loop {
            if let Some(notice) = self.try_next(limit)? {
                return Ok(notice);
            }
            block_on_until(self.changed(), None).transpose()?;
        }
    }

    /// Waits for the next notice, for at most so long.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next_timeout(
        &mut self,
        limit: BatchLimit,
        timeout: Duration,
    ) -> Result<Option<Notice>, ReadError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(notice) = self.try_next(limit)? {
                return Ok(Some(notice));
            }
            match block_on_until(self.changed(), deadline) {
                None => return Ok(None),
                Some(changed) => changed?,
            }
        }
    }

    /// The next notice, without blocking while it waits; reading may block on the disk. Needs no
    /// runtime. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub async fn next_async(&mut self, limit: BatchLimit) -> Result<Notice, ReadError> {
        loop {
            if let Some(notice) = self.try_next(limit)? {
                return Ok(notice);
            }
            self.changed().await?;
        }
    }

    /// Waits until [`Self::try_next`] may have something; never reads from the disk. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When the store was closed.
    pub async fn changed(&mut self) -> Result<(), ReadError> {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// The same as a poll.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        match self.rest {
            Rest::None => return Poll::Ready(Ok(())),
            Rest::Registered(_) => {}
            Rest::Resting => {
                self.signal.arm(context.waker());
                self.stalled = self.is_stalled();
                match self.dispatcher.wait(self.waiter()) {
                    Waiting::Registered(ticket) => self.rest = Rest::Registered(ticket),
                    Waiting::ReadOn => {
                        self.rest = Rest::None;
                        return Poll::Ready(Ok(()));
                    }
                    Waiting::Closed => return Poll::Ready(Err(ReadError::closed())),
                }
                // It may have been let go before anybody knew that it waits.
                if self.stalled && !self.is_stalled() {
                    self.stop_waiting();
                    return Poll::Ready(Ok(()));
                }
            }
        }
        self.signal.poll(context).map(|()| {
            self.wakes_count += 1;
            self.stop_waiting();
            Ok(())
        })
    }

    /// The owner looks, because he was woken or by himself. What the dispatcher found out counts,
    /// also if it is about an earlier wait: nothing concerns the subscription that it has passed.
    fn stop_waiting(&mut self) {
        if let Rest::Registered(ticket) = self.rest {
            self.dispatcher.cancel(ticket, &self.signal);
            let nothing_before = self.signal.fired().filter(|_| !self.stalled);
            self.next = self.next.max(nothing_before.unwrap_or_default());
            self.place.at(self.next);
        }
        self.rest = Rest::None;
    }

    /// After how many events without one of its own it tells how far it has come.
    fn checkpoint_events(&self) -> u64 {
        match &self.track {
            Track::Source(Source::Stream(_)) | Track::Virtual(_) => u64::MAX,
            Track::Source(_) => self.options.checkpoint_events.max(1),
        }
    }

    /// Where everything was looked at that may be shown.
    fn end(&self) -> Position {
        match &self.track {
            Track::Virtual(one) => self.reading.virtual_end(&one.of),
            Track::Source(_) => self.reading.committed_end(),
        }
    }

    /// Whether it has read everything in front of the place where a projection is stopped.
    fn is_stalled(&self) -> bool {
        let Track::Virtual(one) = &self.track else {
            return false;
        };
        let stopped_at = self.reading.stopped_at(one.of.projection());
        stopped_at.is_some_and(|at| self.next >= at)
    }

    fn waiter(&self) -> Waiter {
        let is_stream = self.checkpoint_events() == u64::MAX;
        let checkpoint_at = self.told.plus(self.checkpoint_events());
        let (interest, from) = match self.stalled {
            true => (Arc::new(Interest::none()), Position(u64::MAX)),
            false => (Arc::clone(&self.interest), self.next),
        };
        Waiter {
            signal: Arc::clone(&self.signal),
            interest,
            from,
            checkpoint_at: (!is_stream).then_some(checkpoint_at),
        }
    }

    fn progress(&mut self) -> Progress {
        self.told = self.next;
        Progress {
            position: self.next,
            committed_us: self.reading.committed_us(self.next),
        }
    }

    /// Delivers what was found, after saying that it is far from the end of the log, if that is
    /// new.
    fn found(&mut self, batch: Batch) -> Notice {
        let lag = self.reading.committed_end().0.saturating_sub(batch.next.0);
        if self.live && lag > self.options.behind_events {
            self.live = false;
            let progress = self.progress();
            self.held = Some(batch);
            return Notice::FellBehind(progress);
        }
        self.deliver(batch)
    }

    fn deliver(&mut self, batch: Batch) -> Notice {
        self.next = batch.next;
        self.told = batch.next;
        Notice::Events(batch)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}
