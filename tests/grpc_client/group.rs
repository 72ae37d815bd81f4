//! Managing and joining consumer groups as clients do it.

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::v1::persistent_subscriptions::persistent_subscriptions_client as client;
use super::v1::persistent_subscriptions::read_req::options::StreamOption as ReadStream;
use super::v1::persistent_subscriptions::read_req::{Ack, Content, Nack};
use super::v1::persistent_subscriptions::read_resp::{Content as Told, ReadEvent};
use super::v1::persistent_subscriptions::*;
use super::v1::streams::read_req::options::stream_options::RevisionOption;
use super::v1::streams::read_req::options::{StreamOptions, UuidOption, uuid_option};
use super::v1::{Empty, Uuid, uuid};
use super::{Served, identifier};

/// `$all`, where a stream is named by its name.
pub(crate) const ALL: &str = "$all";

/// The settings that the published clients send by default.
pub(crate) fn settings() -> options::Settings {
    options::Settings {
        message_timeout: Some(options::settings::MessageTimeout::MessageTimeoutMs(30_000)),
        checkpoint_after: Some(options::settings::CheckpointAfter::CheckpointAfterMs(2_000)),
        max_retry_count: 10,
        min_checkpoint_count: 10,
        max_checkpoint_count: 1_000,
        live_buffer_size: 500,
        read_batch_size: 20,
        history_buffer_size: 500,
        consumer_strategy: "RoundRobin".to_owned(),
        ..Default::default()
    }
}

/// A group that begins at a revision, or with the first event.
pub(crate) fn group(
    stream: &str,
    name: &str,
    from: Option<u64>,
    settings: options::Settings,
) -> Options {
    let stream_option = match stream {
        ALL => options::StreamOption::All(options::AllOptions {
            all_option: Some(options::all_options::AllOption::Start(Empty {})),
            filter_option: None,
        }),
        stream => options::StreamOption::Stream(StreamOptions {
            stream_identifier: Some(identifier(stream)),
            revision_option: Some(match from {
                Some(revision) => RevisionOption::Revision(revision),
                None => RevisionOption::Start(Empty {}),
            }),
        }),
    };
    Options {
        group_name: name.to_owned(),
        settings: Some(settings),
        stream_option: Some(stream_option),
        stream_identifier: None,
    }
}

/// A member of a group.
pub(crate) struct Member {
    pub(crate) subscription_id: String,
    said: UnboundedSender<ReadReq>,
    told: Streaming<ReadResp>,
}

/// The text form of the id of an event's original.
pub(crate) fn id_of(event: &ReadEvent) -> String {
    let original = event.link.as_ref().or(event.event.as_ref()).unwrap();
    match original.id.clone().unwrap().value.unwrap() {
        uuid::Value::String(text) => text,
        uuid::Value::Structured(halves) => panic!("{halves:?} where a text was asked for"),
    }
}

fn wire_ids(ids: &[String]) -> Vec<Uuid> {
    let wire = |id: &String| Uuid {
        value: Some(uuid::Value::String(id.clone())),
    };
    ids.iter().map(wire).collect()
}

impl Member {
    fn say(&self, content: Content) {
        let content = Some(content);
        self.said.send(ReadReq { content }).unwrap();
    }

    pub(crate) fn ack(&self, ids: &[String]) {
        self.say(Content::Ack(Ack {
            id: Default::default(),
            ids: wire_ids(ids),
        }));
    }

    pub(crate) fn nack(&self, ids: &[String], action: read_req::nack::Action) {
        self.say(Content::Nack(Nack {
            id: Default::default(),
            ids: wire_ids(ids),
            action: action.into(),
            reason: "because".to_owned(),
        }));
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Result<ReadEvent, Status> {
        match self
            .told
            .message()
            .await?
            .expect("it never ends so")
            .content
            .unwrap()
        {
            Told::Event(event) => Ok(event),
            Told::SubscriptionConfirmation(_) => panic!("a second confirmation"),
        }
    }

    /// So many events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<ReadEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.unwrap());
        }
        events
    }
}

impl Served {
    pub(crate) fn groups(&self) -> client::PersistentSubscriptionsClient<Channel> {
        client::PersistentSubscriptionsClient::new(self.channel())
    }

    pub(crate) async fn create_group(&self, options: Options) -> Result<(), Status> {
        let options = Some(options);
        self.groups().create(CreateReq { options }).await.map(drop)
    }

    pub(crate) async fn group_info(
        &self,
        stream: &str,
        group: &str,
    ) -> Result<SubscriptionInfo, Status> {
        use get_info_req::options::StreamOption;
        let stream_option = match stream {
            ALL => StreamOption::All(Empty {}),
            stream => StreamOption::StreamIdentifier(identifier(stream)),
        };
        let options = Some(get_info_req::Options {
            group_name: group.to_owned(),
            stream_option: Some(stream_option),
        });
        let told = self.groups().get_info(GetInfoReq { options }).await?;
        Ok(told.into_inner().subscription_info.unwrap())
    }

    pub(crate) async fn replay(&self, stream: &str, group: &str) -> Result<(), Status> {
        use parked_options::{StopAtOption, StreamOption};
        let stream_option = match stream {
            ALL => StreamOption::All(Empty {}),
            stream => StreamOption::StreamIdentifier(identifier(stream)),
        };
        let options = Some(ParkedOptions {
            group_name: group.to_owned(),
            stream_option: Some(stream_option),
            stop_at_option: Some(StopAtOption::NoLimit(Empty {})),
        });
        let request = ReplayParkedReq { options };
        self.groups().replay_parked(request).await.map(drop)
    }

    pub(crate) async fn join(
        &self,
        stream: &str,
        group: &str,
        buffer_size: i32,
    ) -> Result<Member, Status> {
        let stream_option = match stream {
            ALL => ReadStream::All(Empty {}),
            stream => ReadStream::StreamIdentifier(identifier(stream)),
        };
        let first = Content::Options(read_req::Options {
            group_name: group.to_owned(),
            buffer_size,
            stream_option: Some(stream_option),
            uuid_option: Some(UuidOption {
                content: Some(uuid_option::Content::String(Empty {})),
            }),
        });
        let (said, messages) = unbounded_channel();
        let content = Some(first);
        said.send(ReadReq { content }).unwrap();
        let mut request = Request::new(UnboundedReceiverStream::new(messages));
        let name = "connection-name";
        request.metadata_mut().insert(name, "test".parse().unwrap());
        let mut told = self.groups().read(request).await?.into_inner();
        match told.message().await?.unwrap().content.unwrap() {
            Told::SubscriptionConfirmation(confirmed) => Ok(Member {
                subscription_id: confirmed.subscription_id,
                said,
                told,
            }),
            Told::Event(_) => panic!("an event in front of the confirmation"),
        }
    }
}
