//! Subscriptions.

use std::time::Duration;

use tonic::Code;

use crate::grpc_client::append::{ANY, event, events};
use crate::grpc_client::read::{Following, by_prefix, of_all, of_stream, value};
use crate::grpc_client::v1::Empty;
use crate::grpc_client::v1::streams::read_req::options::filter_options::{Filter, Window};
use crate::grpc_client::v1::streams::read_resp::{CaughtUp, Content};
use crate::grpc_client::{Served, trailer};

async fn caught_up(following: &mut Following) -> CaughtUp {
    match following.next().await.unwrap() {
        Content::CaughtUp(caught_up) => {
            assert!(caught_up.timestamp.unwrap().seconds > 1_700_000_000);
            caught_up
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_subscription_goes_from_the_past_to_what_comes() {
    let served = Served::start().await;
    served.fill("a", 3).await;
    let mut following = served.follow(of_stream("a").revision(0)).await;
    assert_eq!(following.event().await.stream_revision, 1);
    assert_eq!(following.event().await.stream_revision, 2);
    let at = caught_up(&mut following).await;
    assert_eq!((at.stream_revision, at.position), (Some(2), None));
    served.append("a", ANY, events(2)).await.unwrap();
    assert_eq!(following.event().await.stream_revision, 3);
    assert_eq!(following.event().await.stream_revision, 4);
}

#[tokio::test]
async fn all_events_are_followed_behind_a_position() {
    let served = Served::start().await;
    served.fill("a", 3).await;
    let mut following = served.follow(of_all().position(2)).await;
    assert_eq!(following.event().await.commit_position, 3);
    let at = caught_up(&mut following).await;
    assert_eq!(at.position.unwrap().commit_position, 3);
    assert_eq!(at.stream_revision, None);
    let next = served.fill("b", 1).await;
    assert_eq!(following.event().await.commit_position, next);
}

#[tokio::test]
async fn from_the_end_nothing_old_comes() {
    let served = Served::start().await;
    served.fill("a", 3).await;
    let mut stream = served.follow(of_stream("a").end()).await;
    let mut all = served.follow(of_all().end()).await;
    assert_eq!(caught_up(&mut stream).await.stream_revision, Some(2));
    assert_eq!(
        caught_up(&mut all).await.position.unwrap().commit_position,
        3
    );
    served.fill("a", 1).await;
    assert_eq!(stream.event().await.stream_revision, 3);
    assert_eq!(all.event().await.commit_position, 4);
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_waited_for() {
    let served = Served::start().await;
    served.fill("deleted", 2).await;
    served.delete("deleted", ANY).await.unwrap();
    for (stream, first) in [("absent", 0), ("deleted", 2)] {
        let mut following = served.follow(of_stream(stream)).await;
        caught_up(&mut following).await;
        served.append(stream, ANY, events(1)).await.unwrap();
        assert_eq!(following.event().await.stream_revision, first);
    }
    // Revisions up to the named one are left out when they come.
    let mut later = served.follow(of_stream("later").revision(1)).await;
    caught_up(&mut later).await;
    served.append("later", ANY, events(3)).await.unwrap();
    assert_eq!(later.event().await.stream_revision, 2);
}

#[tokio::test]
async fn a_subscription_ends_with_its_stream_and_never_cleanly() {
    let served = Served::start().await;
    served.fill("a", 1).await;
    let mut following = served.follow(of_stream("a").end()).await;
    caught_up(&mut following).await;
    served.tombstone("a", ANY).await.unwrap();
    assert_eq!(value(&following.event().await, "type"), "$streamDeleted");
    let status = following.next().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(trailer(&status, "exception"), Some("stream-deleted"));
    // One that begins afterwards is confirmed, and then told.
    let mut late = served.follow(of_stream("a")).await;
    let status = late.next().await.unwrap_err();
    assert_eq!(trailer(&status, "exception"), Some("stream-deleted"));
    let mut all = served.follow(of_all().end()).await;
    caught_up(&mut all).await;
    served.stop().await;
    assert_eq!(all.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_filter_tells_how_far_it_has_come() {
    let served = Served::start().await;
    for _ in 0..384 / 32 {
        served.fill("wanted", 32).await;
    }
    let filter = Filter::StreamIdentifier(by_prefix(&["wanted"]));
    let options = || of_all().filter(filter.clone(), Window::Count(Empty {}), 2);
    let mut following = served.follow(options()).await;
    let (mut found, mut checkpoints) = (0, Vec::new());
    loop {
        match following.next().await.unwrap() {
            Content::Event(_) => found += 1,
            Content::Checkpoint(at) => {
                assert_eq!(at.commit_position, at.prepare_position);
                assert_eq!(at.commit_position, found);
                checkpoints.push(at.commit_position);
            }
            Content::CaughtUp(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, 384);
    assert_eq!(checkpoints, [64, 128, 192, 256, 320, 384]);
    // Live, events that are not wanted count too.
    served.fill("other", 128).await;
    assert_eq!(checkpoints_of(&mut following, 2).await, [448, 512]);
}

/// The next messages, which must be checkpoints.
async fn checkpoints_of(following: &mut Following, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    while positions.len() < count {
        match following.next().await.unwrap() {
            Content::Checkpoint(at) => positions.push(at.commit_position),
            other => panic!("{other:?}"),
        }
    }
    positions
}

#[tokio::test]
async fn a_filter_that_chooses_nothing_tells_of_each_interval() {
    let served = Served::start().await;
    for _ in 0..1000 / 50 {
        served.fill("other", 50).await;
    }
    let filter = Filter::EventType(by_prefix(&["Wanted"]));
    let options = of_all().filter(filter, Window::Max(1), 3);
    let mut following = served.follow(options).await;
    let mut each: Vec<u64> = (1..=333).map(|number| number * 3).collect();
    each.push(1000);
    assert_eq!(checkpoints_of(&mut following, 334).await, each);
    caught_up(&mut following).await;
    served.fill("other", 7).await;
    assert_eq!(checkpoints_of(&mut following, 2).await, [1003, 1006]);
}

#[tokio::test]
async fn a_filter_that_chose_nothing_tells_where_it_went_live() {
    let served = Served::start().await;
    let last = served.fill("other", 5).await;
    let filter = Filter::EventType(by_prefix(&["Wanted"]));
    let options = of_all().filter(filter, Window::Max(30), 5);
    let mut following = served.follow(options).await;
    match following.next().await.unwrap() {
        Content::Checkpoint(at) => {
            assert_eq!(at.commit_position, last);
            assert!(at.timestamp.is_some());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        caught_up(&mut following)
            .await
            .position
            .unwrap()
            .commit_position,
        last
    );
    let wanted = vec![event(uuid::Uuid::new_v4(), "WantedNow")];
    served.append("a", ANY, wanted).await.unwrap();
    assert_eq!(following.event().await.commit_position, last + 1);
}

#[tokio::test]
async fn many_subscriptions_are_told_and_too_many_are_refused() {
    let mut options = annal::GrpcOptions::default();
    options.subscriptions_max = 50;
    let served = Served::with(Default::default(), options).await;
    let mut following = Vec::new();
    for _ in 0..50 {
        following.push(served.follow(of_all().end()).await);
    }
    let status = served.open(of_all().follow()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "Server Is Too Busy");
    let position = served.fill("a", 1).await;
    for one in &mut following {
        caught_up(one).await;
        assert_eq!(one.event().await.commit_position, position);
    }
    // A place is free again as soon as one goes.
    following.pop();
    let freed = async {
        while served.open(of_all().follow()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed)
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_appends_go_on() {
    let served = Served::start().await;
    served.fill("a", 500).await;
    let mut following = served.follow(of_stream("a")).await;
    let writing = async {
        for _ in 0..100 {
            served.fill("a", 5).await;
        }
    };
    let reading = async {
        let mut next = 0;
        while next < 1000 {
            match following.next().await.unwrap() {
                Content::Event(event) => {
                    assert_eq!(event.event.unwrap().stream_revision, next);
                    next += 1;
                }
                Content::CaughtUp(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn what_is_computed_is_followed_like_a_stream() {
    let served = Served::start().await;
    served.fill("order-1", 2).await;
    let mut following = served.follow(of_stream("$ce-order").resolved()).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match following.next().await.unwrap() {
            Content::Event(event) => seen.push((
                event.link.unwrap().stream_revision,
                event.event.unwrap().commit_position,
            )),
            Content::CaughtUp(caught_up) => {
                assert_eq!(caught_up.stream_revision, Some(1));
                served.fill("order-2", 1).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [(0, 1), (1, 2), (2, 3)]);
}

#[tokio::test]
async fn what_groups_on_all_events_keep_is_not_among_all_events() {
    let served = Served::start().await;
    let parked = "$persistentsubscription-$all::mine-parked";
    served.fill(parked, 1).await;
    let position = served.fill("a", 1).await;
    let all = served.read_events(of_all()).await.unwrap();
    assert_eq!((all.len(), all[0].commit_position), (1, position));
    let mut following = served.follow(of_all()).await;
    assert_eq!(following.event().await.commit_position, position);
    assert_eq!(
        served.read_events(of_stream(parked)).await.unwrap().len(),
        1
    );
}
