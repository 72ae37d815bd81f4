//! Clients of the other protocol: gRPC, as EventStoreDB's clients speak it. They write, look where
//! a stream ends, and follow; what they saw is judged with what the native clients saw.

use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use annal::{
    Append, ContentType, EventType, ExpectedRevision, NewEvent, Position, Receipt, RecordedEvent,
    Revision, StreamName, Timestamp, Token,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::iter;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::dice::Dice;
use super::follow::{PAUSE, followed, is_last};
use super::grpc_client::append::{ANY, Appended, EXISTS, NO_STREAM, entries, exactly, messages};
use super::grpc_client::read::{of_all, of_stream, value};
use super::grpc_client::text_id;
use super::grpc_client::v1::streams::read_req::Options;
use super::grpc_client::v1::streams::read_resp::Content;
use super::grpc_client::v1::streams::streams_client::StreamsClient;
use super::grpc_client::v1::streams::{ReadReq, ReadResp};
use super::grpc_client::v1::{self, ProposedMessage};
use super::history::{Followed, Followings, Given, Outcome};
use super::load::Clock;

/// A client of one server, over a connection of its own that is made again when it is lost.
#[derive(Clone, Debug)]
pub(crate) struct Grpc {
    channel: Channel,
    /// Of the store behind the server; the protocol does not name it.
    token: Token,
}

impl Grpc {
    pub(crate) fn new(port: u16, token: Token) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let channel = endpoint.connect_lazy();
        Self { channel, token }
    }

    fn streams(&self) -> StreamsClient<Channel> {
        StreamsClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// Appends to the one stream that is named. An error is an answer that no fault explains.
    pub(crate) async fn append(&self, append: &Append) -> Result<Outcome, String> {
        let (stream, expected) = &append.expectations[0];
        let expected = match expected {
            ExpectedRevision::Any => ANY,
            ExpectedRevision::NoStream => NO_STREAM,
            ExpectedRevision::StreamExists => EXISTS,
            ExpectedRevision::Exactly(revision) => exactly(revision.0),
        };
        let events = append.events.iter().map(|(_, event)| proposed(event));
        let messages = messages(stream, Some(expected), events.collect());
        let response = match self.streams().append(iter(messages)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return outcome(&status),
        };
        match Appended::of(response) {
            Appended::Success(Some(revision), Some(end)) => {
                let events = u64::try_from(append.events.len()).unwrap();
                // What the protocol shows is the position behind the last event.
                let end = Position(end);
                Ok(Outcome::Done(Receipt {
                    first: Position(end.0 - events),
                    last: Some(Position(end.0 - 1)),
                    revisions: vec![(stream.clone(), Revision(revision))],
                    token: Token { end, ..self.token },
                    repeated: false,
                }))
            }
            Appended::Wrong(found) => Ok(Outcome::Conflict {
                stream: stream.clone(),
                found: found.map(Revision),
            }),
            other @ Appended::Success(..) => Err(format!("an append was answered by {other:?}")),
        }
    }

    /// Where a stream ends.
    pub(crate) async fn head(&self, stream: &StreamName) -> Result<Option<Revision>, Status> {
        let last = of_stream(stream).end().backwards().count(1);
        let mut messages = self.read(last).await?;
        let mut head = None;
        while let Some(message) = messages.message().await? {
            if let Some(Content::Event(read)) = message.content {
                head = Some(Revision(read.event.unwrap().stream_revision));
            }
        }
        Ok(head)
    }

    async fn read(&self, options: Options) -> Result<Streaming<ReadResp>, Status> {
        let options = Some(options);
        Ok(self.streams().read(ReadReq { options }).await?.into_inner())
    }
}

fn proposed(event: &NewEvent) -> ProposedMessage {
    let content_type = event.content_type.as_str();
    ProposedMessage {
        id: Some(text_id(event.id)),
        metadata: entries(&[("type", &event.event_type), ("content-type", content_type)]),
        custom_metadata: event.metadata.clone(),
        data: event.data.clone(),
    }
}

/// What a status says of an append. What did not come from the server may have reached it.
fn outcome(status: &Status) -> Result<Outcome, String> {
    let text = status.message().to_owned();
    let is_of_server = status.source().is_none();
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted if is_of_server => Ok(Outcome::Refused(text)),
        _ if nobody_listens(status) => Ok(Outcome::Refused(format!("no connection to it: {text}"))),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented | Code::NotFound => {
            Err(format!("an append over gRPC: {status:?}"))
        }
        _ => Ok(Outcome::Unknown(text)),
    }
}

/// Whether there was no connection at all.
fn nobody_listens(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An event as the protocol shows it: everything but its tags.
fn recorded(event: v1::RecordedEvent) -> RecordedEvent {
    let ticks: i64 = value(&event, "created").parse().unwrap();
    let content_type = match value(&event, "content-type") {
        "application/json" => ContentType::Json,
        _ => ContentType::Binary,
    };
    let name = event.stream_identifier.as_ref().unwrap();
    let name = String::from_utf8(name.stream_name.to_vec()).unwrap();
    let id = match event.id.as_ref().unwrap().value.as_ref().unwrap() {
        v1::uuid::Value::String(text) => Uuid::try_parse(text).unwrap(),
        v1::uuid::Value::Structured(halves) => panic!("{halves:?}"),
    };
    RecordedEvent {
        position: Position(event.commit_position - 1),
        stream: StreamName::new(name).unwrap(),
        revision: Revision(event.stream_revision),
        id,
        event_type: EventType::new(value(&event, "type")).unwrap(),
        content_type,
        created: Timestamp::from_micros(ticks / 10),
        tags: Vec::new(),
        metadata: event.custom_metadata,
        data: event.data,
    }
}

/// Somebody who follows.
#[derive(Debug)]
pub(crate) struct GrpcFollower {
    pub(crate) client: Grpc,
    pub(crate) of: Followed,
    pub(crate) dice: Dice,
    pub(crate) clock: Clock,
}

impl GrpcFollower {
    /// Follows until it was given the event that `last` names for it, once that is known.
    pub(crate) async fn run(mut self, last: watch::Receiver<Option<Vec<Position>>>) -> Followings {
        let of = self.of.clone();
        followed(of, &last, async |all| self.follow(all, &last).await).await
    }

    async fn follow(
        &mut self,
        all: &mut Followings,
        last: &watch::Receiver<Option<Vec<Position>>>,
    ) {
        let mut running = None;
        let mut given: Option<(Position, Revision)> = None;
        loop {
            let at = given.map(|(position, _)| position);
            let is_last = |last: &Vec<Position>| is_last(&self.of, last, at);
            if last.borrow().as_ref().is_some_and(is_last) {
                return;
            }
            let Some(messages) = &mut running else {
                match self.client.read(self.behind(given).follow()).await {
                    Ok(begun) => running = Some(begun),
                    Err(_) => sleep(PAUSE).await,
                }
                continue;
            };
            // Awake now and then, to see whether that was the last event.
            let Ok(next) = timeout(Duration::from_millis(50), messages.message()).await else {
                continue;
            };
            match next {
                Ok(Some(message)) => {
                    if let Some(Content::Event(read)) = message.content {
                        let event = recorded(read.event.unwrap());
                        given = Some((event.position, event.revision));
                        let now = self.clock.now();
                        all.given.push(Given::Untagged(now, Box::new(event)));
                    }
                }
                Ok(None) | Err(_) => {
                    running = None;
                    all.resumed += 1;
                    sleep(PAUSE).await;
                }
            }
            if self.dice.below(1_000) == 0 {
                running = None;
                all.resumed += 1;
            }
        }
    }

    /// What is asked for behind what was given.
    fn behind(&self, given: Option<(Position, Revision)>) -> Options {
        match (&self.of, given) {
            (Followed::Stream(stream), None) => of_stream(stream),
            (Followed::Stream(stream), Some((_, at))) => of_stream(stream).revision(at.0),
            (Followed::All | Followed::Category(_), None) => of_all(),
            (Followed::All | Followed::Category(_), Some((at, _))) => of_all().position(at.0 + 1),
        }
    }
}
