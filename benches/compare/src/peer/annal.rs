//! Annal, by its native client: one `annal serve`, one connection a session.

use std::path::{Path, PathBuf};
use std::process::Command;

use annal::SubscribeFrom;
use annal::client::{Client, ClientOptions, Notices, Read, Subscribe};
use annal::{Append, EventType, ExpectedRevision, NewEvent, Revision, Source, StreamName};
use anyhow::{Result, bail};
use bytes::Bytes;

use super::{Each, Feed, Peer, Session};
use crate::payload::TYPE;
use crate::process;

/// The server of a binary.
#[derive(Debug)]
pub struct Annal {
    /// The binary.
    pub binary: PathBuf,
}

/// A client.
#[derive(Clone, Debug)]
pub struct AnnalSession {
    client: Client,
    event_type: EventType,
}

impl Peer for Annal {
    type Session = AnnalSession;

    fn name(&self) -> &'static str {
        "Annal"
    }

    fn server(&self, folder: &Path, port: u16) -> Command {
        let mut command = process::command(&self.binary.to_string_lossy(), None);
        command.args(["serve", "--json", "--http", "none", "--data"]);
        command.arg(folder.join("data"));
        command.arg("--tcp").arg(format!("127.0.0.1:{port}"));
        command
    }

    async fn connect(&self, port: u16) -> Result<AnnalSession> {
        Ok(AnnalSession {
            client: Client::connect(ClientOptions::new("127.0.0.1", port)).await?,
            event_type: EventType::new(TYPE)?,
        })
    }
}

/// What is expected of a stream with so many events.
pub fn expected_revision(events: u64) -> ExpectedRevision {
    match events.checked_sub(1) {
        None => ExpectedRevision::NoStream,
        Some(last) => ExpectedRevision::Exactly(Revision(last)),
    }
}

impl AnnalSession {
    /// The client beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }
    fn event(&self, data: &Bytes) -> NewEvent {
        NewEvent::binary(self.event_type.clone(), data.clone())
    }

    async fn read(&self, read: Read, each: Each<'_>) -> Result<()> {
        let mut events = self.client.read(read);
        while let Some(batch) = events.next_batch().await? {
            batch.iter().for_each(|event| each(&event.data));
        }
        Ok(())
    }
}

impl Session for AnnalSession {
    type Feed = AnnalFeed;

    async fn append(&self, stream: &str, expected: u64, events: &[Bytes]) -> Result<()> {
        let expected = expected_revision(expected);
        let events = events.iter().map(|data| self.event(data));
        let append = Append::to(StreamName::new(stream.to_owned())?, expected, events);
        self.client.append(append).await?;
        Ok(())
    }

    async fn append_apart(&self, prefix: &str, events: &[Bytes]) -> Result<()> {
        let mut append = Append::new();
        for (at, data) in events.iter().enumerate() {
            let stream = StreamName::new(format!("{prefix}-{at}"))?;
            append = append.expect(stream.clone(), ExpectedRevision::NoStream);
            append = append.event(stream, self.event(data));
        }
        self.client.append(append).await?;
        Ok(())
    }

    async fn read_stream(&self, stream: &str, each: Each<'_>) -> Result<()> {
        let stream = StreamName::new(stream.to_owned())?;
        self.read(Read::stream(stream), each).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        self.read(Read::all(), each).await
    }

    async fn follow(&self) -> Result<AnnalFeed> {
        AnnalFeed::open(&self.client, Source::All).await
    }
}

/// A subscription.
#[derive(Debug)]
pub struct AnnalFeed(annal::client::Subscription);

impl AnnalFeed {
    /// Follows a source from the end of the log on.
    pub async fn open(client: &Client, source: Source) -> Result<Self> {
        let subscription = client
            .subscribe(Subscribe::new(source, SubscribeFrom::End))
            .await?;
        Ok(Self(subscription))
    }
}

impl Feed for AnnalFeed {
    async fn next(&mut self, each: Each<'_>) -> Result<()> {
        loop {
            match self.0.next_batch().await? {
                Notices::Events(events) if events.is_empty() => bail!("a batch without events"),
                Notices::Events(events) => {
                    events.iter().for_each(|event| each(&event.data));
                    return Ok(());
                }
                Notices::Notice(_) => {}
            }
        }
    }
}
