//! A client that behaves well beside those that do not, and believes nothing it is not shown.

use annal::protocol::message::{Empty, Source};
use annal::protocol::{Answer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Place;
use crate::network::ask::{read, read_all, receipt};
use crate::network::{LONG, Raw, hello, some_events};

/// A connection, and what it has appended to a stream of its own.
pub(crate) struct Witness {
    raw: Raw,
    place: Place,
    stream: String,
    positions: Vec<u64>,
}

impl Witness {
    /// Connects to both fronts, as often as it takes: one that is over its limit refuses.
    pub(crate) async fn connect(place: Place) -> Self {
        let raw = async {
            loop {
                if let Some(raw) = Raw::try_connect(place.native, hello()).await {
                    return raw;
                }
            }
        };
        let raw = timeout(LONG, raw)
            .await
            .expect("the native front takes a client");
        let told = async { while !pinged(place).await {} };
        timeout(LONG, told)
            .await
            .expect("the other front takes one too");
        Self {
            raw,
            place,
            stream: format!("witness-{}", uuid::Uuid::new_v4()),
            positions: Vec::new(),
        }
    }

    /// Appends an event, and is told the revision that it must have.
    pub(crate) async fn append(&mut self) {
        let append = some_events(&self.stream, 1);
        let told = timeout(LONG, receipt(&mut self.raw, append)).await;
        let told = told.expect("an append is answered");
        assert_eq!(
            told.revisions[0].1,
            u64::try_from(self.positions.len()).unwrap()
        );
        assert!(self.positions.last().is_none_or(|last| *last < told.first));
        self.positions.push(told.first);
    }

    /// Finds on a new connection what it has appended, and nothing else.
    pub(crate) async fn check(self) {
        let mut raw = Self::connect(self.place).await.raw;
        let (events, _) = read_all(&mut raw, read(Source::Stream(self.stream))).await;
        let found: Vec<u64> = events.iter().map(|event| event.position.0).collect();
        assert_eq!(found, self.positions);
        let answer = raw.ask(Request::Status(Empty));
        assert!(matches!(answer.await, Answer::Status(_)));
    }
}

async fn pinged(place: Place) -> bool {
    let asked = async {
        let mut socket = TcpStream::connect(place.http).await?;
        let request = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        socket.write_all(request).await?;
        let mut told = String::new();
        socket.read_to_string(&mut told).await?;
        std::io::Result::Ok(told.starts_with("HTTP/1.1 204"))
    };
    asked.await.unwrap_or(false)
}
