//! A subscription, to a server or a folder.

use crate::cli::failure::{Exit, Failure};
use crate::cli::target::Target;
use crate::client::{self, Subscribe};
use crate::engine::BatchLimit;
use crate::model::{Position, RecordedEvent, Source, SubscribeFrom};
use crate::subscription;

/// What a subscription says.
pub(in crate::cli) enum Seen {
    /// Events, at least one.
    Events(Vec<RecordedEvent>),
    /// Everything before the position was looked at. The word says why it is told: `checkpoint`,
    /// `caught_up`, `fell_behind` or `resumed`.
    Notice {
        /// The word.
        word: &'static str,
        /// The position.
        position: Position,
    },
    /// Nothing will come any more.
    Ended(Failure),
}

/// A subscription. Waiting for what comes next can be given up and taken up again.
pub(in crate::cli) enum Feed {
    /// Over a connection.
    Server(Box<client::Subscription>),
    /// Within this process.
    Folder(Box<subscription::Subscription>),
}

impl Target {
    /// Follows a source from a place on.
    pub(in crate::cli) async fn subscribe(
        &self,
        source: Source,
        from: SubscribeFrom,
    ) -> Result<Feed, Failure> {
        match self {
            Self::Server(client) => {
                let subscription = client.subscribe(Subscribe::new(source, from)).await?;
                Ok(Feed::Server(Box::new(subscription)))
            }
            Self::Folder(store) => Ok(Feed::Folder(Box::new(store.subscribe(source, from)?))),
        }
    }
}

impl Feed {
    /// What comes next.
    pub(in crate::cli) async fn next(&mut self) -> Result<Seen, Failure> {
        match self {
            Self::Server(subscription) => Ok(of_server(subscription.next_batch().await?)),
            Self::Folder(subscription) => {
                of_folder(subscription.next_async(BatchLimit::default()).await?)
            }
        }
    }
}

fn of_server(notices: client::Notices) -> Seen {
    use client::Notice;
    let (word, position) = match notices {
        client::Notices::Events(events) => return Seen::Events(events),
        client::Notices::Notice(notice) => match notice {
            Notice::Event(event) => return Seen::Events(vec![event]),
            Notice::Checkpoint { position, .. } => ("checkpoint", position),
            Notice::CaughtUp { position, .. } => ("caught_up", position),
            Notice::FellBehind { position } => ("fell_behind", position),
            Notice::Resumed { after } => ("resumed", after.map_or(Position::START, Position::next)),
        },
    };
    Seen::Notice { word, position }
}

fn of_folder(notice: subscription::Notice) -> Result<Seen, Failure> {
    use subscription::Notice;
    let (word, position) = match notice {
        Notice::Events(batch) => {
            let damaged = |error| Failure::new(Exit::Damaged, error);
            let events = batch.events().collect::<Result<_, _>>().map_err(damaged)?;
            return Ok(Seen::Events(events));
        }
        Notice::Checkpoint(progress) => ("checkpoint", progress.position),
        Notice::CaughtUp(progress) => ("caught_up", progress.position),
        Notice::FellBehind(progress) => ("fell_behind", progress.position),
        Notice::StreamTombstoned(position) => {
            let message = format!("the stream was closed for ever, at position {position}");
            return Ok(Seen::Ended(Failure::new(Exit::NotFound, message)));
        }
    };
    Ok(Seen::Notice { word, position })
}
