//! A store that is only read, behind every front: what reads is answered, what writes is refused by
//! an error that says why.
#![cfg(all(feature = "client", feature = "server", feature = "grpc"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "read_only/changes.rs"]
mod changes;
#[path = "read_only/damage.rs"]
mod damage;
mod grpc_client;
mod network;

use annal::access::Access;
use annal::protocol::message::Source;
use annal::protocol::{StorageKind, WireError};
use annal::{
    Client, GroupName, GroupSettings, GroupSource, GroupStart, GrpcOptions, Store, StoreOptions,
};
use grpc_client::Served;
use grpc_client::append::{ANY, events};
use grpc_client::group::{group, settings};
use grpc_client::v1::operations::operations_client::OperationsClient;
use grpc_client::v1::operations::{StartScavengeReq, start_scavenge_req};
use network::ask::{append, read, read_all};
use network::{Raw, name, options, serve, some_events};
use tonic::{Code, Status};

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("reading only"), "{status:?}");
}

#[tokio::test]
async fn every_front_refuses_to_write_and_goes_on_reading() {
    let folder = tempfile::tempdir().unwrap();
    let written = Store::open(folder.path(), StoreOptions::default()).unwrap();
    written.append(some_events("order-1", 3)).unwrap();
    let groups = written.groups().unwrap();
    let source = GroupSource::Stream(name("order-1"));
    let (kept, start) = (GroupName::new("kept").unwrap(), GroupStart::Start);
    groups
        .create(source, kept, GroupSettings::default(), start)
        .unwrap();
    drop(groups);
    written.close().unwrap();
    let mut only_read = StoreOptions::default();
    only_read.read_only = true;
    let store = Store::open(folder.path(), only_read).unwrap();

    let native = serve(store.clone(), options());
    let mut raw = Raw::connect(native.address).await;
    let refused = raw.error(append(some_events("order-1", 1))).await;
    let WireError::Storage { kind, text } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(kind, StorageKind::ReadOnly);
    assert!(text.contains("reading only"), "{text}");
    let (all, _) = read_all(&mut raw, read(Source::All)).await;
    assert_eq!(all.len(), 3);
    let client = Client::connect(&native.url()).await.unwrap();
    let refused = client.append(some_events("order-1", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("reading only"), "{refused}");

    let node = Served::of(folder, store, GrpcOptions::default(), Access::open);
    is_refused(node.append("order-1", ANY, events(1)).await);
    is_refused(node.delete("order-1", ANY).await);
    is_refused(node.tombstone("order-1", ANY).await);
    let new = group("order-1", "new", None, settings());
    is_refused(node.create_group(new).await);
    is_refused(node.join("order-1", "kept", 10).await.map(drop));
    is_refused(node.replay("order-1", "kept").await);
    let scavenge = StartScavengeReq {
        options: Some(start_scavenge_req::Options {
            thread_count: 1,
            start_from_chunk: 0,
        }),
    };
    let mut operations = OperationsClient::new(node.channel());
    is_refused(operations.start_scavenge(scavenge).await);
    let (status, text) = node
        .http("POST /subscriptions/order-1/kept/replayParked")
        .await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("reading only"), "{text}");
    assert_eq!(node.http("GET /health/live").await.0, 204);
    let last = node.store.committed();
    assert_eq!(last.0, 3, "nothing was written");
    drop(client);
    native.stop().await;
    node.stop().await;
}
