//! Consumer groups through a server and the client: members share events, join again by themselves
//! after the connection was lost, and hear when their group drops them.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod network;

use annal::client::{Client, Delivery, GroupError, GroupMember, NackAction};
use annal::{GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy};
use network::{LONG, Proxy, name, serve_memory, some_events};
use tokio::time::timeout;

fn group() -> GroupName {
    GroupName::new("billing").unwrap()
}

fn source(stream: &str) -> GroupSource {
    GroupSource::Stream(name(stream))
}

async fn next(member: &mut GroupMember) -> Delivery {
    timeout(LONG, member.next()).await.unwrap().unwrap()
}

fn revision(delivery: &Delivery) -> u64 {
    delivery.event.as_ref().unwrap().revision.0
}

#[tokio::test]
async fn members_share_events_and_acknowledge_them() {
    let server = serve_memory();
    let client = Client::connect(&server.url()).await.unwrap();
    let groups = client.groups();
    let settings = GroupSettings::default();
    client.append(some_events("a", 6)).await.unwrap();
    groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await
        .unwrap();
    let again = groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await;
    assert!(matches!(again, Err(GroupError::Exists { .. })), "{again:?}");
    let mut one = groups.join(&source("a"), &group(), 1).await.unwrap();
    let mut two = groups.join(&source("a"), &group(), 10).await.unwrap();
    let mut seen = Vec::new();
    let first = next(&mut one).await;
    seen.push(revision(&first));
    for _ in 0..5 {
        let delivery = next(&mut two).await;
        seen.push(revision(&delivery));
        two.ack(&[&delivery]);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    let shown = groups.describe(&source("a"), &group()).await.unwrap();
    let oldest = shown.oldest_in_flight.as_ref().unwrap();
    assert_eq!(oldest.revision, revision(&first));
    assert_eq!((shown.settings.clone(), shown.members.len()), (settings, 2));
    one.ack(&[&first]);
    while groups.list(None).await.unwrap()[0].figure("in_flight_count") != Some(0) {}
    server.stop().await;
}

#[tokio::test]
async fn refused_events_are_parked_and_replayed() {
    let server = serve_memory();
    let client = Client::connect(&server.url()).await.unwrap();
    let groups = client.groups();
    let settings = GroupSettings {
        strategy: GroupStrategy::Ordered,
        ..GroupSettings::default()
    };
    client.append(some_events("a", 2)).await.unwrap();
    groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await
        .unwrap();
    let mut member = groups.join(&source("a"), &group(), 10).await.unwrap();
    let delivery = next(&mut member).await;
    member.nack(&[&delivery], NackAction::Park, "poison");
    // The second is parked behind the first, and never delivered before it.
    while groups.list(None).await.unwrap()[0].figure("parked_count") != Some(2) {}
    groups
        .replay_parked(&source("a"), &group(), None)
        .await
        .unwrap();
    for expected in [0, 1] {
        let delivery = next(&mut member).await;
        assert_eq!((revision(&delivery), delivery.retry_count), (expected, 0));
        assert!(delivery.link.is_some());
        member.ack(&[&delivery]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_member_joins_again_when_the_connection_was_lost() {
    let server = serve_memory();
    let proxy = Proxy::to(server.address).await;
    let client = Client::connect(&proxy.url()).await.unwrap();
    let groups = client.groups();
    let settings = GroupSettings::default();
    groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await
        .unwrap();
    let mut member = groups.join(&source("a"), &group(), 10).await.unwrap();
    server.store.append(some_events("a", 1)).unwrap();
    assert_eq!(revision(&next(&mut member).await), 0);
    proxy.cut();
    let again = next(&mut member).await;
    assert_eq!((revision(&again), again.retry_count), (0, 1));
    member.ack(&[&again]);
    server.store.append(some_events("a", 1)).unwrap();
    assert_eq!(revision(&next(&mut member).await), 1);
    server.stop().await;
}

#[tokio::test]
async fn members_hear_that_their_group_was_changed_or_deleted() {
    let server = serve_memory();
    let client = Client::connect(&server.url()).await.unwrap();
    let groups = client.groups();
    let settings = GroupSettings::default();
    let missing = groups.join(&source("a"), &group(), 1).await;
    assert!(matches!(missing, Err(GroupError::NotFound { .. })));
    groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await
        .unwrap();
    let mut member = groups.join(&source("a"), &group(), 1).await.unwrap();
    groups
        .update(&source("a"), &group(), &settings, GroupStart::Start)
        .await
        .unwrap();
    let dropped = timeout(LONG, member.next()).await.unwrap();
    assert!(
        matches!(dropped, Err(GroupError::Dropped(_))),
        "{dropped:?}"
    );
    // Asked again, it is a member again.
    server.store.append(some_events("a", 1)).unwrap();
    assert_eq!(revision(&next(&mut member).await), 0);
    groups.delete(&source("a"), &group()).await.unwrap();
    let dropped = timeout(LONG, member.next()).await.unwrap();
    assert!(
        matches!(dropped, Err(GroupError::Dropped(_))),
        "{dropped:?}"
    );
    assert!(groups.list(None).await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_as_such() {
    let server = serve_memory();
    let client = Client::connect(&server.url()).await.unwrap();
    let groups = client.groups();
    let settings = GroupSettings {
        read_batch_size: 500,
        ..GroupSettings::default()
    };
    let refused = groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await;
    assert!(
        matches!(refused, Err(GroupError::Invalid(_))),
        "{refused:?}"
    );
    let settings = GroupSettings::default();
    groups
        .create(&source("a"), &group(), &settings, GroupStart::Start)
        .await
        .unwrap();
    let refused = groups.join(&source("a"), &group(), 0).await;
    assert!(
        matches!(refused, Err(GroupError::Invalid(_))),
        "{refused:?}"
    );
    server.stop().await;
}
