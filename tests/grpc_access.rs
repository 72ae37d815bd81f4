//! Who may call what: every method of every service against every role, through the wire.
//!
//! The methods are taken from the compiled `.proto` files: one that is added and not listed here
//! fails the test.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use std::collections::BTreeSet;

use grpc_client::Served;
use grpc_client::read::of_stream;
use grpc_client::users::{ADMIN, GRETA, NOBODY, OPS, PASSWORD, basic, signed, signed_with};
use grpc_client::v1::persistent_subscriptions::read_req::options::StreamOption as OfGroup;
use grpc_client::v1::persistent_subscriptions::{ReadReq as GroupReadReq, read_req};
use grpc_client::v1::streams;
use grpc_client::wire::kurrentdb::protocol::v2::streams as v2;
use grpc_client::{identifier, v1};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// Who may call a method.
#[derive(Clone, Copy, Debug)]
enum Who {
    Everybody,
    Users,
    Operators,
    Admins,
    /// Whoever may do it to the stream: here to one of the system, as this message asks.
    ByStream(fn() -> Vec<u8>),
    /// The same, but the answer to each append says so, and the call goes on.
    InItems,
}

use Who::{Admins, ByStream, Everybody, InItems, Operators, Users};

type Service = (&'static str, &'static [(&'static str, Who)]);

const SERVICES: &[Service] = &[
    ("event_store.client.gossip.Gossip", &[("Read", Everybody)]),
    (
        "event_store.client.server_features.ServerFeatures",
        &[("GetSupportedMethods", Everybody)],
    ),
    (
        "event_store.client.monitoring.Monitoring",
        &[("Stats", Everybody)],
    ),
    (
        "event_store.client.streams.Streams",
        &[
            ("Read", ByStream(read)),
            ("Append", ByStream(append)),
            ("Delete", ByStream(delete)),
            ("Tombstone", ByStream(delete)),
            ("BatchAppend", InItems),
        ],
    ),
    (
        "kurrentdb.protocol.v2.streams.StreamsService",
        &[
            ("AppendSession", ByStream(append_session)),
            ("AppendRecords", ByStream(append_records)),
        ],
    ),
    (
        "event_store.client.persistent_subscriptions.PersistentSubscriptions",
        &[
            ("Create", Operators),
            ("Update", Operators),
            ("Delete", Operators),
            ("Read", ByStream(join)),
            ("GetInfo", Users),
            ("ReplayParked", Operators),
            ("TruncateParked", Operators),
            ("List", Users),
            ("RestartSubsystem", Operators),
        ],
    ),
    (
        "event_store.client.projections.Projections",
        &[
            ("Create", Users),
            ("Update", Users),
            ("Delete", Operators),
            ("Statistics", Users),
            ("Disable", Users),
            ("Enable", Users),
            ("Reset", Users),
            ("State", Users),
            ("Result", Users),
            ("RestartSubsystem", Operators),
        ],
    ),
    (
        "event_store.client.operations.Operations",
        &[
            ("StartScavenge", Operators),
            ("StopScavenge", Operators),
            ("Shutdown", Operators),
            ("MergeIndexes", Operators),
            ("ResignNode", Operators),
            ("SetNodePriority", Operators),
            ("RestartPersistentSubscriptions", Operators),
        ],
    ),
    (
        "event_store.client.users.Users",
        &[
            ("Create", Admins),
            ("Update", Admins),
            ("Delete", Admins),
            ("Disable", Admins),
            ("Enable", Admins),
            ("Details", Users),
            ("ChangePassword", Users),
            ("ResetPassword", Admins),
        ],
    ),
];

const STREAM: &str = "$secret";

fn read() -> Vec<u8> {
    let options = Some(of_stream(STREAM));
    streams::ReadReq { options }.encode_to_vec()
}

fn append() -> Vec<u8> {
    use streams::append_req::options::ExpectedStreamRevision;
    use streams::append_req::{Content, Options};
    let content = Some(Content::Options(Options {
        stream_identifier: Some(identifier(STREAM)),
        expected_stream_revision: Some(ExpectedStreamRevision::Any(v1::Empty {})),
    }));
    streams::AppendReq { content }.encode_to_vec()
}

fn delete() -> Vec<u8> {
    use streams::delete_req::Options;
    use streams::delete_req::options::ExpectedStreamRevision;
    let options = Some(Options {
        stream_identifier: Some(identifier(STREAM)),
        expected_stream_revision: Some(ExpectedStreamRevision::Any(v1::Empty {})),
    });
    streams::DeleteReq { options }.encode_to_vec()
}

fn record() -> v2::AppendRecord {
    v2::AppendRecord {
        stream: Some(STREAM.to_owned()),
        schema: Some(v2::SchemaInfo {
            format: 1,
            name: "Happened".to_owned(),
            id: None,
        }),
        ..Default::default()
    }
}

fn append_session() -> Vec<u8> {
    let mut record = record();
    record.stream = None;
    let asked = v2::AppendRequest {
        stream: STREAM.to_owned(),
        records: vec![record],
        ..Default::default()
    };
    asked.encode_to_vec()
}

fn append_records() -> Vec<u8> {
    let asked = v2::AppendRecordsRequest {
        records: vec![record()],
        ..Default::default()
    };
    asked.encode_to_vec()
}

fn join() -> Vec<u8> {
    let options = read_req::Options {
        group_name: "one".to_owned(),
        buffer_size: 1,
        stream_option: Some(OfGroup::StreamIdentifier(identifier(STREAM))),
        uuid_option: None,
    };
    let content = Some(read_req::Content::Options(options));
    GroupReadReq { content }.encode_to_vec()
}

fn served() -> BTreeSet<(String, String)> {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/client/descriptors.bin"));
    let set = FileDescriptorSet::decode(&bytes[..]).unwrap();
    let mut served = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            let methods = service.method.iter();
            served.extend(methods.map(|method| (name.clone(), method.name().to_owned())));
        }
    }
    served
}

#[tokio::test]
async fn every_method_is_for_those_it_is_meant_for() {
    let node = Served::with_users().await;
    let mut listed = BTreeSet::new();
    for (service, methods) in SERVICES {
        for (method, who) in *methods {
            listed.insert((String::from(*service), String::from(*method)));
            let path = format!("/{service}/{method}");
            for (login, rank) in [(NOBODY, 0), (GRETA, 1), (OPS, 2), (ADMIN, 3)] {
                let (message, allowed) = match who {
                    Everybody => (Vec::new(), true),
                    Users => (Vec::new(), rank >= 1),
                    Operators => (Vec::new(), rank >= 2),
                    Admins => (Vec::new(), rank >= 3),
                    ByStream(message) => (message(), rank >= 3),
                    InItems => (Vec::new(), true),
                };
                if allowed && *method == "Shutdown" {
                    continue;
                }
                let answer = node.call(&path, signed(message, login)).await;
                let code = answer.err().map(|refused| refused.code());
                let denied = code == Some(Code::PermissionDenied);
                assert_eq!(denied, !allowed, "{path} for {login:?}: {code:?}");
            }
        }
    }
    assert_eq!(listed, served());
    let path = "/event_store.client.operations.Operations/Shutdown";
    node.call(path, signed(Vec::new(), OPS)).await.unwrap();
    node.ended().await;
}

#[tokio::test]
async fn whoever_shows_a_wrong_password_is_told_so_and_nothing_else() {
    let node = Served::with_users().await;
    let path = "/event_store.client.users.Users/Details";
    let refused = node.call(path, signed_with(Vec::new(), GRETA, "guess"));
    assert_eq!(refused.await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn over_http_too() {
    let node = Served::with_users().await;
    let of = |login: &str| format!("authorization: {}\r\n", basic(login, PASSWORD));
    for path in ["/health/live", "/ping", "/info", "/gossip", "/"] {
        assert!((200..300).contains(&node.http(&format!("GET {path}")).await.0));
    }
    for path in ["/stats", "/metrics", "/subscriptions"] {
        let request = format!("GET {path}");
        assert_eq!(node.http(&request).await.0, 401, "{path}");
        let shown = of(GRETA);
        assert_eq!(node.http_with(&request, &shown).await.0, 200, "{path}");
    }
    let request = "POST /subscriptions/restart";
    assert_eq!(node.http_with(request, &of(GRETA)).await.0, 403);
    assert_eq!(node.http_with(request, &of(OPS)).await.0, 200);
}
