//! Connections: several addresses, encrypted or not; HTTP/2 and HTTP/1.1 on each, as the client
//! begins.
//!
//! A connection that is too many is closed at once. Those that are idle are asked whether they
//! live, and closed if they do not answer.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, Chain, Join, ReadHalf, WriteHalf, join, split,
};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::metrics::Metrics;
use super::node::Arrival;
use super::options::{GrpcError, GrpcOptions};
use super::{MANY, Shared};
use crate::engine::Store;
use crate::tls::{TlsAcceptor, TlsStream};

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What HTTP/2 begins with; nothing else does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sockets that listen.
#[derive(Debug)]
pub(super) struct Listeners(Vec<(std::net::TcpListener, SocketAddr)>);

impl Listeners {
    /// Listens on all addresses. Where the first leaves the port open, the others take the same.
    pub(super) fn bind(options: &GrpcOptions) -> Result<Self, GrpcError> {
        let mut bound: Vec<(std::net::TcpListener, SocketAddr)> = Vec::new();
        for address in &options.addresses {
            let mut address = *address;
            if let (0, Some((_, first))) = (address.port(), bound.first()) {
                address.set_port(first.port());
            }
            match listen(address) {
                Ok(listener) => bound.push(listener),
                Err(error) if is_spare(address, &options.addresses, &error) => {
                    tracing::info!(%address, %error, "the machine does not have this address");
                }
                Err(source) => {
                    let source = Arc::new(source);
                    return Err(GrpcError::Listen { address, source });
                }
            }
        }
        Ok(Self(bound))
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(_, address)| *address)
    }

    /// Serves until `shutdown` is ready; then what is running is finished, within a time.
    pub(super) async fn serve(
        self,
        router: Router,
        shared: &Shared,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), GrpcError> {
        let options = &*shared.options;
        let (connections, ending) = (TaskTracker::new(), &shared.stopping);
        let places = Arc::new(Semaphore::new(options.connections_max.clamp(1, MANY)));
        let mut accepting = JoinSet::new();
        for (listener, address) in self.0 {
            let failed = |source| GrpcError::Listen {
                address,
                source: Arc::new(source),
            };
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            let front = Front {
                address,
                router: router.clone(),
                metrics: shared.metrics.clone(),
                store: shared.store.clone(),
                builder: builder(options),
                tls: shared.tls.clone(),
                hello_within: options.hello_within,
                places: Arc::clone(&places),
                connections: connections.clone(),
                ending: ending.clone(),
            };
            accepting.spawn(front.accept(listener));
        }
        shutdown.await;
        accepting.shutdown().await;
        ending.cancel();
        connections.close();
        if timeout(options.shutdown_within, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.len(),
                "closing connections that do not end"
            );
        }
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Whether an address is the loopback of a protocol that the machine lacks, beside others.
fn is_spare(address: SocketAddr, all: &[SocketAddr], error: &io::Error) -> bool {
    let lacking = matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    );
    address.is_ipv6() && address.ip().is_loopback() && all.len() > 1 && lacking
}

fn builder(options: &GrpcOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .max_concurrent_streams(options.calls_max)
        .keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_within);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.message_within);
    builder
}

/// What a listener needs to serve.
struct Front {
    address: SocketAddr,
    router: Router,
    metrics: Metrics,
    store: Store,
    builder: auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    hello_within: Duration,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    /// Whether connections are to take no further calls, and to end.
    ending: CancellationToken,
}

impl Front {
    async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => self.serve(socket, peer),
                Err(error) => {
                    // Most often too many open files: what is open goes on meanwhile.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(%peer, "too many connections");
            return;
        };
        // Without it answers wait for each other; a socket that refuses is gone already.
        let _gone = socket.set_nodelay(true);
        let local = socket.local_addr().unwrap_or(self.address);
        let (router, builder, ending) = (
            self.router.clone(),
            self.builder.clone(),
            self.ending.clone(),
        );
        let origin = self.store.origin();
        let served = move |certified: Option<Arc<str>>| {
            let arrived = move |mut request: Request<Incoming>| {
                let authority = request.uri().authority().cloned();
                request.extensions_mut().insert(Arrival {
                    peer,
                    origin,
                    local,
                    authority,
                    certified: certified.clone(),
                });
                request
            };
            Served {
                peer,
                service: TowerToHyperService::new(router.map_request(arrived)),
                builder,
                ending,
            }
        };
        let (tls, within) = (self.tls.clone(), self.hello_within);
        let counted = self.metrics.connected();
        self.connections.spawn(async move {
            let begun = timeout(within, async {
                let Some(tls) = tls else {
                    let (reader, writer) = socket.into_split();
                    return Ok((None, Begun::Plain(begin(reader, writer).await?)));
                };
                let socket = tls.accept(socket).await?;
                let certified = certified(&socket);
                let (reader, writer) = split(socket);
                let begun = Begun::Tls(Box::new(begin(reader, writer).await?));
                io::Result::Ok((certified, begun))
            });
            match begun.await {
                Err(_) => tracing::debug!(%peer, "a connection did not begin"),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection did not begin"),
                Ok(Ok((certified, Begun::Plain(socket)))) => served(certified).run(socket).await,
                Ok(Ok((certified, Begun::Tls(socket)))) => served(certified).run(*socket).await,
            }
            drop((place, counted));
        });
    }
}

/// The user whom a client's certificate names: its common name. The handshake has checked it.
fn certified(socket: &TlsStream<TcpStream>) -> Option<Arc<str>> {
    let (_, connection) = socket.get_ref();
    let certificate = connection.peer_certificates()?.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(Arc::from)
}

/// A connection whose other side has said which protocol it speaks.
enum Begun {
    Plain(Joined<OwnedReadHalf, OwnedWriteHalf>),
    Tls(Box<Joined<ReadHalf<Encrypted>, WriteHalf<Encrypted>>>),
}

type Encrypted = TlsStream<TcpStream>;

/// The two directions of a connection, of which something was read already.
type Joined<R, W> = Join<Chain<Cursor<Vec<u8>>, R>, W>;

/// Reads until it is clear which protocol the other side speaks: nobody else waits for that with a
/// limit.
async fn begin<R: AsyncRead + Unpin, W: AsyncWrite>(
    mut reader: R,
    writer: W,
) -> io::Result<Joined<R, W>> {
    let mut read = Vec::new();
    let (mut bytes, mut room) = ([0; PREFACE.len()], PREFACE.len());
    while room > 0 && PREFACE.starts_with(&read) {
        let count = reader
            .read(bytes.get_mut(..room).unwrap_or_default())
            .await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(bytes.get(..count).unwrap_or_default());
        room -= count;
    }
    Ok(join(Cursor::new(read).chain(reader), writer))
}

/// A connection that is served, however its bytes come.
struct Served<S> {
    peer: SocketAddr,
    service: S,
    builder: auto::Builder<TokioExecutor>,
    ending: CancellationToken,
}

impl<S, B> Served<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    /// Serves it until one side ends it, and in order when the server ends.
    async fn run(self, socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let io = TokioIo::new(socket);
        let mut connection = pin!(self.builder.serve_connection(io, self.service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection ended");
        }
    }
}
