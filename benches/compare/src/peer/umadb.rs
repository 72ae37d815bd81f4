//! UmaDB: events with the stream as their tag, and a condition that no event with the tag stands
//! behind the last one that the writer knows. Its server comes in a Python package and runs within
//! the interpreter, which has nothing to do but wait.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use umadb_client::AsyncUmaDbClient;
use umadb_dcb::{
    DcbAppendCondition, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem, DcbSubscriptionAsync,
};

use super::{Each, Feed, Peer, Session};
use crate::payload::TYPE;
use crate::process;

const MAIN: &str = "from umadb.umadb_server_cli import main; main()";

/// The server of a Python package.
#[derive(Debug)]
pub struct UmaDb {
    /// The folder that holds the package.
    pub packages: PathBuf,
}

impl Peer for UmaDb {
    type Session = UmaDbSession;

    fn name(&self) -> &'static str {
        "UmaDB"
    }

    fn server(&self, folder: &Path, port: u16) -> Command {
        let mut command = process::command("python3", None);
        command.args([
            "-c",
            MAIN,
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--db-path",
        ]);
        command
            .arg(folder.join("data"))
            .env("PYTHONPATH", &self.packages);
        command
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        Ok(std::fs::create_dir(folder.join("data"))?)
    }

    async fn connect(&self, port: u16) -> Result<UmaDbSession> {
        let url = format!("http://127.0.0.1:{port}");
        let client = AsyncUmaDbClient::connect(url, None, None, None).await?;
        Ok(UmaDbSession {
            client: Arc::new(client),
            lasts: Arc::default(),
        })
    }
}

/// A client, with the positions that it was told.
#[derive(Clone)]
pub struct UmaDbSession {
    client: Arc<AsyncUmaDbClient>,
    /// The last position of each stream that this session wrote several events to.
    lasts: Arc<Mutex<HashMap<String, u64>>>,
}

fn event(stream: &str, data: &Bytes) -> DcbEvent {
    DcbEvent {
        event_type: TYPE.to_owned(),
        tags: vec![stream.to_owned()],
        data: data.to_vec(),
        ..DcbEvent::default()
    }
}

fn of_stream(stream: &str) -> DcbQuery {
    DcbQuery {
        items: vec![DcbQueryItem {
            types: Vec::new(),
            tags: vec![stream.to_owned()],
        }],
    }
}

impl UmaDbSession {
    async fn read(&self, query: Option<DcbQuery>, each: Each<'_>) -> Result<()> {
        let mut response = self.client.read(query, None, false, None).await?;
        loop {
            let batch = response.next_batch().await?;
            if batch.is_empty() {
                return Ok(());
            }
            batch.iter().for_each(|event| each(&event.event.data));
        }
    }
}

impl Session for UmaDbSession {
    type Feed = UmaDbFeed;

    async fn append(&self, stream: &str, expected: u64, events: &[Bytes]) -> Result<()> {
        let after = match expected {
            0 => None,
            _ => {
                let lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
                let last = lasts.get(stream).copied();
                Some(last.context("another session wrote to this stream")?)
            }
        };
        let condition = DcbAppendCondition {
            fail_if_events_match: of_stream(stream),
            after,
        };
        let several = events.len() > 1;
        let events = events.iter().map(|data| event(stream, data)).collect();
        let last = self.client.append(events, Some(condition), None).await?;
        if several {
            let mut lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
            lasts.insert(stream.to_owned(), last);
        }
        Ok(())
    }

    async fn append_apart(&self, prefix: &str, events: &[Bytes]) -> Result<()> {
        let apart = |(at, data)| event(&format!("{prefix}-{at}"), data);
        let events = events.iter().enumerate().map(apart).collect();
        self.client.append(events, None, None).await?;
        Ok(())
    }

    async fn read_stream(&self, stream: &str, each: Each<'_>) -> Result<()> {
        self.read(Some(of_stream(stream)), each).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        self.read(None, each).await
    }

    async fn follow(&self) -> Result<UmaDbFeed> {
        let end = self.client.head().await?;
        Ok(UmaDbFeed(self.client.subscribe(None, end).await?))
    }
}

/// A subscription.
pub struct UmaDbFeed(Box<dyn DcbSubscriptionAsync + Send + 'static>);

impl Feed for UmaDbFeed {
    async fn next(&mut self, each: Each<'_>) -> Result<()> {
        let batch = self.0.next_batch().await?;
        ensure!(!batch.is_empty(), "the subscription ended");
        batch.iter().for_each(|event| each(&event.event.data));
        Ok(())
    }
}
