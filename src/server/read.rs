//! Reads: stored records, sent as far as the client's credit and the connection go.
//!
//! A read holds no thread while it waits for credit. Each step reads as much as may be sent, on a
//! thread that may wait for the disk.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;

use super::error::of_read;
use super::feed::Feed;
use super::permit::Permit;
use super::session::Session;
use crate::engine::{Batch, BatchLimit, Events, ReadError, Store};
use crate::model::{Direction, Position, Revision, Source};
use crate::protocol::frame::put_frame_with_tail;
use crate::protocol::message as wire;
use crate::protocol::records::{
    RECORDS_LEN_BYTES, RUN_HEADER_LEN_BYTES, put_run_header, revisions,
};
use crate::protocol::{Answer, WireError};

/// What one step reads at most, in bytes: some frames, so that going to another thread pays.
const STEP_LEN_BYTES: usize = 4 * RECORDS_LEN_BYTES;
/// How many stretches of the log without an event for the reader one step looks through.
const STRETCHES_MAX: usize = 4;

impl Session {
    /// Begins a read.
    pub(super) fn read(self: &Arc<Self>, correlation: u64, read: wire::Read, permit: Permit) {
        let feed = Arc::new(Feed::new(
            read.credit_bytes,
            self.shared.options.credit_bytes_max,
            false,
        ));
        let opened = self.begin_request().and_then(|()| {
            self.open_feed(correlation, &feed)
                .inspect_err(|_| self.end_request())
        });
        if let Err(error) = opened {
            return self.answer(correlation, &Answer::Error(error));
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let answer = match session.feed_read(correlation, read, &feed, permit).await {
                Ok(end) => Answer::End(end),
                Err(error) => Answer::Error(error),
            };
            session.feeds.lock().by_request.remove(&correlation);
            session.answer(correlation, &answer);
            session.end_request();
        });
    }

    async fn feed_read(
        &self,
        correlation: u64,
        read: wire::Read,
        feed: &Feed,
        permit: Permit,
    ) -> Result<wire::End, WireError> {
        let mut permit = self.shared.check(permit).await?;
        if let Some(wait) = read.at_least {
            tokio::select! {
                reached = self.reach(wait) => reached?,
                () = feed.cancelled() => (),
            }
        }
        let source = Source::try_from(read.source.clone())?;
        let mut walk = Walk {
            in_stream: matches!(source, Source::Stream(_)),
            direction: read.direction(),
            events_left: read.events_max,
            next: match read.from {
                wire::From::At(at) => Some(at),
                wire::From::Start | wire::From::End => None,
            },
        };
        let mut events = None;
        loop {
            if walk.events_left == 0 {
                return Ok(walk.end(wire::EndReason::EventsMax));
            }
            let Some(allowance) = self.allowance(feed).await else {
                return Ok(walk.end(wire::EndReason::Cancelled));
            };
            let (source, opened, from) = (source.clone(), events.take(), read.from);
            let (stepped, left) = (walk.direction, walk.events_left);
            let len_bytes = allowance.len_bytes;
            let (reader, batches, failed, back) = self
                .shared
                .on_disk(move |store| {
                    permit.check()?;
                    let mut reader = match opened {
                        Some(reader) => reader,
                        None => open(store, &source, from, stepped)?,
                    };
                    let (mut batches, failed) = step(&mut reader, len_bytes, left);
                    for batch in &mut batches {
                        permit.show(batch)?;
                    }
                    Ok((reader, batches, failed, permit))
                })
                .await?;
            events = Some(reader);
            permit = back;
            let read_len_bytes = batches.iter().map(Batch::len_bytes).sum();
            let ended = batches.is_empty() && failed.is_none();
            for batch in &batches {
                walk.pass(batch);
                if !batch.is_empty() {
                    self.send_batch(correlation, batch, feed);
                }
            }
            if let Some(error) = failed {
                return Err(of_read(error));
            }
            if ended {
                walk.next = None;
                return Ok(walk.end(wire::EndReason::Exhausted));
            }
            drop(allowance);
            self.shared.give_way(read_len_bytes).await;
        }
    }

    /// Waits until a feed may send; none once it is cancelled. It sends before it gives its turn
    /// to another.
    pub(super) async fn allowance(&self, feed: &Feed) -> Option<Allowance<'_>> {
        let mut turn = None;
        loop {
            if feed.is_cancelled() {
                return None;
            }
            match (feed.credit_bytes(), turn.take()) {
                (0, _) => feed.changed().await,
                (_, None) => {
                    tokio::select! {
                        // It is never closed.
                        taken = self.turns.acquire() => turn = taken.ok(),
                        () = feed.changed() => (),
                    }
                }
                (_, held) if self.backlog() > self.outbox_len_bytes() => {
                    tokio::select! {
                        () = self.room() => turn = held,
                        () = feed.changed() => turn = held,
                    }
                }
                (credit, Some(turn)) => {
                    let room = u64::try_from(self.outbox_len_bytes()).unwrap_or(u64::MAX);
                    return Some(Allowance {
                        len_bytes: credit.min(room),
                        _turn: turn,
                    });
                }
            }
        }
    }

    /// Sends records; their bytes are not copied.
    pub(super) fn send_batch(&self, correlation: u64, batch: &Batch, feed: &Feed) {
        let len_bytes = batch.len_bytes();
        feed.spend(u64::try_from(len_bytes).unwrap_or(u64::MAX));
        let headers_len = batch.runs.len() * RUN_HEADER_LEN_BYTES;
        self.put(|outbox| {
            let body_len = headers_len + len_bytes;
            outbox.put(|out| {
                put_frame_with_tail(out, Answer::RECORDS, correlation, body_len, |_| ());
            });
            for run in &batch.runs {
                outbox.put(|out| put_run_header(out, run.first, run.count, run.bytes.len()));
                outbox.put_bytes(run.bytes.clone());
            }
        });
    }
}

/// What a feed may send now.
pub(super) struct Allowance<'a> {
    /// So many bytes of records; one record always.
    pub(super) len_bytes: u64,
    _turn: SemaphorePermit<'a>,
}

/// How far a read has come.
struct Walk {
    in_stream: bool,
    direction: Direction,
    events_left: u64,
    next: Option<u64>,
}

impl Walk {
    fn end(&self, reason: wire::EndReason) -> wire::End {
        wire::End {
            reason,
            next: self.next,
        }
    }

    /// Counts a batch and notes where the read would go on behind it.
    fn pass(&mut self, batch: &Batch) {
        self.events_left = self.events_left.saturating_sub(batch.events_count());
        self.next = match (self.in_stream, self.direction) {
            (false, _) => Some(batch.next.0),
            // Of a stream it is known by its events alone.
            (true, _) if batch.is_empty() => self.next,
            (true, Direction::Forwards) => {
                let run = batch.runs.last().and_then(|run| revisions(&run.bytes));
                run.map(|(_, last)| last.next().0)
            }
            (true, Direction::Backwards) => {
                let run = batch.runs.first().and_then(|run| revisions(&run.bytes));
                run.and_then(|(first, _)| first.0.checked_sub(1))
            }
        };
    }
}

fn open(
    store: &Store,
    source: &Source,
    from: wire::From,
    direction: Direction,
) -> Result<Events, ReadError> {
    match source {
        Source::All => store.read_all(from.of(Position), direction, None),
        Source::Filtered(filter) => {
            store.read_all(from.of(Position), direction, Some(filter.clone()))
        }
        Source::Stream(stream) => store.read_stream(stream, from.of(Revision), direction),
        Source::Category(category) => store.read_category(category, from.of(Position), direction),
        Source::EventType(event_type) => store.read_type(event_type, from.of(Position), direction),
        Source::Tag(tag) => store.read_tag(tag, from.of(Position), direction),
    }
}

/// Reads what may be sent, as far as it is found soon; not even an empty batch at the end. What was
/// found in front of an error comes beside it.
fn step(events: &mut Events, len_bytes: u64, events_left: u64) -> (Vec<Batch>, Option<ReadError>) {
    let mut credit = usize::try_from(len_bytes)
        .unwrap_or(usize::MAX)
        .min(STEP_LEN_BYTES);
    let mut events_left = usize::try_from(events_left).unwrap_or(usize::MAX);
    let (mut batches, mut stretches) = (Vec::new(), 0);
    while credit > 0 && events_left > 0 && stretches < STRETCHES_MAX {
        let limit = BatchLimit {
            events_max: events_left,
            len_bytes_max: credit.min(RECORDS_LEN_BYTES),
        };
        let batch = match events.look_within(limit) {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => return (batches, Some(error)),
        };
        credit = credit.saturating_sub(batch.len_bytes());
        let count = usize::try_from(batch.events_count()).unwrap_or(usize::MAX);
        events_left = events_left.saturating_sub(count);
        stretches += usize::from(batch.is_empty());
        batches.push(batch);
    }
    (batches, None)
}
