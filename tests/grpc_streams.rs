//! Streams as EventStoreDB's clients use them: the tables of the protocol, row by row.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use grpc_client::Served;
use grpc_client::append::{ANY, Appended, NO_STREAM, events};
use grpc_client::read::{of_all, of_stream, value};
use grpc_client::v1::streams::read_resp::Content;

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let served = Served::start().await;
    let appended = served
        .append("order-1", NO_STREAM, events(3))
        .await
        .unwrap();
    assert_eq!(appended, Appended::Success(Some(2), Some(3)));
    let read = served.read_events(of_stream("order-1")).await.unwrap();
    let revisions: Vec<u64> = read.iter().map(|event| event.stream_revision).collect();
    assert_eq!(revisions, [0, 1, 2]);
    assert_eq!(read[2].commit_position, appended.position());
    assert_eq!(value(&read[0], "type"), "Counted");
    assert_eq!(value(&read[0], "content-type"), "application/json");
    let ticks: u64 = value(&read[0], "created").parse().unwrap();
    assert!(ticks / 10_000_000 > 1_700_000_000);
    assert_eq!(served.read_events(of_all()).await.unwrap(), read);
}

#[tokio::test]
async fn a_subscription_goes_from_the_past_to_what_comes() {
    let served = Served::start().await;
    served.fill("a", 2).await;
    let mut following = served.follow(of_stream("a")).await;
    assert_eq!(following.event().await.stream_revision, 0);
    assert_eq!(following.event().await.stream_revision, 1);
    match following.next().await.unwrap() {
        Content::CaughtUp(caught_up) => assert_eq!(caught_up.stream_revision, Some(1)),
        other => panic!("{other:?}"),
    }
    served.append("a", ANY, events(1)).await.unwrap();
    assert_eq!(following.event().await.stream_revision, 2);
}
