//! Where the events are: behind a server, or in a folder that this process has opened. Both are
//! asked the same questions.

use annal::client::{self, Notices, Read, Subscribe};
use annal::{
    BatchLimit, Client, Direction, Notice, Position, ReadFrom, RecordedEvent, Source, Store,
    StreamHead, StreamName, SubscribeFrom, Timestamp,
};

/// How many streams are asked for at once.
const PAGE: u32 = 10_000;

pub(crate) enum Place {
    Server(Client),
    Folder(Store),
}

impl Place {
    /// Gives every event of a source, forwards.
    pub(crate) async fn read(&self, source: Source, mut take: impl FnMut(&RecordedEvent)) {
        match self {
            Self::Server(client) => {
                let mut events = client.read(Read::new(source));
                while let Some(batch) = events.next_batch().await.unwrap() {
                    batch.iter().for_each(&mut take);
                }
            }
            Self::Folder(store) => {
                let (from, forwards) = (ReadFrom::Start, Direction::Forwards);
                let events = match source {
                    Source::All => store.read_all(from, forwards, None),
                    Source::Category(category) => store.read_category(&category, from, forwards),
                    Source::EventType(event_type) => store.read_type(&event_type, from, forwards),
                    other => panic!("nobody asks for {other:?}"),
                };
                events.unwrap().for_each(|event| take(&event.unwrap()));
            }
        }
    }

    /// Gives every event of a source as a subscription from the start does until it caught up.
    pub(crate) async fn follow(&self, source: Source, mut take: impl FnMut(&RecordedEvent)) {
        let start = SubscribeFrom::Start;
        match self {
            Self::Server(client) => {
                let subscribe = Subscribe::new(source, start);
                let mut subscription = client.subscribe(subscribe).await.unwrap();
                loop {
                    match subscription.next_batch().await.unwrap() {
                        Notices::Events(events) => events.iter().for_each(&mut take),
                        Notices::Notice(client::Notice::CaughtUp { .. }) => return,
                        Notices::Notice(client::Notice::Checkpoint { .. }) => {}
                        Notices::Notice(other) => panic!("{other:?} while it catches up"),
                    }
                }
            }
            Self::Folder(store) => {
                let mut subscription = store.subscribe(source, start).unwrap();
                loop {
                    match subscription.next(BatchLimit::default()).unwrap() {
                        Notice::Events(batch) => {
                            batch.events().for_each(|event| take(&event.unwrap()));
                        }
                        Notice::CaughtUp(_) => return,
                        Notice::Checkpoint(_) => {}
                        other => panic!("{other:?} while it catches up"),
                    }
                }
            }
        }
    }

    /// The last event of a stream, read backwards, and where the stream says that it ends.
    pub(crate) async fn last_event(&self, stream: &str) -> (RecordedEvent, StreamHead) {
        let stream = StreamName::new(stream.to_owned()).unwrap();
        match self {
            Self::Server(client) => {
                let backwards = Read::stream(stream.clone()).backwards().events_max(1);
                let event = client.read(backwards).next().await.unwrap();
                (event.unwrap(), client.stream(&stream).await.unwrap().head)
            }
            Self::Folder(store) => {
                let events = store.read_stream(&stream, ReadFrom::End, Direction::Backwards);
                let event = events.unwrap().next().unwrap();
                (event.unwrap(), store.stream(&stream).unwrap().head)
            }
        }
    }

    pub(crate) async fn event_at(&self, position: Position) -> RecordedEvent {
        let event = match self {
            Self::Server(client) => client.event_at(position).await.unwrap(),
            Self::Folder(store) => store.event_at(position).unwrap(),
        };
        event.unwrap()
    }

    pub(crate) async fn position_at(&self, created: Timestamp) -> Position {
        match self {
            Self::Server(client) => client.position_at(created).await.unwrap(),
            Self::Folder(store) => store.position_at(created).unwrap(),
        }
    }

    /// Every stream with the number of its events, in the order of the names' bytes.
    pub(crate) async fn streams(&self) -> Vec<(StreamName, u64)> {
        let mut streams: Vec<(StreamName, u64)> = Vec::new();
        loop {
            let after = streams.last().map(|(stream, _)| stream.clone());
            let page: Vec<_> = match self {
                Self::Server(client) => {
                    let page = client.streams("", after.as_ref(), PAGE).await.unwrap().0;
                    let listed = page.into_iter();
                    listed.map(|of| (of.stream, of.events)).collect()
                }
                Self::Folder(store) => {
                    let max = usize::try_from(PAGE).unwrap();
                    let page = store.streams("", after.as_ref(), max).unwrap();
                    let listed = page.into_iter();
                    listed.map(|of| (of.stream, of.events_count)).collect()
                }
            };
            match page.is_empty() {
                true => return streams,
                false => streams.extend(page),
            }
        }
    }
}
