//! Reading: a stream of events that goes on where it was when the connection is lost.

use std::sync::Arc;

use super::connection::{Connection, Feed, Lost};
use super::link::Link;
use super::{ConnectError, Read, ReadError, unexpected};
use crate::model::{Direction, Position, ReadFrom, RecordedEvent, Source};
use crate::protocol::message::{self as wire, Credit};
use crate::protocol::records::{Run, all_events};
use crate::protocol::{Answer, Request, WireError};

/// The events of a read, in its order, each checked against the checksums that the server's disk
/// holds. At most the credit of the options waits in memory.
#[derive(Debug)]
pub struct Events {
    link: Arc<Link>,
    read: Read,
    running: Option<Running>,
    /// Events that arrived together, in the order of the read.
    ready: std::vec::IntoIter<RecordedEvent>,
    ended: bool,
}

/// A read that the server is answering; the connection is held so that it stays.
#[derive(Debug)]
struct Running {
    feed: Feed,
    credit: SpentCredit,
    _connection: Arc<Connection>,
}

/// Credit that was used and is given back in large pieces.
#[derive(Debug)]
pub(super) struct SpentCredit {
    spent: u64,
    give_back_at: u64,
}

impl SpentCredit {
    pub(super) fn of(credit_bytes: u64) -> Self {
        Self {
            spent: 0,
            give_back_at: (credit_bytes / 2).max(1),
        }
    }

    /// Counts records that left the client's memory.
    pub(super) fn spend(&mut self, runs: &[Run], feed: &Feed) {
        let len_bytes: usize = runs.iter().map(|run| run.bytes.len()).sum();
        self.spent += u64::try_from(len_bytes).unwrap_or(u64::MAX);
        if self.spent >= self.give_back_at {
            feed.tell(&Request::Credit(Credit {
                bytes: std::mem::take(&mut self.spent),
            }));
        }
    }
}

impl Events {
    pub(super) fn new(link: Arc<Link>, read: Read) -> Self {
        Self {
            link,
            read,
            running: None,
            ready: Vec::new().into_iter(),
            ended: false,
        }
    }

    /// The next event; none at the end.
    ///
    /// # Errors
    /// See [`ReadError`]. After an error the read is over.
    pub async fn next(&mut self) -> Result<Option<RecordedEvent>, ReadError> {
        loop {
            if let Some(event) = self.ready.next() {
                return Ok(Some(event));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// All events that arrived together, at least one; none at the end. Cheaper than one by one.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_batch(&mut self) -> Result<Option<Vec<RecordedEvent>>, ReadError> {
        while self.ready.as_slice().is_empty() {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(Some(std::mem::take(&mut self.ready).collect()))
    }

    /// All events that are left.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn collect(mut self) -> Result<Vec<RecordedEvent>, ReadError> {
        let mut events = Vec::new();
        while let Some(batch) = self.next_batch().await? {
            events.extend(batch);
        }
        Ok(events)
    }

    /// Takes in the next frame; says whether there was one.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        if self.ended {
            return Ok(false);
        }
        let filled = self.try_fill().await;
        if !matches!(filled, Ok(true)) {
            self.ended = true;
            self.running = None;
        }
        filled
    }

    async fn try_fill(&mut self) -> Result<bool, ReadError> {
        loop {
            let frame = match &mut self.running {
                Some(running) => running.feed.next().await,
                None => match self.start().await? {
                    Ok(()) => continue,
                    Err(Lost) => Err(Lost),
                },
            };
            let Ok(frame) = frame else {
                self.running = None;
                continue;
            };
            let answer = Answer::decode(frame.kind, frame.body);
            match answer.map_err(|error| ConnectError::Protocol(error.to_string()))? {
                Answer::Records(runs) => {
                    let salt = self.link.salt();
                    let mut events = all_events(&runs, &salt)?;
                    if self.read.direction == Direction::Backwards {
                        events.reverse();
                    }
                    if let Some(running) = &mut self.running {
                        running.credit.spend(&runs, &running.feed);
                    }
                    self.go_on_behind(&events);
                    self.ready = events.into_iter();
                    return Ok(true);
                }
                Answer::End(_) => return Ok(false),
                Answer::Error(WireError::GoingAway) => self.running = None,
                Answer::Error(error) => return Err(error.into()),
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    async fn start(&mut self) -> Result<Result<(), Lost>, ConnectError> {
        let connection = self.link.connection().await?;
        let credit_bytes = self.link.options.credit_bytes;
        let request = Request::Read(wire::Read {
            source: (&self.read.source).into(),
            from: self.read.from.into(),
            backwards: self.read.direction == Direction::Backwards,
            events_max: self.read.events_max,
            credit_bytes,
            at_least: self
                .read
                .at_least
                .map(|(token, within)| super::request::wait_for(token, within)),
        });
        let Ok(feed) = connection.open_feed(&request) else {
            return Ok(Err(Lost));
        };
        let credit = SpentCredit::of(credit_bytes);
        self.running = Some(Running {
            feed,
            credit,
            _connection: connection,
        });
        Ok(Ok(()))
    }

    /// Makes the read one that has given these events.
    fn go_on_behind(&mut self, events: &[RecordedEvent]) {
        let given = u64::try_from(events.len()).unwrap_or(u64::MAX);
        self.read.events_max = self.read.events_max.saturating_sub(given);
        let Some(last) = events.last() else {
            return;
        };
        let in_stream = matches!(self.read.source, Source::Stream(_));
        let next = match (self.read.direction, in_stream) {
            (Direction::Forwards, true) => Some(last.revision.next().0),
            (Direction::Forwards, false) => Some(last.position.next().0),
            (Direction::Backwards, true) => last.revision.0.checked_sub(1),
            (Direction::Backwards, false) => Some(last.position.0),
        };
        match next {
            Some(next) => self.read.from = ReadFrom::At(next),
            // Nothing lies behind the first event of a stream.
            None => self.read.events_max = 0,
        }
    }
}

/// The place of an event in the log, as the one behind which a feed goes on.
pub(super) fn last_position(events: &[RecordedEvent]) -> Option<Position> {
    events.last().map(|event| event.position)
}
