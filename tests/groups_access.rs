//! Groups on all events and their members' rights: a member never gets what its user may not read,
//! and the group does not lose it: it is parked, for somebody who may.
#![cfg(all(feature = "client", feature = "server", feature = "grpc"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;
mod network;

use annal::access::{Access, AccessMode, AccessOptions, NewUser, Password};
use annal::client::Client;
use annal::{
    Append, Direction, EventFilter, EventType, ExpectedRevision, FilterTarget, GroupName,
    GroupSettings, GroupSource, GroupStart, NewEvent, ReadFrom, Server, Store,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use grpc_client::Served;
use grpc_client::v1::persistent_subscriptions::read_req::options::StreamOption;
use grpc_client::v1::persistent_subscriptions::{ReadReq, ReadResp, read_req, read_resp};
use grpc_client::v1::{Empty, RecordedEvent};
use network::{LONG, name, some_events};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Streaming};

/// Users with their names as passwords: `admin`, `ops`, and `ann`, who may read `$all`.
fn users_of(store: Store) -> Access {
    let options = AccessOptions {
        mode: AccessMode::Users,
        hash_memory_kib: 8,
        hash_passes: 1,
        ..AccessOptions::default()
    };
    let access = Access::new(store, &options);
    let given = |text| Some(Password::new(text));
    access
        .create_first_users(given("admin"), given("ops"))
        .unwrap();
    let ann = NewUser {
        login: "ann".to_owned(),
        full_name: String::new(),
        groups: Vec::new(),
        password: Password::new("ann"),
    };
    access.create_user(ann).unwrap();
    access
}

fn group() -> GroupName {
    GroupName::new("g").unwrap()
}

/// Lets ann read `$all` and hides the stream `secret`, whose events stand among those of `open`;
/// and a group that takes both.
fn prepare(store: &Store) {
    let event_type = EventType::new("$metadata").unwrap();
    let all = NewEvent::json(event_type, r#"{"$acl":{"$r":"ann"}}"#);
    let any = ExpectedRevision::Any;
    store
        .append(Append::to(name("$$$all"), any, [all]))
        .unwrap();
    hide(store, "secret");
    for stream in ["open", "secret", "secret", "open"] {
        store.append(some_events(stream, 1)).unwrap();
    }
    let filter = EventFilter::prefixes(FilterTarget::Stream, ["open", "secret"]).unwrap();
    let source = GroupSource::All {
        filter: Some(filter),
    };
    let (settings, start) = (GroupSettings::default(), GroupStart::Start);
    store
        .groups()
        .unwrap()
        .create(source, group(), settings, start)
        .unwrap();
}

fn hide(store: &Store, stream: &str) {
    let acl = r#"{"$acl":{"$r":"$admins"}}"#;
    let hiding = Append::metadata(&name(stream), ExpectedRevision::Any, acl);
    store.append(hiding.unwrap()).unwrap();
}

/// Waits until so many events are parked and nothing is under way.
async fn parked(store: &Store, count: u64) -> Vec<(String, String)> {
    let groups = store.groups().unwrap();
    let settled = async {
        loop {
            let info = groups.info(&GroupSource::ALL, &group()).unwrap();
            if (info.parked_count, info.in_flight_count) == (count, 0) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, settled).await.unwrap();
    let stream = name("$persistentsubscription-$all::g-parked");
    let events = store.read_stream(&stream, ReadFrom::Start, Direction::Forwards);
    let shown = events.unwrap().map(|event| {
        let event = event.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&event.data), text(&event.metadata))
    });
    shown.collect()
}

fn check(parked: &[(String, String)], reason: &str, links: &[&str]) {
    let found: Vec<&str> = parked.iter().map(|(link, _)| &**link).collect();
    assert_eq!(found, links);
    for (link, metadata) in parked {
        assert!(metadata.contains(reason), "{link}: {metadata}");
    }
}

#[tokio::test]
async fn over_the_native_protocol() {
    let store = network::memory_store(1);
    let access = users_of(store.clone());
    prepare(&store);
    let server = Server::bind_with(&access, None, network::options()).unwrap();
    let server = network::run(server, store.clone());
    let url = |login: &str| format!("annal://{login}:{login}@{}", server.address);
    let ann = Client::connect(&url("ann")).await.unwrap();
    let mut member = ann
        .groups()
        .join(&GroupSource::ALL, &group(), 10)
        .await
        .unwrap();
    for revision in 0..2 {
        let delivery = timeout(LONG, member.next()).await.unwrap().unwrap();
        let event = delivery.event.as_ref().unwrap();
        assert_eq!((&*event.stream, event.revision.0), ("open", revision));
        member.ack(&[&delivery]);
    }
    let reason = "its member may not read it";
    check(&parked(&store, 2).await, reason, &["0@secret", "1@secret"]);
    // What she could read when she joined is hidden from her too.
    hide(&store, "open");
    store.append(some_events("open", 1)).unwrap();
    let all = ["0@secret", "1@secret", "2@open"];
    check(&parked(&store, 3).await, reason, &all);
    drop(member);
    // Nothing was lost: an administrator finds all of it.
    let admin = Client::connect(&url("admin")).await.unwrap();
    let groups = admin.groups();
    let mut member = groups.join(&GroupSource::ALL, &group(), 10).await.unwrap();
    groups
        .replay_parked(&GroupSource::ALL, &group(), None)
        .await
        .unwrap();
    for expected in ["secret", "secret", "open"] {
        let delivery = timeout(LONG, member.next()).await.unwrap().unwrap();
        assert_eq!(&*delivery.event.as_ref().unwrap().stream, expected);
        member.ack(&[&delivery]);
    }
    server.stop().await;
}

/// A member, as long as it could still say something.
struct Joined {
    told: Streaming<ReadResp>,
    _said: UnboundedSender<ReadReq>,
}

/// Joins the group as a user.
async fn join(served: &Served, login: &str) -> Joined {
    let options = read_req::Options {
        group_name: "g".to_owned(),
        buffer_size: 10,
        stream_option: Some(StreamOption::All(Empty {})),
        uuid_option: None,
    };
    let first = ReadReq {
        content: Some(read_req::Content::Options(options)),
    };
    let (said, messages) = unbounded_channel();
    said.send(first).unwrap();
    let mut request = Request::new(UnboundedReceiverStream::new(messages));
    let shown = BASE64_STANDARD.encode(format!("{login}:{login}"));
    let shown = MetadataValue::try_from(format!("Basic {shown}")).unwrap();
    request.metadata_mut().insert("authorization", shown);
    let mut told = served.groups().read(request).await.unwrap().into_inner();
    told.message().await.unwrap().unwrap();
    Joined { told, _said: said }
}

async fn next(joined: &mut Joined) -> RecordedEvent {
    let message = timeout(LONG, joined.told.message()).await.unwrap();
    match message.unwrap().unwrap().content {
        Some(read_resp::Content::Event(event)) => event.event.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn stream_of(event: &RecordedEvent) -> String {
    let named = event.stream_identifier.clone().unwrap().stream_name;
    String::from_utf8(named.to_vec()).unwrap()
}

#[tokio::test]
async fn as_a_persistent_subscription() {
    let options = Default::default();
    let served = Served::guarded(Default::default(), options, users_of).await;
    let store = served.store.clone();
    prepare(&store);
    let mut member = join(&served, "ann").await;
    for revision in 0..2 {
        let event = next(&mut member).await;
        let found = (stream_of(&event), event.stream_revision);
        assert_eq!(found, ("open".to_owned(), revision));
    }
    // What she got goes to others when she leaves; what she did not get is parked.
    drop(member);
    let reason = "ann may not read it.";
    check(&parked(&store, 2).await, reason, &["0@secret", "1@secret"]);
    let mut member = join(&served, "admin").await;
    for _ in 0..2 {
        assert_eq!(stream_of(&next(&mut member).await), "open");
    }
    let groups = store.groups().unwrap();
    groups
        .replay_parked(&GroupSource::ALL, &group(), None)
        .unwrap();
    for _ in 0..2 {
        assert_eq!(stream_of(&next(&mut member).await), "secret");
    }
}
