//! The front for EventStoreDB's clients: gRPC and HTTP on one port.
//!
//! `listen.rs` takes connections; each service has a file of its own, and `wire.rs` is what is
//! generated of the `.proto` files in `proto/`, which were written from the facts of the protocol.
//!
//! What always holds: a client sees `commit = prepare = position + 1`, because 0 means "before
//! everything" to it. Whatever arrives, the answer is the status that the protocol names for it;
//! an unknown method is `UNIMPLEMENTED`.

mod features;
mod http;
mod listen;
mod metrics;
mod node;
mod options;
mod wire;

pub use options::{GrpcError, GrpcOptions};

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tonic::service::Routes;

use crate::engine::Store;
use listen::Listeners;
use metrics::Metrics;
use wire::event_store::client::gossip::gossip_server::GossipServer;
use wire::event_store::client::server_features::server_features_server::ServerFeaturesServer;

/// A front that listens and has not begun to serve.
#[derive(Debug)]
pub struct GrpcServer {
    listeners: Listeners,
    options: GrpcOptions,
    shared: Shared,
}

/// What all services share.
#[derive(Clone, Debug)]
struct Shared {
    store: Store,
    metrics: Metrics,
}

impl GrpcServer {
    /// Listens; connections wait until [`Self::run`] accepts them. Must be called within a runtime.
    ///
    /// # Errors
    /// See [`GrpcError`].
    pub fn bind(store: Store, options: GrpcOptions) -> Result<Self, GrpcError> {
        options.check()?;
        let listeners = Listeners::bind(&options)?;
        Ok(Self {
            listeners,
            options,
            shared: Shared {
                metrics: Metrics::new(&store),
                store,
            },
        })
    }

    /// Where it listens, with the ports that the system chose if the options left them open.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.addresses().collect()
    }

    /// Serves until `shutdown` is ready. Then calls that are running are finished, within a time.
    ///
    /// # Errors
    /// [`GrpcError::Listen`] if the runtime cannot take a listener.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), GrpcError> {
        let router = router(&self.shared);
        let metrics = &self.shared.metrics;
        self.listeners
            .serve(router, metrics, &self.options, shutdown)
            .await
    }
}

fn router(shared: &Shared) -> Router {
    let gossip = node::Gossip {
        shared: shared.clone(),
    };
    let services = Routes::default()
        .add_service(ServerFeaturesServer::new(features::Features))
        .add_service(GossipServer::new(gossip));
    services
        .into_axum_router()
        .reset_fallback()
        .merge(http::routes(shared))
        .fallback(unknown)
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
