//! Users: who is let in, and what he may do.

use tokio_stream::iter;
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::grpc_client::append::{ANY, Appended, events, messages};
use crate::grpc_client::read::{of_all, of_stream};
use crate::grpc_client::users::{ADMIN, GRETA, NOBODY, PASSWORD, signed, signed_with};
use crate::grpc_client::v1::RecordedEvent;
use crate::grpc_client::v1::streams::ReadReq;
use crate::grpc_client::v1::streams::read_req::Options;
use crate::grpc_client::v1::streams::read_resp::Content;
use crate::grpc_client::{Served, trailer};

async fn append(served: &Served, user: &str, stream: &str) -> Result<Appended, tonic::Status> {
    let messages = iter(messages(stream, Some(ANY), events(1)));
    let response = served.streams().append(signed(messages, user)).await?;
    Ok(Appended::of(response.into_inner()))
}

async fn read(
    served: &Served,
    user: &str,
    options: Options,
) -> Result<Vec<RecordedEvent>, tonic::Status> {
    let request = ReadReq {
        options: Some(options),
    };
    let response = served.streams().read(signed(request, user)).await?;
    let mut messages = response.into_inner();
    let mut events = Vec::new();
    while let Some(message) = messages.message().await? {
        match message.content.unwrap() {
            Content::Event(event) => events.push(event.event.unwrap()),
            other => panic!("{other:?}"),
        }
    }
    Ok(events)
}

#[tokio::test]
async fn each_is_let_in_as_far_as_his_roles_go() {
    let served = Served::with_users().await;
    append(&served, GRETA, "order-1").await.unwrap();
    append(&served, ADMIN, "$private").await.unwrap();
    assert_eq!(
        read(&served, GRETA, of_stream("order-1"))
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(read(&served, ADMIN, of_all()).await.unwrap().len(), 2);
    for denied in [
        read(&served, GRETA, of_all()).await.unwrap_err(),
        read(&served, GRETA, of_stream("$private"))
            .await
            .unwrap_err(),
        append(&served, GRETA, "$private").await.unwrap_err(),
        read(&served, NOBODY, of_stream("order-1"))
            .await
            .unwrap_err(),
        append(&served, NOBODY, "order-1").await.unwrap_err(),
    ] {
        assert_eq!(denied.code(), Code::PermissionDenied);
        assert_eq!(trailer(&denied, "exception"), Some("access-denied"));
        assert_eq!(denied.message(), "Access Denied");
    }
    for user in [(GRETA, "wrong"), ("stranger", PASSWORD)] {
        let request = ReadReq {
            options: Some(of_stream("order-1")),
        };
        let request = signed_with(request, user.0, user.1);
        let status = served.streams().read(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(trailer(&status, "exception"), None);
    }
}

#[tokio::test]
async fn of_many_streams_each_sees_those_that_he_may_read() {
    let served = Served::with_users().await;
    hide(&served, "order-2").await;
    append(&served, ADMIN, "order-1").await.unwrap();
    append(&served, ADMIN, "order-2").await.unwrap();
    let settings = r#"{"$systemStreamAcl":{"$r":["$admins","clerks"]}}"#;
    let mut opening = events(1);
    opening[0].data = settings.as_bytes().to_vec().into();
    let messages = iter(messages("$settings", Some(ANY), opening));
    served
        .streams()
        .append(signed(messages, ADMIN))
        .await
        .unwrap();
    let all = read(&served, GRETA, of_all()).await.unwrap();
    let names: Vec<_> = all
        .iter()
        .map(|event| event.stream_identifier.clone().unwrap().stream_name)
        .collect();
    assert!(names.iter().any(|name| name == "order-1"), "{names:?}");
    assert!(names.iter().all(|name| name != "order-2"), "{names:?}");
    let denied = read(&served, GRETA, of_stream("order-2"))
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn where_there_are_no_users_whatever_is_shown_is_let_in() {
    let served = Served::start().await;
    append(&served, "whoever", "$a").await.unwrap();
    let mut request = signed(
        ReadReq {
            options: Some(of_all()),
        },
        NOBODY,
    );
    let value = MetadataValue::from_static("Bearer nonsense");
    request.metadata_mut().insert("authorization", value);
    served.streams().read(request).await.unwrap();
}

/// Lets only administrators read a stream from now on.
async fn hide(served: &Served, stream: &str) {
    let mut hiding = events(1);
    hiding[0].metadata = crate::grpc_client::append::entries(&[
        ("type", "$metadata"),
        ("content-type", "application/json"),
    ]);
    hiding[0].data = r#"{"$acl":{"$r":"$admins"}}"#.as_bytes().to_vec().into();
    let described = format!("$${stream}");
    let messages = iter(messages(&described, Some(ANY), hiding));
    let request = signed(messages, ADMIN);
    served.streams().append(request).await.unwrap();
}

#[tokio::test]
async fn whoever_follows_a_stream_is_shown_nothing_more_once_he_may_not_read_it() {
    let served = Served::with_users().await;
    append(&served, ADMIN, "order-1").await.unwrap();
    let request = ReadReq {
        options: Some(of_stream("order-1").follow()),
    };
    let told = served.streams().read(signed(request, GRETA)).await.unwrap();
    let mut told = told.into_inner();
    loop {
        let message = told.message().await.unwrap().unwrap();
        if let Some(Content::CaughtUp(_)) = message.content {
            break;
        }
    }
    hide(&served, "order-1").await;
    append(&served, ADMIN, "order-1").await.unwrap();
    let denied = told.message().await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_group_shows_no_target_of_a_link_to_whom_may_not_read_it() {
    use crate::grpc_client::group::{group, settings};
    use crate::grpc_client::identifier;
    use crate::grpc_client::v1::persistent_subscriptions::{
        CreateReq, ReadReq, read_req, read_resp,
    };
    let served = Served::with_users().await;
    append(&served, ADMIN, "order-1").await.unwrap();
    hide(&served, "order-1").await;
    let mut link = events(1);
    link[0].metadata = crate::grpc_client::append::entries(&[
        ("type", "$>"),
        ("content-type", "application/octet-stream"),
    ]);
    link[0].data = b"0@order-1".to_vec().into();
    let messages = iter(messages("links", Some(ANY), link));
    served
        .streams()
        .append(signed(messages, GRETA))
        .await
        .unwrap();
    let mut settings = settings();
    settings.resolve_links = true;
    let create = CreateReq {
        options: Some(group("links", "g", None, settings)),
    };
    served.groups().create(signed(create, ADMIN)).await.unwrap();
    let options = read_req::Options {
        group_name: "g".to_owned(),
        buffer_size: 1,
        stream_option: Some(read_req::options::StreamOption::StreamIdentifier(
            identifier("links"),
        )),
        uuid_option: None,
    };
    let first = ReadReq {
        content: Some(read_req::Content::Options(options)),
    };
    let said = tokio_stream::StreamExt::chain(iter([first]), tokio_stream::pending());
    let told = served.groups().read(signed(said, GRETA)).await.unwrap();
    let mut told = told.into_inner();
    told.message().await.unwrap().unwrap();
    let message = told.message().await.unwrap().unwrap();
    let Some(read_resp::Content::Event(event)) = message.content else {
        panic!("{message:?}");
    };
    assert!(event.link.is_some());
    assert_eq!(event.event, None);
}
