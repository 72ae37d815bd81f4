//! Checks of catch-up subscriptions.

use std::sync::Arc;

use bytes::Bytes;

use super::client::{
    self, Error, EventData, Expect, Position, StreamPosition, SubscribeToAllOptions,
    SubscribeToStreamOptions, Subscription, SubscriptionEvent, SubscriptionFilter,
};
use super::context::{Context, checks, event, events, kind, name, refused, revisions};
use crate::harness::{Checked, Failure, Report};

pub(crate) async fn run(c: &Arc<Context>, report: &mut Report) -> Result<(), Failure> {
    checks! { c, report,
        "subscribe-stream" => subscribe_stream,
        "subscribe-stream-from" => subscribe_stream_from,
        "subscribe-stream-missing" => subscribe_stream_missing,
        "subscribe-stream-caught-up" => subscribe_stream_caught_up,
        "subscribe-stream-tombstoned" => subscribe_stream_tombstoned,
        "subscribe-stream-links" => subscribe_stream_links,
        "subscribe-all" => subscribe_all,
        "subscribe-all-end" => subscribe_all_end,
        "subscribe-all-filter" => subscribe_all_filter,
        "subscribe-all-filter-stream" => subscribe_all_filter_stream,
        "subscribe-all-checkpoints" => subscribe_all_checkpoints,
    }
    Ok(())
}

async fn take(
    subscription: &mut Subscription,
    count: usize,
) -> client::Result<Vec<client::ResolvedEvent>> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(subscription.next().await?);
    }
    Ok(events)
}

/// Reads on until the subscription is live.
async fn until_live(subscription: &mut Subscription) -> client::Result<()> {
    while !client::is_caught_up(&subscription.next_subscription_event().await?) {}
    Ok(())
}

fn from(position: StreamPosition<u64>) -> SubscribeToStreamOptions {
    SubscribeToStreamOptions::default().start_from(position)
}

async fn subscribe_stream(c: Arc<Context>) -> Checked {
    let stream = c.filled("follow", 3).await?;
    let options = from(StreamPosition::Start);
    let mut subscription = c
        .client
        .subscribe_to_stream(stream.as_str(), &options)
        .await;
    assert_eq!(revisions(&take(&mut subscription, 3).await?), [0, 1, 2]);
    c.append(&stream, events(2, "Happened"), client::exactly(2))
        .await?;
    assert_eq!(revisions(&take(&mut subscription, 2).await?), [3, 4]);
    Ok(())
}

async fn subscribe_stream_from(c: Arc<Context>) -> Checked {
    let stream = c.filled("follow", 5).await?;
    let options = from(StreamPosition::Position(2));
    let mut subscription = c
        .client
        .subscribe_to_stream(stream.as_str(), &options)
        .await;
    assert_eq!(revisions(&take(&mut subscription, 2).await?), [3, 4]);
    let options = from(StreamPosition::End);
    let mut subscription = c
        .client
        .subscribe_to_stream(stream.as_str(), &options)
        .await;
    until_live(&mut subscription).await?;
    c.append(&stream, events(1, "Happened"), client::exactly(4))
        .await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [5]);
    Ok(())
}

async fn subscribe_stream_missing(c: Arc<Context>) -> Checked {
    let stream = name("later");
    let options = from(StreamPosition::Start);
    let mut subscription = c
        .client
        .subscribe_to_stream(stream.as_str(), &options)
        .await;
    until_live(&mut subscription).await?;
    c.append(&stream, events(1, "Happened"), Expect::NoStream)
        .await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [0]);
    Ok(())
}

async fn subscribe_stream_caught_up(c: Arc<Context>) -> Checked {
    let stream = c.filled("follow", 3).await?;
    let options = from(StreamPosition::Start);
    let mut subscription = c
        .client
        .subscribe_to_stream(stream.as_str(), &options)
        .await;
    let mut seen = 0;
    loop {
        match subscription.next_subscription_event().await? {
            SubscriptionEvent::EventAppeared(_) => seen += 1,
            event if client::is_caught_up(&event) => break,
            _ => {}
        }
    }
    assert_eq!(seen, 3);
    Ok(())
}

async fn subscribe_stream_tombstoned(c: Arc<Context>) -> Checked {
    let stream = c.filled("follow", 1).await?;
    c.client
        .tombstone_stream(stream.as_str(), &Default::default())
        .await?;
    let options = from(StreamPosition::Start);
    let mut subscription = c
        .client
        .subscribe_to_stream(stream.as_str(), &options)
        .await;
    refused!(subscription.next().await, Error::ResourceDeleted);
    Ok(())
}

async fn subscribe_stream_links(c: Arc<Context>) -> Checked {
    let (stream, links) = (c.filled("target", 2).await?, name("links"));
    let options = from(StreamPosition::Start).resolve_link_tos();
    let mut subscription = c.client.subscribe_to_stream(links.as_str(), &options).await;
    let link = EventData::binary("$>", Bytes::from(format!("1@{stream}")));
    c.append(&links, vec![link], Expect::NoStream).await?;
    let resolved = subscription.next().await?;
    assert_eq!(
        (
            client::stream_of(event(&resolved)?),
            event(&resolved)?.revision
        ),
        (stream.as_str(), 1)
    );
    assert_eq!(resolved.get_original_stream_id(), links);
    Ok(())
}

async fn subscribe_all(c: Arc<Context>) -> Checked {
    let stream = name("all");
    let first = c
        .append(&stream, events(1, "Happened"), Expect::NoStream)
        .await?
        .position;
    c.append(&stream, events(2, "Happened"), client::exactly(0))
        .await?;
    let options = SubscribeToAllOptions::default().position(StreamPosition::Position(first));
    let mut subscription = c.client.subscribe_to_all(&options).await;
    let own = take(&mut subscription, 2).await?;
    assert_eq!(
        (own[0].get_original_stream_id(), revisions(&own)),
        (stream.as_str(), vec![1, 2])
    );
    c.append(&stream, events(1, "Happened"), client::exactly(2))
        .await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [3]);
    Ok(())
}

async fn subscribe_all_end(c: Arc<Context>) -> Checked {
    let options = SubscribeToAllOptions::default().position(StreamPosition::End);
    let mut subscription = c.client.subscribe_to_all(&options).await;
    until_live(&mut subscription).await?;
    let stream = c.filled("end", 1).await?;
    assert_eq!(subscription.next().await?.get_original_stream_id(), stream);
    Ok(())
}

fn filtered(filter: SubscriptionFilter) -> SubscribeToAllOptions {
    SubscribeToAllOptions::default()
        .position(StreamPosition::Start)
        .filter(filter)
}

async fn subscribe_all_filter(c: Arc<Context>) -> Checked {
    let kind = kind();
    c.filled_with("filter", 2, &kind).await?;
    let filter = SubscriptionFilter::on_event_type().regex(format!("^{kind}$"));
    let mut subscription = c.client.subscribe_to_all(&filtered(filter)).await;
    assert_eq!(revisions(&take(&mut subscription, 2).await?), [0, 1]);
    c.filled("other", 3).await?;
    c.filled_with("filter", 1, &kind).await?;
    assert_eq!(event(&subscription.next().await?)?.event_type, kind);
    Ok(())
}

async fn subscribe_all_filter_stream(c: Arc<Context>) -> Checked {
    let prefix = name("prefix");
    let stream = c.filled(&prefix, 2).await?;
    let filter = SubscriptionFilter::on_stream_name().add_prefix(&prefix);
    let mut subscription = c.client.subscribe_to_all(&filtered(filter)).await;
    for resolved in take(&mut subscription, 2).await? {
        assert_eq!(resolved.get_original_stream_id(), stream);
    }
    Ok(())
}

async fn subscribe_all_checkpoints(c: Arc<Context>) -> Checked {
    let last = c
        .append(&name("many"), events(600, "Happened"), Expect::Any)
        .await?
        .position;
    let filter = SubscriptionFilter::on_event_type().add_prefix("NoSuchType");
    let mut subscription = c.client.subscribe_to_all(&filtered(filter)).await;
    // One for each 32 records, of which 600 are there.
    let mut positions = checkpoints_until(&mut subscription, last).await?;
    assert!(positions.len() >= 18, "{} checkpoints", positions.len());
    let more = name("more");
    let passed = c
        .append(&more, events(500, "Happened"), Expect::Any)
        .await?
        .position;
    c.append(&more, events(100, "Happened"), Expect::Any)
        .await?;
    let later = checkpoints_until(&mut subscription, passed).await?;
    assert!(later.len() >= 15, "{} checkpoints", later.len());
    positions.extend(later);
    assert!(
        positions.is_sorted_by(|one, next| one < next),
        "{positions:?}"
    );
    Ok(())
}

/// The positions of checkpoints, up to one that has passed `last`.
async fn checkpoints_until(
    subscription: &mut Subscription,
    last: Position,
) -> client::Result<Vec<Position>> {
    let mut positions = Vec::new();
    while positions.last().is_none_or(|position| *position < last) {
        if let SubscriptionEvent::Checkpoint(position) =
            subscription.next_subscription_event().await?
        {
            positions.push(position);
        }
    }
    Ok(positions)
}
