//! The native TCP front: it accepts connections, and turns their frames into calls of the engine.
//!
//! `session.rs` is one connection: one task that reads and writes. `permit.rs` says what each
//! request needs its sender to be allowed. `request.rs` answers what has one answer; `read.rs` and
//! `subscription.rs` feed what has many, as far as `feed.rs` has credit; `group.rs` feeds members.
//!
//! What always holds: a limit is judged before anything is allocated for it. Whatever a client does
//! or leaves undone, it holds a bounded amount of the server's memory: what has arrived of one
//! frame, at most `requests_max` answers, and two steps of its feeds beyond `outbox_len_bytes`. The
//! committer never waits for a connection.

mod error;
mod feed;
mod group;
mod options;
mod permit;
mod read;
mod request;
mod session;
mod subscription;
mod users;

pub use options::{ServeError, ServerOptions};

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
use crate::engine::Store;
use crate::protocol::WireError;
use crate::subscription::Groups;
use crate::tls::{NATIVE, ServerCertificate, TlsAcceptor};
use error::Refusal;
use permit::Permit;
use session::Session;

/// A server that listens and has not begun to serve.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all sessions share.
struct Shared {
    store: Store,
    access: Access,
    tls: Option<TlsAcceptor>,
    options: ServerOptions,
    began: Instant,
    /// Reads that may use the disk at once.
    reads: Arc<Semaphore>,
    /// Bytes that large frames may still take.
    incoming: Arc<Semaphore>,
    connections: AtomicUsize,
    subscriptions: AtomicUsize,
    /// Bytes that wait to be sent, on all connections.
    queued: AtomicUsize,
    /// The consumer groups of the store, from the first question for them on.
    groups: parking_lot::Mutex<Option<Groups>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("access", &self.access)
            .field("is_encrypted", &self.tls.is_some())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens, without users and without encryption; connections wait until [`Self::run`] accepts
    /// them. Must be called within a runtime.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn bind(store: Store, options: ServerOptions) -> Result<Self, ServeError> {
        Self::bind_with(&Access::open(store), None, options)
    }

    /// The same for the users of a store, and encrypted if there is a certificate.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn bind_with(
        access: &Access,
        certificate: Option<&ServerCertificate>,
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        options.check(certificate.is_some(), !access.is_open())?;
        let tls = certificate.map(|certificate| certificate.acceptor(&[NATIVE]));
        let tls = tls.transpose()?;
        let address = options.address;
        let failed = |source| ServeError::Listen {
            address,
            source: Arc::new(source),
        };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let permits = |count: usize| Arc::new(Semaphore::new(count.clamp(1, MANY)));
        let shared = Arc::new(Shared {
            store: access.store().clone(),
            access: access.clone(),
            tls,
            began: Instant::now(),
            reads: permits(options.reads_max),
            incoming: permits(options.incoming_len_bytes_max),
            connections: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            groups: parking_lot::Mutex::new(None),
            options,
        });
        Ok(Self {
            listener,
            address,
            shared,
        })
    }

    /// Where it listens, with the port that the system chose if the options left it open.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready. Then no new request is taken, those that were accepted are
    /// finished, clients are told, and connections are closed.
    ///
    /// # Errors
    /// [`ServeError::Listen`] if the runtime cannot take the listener.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self {
            listener,
            address,
            shared,
        } = self;
        let failed = |source| ServeError::Listen {
            address,
            source: Arc::new(source),
        };
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let (stop, stopping) = watch::channel(false);
        let mut sessions = JoinSet::new();
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((socket, peer)) => accept(&shared, &mut sessions, socket, peer, &stopping),
                    Err(error) => {
                        // Most often too many open files: what is open goes on meanwhile.
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
                while sessions.try_join_next().is_some() {}
            }
        };
        tokio::select! {
            biased;
            () = shutdown => (),
            () = accepting => (),
        }
        drop(listener);
        stop.send_replace(true);
        let closed = async { while sessions.join_next().await.is_some() {} };
        if timeout(shared.options.shutdown_within, closed)
            .await
            .is_err()
        {
            tracing::warn!(
                connections = sessions.len(),
                "closing connections that do not end"
            );
        }
        sessions.shutdown().await;
        Ok(())
    }
}

/// More permits than anybody needs, and as many as a semaphore takes at once.
const MANY: usize = 1 << 31;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn accept(
    shared: &Arc<Shared>,
    sessions: &mut JoinSet<()>,
    socket: TcpStream,
    peer: SocketAddr,
    stopping: &watch::Receiver<bool>,
) {
    let connections = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let counted = Counted(Arc::clone(shared));
    let max = shared.options.connections_max;
    let refusal = (connections > max).then(|| WireError::TooMany {
        what: "connections to a server".to_owned(),
        max: u64::try_from(max).unwrap_or(u64::MAX),
    });
    // Beyond twice the limit not even a refusal is worth a task.
    if connections > max.saturating_mul(2) {
        return;
    }
    let session = Session::new(Arc::clone(shared), peer);
    let stopping = stopping.clone();
    sessions.spawn(async move {
        if let Err(error) = serve(&session, socket, stopping, refusal).await {
            tracing::debug!(%peer, %error, "connection lost");
        }
        drop(counted);
    });
}

/// Serves a connection, encrypted if the server has a certificate.
async fn serve(
    session: &Arc<Session>,
    socket: TcpStream,
    stopping: watch::Receiver<bool>,
    refusal: Option<WireError>,
) -> std::io::Result<()> {
    // Without it small answers would wait for the acknowledgement of earlier ones.
    socket.set_nodelay(true)?;
    let Shared { tls, options, .. } = &*session.shared;
    let Some(tls) = tls else {
        let (reader, writer) = socket.into_split();
        session.serve(reader, writer, stopping, refusal).await;
        return Ok(());
    };
    let stream = timeout(options.hello_within, tls.accept(socket)).await??;
    let (reader, writer) = tokio::io::split(stream);
    session.serve(reader, writer, stopping, refusal).await;
    Ok(())
}

/// A connection that is counted as long as it lives.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Runs what may read the disk on a thread that may wait for it.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, WireError> {
        let stopped = |_| WireError::GoingAway;
        let permit = Arc::clone(&self.reads)
            .acquire_owned()
            .await
            .map_err(|_| stopped(()))?;
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&store);
            drop(permit);
            done
        });
        // The task ends early only with the runtime, or by a panic, which has said so.
        let done = done.await.map_err(|_| stopped(()))?;
        done.map_err(|Refusal(error)| error)
    }

    /// Lets appends go first, behind a step of a reader that may have to catch up.
    async fn give_way(&self, len_bytes: usize) {
        let pause = self.store.pause_of_reader(len_bytes);
        // Shorter ones add up to one that a timer can measure.
        if pause > Duration::from_millis(1) {
            sleep(pause).await;
        }
    }

    /// The consumer groups of the store. It may wait for the disk.
    fn groups(&self) -> Result<Groups, Refusal> {
        let mut groups = self.groups.lock();
        if let Some(groups) = &*groups {
            return Ok(groups.clone());
        }
        let opened = self.store.groups()?;
        *groups = Some(opened.clone());
        Ok(opened)
    }

    /// Finds out whether a request is allowed, and gives its permit back.
    async fn check(&self, permit: Permit) -> Result<Permit, WireError> {
        if permit.is_unlimited() {
            return Ok(permit);
        }
        self.on_disk(move |_| permit.check().map(|()| permit)).await
    }
}
