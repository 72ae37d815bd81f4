//! Following events: a feed that never ends by itself, and resumes when the connection is lost.

use std::collections::VecDeque;
use std::sync::Arc;

use super::connection::{Came, Connection, Feed, Lost};
use super::events::{SpentCredit, last_position};
use super::link::Link;
use super::{ConnectError, ReadError, Subscribe, unexpected};
use crate::model::{Position, RecordedEvent, SubscribeFrom};
use crate::protocol::message::{self as wire, Mark};
use crate::protocol::records::all_events;
use crate::protocol::{Answer, Frame, Request, WireError};

/// What a subscription has to say, event by event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most notices are events")]
pub enum Notice {
    /// An event.
    Event(RecordedEvent),
    /// Everything before the position was looked at, and given if it was wanted. A place to resume
    /// from, also when nothing matches for long.
    Checkpoint {
        /// The position.
        position: Position,
        /// When what stands in front of the position was committed, in microseconds since 1970, if
        /// the server knows; no later commit has an earlier time.
        committed_us: Option<i64>,
    },
    /// Everything that was committed was given; what follows is new.
    CaughtUp {
        /// Everything before this position was looked at.
        position: Position,
        /// As in a checkpoint.
        committed_us: Option<i64>,
    },
    /// More has been committed than could be sent; until the next [`Self::CaughtUp`], what follows
    /// is not new any more.
    FellBehind {
        /// Everything before this position was looked at.
        position: Position,
    },
    /// The connection was lost and made again; nothing was left out or doubled.
    Resumed {
        /// The last position that was looked at before; none if the subscription is at its start.
        after: Option<Position>,
    },
}

/// What a subscription has to say, with events that arrived together in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub enum Notices {
    /// Events, at least one.
    Events(Vec<RecordedEvent>),
    /// Anything else; never [`Notice::Event`].
    Notice(Notice),
}

/// A subscription. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    link: Arc<Link>,
    subscribe: Subscribe,
    running: Option<Running>,
    /// Events that arrived together and were not given yet.
    ready: VecDeque<RecordedEvent>,
    live: bool,
    resuming: bool,
}

/// A subscription that the server is serving; the connection is held so that it stays.
#[derive(Debug)]
struct Running {
    feed: Feed,
    credit: SpentCredit,
    _connection: Arc<Connection>,
}

impl Subscription {
    pub(super) async fn open(link: Arc<Link>, subscribe: Subscribe) -> Result<Self, ReadError> {
        let ready = VecDeque::new();
        let mut subscription = Self {
            link,
            subscribe,
            running: None,
            ready,
            live: false,
            resuming: false,
        };
        subscription.start().await?;
        Ok(subscription)
    }

    /// The next notice. It waits until there is one; dropping the future loses nothing.
    ///
    /// # Errors
    /// See [`ReadError`]. A subscription whose server is away for longer than the options allow may
    /// be asked again, and goes on when the server is back.
    pub async fn next(&mut self) -> Result<Notice, ReadError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Notice::Event(event));
            }
            match self.next_batch().await? {
                Notices::Events(events) => self.ready = events.into(),
                Notices::Notice(notice) => return Ok(notice),
            }
        }
    }

    /// The next notice, or all events that arrived together. Cheaper than one by one.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_batch(&mut self) -> Result<Notices, ReadError> {
        if !self.ready.is_empty() {
            return Ok(Notices::Events(std::mem::take(&mut self.ready).into()));
        }
        loop {
            let Some(running) = &mut self.running else {
                self.start().await?;
                continue;
            };
            if std::mem::take(&mut self.resuming) {
                let after = self.after();
                return Ok(Notices::Notice(Notice::Resumed { after }));
            }
            let notices = match running.feed.next_or_idle(self.live).await {
                Ok(Came::Frame(frame)) => self.take_in(frame)?,
                Ok(Came::Idle(mark)) => self.checkpoint(mark),
                Err(Lost) => {
                    self.stop();
                    None
                }
            };
            if let Some(notices) = notices {
                return Ok(notices);
            }
        }
    }

    /// The last position that was looked at, as far as it was given; none at the very start.
    #[must_use]
    pub fn after(&self) -> Option<Position> {
        match self.subscribe.from {
            SubscribeFrom::After(position) => Some(position),
            SubscribeFrom::Start | SubscribeFrom::AfterRevision(_) | SubscribeFrom::End => None,
        }
    }

    fn stop(&mut self) {
        self.running = None;
        self.live = false;
        self.resuming = true;
    }

    /// Begins, or begins again, and waits until the server has.
    async fn start(&mut self) -> Result<(), ReadError> {
        loop {
            let connection = self.link.connection().await?;
            let credit_bytes = self.link.options.credit_bytes;
            let at_least = self.subscribe.at_least;
            let request = Request::Subscribe(wire::Subscribe {
                source: (&self.subscribe.source).into(),
                from: self.subscribe.from.into(),
                credit_bytes,
                at_least: at_least.map(|(token, within)| super::request::wait_for(token, within)),
            });
            let Ok(mut feed) = connection.open_feed(&request) else {
                continue;
            };
            let Ok(frame) = feed.next().await else {
                continue;
            };
            match decode(frame)? {
                Answer::Subscribed(mark) => {
                    // What is committed from now on is behind this place also after a lost
                    // connection.
                    if self.subscribe.from == SubscribeFrom::End {
                        self.looked_at_before(Position(mark.position));
                    }
                    // The place was reached once; a resumed feed need not wait for it again.
                    self.subscribe.at_least = None;
                    let credit = SpentCredit::of(credit_bytes);
                    self.running = Some(Running {
                        feed,
                        credit,
                        _connection: connection,
                    });
                    return Ok(());
                }
                Answer::Error(WireError::GoingAway) => (),
                Answer::Error(error) => return Err(error.into()),
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    fn looked_at_before(&mut self, position: Position) {
        self.subscribe.from = match (position.0.checked_sub(1), self.subscribe.from) {
            (Some(last), _) => SubscribeFrom::After(Position(last)),
            (None, SubscribeFrom::End) => SubscribeFrom::Start,
            (None, from) => from,
        };
    }

    fn checkpoint(&mut self, mark: Mark) -> Option<Notices> {
        let position = Position(mark.position);
        if self.after().is_some_and(|after| position <= after.next()) {
            return None;
        }
        self.looked_at_before(position);
        let committed_us = mark.committed_us;
        Some(Notices::Notice(Notice::Checkpoint {
            position,
            committed_us,
        }))
    }

    fn take_in(&mut self, frame: Frame) -> Result<Option<Notices>, ReadError> {
        let notice = match decode(frame)? {
            Answer::Records(runs) => {
                let salt = self.link.salt();
                let events = all_events(&runs, &salt)?;
                if let Some(running) = &mut self.running {
                    running.credit.spend(&runs, &running.feed);
                }
                let Some(last) = last_position(&events) else {
                    return Ok(None);
                };
                self.subscribe.from = SubscribeFrom::After(last);
                return Ok(Some(Notices::Events(events)));
            }
            Answer::Checkpoint(mark) => return Ok(self.checkpoint(mark)),
            Answer::CaughtUp(Mark {
                position,
                committed_us,
            }) => {
                self.live = true;
                self.looked_at_before(Position(position));
                Notice::CaughtUp {
                    position: Position(position),
                    committed_us,
                }
            }
            Answer::FellBehind(mark) => {
                self.live = false;
                Notice::FellBehind {
                    position: Position(mark.position),
                }
            }
            Answer::Error(WireError::GoingAway) => {
                self.stop();
                return Ok(None);
            }
            Answer::Error(error) => {
                self.stop();
                return Err(error.into());
            }
            other => return Err(unexpected(&other).into()),
        };
        Ok(Some(Notices::Notice(notice)))
    }
}

fn decode(frame: Frame) -> Result<Answer, ConnectError> {
    Answer::decode(frame.kind, frame.body)
        .map_err(|error| ConnectError::Protocol(error.to_string()))
}
