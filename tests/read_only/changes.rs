//! Whatever changes a store, through every front of one that is only read: each is refused by an
//! error that says so, and not a byte of the folder changes.

use std::fs;
use std::path::Path;

use annal::access::{Access, AccessMode, AccessOptions};
use annal::client::{AppendError, Client, GroupError, UserError};
use annal::protocol::{StorageKind, WireError};
use annal::{
    ExpectedRevision, GroupName, GroupSettings, GroupSource, GroupStart, GrpcOptions, Projection,
    Server, Store, StoreOptions, StreamName,
};
use tempfile::TempDir;
use tokio_stream::iter;
use tonic::{Code, Status};

use crate::grpc_client::Served;
use crate::grpc_client::append::{ANY, events, messages};
use crate::grpc_client::group::{group, settings};
use crate::grpc_client::users::{PASSWORD, users_of};
use crate::grpc_client::v1::Empty;
use crate::grpc_client::v1::operations::operations_client::OperationsClient;
use crate::grpc_client::v1::operations::{StartScavengeReq, start_scavenge_req};
use crate::grpc_client::v1::persistent_subscriptions as of_groups;
use crate::grpc_client::v1::projections::projections_client::ProjectionsClient;
use crate::grpc_client::v1::projections::{DisableReq, EnableReq, disable_req, enable_req};
use crate::grpc_client::v1::users as of_users;
use crate::grpc_client::v1::users::users_client::UsersClient;
use crate::grpc_client::wire::kurrentdb::protocol::v2::streams as v2;
use crate::network::{event, name, options, run, serve, some_events};

/// The names and the bytes of all files of a folder.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    let mut files: Vec<_> = entries.map(file).collect();
    files.sort();
    files
}

fn kept() -> (GroupSource, GroupName) {
    let source = GroupSource::Stream(name("order-1"));
    (source, GroupName::new("kept").unwrap())
}

/// Makes a store with everything that can be changed: events, users, a group, settings.
pub(crate) fn fill(folder: &Path) {
    let store = Store::open(folder, StoreOptions::default()).unwrap();
    store.append(some_events("order-1", 3)).unwrap();
    store.append(some_events("$settings", 1)).unwrap();
    let access = users_of(store.clone());
    access.disable_user("ops").unwrap();
    drop(access);
    let stopped = Projection::of_name("$by_event_type").unwrap();
    store.set_system_projection(stopped, false).unwrap();
    let (source, group) = kept();
    let groups = store.groups().unwrap();
    groups
        .create(source, group, GroupSettings::default(), GroupStart::Start)
        .unwrap();
    drop(groups);
    store.close().unwrap();
}

pub(crate) fn only_read(folder: &Path) -> Store {
    let mut options = StoreOptions::default();
    options.read_only = true;
    Store::open(folder, options).unwrap()
}

fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    folder
}

#[track_caller]
fn is_read_only(what: &str, error: &WireError) {
    match error {
        WireError::Storage { kind, text } => {
            assert_eq!(*kind, StorageKind::ReadOnly, "{what}");
            assert!(text.contains("reading only"), "{what}: {text}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[track_caller]
fn append_is_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, AppendError>) {
    match answer.unwrap_err() {
        AppendError::Storage { kind, text } => {
            is_read_only(what, &WireError::Storage { kind, text });
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[track_caller]
fn user_is_refused(what: &str, answer: Result<(), UserError>) {
    match answer.unwrap_err() {
        UserError::Server(error) => is_read_only(what, &error),
        other => panic!("{what}: {other:?}"),
    }
}

#[track_caller]
fn group_is_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, GroupError>) {
    match answer.unwrap_err() {
        GroupError::Server(error) => is_read_only(what, &error),
        other => panic!("{what}: {other:?}"),
    }
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    assert_eq!(
        status.code(),
        Code::FailedPrecondition,
        "{what}: {status:?}"
    );
    assert!(
        status.message().contains("reading only"),
        "{what}: {status:?}"
    );
}

#[tokio::test]
async fn the_native_front_refuses_every_change() {
    let folder = filled();
    let before = files(folder.path());
    let store = only_read(folder.path());
    let native = serve(store, options());
    let client = Client::connect(&native.url()).await.unwrap();
    let any = ExpectedRevision::Any;
    let order = name("order-1");
    append_is_refused("an append", client.append(some_events("order-1", 1)).await);
    append_is_refused("settings", client.append(some_events("$settings", 1)).await);
    let acl = r#"{"$acl": {"$r": "greta"}}"#;
    append_is_refused("an ACL", client.set_metadata(&order, any, acl).await);
    append_is_refused("a deletion", client.delete(order.clone(), any).await);
    append_is_refused("a tombstone", client.tombstone(order, any).await);

    let created = client.create_user("new", "New", Vec::new(), PASSWORD).await;
    user_is_refused("a new user", created);
    let clerks = vec!["$admins".to_owned()];
    user_is_refused("groups", client.update_user("greta", "Greta", clerks).await);
    user_is_refused("a deletion", client.delete_user("greta").await);
    user_is_refused("to disable", client.disable_user("greta").await);
    user_is_refused("to enable", client.enable_user("ops").await);
    user_is_refused("to reset", client.reset_password("greta", "new").await);
    let changed = client.change_password("greta", PASSWORD, "new").await;
    user_is_refused("to change", changed);
    assert_eq!(client.users().await.unwrap().len(), 3);

    let groups = client.groups();
    let (source, kept) = kept();
    let (new, settings) = (GroupName::new("new").unwrap(), GroupSettings::default);
    let start = GroupStart::Start;
    let created = groups.create(&source, &new, &settings(), start).await;
    group_is_refused("a new group", created);
    let updated = groups.update(&source, &kept, &settings(), start).await;
    group_is_refused("other settings", updated);
    group_is_refused("a removed group", groups.delete(&source, &kept).await);
    let replayed = groups.replay_parked(&source, &kept, None).await;
    group_is_refused("a replay", replayed);
    let truncated = groups.truncate_parked(&source, &kept, None).await;
    group_is_refused("what is parked", truncated);
    group_is_refused("a member", groups.join(&source, &kept, 10).await);
    assert_eq!(groups.list(None).await.unwrap().len(), 1);
    drop((client, groups));
    native.stop().await.close().unwrap();
    assert!(files(folder.path()) == before);
}

#[tokio::test]
async fn a_user_of_a_store_that_is_only_read_comes_in_and_changes_nothing() {
    let folder = filled();
    let before = files(folder.path());
    let store = only_read(folder.path());
    let users = AccessOptions {
        mode: AccessMode::Users,
        ..AccessOptions::default()
    };
    let access = Access::new(store.clone(), &users);
    let native = run(Server::bind_with(&access, None, options()).unwrap(), store);
    let url = |login: &str| format!("annal://{login}:{PASSWORD}@{}", native.address);
    let greta = Client::connect(&*url("greta")).await.unwrap();
    append_is_refused("an append", greta.append(some_events("order-1", 1)).await);
    let changed = greta.change_password("greta", PASSWORD, "new").await;
    user_is_refused("his own password", changed);
    assert!(
        Client::connect(&*url("ops")).await.is_err(),
        "he is disabled"
    );
    drop(greta);
    let again = Client::connect(&*url("greta")).await.unwrap();
    let all = again.read(annal::client::Read::stream(name("order-1")));
    assert_eq!(all.collect().await.unwrap().len(), 3);
    drop((again, access));
    native.stop().await.close().unwrap();
    assert!(files(folder.path()) == before);
}

async fn users_are_refused(node: &Served) {
    let mut users = UsersClient::new(node.channel());
    let (login_name, password) = (|| "greta".to_owned(), || PASSWORD.to_owned());
    let options = Some(of_users::create_req::Options {
        login_name: "new".to_owned(),
        password: password(),
        full_name: "New".to_owned(),
        groups: Vec::new(),
    });
    is_refused(
        "create",
        users.create(of_users::CreateReq { options }).await,
    );
    let options = Some(of_users::update_req::Options {
        login_name: login_name(),
        password: password(),
        full_name: "Greta".to_owned(),
        groups: vec!["$admins".to_owned()],
    });
    is_refused(
        "update",
        users.update(of_users::UpdateReq { options }).await,
    );
    let login = login_name();
    let options = Some(of_users::delete_req::Options { login_name: login });
    is_refused(
        "delete",
        users.delete(of_users::DeleteReq { options }).await,
    );
    let login = login_name();
    let options = Some(of_users::disable_req::Options { login_name: login });
    is_refused(
        "disable",
        users.disable(of_users::DisableReq { options }).await,
    );
    let login = "ops".to_owned();
    let options = Some(of_users::enable_req::Options { login_name: login });
    is_refused(
        "enable",
        users.enable(of_users::EnableReq { options }).await,
    );
    let options = Some(of_users::change_password_req::Options {
        login_name: login_name(),
        current_password: password(),
        new_password: "new".to_owned(),
    });
    let change = of_users::ChangePasswordReq { options };
    is_refused("change", users.change_password(change).await);
    let options = Some(of_users::reset_password_req::Options {
        login_name: login_name(),
        new_password: "new".to_owned(),
    });
    let reset = of_users::ResetPasswordReq { options };
    is_refused("reset", users.reset_password(reset).await);
}

async fn groups_are_refused(node: &Served) {
    let new = group("order-1", "new", None, settings());
    is_refused("a new group", node.create_group(new).await);
    let kept = group("order-1", "kept", None, settings());
    let options = Some(kept);
    let update = of_groups::UpdateReq { options };
    is_refused("other settings", node.groups().update(update).await);
    is_refused("a member", node.join("order-1", "kept", 10).await.map(drop));
    is_refused("a replay", node.replay("order-1", "kept").await);
    let options = Some(of_groups::delete_req::Options {
        group_name: "kept".to_owned(),
        stream_option: Some(
            of_groups::delete_req::options::StreamOption::StreamIdentifier(
                crate::grpc_client::identifier("order-1"),
            ),
        ),
    });
    let delete = of_groups::DeleteReq { options };
    is_refused("a removed group", node.groups().delete(delete).await);
    for (what, status) in [("replayParked", 409), ("truncateParked", 409)] {
        let request = format!("POST /subscriptions/order-1/kept/{what}");
        let (found, text) = node.http(&request).await;
        assert_eq!(found, status, "{what}: {text}");
        assert!(text.contains("reading only"), "{what}: {text}");
    }
}

async fn operations_are_refused(node: &Served) {
    let mut operations = OperationsClient::new(node.channel());
    let scavenge = StartScavengeReq {
        options: Some(start_scavenge_req::Options {
            thread_count: 1,
            start_from_chunk: 0,
        }),
    };
    is_refused("a scavenge", operations.start_scavenge(scavenge).await);
    is_refused("a merge", operations.merge_indexes(Empty {}).await);
    let mut projections = ProjectionsClient::new(node.channel());
    let name = || "$by_category".to_owned();
    for write_checkpoint in [true, false] {
        let options = Some(disable_req::Options {
            name: name(),
            write_checkpoint,
        });
        is_refused("to stop", projections.disable(DisableReq { options }).await);
    }
    let name = "$by_event_type".to_owned();
    let options = Some(enable_req::Options { name });
    is_refused("to run", projections.enable(EnableReq { options }).await);
}

async fn second_version_is_refused(node: &Served) {
    let record = || v2::AppendRecord {
        record_id: Some(uuid::Uuid::new_v4().to_string()),
        schema: Some(v2::SchemaInfo {
            format: v2::SchemaFormat::Json.into(),
            name: "Counted".to_owned(),
            id: None,
        }),
        data: b"{}".to_vec().into(),
        stream: Some("order-1".to_owned()),
        ..v2::AppendRecord::default()
    };
    let mut streams = v2::streams_service_client::StreamsServiceClient::new(node.channel());
    let request = v2::AppendRequest {
        stream: "order-1".to_owned(),
        records: vec![record()],
        expected_revision: None,
    };
    let answered = streams.append_session(iter([request])).await;
    is_refused("a session", answered.map(drop));
    let request = v2::AppendRecordsRequest {
        records: vec![record()],
        checks: Vec::new(),
    };
    is_refused("records", streams.append_records(request).await.map(drop));
}

#[tokio::test]
async fn the_grpc_front_and_http_refuse_every_change() {
    let folder = filled();
    let path = folder.path().to_owned();
    let before = files(&path);
    let store = only_read(&path);
    let node = Served::of(folder, store.clone(), GrpcOptions::default(), Access::open);
    for stream in ["order-1", "$settings", "$$order-1"] {
        is_refused(stream, node.append(stream, ANY, events(1)).await);
    }
    is_refused("a deletion", node.delete("order-1", ANY).await);
    is_refused("a tombstone", node.tombstone("order-1", ANY).await);
    let missing = messages("new-1", Some(ANY), events(2));
    is_refused("a new stream", node.streams().append(iter(missing)).await);
    second_version_is_refused(&node).await;
    users_are_refused(&node).await;
    groups_are_refused(&node).await;
    operations_are_refused(&node).await;
    assert_eq!(node.http("GET /health/live").await.0, 204);
    store.close().unwrap();
    assert!(files(&path) == before);
    node.stop().await;
}

/// What an embedding program may ask.
#[test]
fn the_store_itself_refuses_every_change() {
    let folder = filled();
    let before = files(folder.path());
    let store = only_read(folder.path());
    let one = || annal::Append::to(order(), ExpectedRevision::Any, [event("1")]);
    let state = annal::StateChange::put(annal::StateSpace::Consumers, "key", "value");
    let refused =
        |what: &str, text: String| assert!(text.contains("reading only"), "{what}: {text}");
    refused("events", store.append(one()).unwrap_err().to_string());
    let with_state = annal::Append::new().state(state);
    refused("a state", store.append(with_state).unwrap_err().to_string());
    let scavenge = store.scavenge(annal::ScavengeOptions::default());
    refused("a scavenge", scavenge.unwrap_err().to_string());
    refused("a merge", store.merge_indexes().unwrap_err().to_string());
    for state in store.system_projections() {
        let changed = store.set_system_projection(state.projection, !state.is_running);
        refused("a projection", changed.unwrap_err().to_string());
    }
    store.maintain().unwrap();
    store.close().unwrap();
    assert!(files(folder.path()) == before);
}

fn order() -> StreamName {
    name("order-1")
}
