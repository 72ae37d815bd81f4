//! NATS JetStream with a sync for every message: a subject for each stream, an atomic batch for an
//! append of several events, and the expected last sequence of the subject as its version.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy};
use async_nats::jetstream::{self, stream};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use super::{Each, Feed, Peer, Session};
use crate::process;
use crate::work::append::lane;

const STREAM: &str = "events";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The server of a binary.
#[derive(Debug)]
pub struct Nats {
    /// The binary.
    pub binary: PathBuf,
}

impl Peer for Nats {
    type Session = NatsSession;

    fn name(&self) -> &'static str {
        "NATS"
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        let store = folder.join("data");
        let text = format!("jetstream {{ store_dir: {store:?}, sync_interval: always }}\n");
        Ok(std::fs::write(folder.join("nats.conf"), text)?)
    }

    fn server(&self, folder: &Path, port: u16) -> Command {
        let mut command = process::command(&self.binary.to_string_lossy(), None);
        command.args([
            "--addr",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--config",
        ]);
        command.arg(folder.join("nats.conf"));
        command
    }

    async fn set_up(&self, port: u16) -> Result<()> {
        let context = jetstream::new(connect(port).await?);
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["es.>".to_owned()],
            allow_direct: true,
            allow_atomic_publish: true,
            ..stream::Config::default()
        };
        context.create_stream(config).await?;
        Ok(())
    }

    async fn connect(&self, port: u16) -> Result<NatsSession> {
        Ok(NatsSession {
            client: connect(port).await?,
            lasts: Arc::default(),
        })
    }
}

async fn connect(port: u16) -> Result<Client> {
    Ok(async_nats::connect(format!("nats://127.0.0.1:{port}")).await?)
}

/// A client, with the sequences that it was told.
#[derive(Clone)]
pub struct NatsSession {
    client: Client,
    /// The last sequence of each subject that this session wrote several events to.
    lasts: Arc<Mutex<HashMap<String, u64>>>,
}

/// The sequence in an acknowledgement.
fn acknowledged(payload: &[u8]) -> Result<u64> {
    let answer: Value = serde_json::from_slice(payload)?;
    match answer["seq"].as_u64() {
        Some(sequence) if answer["error"].is_null() => Ok(sequence),
        _ => bail!("{answer}"),
    }
}

impl NatsSession {
    fn last(&self, subject: &str, expected: u64) -> Result<u64> {
        if expected == 0 {
            return Ok(0);
        }
        let lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
        lasts
            .get(subject)
            .copied()
            .context("another session wrote to this stream")
    }

    /// Events of one or more subjects, all or none.
    async fn batch(&self, last: Option<u64>, events: Vec<(String, Bytes)>) -> Result<u64> {
        let id = format!("b{}", lane());
        let count = events.len();
        for (at, (subject, data)) in events.into_iter().enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Batch-Id", &*id);
            headers.insert("Nats-Batch-Sequence", (at + 1).to_string());
            if let Some(last) = last.filter(|_| at == 0) {
                headers.insert(EXPECTED, last.to_string());
            }
            if at + 1 < count {
                self.client
                    .publish_with_headers(subject, headers, data)
                    .await?;
            } else {
                headers.insert("Nats-Batch-Commit", "1");
                let answer = self
                    .client
                    .request_with_headers(subject, headers, data)
                    .await?;
                return acknowledged(&answer.payload);
            }
        }
        bail!("an append has events")
    }

    async fn consumer(&self, filter: String, from: DeliverPolicy) -> Result<(Ordered, u64)> {
        let context = jetstream::new(self.client.clone());
        let stream = context.get_stream_no_info(STREAM).await?;
        let config = OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            filter_subject: filter,
            deliver_policy: from,
            ..OrderedConfig::default()
        };
        let consumer: Consumer<OrderedConfig> = stream.create_consumer(config).await?;
        let pending = consumer.cached_info().num_pending;
        Ok((consumer.messages().await?, pending))
    }

    async fn read(&self, filter: String, each: Each<'_>) -> Result<()> {
        let (mut messages, pending) = self.consumer(filter, DeliverPolicy::All).await?;
        for _ in 0..pending {
            let message = messages.next().await.context("the consumer ended")??;
            each(&message.payload);
        }
        Ok(())
    }
}

impl Session for NatsSession {
    type Feed = NatsFeed;

    async fn append(&self, stream: &str, expected: u64, events: &[Bytes]) -> Result<()> {
        let subject = format!("es.{stream}");
        let last = self.last(&subject, expected)?;
        if let [data] = events {
            let mut headers = HeaderMap::new();
            headers.insert(EXPECTED, last.to_string());
            let answer = self
                .client
                .request_with_headers(subject, headers, data.clone())
                .await?;
            acknowledged(&answer.payload)?;
            return Ok(());
        }
        let batch = events
            .iter()
            .map(|data| (subject.clone(), data.clone()))
            .collect();
        let sequence = self.batch(Some(last), batch).await?;
        let mut lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
        lasts.insert(subject, sequence);
        Ok(())
    }

    async fn append_apart(&self, prefix: &str, events: &[Bytes]) -> Result<()> {
        let subject = |(at, data): (usize, &Bytes)| (format!("es.{prefix}-{at}"), data.clone());
        self.batch(None, events.iter().enumerate().map(subject).collect())
            .await?;
        Ok(())
    }

    async fn read_stream(&self, stream: &str, each: Each<'_>) -> Result<()> {
        self.read(format!("es.{stream}"), each).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        self.read("es.>".to_owned(), each).await
    }

    async fn follow(&self) -> Result<NatsFeed> {
        let (messages, pending) = self.consumer("es.>".to_owned(), DeliverPolicy::New).await?;
        ensure!(pending == 0, "a new consumer has {pending} old messages");
        Ok(NatsFeed(messages))
    }
}

/// An ordered consumer that is pushed to.
pub struct NatsFeed(Ordered);

impl Feed for NatsFeed {
    async fn next(&mut self, each: Each<'_>) -> Result<()> {
        let message = self.0.next().await.context("the consumer ended")??;
        each(&message.payload);
        Ok(())
    }
}
