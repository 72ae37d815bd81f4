//! A subscription event by event: decoded, numbered, with links followed.
//!
//! A feed is a [`Subscription`] and what it has found and not handed out yet, at most one batch.
//! What it adds are events instead of stored bytes, and checkpoints in the places where
//! EventStoreDB gives them: counted in events looked at, wherever others are delivered.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::{
    Batch, BatchLimit, Entry, ReadError, Reading, ResolvedEvent, Store, Track, Virtual,
    VirtualStart, block_on_until,
};
use crate::model::{
    EventFilter, Position, RecordedEvent, Revision, Source, StreamName, SubscribeFrom,
};
use crate::subscription::{Notice, Progress, SubscribeOptions, Subscription};
use crate::sync::Instant;

/// A feed hands out no further event at once when it has handed out so many bytes of data.
const LEN_BYTES_MAX: usize = 1 << 20;

/// What a feed follows.
#[derive(Clone, Debug)]
pub enum FeedSource {
    /// Every event of the log, or those that a filter chooses. A filter looks at links, not at what
    /// they point to.
    All(Option<EventFilter>),
    /// One stream, stored or virtual.
    Stream(StreamName),
}

/// How a feed is to be. The default follows no links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedOptions {
    /// Whether each link comes with what it points to.
    pub resolve_links: bool,
    /// With a filter: after how many events of the log that it has looked at, chosen or not, a feed
    /// tells how far it has come; at least 1. Default: 10,000.
    pub checkpoint_events: u64,
    /// How many events of the log a live feed may lag before it says that it fell behind. Default:
    /// 100,000.
    pub behind_events: u64,
}

impl Default for FeedOptions {
    fn default() -> Self {
        let SubscribeOptions {
            checkpoint_events,
            behind_events,
        } = SubscribeOptions::default();
        Self {
            resolve_links: false,
            checkpoint_events,
            behind_events,
        }
    }
}

impl FeedOptions {
    /// The same with another [`Self::resolve_links`].
    #[must_use]
    pub fn resolve_links(self, resolve_links: bool) -> Self {
        Self {
            resolve_links,
            ..self
        }
    }

    /// The same with another [`Self::checkpoint_events`].
    #[must_use]
    pub fn checkpoint_events(self, checkpoint_events: u64) -> Self {
        Self {
            checkpoint_events,
            ..self
        }
    }

    /// The same with another [`Self::behind_events`].
    #[must_use]
    pub fn behind_events(self, behind_events: u64) -> Self {
        Self {
            behind_events,
            ..self
        }
    }
}

/// What a feed tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedNotice {
    /// The next events; never none.
    Events(Vec<ResolvedEvent>),
    /// How far a feed with a filter has come: each time that [`FeedOptions::checkpoint_events`]
    /// more events were looked at, whether it got any of them or not, and right in front of every
    /// [`Self::CaughtUp`].
    Checkpoint(Progress),
    /// Everything that is committed was delivered; from here on events come as they are committed.
    CaughtUp(CaughtUp),
    /// It had caught up, and is far behind again, because its owner took too long. Events go on.
    FellBehind(Progress),
    /// The stream was closed for ever, by the event at the position. If that happened while the
    /// feed was there, the event came before. Nothing more will come.
    StreamTombstoned(Position),
}

/// Where a feed is when it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// How far it has come.
    pub progress: Progress,
    /// The last revision of its stream; none for the whole log, and for a stream without events.
    pub revision: Option<Revision>,
}

/// Follows a source event by event: what is there already, then what is committed, each event once,
/// in order. Dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    subscription: Subscription,
    options: FeedOptions,
    filtered: bool,
    /// For a virtual stream: it, and what of it is wanted.
    listed: Option<(Virtual, VirtualStart)>,
    /// Where the log ended when it began.
    began: Position,
    /// Where its last checkpoint was, or where it began.
    checkpoint: Position,
    checkpoint_given: bool,
    tombstone_given: bool,
    found: VecDeque<Found>,
    position: Position,
}

/// What was found and not handed out.
#[derive(Debug)]
enum Found {
    Event(RecordedEvent),
    Entry(Entry),
    /// A checkpoint at the end of each interval, from the first of these positions to the last.
    Checkpoints(Position, Position),
    Notice(FeedNotice),
}

impl Store {
    /// Follows a source from some place on, event by event; see [`Store::subscribe`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn feed(
        &self,
        source: FeedSource,
        from: SubscribeFrom,
        options: FeedOptions,
    ) -> Result<Feed, ReadError> {
        let filtered = matches!(source, FeedSource::All(Some(_)));
        let reading = self.reading();
        let began = self.committed();
        let subscribe = SubscribeOptions::default()
            .checkpoint_events(options.checkpoint_events)
            .behind_events(options.behind_events);
        let source = match source {
            FeedSource::All(None) => Source::All,
            FeedSource::All(Some(filter)) => Source::Filtered(filter),
            FeedSource::Stream(stream) => Source::Stream(stream),
        };
        let listed = match &source {
            Source::Stream(stream) => Virtual::of(stream),
            _ => None,
        };
        let listed = match listed {
            None => None,
            Some(one) => {
                let start = virtual_start(reading, &one, from)?;
                Some((one, start))
            }
        };
        let mut subscription = match &listed {
            None => self.subscribe_with(source, from, subscribe)?,
            Some((one, _)) => {
                let dispatcher = self.dispatcher().ok_or_else(ReadError::closed)?;
                let track = (Track::Virtual(one.clone()), SubscribeFrom::Start);
                Subscription::open(reading.clone(), dispatcher, track, subscribe)?
            }
        };
        if let Some((_, start)) = &listed {
            subscription.next = start.position;
        }
        let position = subscription.position();
        Ok(Feed {
            subscription,
            options,
            filtered,
            listed,
            began,
            checkpoint: position,
            checkpoint_given: false,
            tombstone_given: false,
            found: VecDeque::new(),
            position,
        })
    }
}

/// Where a feed of a virtual stream begins.
fn virtual_start(
    reading: &Reading,
    one: &Virtual,
    from: SubscribeFrom,
) -> Result<VirtualStart, ReadError> {
    let first = match from {
        SubscribeFrom::AfterRevision(revision) => revision.next(),
        _ => Revision::START,
    };
    let start = reading.virtual_start(one, first)?;
    let position = match from {
        SubscribeFrom::Start | SubscribeFrom::AfterRevision(_) => start.position,
        SubscribeFrom::After(position) => position.next().max(start.position),
        SubscribeFrom::End => reading.virtual_end(&one.of),
    };
    Ok(VirtualStart { position, ..start })
}

impl Feed {
    /// Everything in front of this position was looked at, and what concerns the feed was handed
    /// out.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next notice, if there is one without waiting: at most `events_max` events, but at least
    /// one. May read from the disk.
    ///
    /// # Errors
    /// See [`ReadError`]. After an error the same can be tried again.
    pub fn try_next(&mut self, events_max: usize) -> Result<Option<FeedNotice>, ReadError> {
        let limit = BatchLimit {
            events_max: events_max.max(1),
            ..BatchLimit::default()
        };
        loop {
            match self.found.front() {
                Some(Found::Event(_) | Found::Entry(_)) => {
                    return self.hand_out(limit.events_max).map(Some);
                }
                Some(Found::Checkpoints(..)) => {
                    return Ok(self.try_checkpoint().map(FeedNotice::Checkpoint));
                }
                Some(Found::Notice(notice)) => {
                    let notice = notice.clone();
                    self.found.pop_front();
                    if let FeedNotice::Checkpoint(progress)
                    | FeedNotice::CaughtUp(CaughtUp { progress, .. }) = &notice
                    {
                        self.position = progress.position;
                    }
                    return Ok(Some(notice));
                }
                None => {}
            }
            match self.subscription.try_next(limit)? {
                Some(notice) => self.take(notice)?,
                None => {
                    self.position = self.subscription.position();
                    return Ok(None);
                }
            }
        }
    }

    /// The next notice, if it is a checkpoint that is at hand; never reads from the disk.
    #[must_use]
    pub fn try_checkpoint(&mut self) -> Option<Progress> {
        let Some(Found::Checkpoints(first, last)) = self.found.front_mut() else {
            return None;
        };
        let position = *first;
        *first = position.plus(self.options.checkpoint_events.max(1));
        if *first > *last {
            self.found.pop_front();
        }
        self.position = position;
        Some(self.progress(position))
    }

    /// Waits for the next notice, blocking this thread.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next(&mut self, events_max: usize) -> Result<FeedNotice, ReadError> {
        loop {
            if let Some(notice) = self.try_next(events_max)? {
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
        events_max: usize,
        timeout: Duration,
    ) -> Result<Option<FeedNotice>, ReadError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(notice) = self.try_next(events_max)? {
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
    pub async fn next_async(&mut self, events_max: usize) -> Result<FeedNotice, ReadError> {
        loop {
            if let Some(notice) = self.try_next(events_max)? {
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
        match self.found.is_empty() {
            true => self.subscription.poll_changed(context),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Some of the events that were found, with what they point to.
    fn hand_out(&mut self, events_max: usize) -> Result<FeedNotice, ReadError> {
        let mut events = Vec::new();
        let mut len_bytes = 0;
        let mut sights = None;
        while let Some(found) = self.found.front() {
            if events.len() >= events_max || len_bytes >= LEN_BYTES_MAX {
                break;
            }
            let reading = &self.subscription.reading;
            let resolve_links = self.options.resolve_links;
            let (position, resolved) = match (found, &self.listed) {
                (Found::Event(event), _) if resolve_links => {
                    (event.position, reading.resolve(event.clone()))
                }
                (Found::Event(event), _) => {
                    (event.position, Ok(ResolvedEvent::Plain(event.clone())))
                }
                (Found::Entry(entry), Some((one, _))) => {
                    let sights = sights.get_or_insert_with(|| reading.sights());
                    let sights = Some(sights).filter(|_| resolve_links);
                    let resolved = reading.resolve_entry(one, entry.clone(), sights);
                    (entry.event.position, resolved)
                }
                (Found::Notice(_) | Found::Checkpoints(..), _) | (Found::Entry(_), None) => break,
            };
            match resolved {
                Ok(resolved) => {
                    len_bytes += resolved.len_bytes();
                    self.position = position.next();
                    events.push(resolved);
                    self.found.pop_front();
                }
                // What was resolved is handed out first.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(FeedNotice::Events(events))
    }

    fn take(&mut self, notice: Notice) -> Result<(), ReadError> {
        match notice {
            Notice::Events(batch) => {
                let taken = self.take_events(&batch);
                if taken.is_err() {
                    self.subscription.held = Some(batch);
                }
                taken?;
            }
            Notice::Checkpoint(progress) => self.pass(progress.position),
            Notice::CaughtUp(progress) => {
                let revision = self.last_revision();
                // What goes wrong here is told again when it is asked for again.
                self.subscription.live = revision.is_ok();
                let revision = revision?;
                self.pass(progress.position);
                let given = self.checkpoint_given && self.checkpoint == progress.position;
                if self.filtered && !given {
                    self.give_checkpoint(progress);
                }
                self.give(FeedNotice::CaughtUp(CaughtUp { progress, revision }));
            }
            Notice::FellBehind(progress) => self.give(FeedNotice::FellBehind(progress)),
            Notice::StreamTombstoned(position) => {
                if position >= self.began && !self.tombstone_given {
                    let event = self.subscription.reading.event_at(position)?;
                    self.found.extend(event.map(Found::Event));
                }
                self.tombstone_given = true;
                self.give(FeedNotice::StreamTombstoned(position));
            }
        }
        Ok(())
    }

    /// The last revision of the stream.
    fn last_revision(&self) -> Result<Option<Revision>, ReadError> {
        let reading = &self.subscription.reading;
        match (&self.listed, self.subscription.track.stream()) {
            (Some((one, _)), _) => reading.virtual_last(one),
            (None, Some(stream)) => reading.last_shown(stream),
            (None, None) => Ok(None),
        }
    }

    fn take_events(&mut self, batch: &Batch) -> Result<(), ReadError> {
        let events: Result<Vec<_>, _> = batch.events().collect();
        let events = events.map_err(ReadError::unreadable)?;
        if let Some((one, start)) = &self.listed {
            let entries = self.subscription.reading.numbered(one, events)?;
            let wanted = entries.into_iter().filter(|entry| start.wants(entry));
            self.found.extend(wanted.map(Found::Entry));
            return Ok(());
        }
        for event in events {
            self.pass(event.position);
            self.found.push_back(Found::Event(event));
        }
        self.pass(batch.next);
        Ok(())
    }

    /// After how many events that were looked at there is a checkpoint.
    fn interval(&self) -> u64 {
        self.options.checkpoint_events.max(1)
    }

    /// Everything in front of a position was looked at: the checkpoints that lie there.
    fn pass(&mut self, position: Position) {
        if !self.filtered {
            return;
        }
        let passed = position.0.saturating_sub(self.checkpoint.0) / self.interval();
        if passed > 0 {
            let first = self.checkpoint.plus(self.interval());
            self.checkpoint = self.checkpoint.plus(passed * self.interval());
            self.checkpoint_given = true;
            self.found
                .push_back(Found::Checkpoints(first, self.checkpoint));
        }
        // The subscription counts on from the checkpoint, not from where it was looked last.
        self.subscription.told = self.checkpoint;
    }

    fn progress(&self, position: Position) -> Progress {
        Progress {
            position,
            committed_us: self.subscription.reading.committed_us(position),
        }
    }

    fn give_checkpoint(&mut self, progress: Progress) {
        self.checkpoint = progress.position;
        self.checkpoint_given = true;
        self.subscription.told = self.checkpoint;
        self.give(FeedNotice::Checkpoint(progress));
    }

    fn give(&mut self, notice: FeedNotice) {
        self.found.push_back(Found::Notice(notice));
    }
}
