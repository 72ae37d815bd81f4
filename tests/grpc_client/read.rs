//! Reading and following as clients do it.

use std::time::Duration;

use tonic::{Status, Streaming};

use super::v1::streams::read_req::Options;
use super::v1::streams::read_req::options::all_options::AllOption;
use super::v1::streams::read_req::options::filter_options::{Expression, Filter, Window};
use super::v1::streams::read_req::options::stream_options::RevisionOption;
use super::v1::streams::read_req::options::{
    AllOptions, ControlOption, CountOption, FilterOption, FilterOptions, StreamOption,
    StreamOptions, SubscriptionOptions, UuidOption, uuid_option,
};
use super::v1::streams::read_resp::{Content, ReadEvent, read_event};
use super::v1::streams::{Position, ReadReq, ReadResp};
use super::v1::{Empty, RecordedEvent};
use super::{Served, identifier};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A read of a stream from its start to its end.
pub(crate) fn of_stream(stream: &str) -> Options {
    Options {
        stream_option: Some(StreamOption::Stream(StreamOptions {
            stream_identifier: Some(identifier(stream)),
            revision_option: Some(RevisionOption::Start(Empty {})),
        })),
        ..of_all()
    }
}

/// A read of all events.
pub(crate) fn of_all() -> Options {
    Options {
        stream_option: Some(StreamOption::All(AllOptions {
            all_option: Some(AllOption::Start(Empty {})),
        })),
        read_direction: 0,
        resolve_links: false,
        count_option: Some(CountOption::Count(u64::MAX)),
        filter_option: Some(FilterOption::NoFilter(Empty {})),
        uuid_option: Some(UuidOption {
            content: Some(uuid_option::Content::String(Empty {})),
        }),
        control_option: None,
    }
}

impl Options {
    pub(crate) fn revision(mut self, revision: u64) -> Self {
        self.set_revision(RevisionOption::Revision(revision));
        self
    }

    pub(crate) fn position(mut self, position: u64) -> Self {
        self.set_position(AllOption::Position(Position {
            commit_position: position,
            prepare_position: position,
        }));
        self
    }

    /// From the end.
    pub(crate) fn end(mut self) -> Self {
        match &self.stream_option {
            Some(StreamOption::Stream(_)) => self.set_revision(RevisionOption::End(Empty {})),
            _ => self.set_position(AllOption::End(Empty {})),
        }
        self
    }

    fn set_revision(&mut self, option: RevisionOption) {
        let Some(StreamOption::Stream(options)) = &mut self.stream_option else {
            panic!("not a read of a stream");
        };
        options.revision_option = Some(option);
    }

    fn set_position(&mut self, option: AllOption) {
        let Some(StreamOption::All(options)) = &mut self.stream_option else {
            panic!("not a read of all events");
        };
        options.all_option = Some(option);
    }

    pub(crate) fn backwards(mut self) -> Self {
        self.read_direction = 1;
        self
    }

    pub(crate) fn count(mut self, count: u64) -> Self {
        self.count_option = Some(CountOption::Count(count));
        self
    }

    pub(crate) fn follow(mut self) -> Self {
        self.count_option = Some(CountOption::Subscription(SubscriptionOptions {}));
        self
    }

    pub(crate) fn resolved(mut self) -> Self {
        self.resolve_links = true;
        self
    }

    /// As clients ask that know the messages about the first and the last revision.
    pub(crate) fn compatible(mut self) -> Self {
        self.control_option = Some(ControlOption { compatibility: 1 });
        self
    }

    pub(crate) fn filter(mut self, filter: Filter, window: Window, multiplier: u32) -> Self {
        self.filter_option = Some(FilterOption::Filter(FilterOptions {
            filter: Some(filter),
            window: Some(window),
            checkpoint_interval_multiplier: multiplier,
        }));
        self
    }
}

pub(crate) fn by_regex(regex: &str) -> Expression {
    Expression {
        regex: regex.to_owned(),
        prefix: Vec::new(),
    }
}

pub(crate) fn by_prefix(prefixes: &[&str]) -> Expression {
    Expression {
        regex: String::new(),
        prefix: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
    }
}

impl Served {
    pub(crate) async fn open(&self, options: Options) -> Result<Streaming<ReadResp>, Status> {
        let options = Some(options);
        Ok(self.streams().read(ReadReq { options }).await?.into_inner())
    }

    /// All messages of a read that ends.
    pub(crate) async fn read(&self, options: Options) -> Result<Vec<Content>, Status> {
        let mut messages = self.open(options).await?;
        let mut contents = Vec::new();
        while let Some(message) = messages.message().await? {
            contents.push(message.content.expect("it is set"));
        }
        Ok(contents)
    }

    /// The events of a read that has nothing else to say.
    pub(crate) async fn read_events(&self, options: Options) -> Result<Vec<RecordedEvent>, Status> {
        let contents = self.read(options).await?;
        let event = |content| match content {
            Content::Event(event) => of_event(event),
            other => panic!("{other:?}"),
        };
        Ok(contents.into_iter().map(event).collect())
    }

    /// A subscription whose confirmation has come.
    pub(crate) async fn follow(&self, options: Options) -> Following {
        let mut messages = Following(self.open(options.follow()).await.unwrap());
        match messages.next().await.unwrap() {
            Content::Confirmation(confirmation) => {
                uuid::Uuid::try_parse(&confirmation.subscription_id).unwrap();
            }
            other => panic!("{other:?}"),
        }
        messages
    }
}

/// A subscription.
pub(crate) struct Following(Streaming<ReadResp>);

impl Following {
    /// The next message, which must come soon.
    pub(crate) async fn next(&mut self) -> Result<Content, Status> {
        let next = tokio::time::timeout(SOON, self.0.message());
        let message = next.await.expect("a message comes soon")?;
        Ok(message
            .expect("a subscription has no clean end")
            .content
            .expect("it is set"))
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> RecordedEvent {
        match self.next().await.unwrap() {
            Content::Event(event) => of_event(event),
            other => panic!("{other:?}"),
        }
    }
}

/// An event that is no link, whose positions agree.
pub(crate) fn of_event(event: ReadEvent) -> RecordedEvent {
    assert_eq!(event.link, None);
    let recorded = event.event.expect("it is set");
    assert_eq!(recorded.commit_position, recorded.prepare_position);
    let position = read_event::Position::CommitPosition(recorded.commit_position);
    assert_eq!(event.position, Some(position));
    recorded
}

/// A value of an event's metadata.
pub(crate) fn value<'a>(event: &'a RecordedEvent, key: &str) -> &'a str {
    let mut entries = event.metadata.iter();
    let entry = entries
        .find(|entry| entry.key == key.as_bytes())
        .expect("the key is there");
    std::str::from_utf8(&entry.value).unwrap()
}
