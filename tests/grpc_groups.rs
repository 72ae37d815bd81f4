//! Persistent subscriptions through the wire: what clients make, change, join and ask about.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use grpc_client::group::*;
use grpc_client::v1::Empty;
use grpc_client::v1::persistent_subscriptions::read_req::nack::Action;
use grpc_client::v1::persistent_subscriptions::read_resp::ReadEvent;
use grpc_client::v1::persistent_subscriptions::read_resp::read_event::{Count, Position};
use grpc_client::v1::persistent_subscriptions::*;
use grpc_client::{Served, identifier, trailer};
use serde_json::Value;
use tonic::{Code, Status};

fn revisions(events: &[ReadEvent]) -> Vec<u64> {
    let revision = |event: &ReadEvent| event.event.as_ref().unwrap().stream_revision;
    events.iter().map(revision).collect()
}

fn retries(event: &ReadEvent) -> i32 {
    match event.count {
        Some(Count::RetryCount(count)) => count,
        _ => panic!("the count is always set"),
    }
}

/// Which exception a status is, and about what.
fn named(status: &Status) -> (Code, &str, &str, &str) {
    let about = |key| trailer(status, key).unwrap_or_default();
    let (stream, group) = (about("stream-name"), about("group-name"));
    (status.code(), about("exception"), stream, group)
}

#[tokio::test]
async fn events_come_behind_the_confirmation_and_are_acknowledged() {
    let node = Served::start().await;
    let end = node.fill("order-1", 3).await;
    let asked = group("order-1", "billing/eu", None, settings());
    node.create_group(asked).await.unwrap();
    let mut member = node.join("order-1", "billing/eu", 10).await.unwrap();
    assert_eq!(member.subscription_id, "order-1::billing/eu");
    let events = member.take(3).await;
    assert_eq!(revisions(&events), [0, 1, 2]);
    let last = &events[2];
    assert_eq!(last.position, Some(Position::CommitPosition(end)));
    let recorded = last.event.as_ref().unwrap();
    let positions = (recorded.commit_position, recorded.prepare_position);
    assert_eq!(positions, (end, end));
    assert_eq!(retries(last), 0);
    let ids: Vec<String> = events.iter().map(id_of).collect();
    member.ack(&ids);
    node.fill("order-1", 1).await;
    assert_eq!(revisions(&member.take(1).await), [3]);
    while node
        .group_info("order-1", "billing/eu")
        .await
        .unwrap()
        .total_in_flight_messages
        > 1
    {}
}

#[tokio::test]
async fn no_more_is_in_flight_than_the_consumer_takes() {
    let node = Served::start().await;
    node.fill("order-1", 5).await;
    let asked = group("order-1", "slow", None, settings());
    node.create_group(asked).await.unwrap();
    let mut member = node.join("order-1", "slow", 2).await.unwrap();
    let events = member.take(2).await;
    let info = node.group_info("order-1", "slow").await.unwrap();
    assert_eq!(info.total_in_flight_messages, 2);
    assert_eq!(info.connections[0].available_slots, 0);
    member.ack(&[id_of(&events[0])]);
    assert_eq!(revisions(&member.take(1).await), [2]);
}

/// Returns when so many events are parked.
async fn parked(node: &Served, stream: &str, group: &str, count: i64) {
    while node
        .group_info(stream, group)
        .await
        .unwrap()
        .parked_message_count
        != count
    {}
}

#[tokio::test]
async fn what_is_parked_is_replayed_to_whoever_is_there() {
    for (stream, name) in [("order-1", "one"), (ALL, "all")] {
        let node = Served::start().await;
        node.fill("order-1", 2).await;
        let asked = group(stream, name, None, settings());
        node.create_group(asked).await.unwrap();
        let mut member = node.join(stream, name, 10).await.unwrap();
        let events = member.take(2).await;
        let ids: Vec<String> = events.iter().map(id_of).collect();
        member.nack(&ids, Action::Park);
        parked(&node, stream, name, 2).await;
        node.replay(stream, name).await.unwrap();
        let again = member.take(2).await;
        assert_eq!(revisions(&again), [0, 1]);
        assert_eq!(again.iter().map(retries).collect::<Vec<_>>(), [0, 0]);
        // They come as links of the parked stream, and are acknowledged as such.
        let links: Vec<String> = again.iter().map(id_of).collect();
        assert!(links.iter().all(|link| !ids.contains(link)));
        member.ack(&links);
        parked(&node, stream, name, 0).await;
    }
}

#[tokio::test]
async fn what_is_refused_comes_again_or_is_left_out() {
    let node = Served::start().await;
    node.fill("order-1", 2).await;
    let asked = group("order-1", "one", None, settings());
    node.create_group(asked).await.unwrap();
    let mut member = node.join("order-1", "one", 1).await.unwrap();
    let first = member.take(1).await.remove(0);
    member.nack(&[id_of(&first)], Action::Retry);
    let again = member.take(1).await.remove(0);
    assert_eq!((id_of(&again), retries(&again)), (id_of(&first), 1));
    member.nack(&[id_of(&first)], Action::Skip);
    assert_eq!(revisions(&member.take(1).await), [1]);
}

#[tokio::test]
async fn info_tells_what_was_asked_for_and_who_is_connected() {
    let node = Served::start().await;
    node.fill("order-1", 1).await;
    let mut asked = settings();
    asked.extra_statistics = true;
    asked.max_subscriber_count = 3;
    asked.consumer_strategy = "Pinned".to_owned();
    asked.message_timeout = Some(options::settings::MessageTimeout::MessageTimeoutTicks(
        70_000_000,
    ));
    let asked = group("order-1", "one", Some(5), asked);
    node.create_group(asked).await.unwrap();
    let _member = node.join("order-1", "one", 7).await.unwrap();
    let info = node.group_info("order-1", "one").await.unwrap();
    assert_eq!((&*info.event_source, &*info.group_name), ("order-1", "one"));
    assert_eq!(info.start_from, "5");
    assert_eq!(info.message_timeout_milliseconds, 7_000);
    assert_eq!(info.check_point_after_milliseconds, 2_000);
    assert_eq!(
        (info.min_check_point_count, info.max_check_point_count),
        (10, 1_000)
    );
    assert_eq!((info.live_buffer_size, info.buffer_size), (500, 500));
    assert_eq!((info.read_batch_size, info.max_retry_count), (20, 10));
    assert_eq!(info.max_subscriber_count, 3);
    assert_eq!(info.named_consumer_strategy, "Pinned");
    assert!(info.extra_statistics && !info.resolve_link_tos);
    assert_eq!(info.last_checkpointed_event_position, "");
    assert_eq!(info.last_known_event_position, "");
    let [connection] = &info.connections[..] else {
        panic!("{:?}", info.connections);
    };
    assert_eq!(connection.username, "anonymous");
    assert_eq!(connection.connection_name, "test");
    assert!(connection.from.starts_with("127.0.0.1:"));
    assert_eq!(connection.available_slots, 7);
    let measured = connection.observed_measurements.iter();
    let keys: Vec<String> = measured.map(|one| one.key.to_lowercase()).collect();
    assert!(keys.contains(&"quintile 3".to_owned()), "{keys:?}");
}

/// What clients cannot parse fails the call on their side.
#[tokio::test]
async fn where_a_group_begins_can_always_be_read() {
    use grpc_client::v1::streams::Position as At;
    use grpc_client::v1::streams::read_req::options::stream_options::RevisionOption;
    use options::all_options::AllOption;
    let node = Served::start().await;
    let end = node.fill("order-1", 3).await;
    let all = [
        (AllOption::Start(Empty {}), "C:0/P:0".to_owned()),
        (AllOption::End(Empty {}), "C:-1/P:-1".to_owned()),
        (
            AllOption::Position(At {
                commit_position: end,
                prepare_position: end,
            }),
            format!("C:{end}/P:{end}"),
        ),
    ];
    for (number, (from, told)) in all.into_iter().enumerate() {
        let name = number.to_string();
        let mut asked = group(ALL, &name, None, settings());
        asked.stream_option = Some(options::StreamOption::All(options::AllOptions {
            all_option: Some(from),
            filter_option: None,
        }));
        node.create_group(asked).await.unwrap();
        assert_eq!(node.group_info(ALL, &name).await.unwrap().start_from, told);
    }
    let mut asked = group("order-1", "end", None, settings());
    let Some(options::StreamOption::Stream(stream)) = &mut asked.stream_option else {
        panic!("it is one of a stream");
    };
    stream.revision_option = Some(RevisionOption::End(Empty {}));
    node.create_group(asked).await.unwrap();
    let told = node.group_info("order-1", "end").await.unwrap().start_from;
    assert_eq!(told, "-1");
}

/// Clients look at a group right after they have made it.
#[tokio::test]
async fn a_group_that_has_nothing_to_read_is_live_when_it_is_made() {
    let node = Served::start().await;
    for number in 0..50 {
        let name = number.to_string();
        let asked = group("order-1", &name, None, settings());
        node.create_group(asked).await.unwrap();
        let info = node.group_info("order-1", &name).await.unwrap();
        assert_eq!(info.status, "Live");
    }
}

#[tokio::test]
async fn a_group_begins_with_the_event_that_is_named() {
    let node = Served::start().await;
    node.fill("order-1", 4).await;
    node.create_group(group("order-1", "two", Some(2), settings()))
        .await
        .unwrap();
    let mut member = node.join("order-1", "two", 10).await.unwrap();
    assert_eq!(revisions(&member.take(2).await), [2, 3]);
}

#[tokio::test]
async fn refusals_have_the_names_and_texts_that_clients_know() {
    let node = Served::start().await;
    let missing = node.group_info("order-1", "one").await.unwrap_err();
    let exception = "persistent-subscription-does-not-exist";
    assert_eq!(
        named(&missing),
        (Code::NotFound, exception, "order-1", "one")
    );
    let text = "Subscription group one on stream order-1 does not exist.";
    assert_eq!(missing.message(), text);
    let missing = node.join("order-1", "one", 10).await.map(drop).unwrap_err();
    assert_eq!(named(&missing).1, exception);

    let mut asked = settings();
    asked.max_subscriber_count = 1;
    let asked = group("order-1", "one", None, asked);
    node.create_group(asked.clone()).await.unwrap();
    let exists = node.create_group(asked).await.unwrap_err();
    let exception = "persistent-subscription-exists";
    assert_eq!(
        named(&exists),
        (Code::AlreadyExists, exception, "order-1", "one")
    );
    assert_eq!(
        exists.message(),
        "Subscription group one on stream order-1 exists."
    );

    let _first = node.join("order-1", "one", 10).await.unwrap();
    let full = node.join("order-1", "one", 10).await.map(drop).unwrap_err();
    let exception = "maximum-subscribers-reached";
    assert_eq!(
        named(&full),
        (Code::FailedPrecondition, exception, "order-1", "one")
    );
    assert!(full.message().starts_with("Maximum subscriptions reached"));
}

#[tokio::test]
async fn settings_that_cannot_be_fail_with_a_reason() {
    let node = Served::start().await;
    let failed = async |change: fn(&mut options::Settings), reason: &str| {
        let mut asked = settings();
        change(&mut asked);
        let asked = group("order-1", "one", None, asked);
        let failed = node.create_group(asked).await.unwrap_err();
        let exception = "persistent-subscription-failed";
        assert_eq!(
            named(&failed),
            (Code::Internal, exception, "order-1", "one")
        );
        assert!(
            trailer(&failed, "reason").unwrap().contains(reason),
            "{failed}"
        );
        let begin = "Subscription group one on stream order-1 failed: '";
        assert!(failed.message().starts_with(begin), "{failed}");
    };
    failed(|settings| settings.history_buffer_size = 20, "batch size").await;
    failed(
        |settings| settings.consumer_strategy = "Mine".into(),
        "Mine",
    )
    .await;
    failed(|settings| settings.live_buffer_size = -1, "negative").await;
    for name in ["", ALL] {
        let mut asked = group("x", "one", None, settings());
        let Some(options::StreamOption::Stream(stream)) = &mut asked.stream_option else {
            panic!("it is one of a stream");
        };
        stream.stream_identifier = Some(identifier(name));
        let failed = node.create_group(asked).await.unwrap_err();
        assert_eq!(named(&failed).1, "persistent-subscription-failed");
    }
}

#[tokio::test]
async fn a_changed_or_deleted_group_drops_its_members() {
    let node = Served::start().await;
    let asked = group("order-1", "one", None, settings());
    node.create_group(asked.clone()).await.unwrap();
    let mut member = node.join("order-1", "one", 10).await.unwrap();
    let mut changed = asked.clone();
    if let Some(settings) = &mut changed.settings {
        settings.max_retry_count = 3;
        // An update names the strategy by its number alone.
        settings.consumer_strategy = String::new();
        settings.named_consumer_strategy = 1;
    }
    let options = Some(changed);
    node.groups().update(UpdateReq { options }).await.unwrap();
    let dropped = member.next().await.unwrap_err();
    let exception = "persistent-subscription-dropped";
    assert_eq!(
        named(&dropped),
        (Code::Cancelled, exception, "order-1", "one")
    );
    let text = "Subscription group one on stream order-1 was dropped.";
    assert_eq!(dropped.message(), text);
    let info = node.group_info("order-1", "one").await.unwrap();
    assert_eq!(
        (info.max_retry_count, &*info.named_consumer_strategy),
        (3, "RoundRobin")
    );

    let mut member = node.join("order-1", "one", 10).await.unwrap();
    let options = Some(delete_req::Options {
        group_name: "one".to_owned(),
        stream_option: Some(delete_req::options::StreamOption::StreamIdentifier(
            identifier("order-1"),
        )),
    });
    node.groups().delete(DeleteReq { options }).await.unwrap();
    assert_eq!(named(&member.next().await.unwrap_err()).1, exception);
    assert!(node.group_info("order-1", "one").await.is_err());
}

#[tokio::test]
async fn a_restart_drops_all_members_and_a_shutdown_too() {
    let node = Served::start().await;
    let asked = group("order-1", "one", None, settings());
    node.create_group(asked).await.unwrap();
    let mut member = node.join("order-1", "one", 10).await.unwrap();
    node.groups().restart_subsystem(Empty {}).await.unwrap();
    let dropped = member.next().await.unwrap_err();
    assert_eq!(named(&dropped).1, "persistent-subscription-dropped");
    let mut member = node.join("order-1", "one", 10).await.unwrap();
    let stopping = tokio::spawn(node.stop());
    assert_eq!(member.next().await.unwrap_err().code(), Code::Unavailable);
    drop(member);
    stopping.await.unwrap();
}

fn list_of(option: Option<list_req::stream_option::StreamOption>) -> ListReq {
    use list_req::options::ListOption;
    let list_option = match option {
        None => ListOption::ListAllSubscriptions(Empty {}),
        stream_option => ListOption::ListForStream(list_req::StreamOption { stream_option }),
    };
    let list_option = Some(list_option);
    ListReq {
        options: Some(list_req::Options { list_option }),
    }
}

#[tokio::test]
async fn groups_are_listed_all_of_a_stream_or_of_all_events() {
    use list_req::stream_option::StreamOption;
    let node = Served::start().await;
    let list = async |option: Option<StreamOption>| {
        let told = node.groups().list(list_of(option)).await?;
        let of = |info: SubscriptionInfo| (info.event_source, info.group_name);
        Ok::<_, Status>(
            told.into_inner()
                .subscriptions
                .into_iter()
                .map(of)
                .collect::<Vec<_>>(),
        )
    };
    let named = |stream: &str, group: &str| (stream.to_owned(), group.to_owned());
    assert_eq!(list(None).await.unwrap(), []);
    for (stream, name) in [("order-1", "one"), ("order-1", "two"), (ALL, "all")] {
        let asked = group(stream, name, None, settings());
        node.create_group(asked).await.unwrap();
    }
    assert_eq!(list(None).await.unwrap().len(), 3);
    let of = |stream: &str| Some(StreamOption::Stream(identifier(stream)));
    let found = list(of("order-1")).await.unwrap();
    assert_eq!(found, [named("order-1", "one"), named("order-1", "two")]);
    let found = list(Some(StreamOption::All(Empty {}))).await.unwrap();
    assert_eq!(found, [named(ALL, "all")]);
    let missing = list(of("order-2")).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let text = "Subscription group  on stream order-2 does not exist.";
    assert_eq!(missing.message(), text);
}

#[tokio::test]
async fn groups_are_shown_and_replayed_over_http() {
    let node = Served::start().await;
    assert_eq!(
        node.http("GET /subscriptions").await,
        (200, "[]".to_owned())
    );
    assert_eq!(node.http("GET /subscriptions/order-1").await.0, 404);
    for (stream, name) in [("order-1", "one"), (ALL, "all")] {
        let asked = group(stream, name, None, settings());
        node.create_group(asked).await.unwrap();
    }
    let (_, text) = node.http("GET /subscriptions/order-1").await;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found[0]["eventStreamId"], "order-1");
    assert_eq!(found[0]["groupName"], "one");
    let (_, text) = node.http("GET /subscriptions/%24all/all/info").await;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["config"]["startPosition"], "C:0/P:0");
    let (_, text) = node.http("GET /subscriptions/order-1/one/info").await;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["config"]["startFrom"], 0);
    assert_eq!(
        node.http("GET /subscriptions/order-1/two/info").await.0,
        404
    );
    let path = "POST /subscriptions/order-1/one/replayParked?stopAt=5";
    assert_eq!(node.http(path).await.0, 200);
    assert_eq!(node.http("POST /subscriptions/restart").await.0, 200);
}
