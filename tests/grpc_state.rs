//! The streams in which clients look for users and groups, read and followed through the wire.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use grpc_client::append::{ANY, events as new_events, messages};
use grpc_client::group::{group, settings};
use grpc_client::read::*;
use grpc_client::users::{ADMIN, GRETA, signed};
use grpc_client::v1::streams::ReadReq;
use grpc_client::v1::streams::read_resp::{Content, ReadEvent};
use grpc_client::v1::users::users_client::UsersClient;
use grpc_client::v1::users::{CreateReq, DisableReq, create_req, disable_req};
use grpc_client::{Served, trailer};
use serde_json::Value;
use tonic::{Code, Streaming};

async fn contents(
    node: &Served,
    options: grpc_client::v1::streams::read_req::Options,
) -> Vec<Content> {
    let options = Some(options);
    let mut told = node
        .streams()
        .read(ReadReq { options })
        .await
        .unwrap()
        .into_inner();
    let mut found = Vec::new();
    while let Some(message) = told.message().await.unwrap() {
        found.push(message.content.unwrap());
    }
    found
}

fn data(event: &ReadEvent) -> String {
    String::from_utf8(event.event.as_ref().unwrap().data.to_vec()).unwrap()
}

fn events(contents: Vec<Content>) -> Vec<ReadEvent> {
    let event = |content| match content {
        Content::Event(event) => Some(event),
        _ => None,
    };
    contents.into_iter().filter_map(event).collect()
}

async fn make_user(node: &Served, login: &str) {
    let options = Some(create_req::Options {
        login_name: login.to_owned(),
        password: "secret".to_owned(),
        full_name: String::new(),
        groups: Vec::new(),
    });
    let mut users = UsersClient::new(node.channel());
    users.create(CreateReq { options }).await.unwrap();
}

#[tokio::test]
async fn the_users_that_clients_wait_for_are_there_from_the_start() {
    let node = Served::start().await;
    let found = events(contents(&node, of_stream("$users")).await);
    assert_eq!(found.iter().map(data).collect::<Vec<_>>(), ["admin", "ops"]);
    let first = found[0].event.as_ref().unwrap();
    assert_eq!(first.stream_revision, 0);
    let entry = first
        .metadata
        .iter()
        .find(|entry| &entry.key[..] == b"type");
    assert_eq!(&entry.unwrap().value[..], b"$User");
    make_user(&node, "greta").await;
    let last = of_stream("$users").end().backwards().count(1).compatible();
    let [Content::Event(last), Content::LastStreamPosition(2)] = &contents(&node, last).await[..]
    else {
        panic!("one event, and where the stream ends");
    };
    assert_eq!(data(last), "greta");
}

#[tokio::test]
async fn a_user_is_shown_without_what_proves_his_password() {
    let node = Served::start().await;
    let missing = contents(&node, of_stream("$user-greta")).await;
    assert!(matches!(missing[..], [Content::StreamNotFound(_)]));
    make_user(&node, "greta").await;
    let found = events(contents(&node, of_stream("$user-greta")).await);
    let user: Value = serde_json::from_str(&data(&found[0])).unwrap();
    assert_eq!(user["loginName"], "greta");
    assert!(user.get("hash").is_none());
}

#[tokio::test]
async fn groups_and_their_checkpoints_are_shown() {
    let node = Served::start().await;
    let config = "$persistentSubscriptionConfig";
    let missing = contents(&node, of_stream(config)).await;
    assert!(matches!(missing[..], [Content::StreamNotFound(_)]));
    node.fill("order-1", 2).await;
    let mut asked = settings();
    asked.max_checkpoint_count = 1;
    let asked = group("order-1", "one", None, asked);
    node.create_group(asked).await.unwrap();
    let found = events(contents(&node, of_stream(config)).await);
    let found: Value = serde_json::from_str(&data(&found[0])).unwrap();
    assert_eq!(found["entries"][0]["group"], "one");
    let checkpoint = "$persistentsubscription-order-1::one-checkpoint";
    let missing = contents(&node, of_stream(checkpoint)).await;
    assert!(matches!(missing[..], [Content::StreamNotFound(_)]));
    let mut member = node.join("order-1", "one", 10).await.unwrap();
    let ids = member.take(2).await;
    let ids: Vec<String> = ids.iter().map(grpc_client::group::id_of).collect();
    member.ack(&ids);
    loop {
        let found = events(contents(&node, of_stream(checkpoint)).await);
        if found.first().is_some_and(|event| data(event) == "\"1\"") {
            break;
        }
    }
}

async fn next(told: &mut Streaming<grpc_client::v1::streams::ReadResp>) -> Content {
    told.message().await.unwrap().unwrap().content.unwrap()
}

#[tokio::test]
async fn a_follower_hears_of_new_users() {
    let node = Served::start().await;
    let options = Some(of_stream("$users").follow());
    let mut told = node
        .streams()
        .read(ReadReq { options })
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut told).await, Content::Confirmation(_)));
    for login in ["admin", "ops"] {
        assert!(matches!(next(&mut told).await, Content::Event(of) if data(&of) == login));
    }
    assert!(
        matches!(next(&mut told).await, Content::CaughtUp(at) if at.stream_revision == Some(1))
    );
    make_user(&node, "greta").await;
    assert!(matches!(next(&mut told).await, Content::Event(of) if data(&of) == "greta"));
}

/// Lets these roles read streams of the system.
async fn open_system_streams(node: &Served, roles: &str) {
    let mut settings = new_events(1);
    let acl = format!(r#"{{"$systemStreamAcl":{{"$r":[{roles}]}}}}"#);
    settings[0].data = acl.into_bytes().into();
    let messages = tokio_stream::iter(messages("$settings", Some(ANY), settings));
    let appended = node.streams().append(signed(messages, ADMIN)).await;
    appended.unwrap();
}

/// A follower of the users, who has heard of all there are.
async fn greta_follows_users(node: &Served) -> Streaming<grpc_client::v1::streams::ReadResp> {
    let options = Some(of_stream("$users").follow());
    let request = signed(ReadReq { options }, GRETA);
    let mut told = node.streams().read(request).await.unwrap().into_inner();
    while !matches!(next(&mut told).await, Content::CaughtUp(_)) {}
    told
}

#[tokio::test]
async fn a_follower_is_told_nothing_more_once_he_may_not_read_it() {
    let node = Served::with_users().await;
    open_system_streams(&node, r#""$admins","clerks""#).await;
    let mut told = greta_follows_users(&node).await;
    open_system_streams(&node, r#""$admins""#).await;
    let denied = told.message().await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(trailer(&denied, "exception"), Some("access-denied"));

    open_system_streams(&node, r#""clerks""#).await;
    let mut told = greta_follows_users(&node).await;
    let login_name = GRETA.to_owned();
    let options = Some(disable_req::Options { login_name });
    let mut users = UsersClient::new(node.channel());
    let request = signed(DisableReq { options }, ADMIN);
    users.disable(request).await.unwrap();
    let denied = told.message().await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}
