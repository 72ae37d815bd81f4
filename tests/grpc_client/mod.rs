//! A gRPC client of the tests' own, generated of the same `.proto` files as the server, and a
//! server in the same process to try it on.
#![allow(dead_code, unreachable_pub, reason = "not every test needs all of it")]

pub(crate) mod append;
pub(crate) mod bare;
pub(crate) mod group;
pub(crate) mod http;
pub(crate) mod read;
pub(crate) mod users;

use std::net::SocketAddr;

use annal::access::Access;
use annal::{GrpcOptions, GrpcServer, Store, StoreOptions};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// What is generated of the `.proto` files.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::wildcard_imports,
    missing_docs,
    unused_qualifications,
    reason = "nobody wrote it"
)]
pub(crate) mod wire {
    include!(concat!(env!("OUT_DIR"), "/client/client.rs"));
    pub(crate) use event_store::client as v1;
}

pub(crate) use wire::v1;

/// A server in this process, on a port of its own, with a folder that goes with it.
pub(crate) struct Served {
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    _folder: TempDir,
}

impl Served {
    /// Starts one that lets everybody do everything.
    pub(crate) async fn start() -> Self {
        Self::with(StoreOptions::default(), GrpcOptions::default()).await
    }

    /// The same with other options.
    pub(crate) async fn with(store: StoreOptions, options: GrpcOptions) -> Self {
        Self::guarded(store, options, Access::open).await
    }

    /// The same with users and rules.
    pub(crate) async fn guarded(
        store: StoreOptions,
        options: GrpcOptions,
        access: impl FnOnce(Store) -> Access,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store).unwrap();
        Self::of(folder, store, options, access)
    }

    /// The same with a store that is in the folder.
    pub(crate) fn of(
        folder: TempDir,
        store: Store,
        mut options: GrpcOptions,
        access: impl FnOnce(Store) -> Access,
    ) -> Self {
        options.addresses = vec!["127.0.0.1:0".parse().unwrap()];
        let access = access(store.clone());
        let server = GrpcServer::bind_with(&access, None, options).unwrap();
        let address = server.local_addrs()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let stopped = async {
                let _word = stopped.await;
            };
            server.run(stopped).await.unwrap();
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            store,
            address,
            channel: endpoint.connect_lazy(),
            stop: Some(stop),
            running,
            _folder: folder,
        }
    }

    /// The connection that all clients share.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.running.await.unwrap();
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn ended(self) {
        drop(self.channel);
        self.running.await.unwrap();
    }

    pub(crate) fn streams(&self) -> v1::streams::streams_client::StreamsClient<Channel> {
        v1::streams::streams_client::StreamsClient::new(self.channel())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }
}

pub(crate) fn identifier(stream: &str) -> v1::StreamIdentifier {
    v1::StreamIdentifier {
        stream_name: stream.as_bytes().to_vec().into(),
    }
}

/// An id in text form.
pub(crate) fn text_id(id: uuid::Uuid) -> v1::Uuid {
    v1::Uuid {
        value: Some(v1::uuid::Value::String(id.to_string())),
    }
}

/// The trailer of a status.
pub(crate) fn trailer<'a>(status: &'a Status, key: &str) -> Option<&'a str> {
    status
        .metadata()
        .get(key)
        .map(|value| value.to_str().unwrap())
}
