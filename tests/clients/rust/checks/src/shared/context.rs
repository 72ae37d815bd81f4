//! What a check works with: a connected client, and short ways to make streams and events.

use std::sync::Arc;

use serde_json::json;

use super::client::{
    self, Client, EventData, Expect, NakAction, PersistentSubscription, RecordedEvent,
    ResolvedEvent,
};
use super::{access, following, groups, streams};
use crate::harness::{Arguments, Failure, Report};

/// Where the server is, and a client of it that may do all.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) host: String,
    pub(crate) port: u16,
    ca_file: Option<String>,
}

impl Context {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let (host, ca_file) = (arguments.host.clone(), arguments.ca_file.clone());
        let uri = uri(&host, arguments.port, ca_file.as_deref(), "admin:changeit");
        Ok(Self {
            client: client::connect(uri.parse()?)?,
            host,
            port: arguments.port,
            ca_file,
        })
    }

    pub(crate) fn tls(&self) -> bool {
        self.ca_file.is_some()
    }

    /// A client of another user, `NAME:PASSWORD`.
    pub(crate) fn connect(&self, user: &str) -> Result<Client, Failure> {
        let uri = uri(&self.host, self.port, self.ca_file.as_deref(), user);
        client::connect(uri.parse()?)
    }

    /// A client that asks whom to connect to.
    pub(crate) fn discover(&self) -> Result<Client, Failure> {
        let hosts = format!("{0}:{1},{0}", self.host, self.port);
        let uri = uri(&hosts, self.port, self.ca_file.as_deref(), "admin:changeit");
        client::connect(uri.parse()?)
    }

    pub(crate) async fn append(
        &self,
        stream: &str,
        events: Vec<EventData>,
        expect: Expect,
    ) -> client::Result<client::WriteResult> {
        let options = client::append_options(expect);
        self.client.append_to_stream(stream, &options, events).await
    }

    /// The name of a new stream that holds `count` events.
    pub(crate) async fn filled(&self, prefix: &str, count: usize) -> Result<String, Failure> {
        self.filled_with(prefix, count, "Happened").await
    }

    /// The same, with events of this type.
    pub(crate) async fn filled_with(
        &self,
        prefix: &str,
        count: usize,
        kind: &str,
    ) -> Result<String, Failure> {
        let stream = name(prefix);
        self.append(&stream, events(count, kind), Expect::NoStream)
            .await?;
        Ok(stream)
    }

    /// All events of a stream.
    pub(crate) async fn read(&self, stream: &str) -> client::Result<Vec<ResolvedEvent>> {
        let options = client::ReadStreamOptions::default();
        collect(self.client.read_stream(stream, &options).await?).await
    }
}

fn uri(hosts: &str, port: u16, ca_file: Option<&str>, user: &str) -> String {
    match ca_file {
        Some(ca_file) => format!("esdb://{user}@{hosts}:{port}?tlsCaFile={ca_file}"),
        None => format!("esdb://{user}@{hosts}:{port}?tls=false"),
    }
}

/// What a read delivers.
pub(crate) async fn collect(mut read: client::ReadStream) -> client::Result<Vec<ResolvedEvent>> {
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event);
    }
    Ok(events)
}

/// A name that nothing else has.
pub(crate) fn name(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// An event type that nothing else has.
pub(crate) fn kind() -> String {
    format!("Kind{}", uuid::Uuid::new_v4().simple())
}

pub(crate) fn events(count: usize, kind: &str) -> Vec<EventData> {
    let event = |n| EventData::json(kind, &json!({"n": n})).expect("numbers are JSON");
    (0..count).map(event).collect()
}

/// The event itself, or the one that a link stands for.
pub(crate) fn event(resolved: &ResolvedEvent) -> Result<&RecordedEvent, Failure> {
    resolved.event.as_ref().ok_or_else(|| "no event".into())
}

pub(crate) fn revisions<'e>(events: impl IntoIterator<Item = &'e ResolvedEvent>) -> Vec<u64> {
    events
        .into_iter()
        .map(|event| event.get_original_event().revision)
        .collect()
}

pub(crate) async fn ack(
    subscription: &mut PersistentSubscription,
    event: &ResolvedEvent,
) -> client::Result<()> {
    subscription.ack_ids([event.get_original_event().id]).await
}

pub(crate) async fn nack(
    subscription: &mut PersistentSubscription,
    event: &ResolvedEvent,
    action: NakAction,
) -> client::Result<()> {
    let ids = [event.get_original_event().id];
    subscription.nack_ids(ids, action, "because").await
}

/// Runs every check that the command line asks for.
pub(crate) async fn run_all(arguments: &Arguments, mut report: Report) -> Result<(), Failure> {
    let context = Arc::new(Context::new(arguments)?);
    streams::run(&context, &mut report).await?;
    following::run(&context, &mut report).await?;
    groups::run(&context, &mut report).await?;
    access::run(&context, &mut report).await?;
    Ok(())
}

/// Runs functions of a context as the checks of these names.
macro_rules! checks {
    ($context:expr, $report:expr, $($call:literal => $check:path,)*) => {
        $($report.run(super::client::NAME, $call, $check($context.clone())).await?;)*
    };
}
pub(crate) use checks;

/// Expects an error of this shape.
macro_rules! refused {
    ($result:expr, $error:pat) => {
        match $result {
            Err($error) => {}
            Err(other) => {
                return Err(format!("expected {}, got {other:?}", stringify!($error)).into())
            }
            Ok(_) => return Err(format!("expected {}, got success", stringify!($error)).into()),
        }
    };
}
pub(crate) use refused;
