//! What the tests of server and client share: a server on a port of its own, a connection by hand,
//! and a proxy that cuts connections.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod ask;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::protocol::message::*;
use annal::protocol::{Answer, FrameCodec, Request, WireError};
use annal::{
    Append, EventType, ExpectedRevision, NewEvent, Server, ServerOptions, Store, StoreOptions,
    StreamName,
};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::codec::Decoder;

/// Whoever waits longer than this waits for ever.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn memory_store(seed: u64) -> Store {
    let host = Arc::new(SimulatedHost::new(seed));
    Store::open_on(Arc::new(MemoryDisk::new()), host, StoreOptions::default()).unwrap()
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

pub(crate) fn event(data: &str) -> NewEvent {
    NewEvent::json(EventType::new("Happened").unwrap(), data.to_owned())
}

pub(crate) fn some_events(stream: &str, count: usize) -> Append {
    let events = (0..count).map(|number| event(&number.to_string()));
    Append::to(name(stream), ExpectedRevision::Any, events)
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("annal://{}?reconnect_within_ms=20000", self.address)
    }

    /// Shuts down and returns when everything has ended.
    pub(crate) async fn stop(self) -> Store {
        self.stop.send(()).unwrap();
        timeout(LONG, self.task).await.unwrap().unwrap();
        self.store
    }
}

pub(crate) fn options() -> ServerOptions {
    let mut options = ServerOptions::default();
    options.address.set_port(0);
    options
}

pub(crate) fn serve(store: Store, options: ServerOptions) -> Running {
    run(Server::bind(store.clone(), options).unwrap(), store)
}

pub(crate) fn run(server: Server, store: Store) -> Running {
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let shutdown = async { stopped.await.unwrap_or_default() };
        server.run(shutdown).await.unwrap();
    });
    Running {
        store,
        address,
        stop,
        task,
    }
}

pub(crate) fn serve_memory() -> Running {
    serve(memory_store(1), options())
}

/// A connection whose frames a test sends and reads by hand.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    pub(crate) inbox: BytesMut,
    pub(crate) welcome: Option<Welcome>,
}

pub(crate) fn hello() -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        client: "test".into(),
        authentication: Authentication::None,
    }
}

impl Raw {
    pub(crate) async fn silent(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self {
            socket,
            inbox: BytesMut::new(),
            welcome: None,
        }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_as(address, Authentication::None).await
    }

    pub(crate) async fn connect_as(address: SocketAddr, authentication: Authentication) -> Self {
        let hello = Hello {
            authentication,
            ..hello()
        };
        Self::try_connect(address, hello).await.expect("a welcome")
    }

    /// None if the server refuses, as it does when it has too many.
    pub(crate) async fn try_connect(address: SocketAddr, hello: Hello) -> Option<Self> {
        let mut raw = Self::silent(address).await;
        let mut bytes = Vec::new();
        Request::Hello(hello).put(7, &mut bytes);
        raw.socket.write_all(&bytes).await.ok()?;
        match raw.try_next().await {
            Some((7, Answer::Welcome(welcome))) => raw.welcome = Some(welcome),
            None | Some((_, Answer::Error(WireError::TooMany { .. }))) => return None,
            other => panic!("{other:?} answers a hello"),
        }
        Some(raw)
    }

    pub(crate) async fn send(&mut self, correlation: u64, request: &Request) {
        let mut bytes = Vec::new();
        request.put(correlation, &mut bytes);
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// The next answer; none when the server has closed.
    pub(crate) async fn try_next(&mut self) -> Option<(u64, Answer)> {
        loop {
            if let Some(frame) = FrameCodec.decode(&mut self.inbox).unwrap() {
                let answer = Answer::decode(frame.kind, frame.body).unwrap();
                if !matches!(answer, Answer::Heartbeat(_)) {
                    return Some((frame.correlation, answer));
                }
                continue;
            }
            let read = timeout(LONG, self.socket.read_buf(&mut self.inbox)).await;
            match read.expect("an answer in time") {
                Ok(1..) => (),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    pub(crate) async fn next(&mut self) -> (u64, Answer) {
        self.try_next().await.expect("an open connection")
    }

    /// Sends a request and returns its one answer.
    pub(crate) async fn ask(&mut self, request: Request) -> Answer {
        self.send(99, &request).await;
        match self.next().await {
            (99, answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request and returns the next answer if it is the request's.
    pub(crate) async fn ask_among(&mut self, request: Request) -> Option<Answer> {
        self.send(99, &request).await;
        let (number, answer) = self.next().await;
        (number == 99).then_some(answer)
    }

    /// Waits for a heartbeat; no if the connection ended.
    pub(crate) async fn heartbeat(&mut self) -> bool {
        loop {
            while let Some(frame) = FrameCodec.decode(&mut self.inbox).unwrap() {
                if frame.kind == Answer::HEARTBEAT {
                    return true;
                }
            }
            if self.socket.read_buf(&mut self.inbox).await.unwrap_or(0) == 0 {
                return false;
            }
        }
    }

    pub(crate) async fn error(&mut self, request: Request) -> WireError {
        match self.ask(request).await {
            Answer::Error(error) => error,
            other => panic!("{other:?} and no error"),
        }
    }
}

/// Passes connections on, until it is told to cut them.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        Self::to_many(watch::channel(target).1).await
    }

    /// Passes each new connection to the address that the channel holds then.
    pub(crate) async fn to_many(target: watch::Receiver<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let target = *target.borrow();
                let mut cut = cut.clone();
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => (),
                        _ = cut.changed() => (),
                    }
                });
            }
        });
        Self {
            address,
            cuts,
            task,
        }
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn url(&self) -> String {
        format!("annal://{}?reconnect_within_ms=20000", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
