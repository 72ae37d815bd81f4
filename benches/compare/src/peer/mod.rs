//! The stores that do the works. Each is started in an empty folder, spoken to by its fastest
//! sensible client, and acknowledges what is on the disk and not before.

pub mod annal;
pub mod nats;
pub mod postgres;
pub mod redis;
pub mod umadb;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use bytes::Bytes;
use rustix::process::Signal;

/// A store that can be measured.
pub trait Peer: Sync {
    /// A connection to it.
    type Session: Session;

    /// What it is called.
    fn name(&self) -> &'static str;

    /// Makes an empty store in an empty folder, if the server does not do that by itself.
    fn prepare(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// What starts the server.
    fn server(&self, folder: &Path, port: u16) -> Command;

    /// The signal that stops it in order.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    /// Connects. An error if the server is not ready.
    fn connect(&self, port: u16) -> impl Future<Output = Result<Self::Session>>;

    /// Makes what the first session needs: tables, scripts.
    fn set_up(&self, _port: u16) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }

    /// The folder whose files are there for the events, and whether what an empty store takes
    /// there is no part of that.
    fn files(&self, folder: &Path) -> (PathBuf, bool) {
        (folder.to_owned(), false)
    }
}

/// What is called with the data of each event that is read.
pub type Each<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// A connection. Its clones share it, and have their requests under way at the same time.
pub trait Session: Clone + Send + Sync + 'static {
    /// What follows the log.
    type Feed: Feed;

    /// Appends all the events or none to a stream that has `expected` events, and returns when they
    /// are durable.
    fn append(
        &self,
        stream: &str,
        expected: u64,
        events: &[Bytes],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Appends events to as many new streams, as it goes fastest: for stores of many streams.
    fn append_apart(
        &self,
        prefix: &str,
        events: &[Bytes],
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let each = events.iter().enumerate().map(|(at, event)| async move {
                let stream = format!("{prefix}-{at}");
                self.append(&stream, 0, std::slice::from_ref(event)).await
            });
            futures_util::future::try_join_all(each).await?;
            Ok(())
        }
    }

    /// Appends an event to a new stream, so that those who follow the log are woken.
    fn append_live(
        &self,
        stream: &str,
        events: &[Bytes],
    ) -> impl Future<Output = Result<()>> + Send {
        self.append(stream, 0, events)
    }

    /// Reads a stream from its start to its end.
    fn read_stream(&self, stream: &str, each: Each<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Reads the log from its start to its end.
    fn read_all(&self, each: Each<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Follows the log from its end on.
    fn follow(&self) -> impl Future<Output = Result<Self::Feed>> + Send;
}

/// What follows the log.
pub trait Feed: Send + 'static {
    /// Waits for events, at least one.
    fn next(&mut self, each: Each<'_>) -> impl Future<Output = Result<()>> + Send;
}
