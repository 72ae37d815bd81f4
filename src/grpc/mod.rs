//! The front for EventStoreDB's clients: gRPC and HTTP on one port.
//!
//! `listen.rs` takes connections; each service has a file of its own, and `wire.rs` is what is
//! generated of the `.proto` files in `proto/`, which were written from the facts of the protocol.
//!
//! What always holds: a client sees `commit = prepare = position + 1`, because 0 means "before
//! everything" to it. Whatever arrives, the answer is the status that the protocol names for it;
//! an unknown method is `UNIMPLEMENTED`.

mod arriving;
mod auth;
mod codec;
mod convert;
mod deadline;
mod features;
mod http;
mod incoming;
mod listen;
mod manage;
mod metrics;
mod node;
mod options;
mod persistent;
mod status;
mod streams;
mod system;
mod v2;
mod wire;

pub use options::{GrpcError, GrpcOptions};

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::access::Access;
use crate::engine::{AppendError, Origin, Store};
use crate::model::{Append, Receipt};
use crate::subscription::Groups;
use crate::tls::{ServerCertificate, TlsAcceptor};
use listen::Listeners;
use metrics::Metrics;
use node::Arrival;
use wire::event_store::client::gossip::gossip_server::GossipServer;
use wire::event_store::client::server_features::server_features_server::ServerFeaturesServer;
use wire::event_store::client::streams::streams_server::StreamsServer;
use wire::kurrentdb::protocol::v2::streams::streams_service_server::StreamsServiceServer;

/// More permits than anybody needs, and as many as a semaphore takes at once.
const MANY: usize = 1 << 31;

/// A front that listens and has not begun to serve.
#[derive(Debug)]
pub struct GrpcServer {
    listeners: Listeners,
    shared: Shared,
}

/// What all services share. Cheap to clone.
#[derive(Clone)]
struct Shared {
    store: Store,
    /// Where the appends of this handle come from.
    origin: Origin,
    metrics: Metrics,
    access: Access,
    /// The consumer groups, from the first call on that is about one.
    groups: Arc<Mutex<Option<Groups>>>,
    tls: Option<TlsAcceptor>,
    options: Arc<GrpcOptions>,
    /// Reads that may use the disk at once.
    reads: Arc<Semaphore>,
    /// Bytes that large appends may still take.
    incoming: Arc<Semaphore>,
    /// Subscriptions that may still begin.
    subscriptions: Arc<Semaphore>,
    /// Whether the server ends: calls without an end of their own end with `UNAVAILABLE`.
    stopping: CancellationToken,
    /// Whether a caller has asked the server to end.
    asked_to_stop: CancellationToken,
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

impl Shared {
    /// Hands an append over; the answer comes when it is durable or refused.
    fn submit(&self, append: Append) -> oneshot::Receiver<Result<Receipt, AppendError>> {
        let (answer, answered) = oneshot::channel();
        self.store.submit_from(self.origin, append, move |done| {
            // Whoever asked may have gone.
            let _gone = answer.send(done);
        });
        answered
    }

    /// The same for what arrives on one connection.
    fn of_connection<T>(&self, request: &tonic::Request<T>) -> Self {
        let arrival = request.extensions().get::<Arrival>();
        Self {
            origin: arrival.map_or(self.origin, |arrival| arrival.origin),
            ..self.clone()
        }
    }

    /// Runs what may block on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        // The task ends early only with the runtime, or by a panic, which has said so.
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| status::not_ready())
    }

    /// The same for what reads the store, a bounded number at once.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        let permit = permit.map_err(|_| status::not_ready())?;
        let store = self.store.clone();
        self.blocking(move || {
            let done = work(&store);
            drop(permit);
            done
        })
        .await
    }
}

impl GrpcServer {
    /// Listens, without users and without encryption; connections wait until [`Self::run`] accepts
    /// them. Must be called within a runtime.
    ///
    /// # Errors
    /// See [`GrpcError`].
    pub fn bind(store: Store, options: GrpcOptions) -> Result<Self, GrpcError> {
        Self::bind_with(&Access::open(store), None, options)
    }

    /// The same for the users of a store, and encrypted if there is a certificate.
    ///
    /// # Errors
    /// See [`GrpcError`].
    pub fn bind_with(
        access: &Access,
        certificate: Option<&ServerCertificate>,
        options: GrpcOptions,
    ) -> Result<Self, GrpcError> {
        options.check(certificate.is_some(), !access.is_open())?;
        let tls = certificate.map(|certificate| certificate.acceptor(&[b"h2", b"http/1.1"]));
        let tls = tls.transpose()?;
        let listeners = Listeners::bind(&options)?;
        let permits = |count: usize| Arc::new(Semaphore::new(count.clamp(1, MANY)));
        let (store, groups) = (access.store().clone(), Arc::default());
        let shared = Shared {
            access: access.clone(),
            tls,
            metrics: Metrics::new(&store, &groups),
            groups,
            origin: store.origin(),
            store,
            reads: permits(options.reads_max),
            incoming: permits(options.incoming_len_bytes_max),
            subscriptions: permits(options.subscriptions_max),
            options: Arc::new(options),
            stopping: CancellationToken::new(),
            asked_to_stop: CancellationToken::new(),
        };
        Ok(Self { listeners, shared })
    }

    /// Where it listens, with the ports that the system chose if the options left them open.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.addresses().collect()
    }

    /// Serves until `shutdown` is ready, or a caller who may asks the server to end. Then calls
    /// that are running are finished, within a time.
    ///
    /// # Errors
    /// [`GrpcError::Listen`] if the runtime cannot take a listener.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), GrpcError> {
        let Self { listeners, shared } = self;
        let router = router(&shared);
        let asked = shared.asked_to_stop.clone();
        let shutdown = async {
            tokio::select! {
                () = shutdown => {}
                () = asked.cancelled() => {}
            }
        };
        let served = listeners.serve(router, &shared, shutdown).await;
        shared.leave_groups().await;
        served
    }
}

fn router(shared: &Shared) -> Router {
    let gossip = node::Gossip {
        shared: shared.clone(),
    };
    let services = persistent::add(Routes::default(), shared);
    let services = manage::add(services, shared)
        .add_service(ServerFeaturesServer::new(features::Features))
        .add_service(GossipServer::new(gossip));
    let message_len_max = shared.options.message_len_bytes_max;
    let streams = StreamsServer::new(streams::Streams {
        shared: shared.clone(),
    });
    let streams = streams
        .max_decoding_message_size(message_len_max)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip);
    let streams_v2 = StreamsServiceServer::new(v2::StreamsV2 {
        shared: shared.clone(),
    });
    let streams_v2 = streams_v2
        .max_decoding_message_size(message_len_max)
        .accept_compressed(CompressionEncoding::Gzip);
    services
        .add_service(streams)
        .add_service(streams_v2)
        .into_axum_router()
        .reset_fallback()
        .merge(http::routes(shared))
        .fallback(unknown)
        .layer(from_fn_with_state(shared.clone(), arriving::hold))
        .layer(map_response(async |response| codec::blame(response)))
        .layer(from_fn(deadline::keep))
        .layer(from_fn_with_state(shared.metrics.clone(), metrics::count))
}

/// What is asked for is not there: each protocol has its own way to say so.
async fn unknown<B>(request: Request<B>) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return StatusCode::NOT_FOUND.into_response();
    }
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        ),
        (
            header::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("12"),
        ),
    ];
    headers.into_response()
}
