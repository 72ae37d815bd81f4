//! Checks of persistent subscriptions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client::{
    self, Error, EventData, Expect, NakAction, PersistentSubscription,
    PersistentSubscriptionOptions, PersistentSubscriptionToAllOptions, ReadStreamOptions,
    StreamPosition, SubscriptionFilter, SystemConsumerStrategy,
};
use super::context::{
    Context, ack, checks, collect, event, events, kind, nack, name, refused, revisions,
};
use crate::harness::{Checked, Failure, Report, until};

pub(crate) async fn run(c: &Arc<Context>, report: &mut Report) -> Result<(), Failure> {
    checks! { c, report,
        "group-create" => group_create,
        "group-update" => group_update,
        "group-delete" => group_delete,
        "group-list" => group_list,
        "group-missing" => group_missing,
        "group-settings-refused" => group_settings_refused,
        "group-ack" => group_ack,
        "group-from-revision" => group_from_revision,
        "group-from-end" => group_from_end,
        "group-nack-retry" => group_nack_retry,
        "group-nack-skip" => group_nack_skip,
        "group-park-replay" => group_park_replay,
        "group-retries-park" => group_retries_park,
        "group-timeout" => group_timeout,
        "group-max-consumers" => group_max_consumers,
        "group-connections" => group_connections,
        "group-deleted-under-consumer" => group_deleted_under_consumer,
        "group-links" => group_links,
        "group-category" => group_category,
        "group-pinned" => group_pinned,
        "group-all" => group_all,
        "group-all-from-position" => group_all_from_position,
        "group-restart" => group_restart,
    }
    Ok(())
}

/// A group and what it reads.
struct At {
    stream: String,
    group: String,
}

fn from_start() -> PersistentSubscriptionOptions {
    PersistentSubscriptionOptions::default().start_from(StreamPosition::Start)
}

/// A group of a new stream that holds `count` events.
async fn made(
    c: &Context,
    count: usize,
    options: PersistentSubscriptionOptions,
) -> Result<At, Failure> {
    let at = At {
        stream: name("source"),
        group: name("group"),
    };
    if count > 0 {
        c.append(&at.stream, events(count, "Happened"), Expect::NoStream)
            .await?;
    }
    create(c, &at, &options).await?;
    Ok(at)
}

async fn create(
    c: &Context,
    at: &At,
    options: &PersistentSubscriptionOptions,
) -> client::Result<()> {
    c.client
        .create_persistent_subscription(at.stream.as_str(), &at.group, options)
        .await
}

async fn read(c: &Context, at: &At) -> client::Result<PersistentSubscription> {
    let (stream, options) = (at.stream.as_str(), Default::default());
    c.client
        .subscribe_to_persistent_subscription(stream, &at.group, &options)
        .await
}

async fn info(c: &Context, at: &At) -> client::Result<client::PersistentSubscriptionInfo<u64>> {
    let (stream, options) = (at.stream.as_str(), Default::default());
    c.client
        .get_persistent_subscription_info(stream, &at.group, &options)
        .await
}

async fn take(
    subscription: &mut PersistentSubscription,
    count: usize,
) -> client::Result<Vec<client::ResolvedEvent>> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(subscription.next().await?);
    }
    Ok(events)
}

/// Waits until this many events are parked.
async fn parked(c: &Context, at: &At, count: usize) -> Checked {
    until(async || {
        let parked = info(c, at).await?.stats.parked_message_count;
        Ok((parked == count).then_some(()))
    })
    .await
}

async fn group_create(c: Arc<Context>) -> Checked {
    let options = from_start()
        .message_timeout(Duration::from_secs(12))
        .max_retry_count(7);
    let at = made(&c, 0, options).await?;
    let info = info(&c, &at).await?;
    assert_eq!(
        (info.event_source.as_str(), &info.group_name),
        (at.stream.as_str(), &at.group)
    );
    let settings = info.settings.ok_or("no settings")?;
    assert_eq!(
        (settings.message_timeout, settings.max_retry_count),
        (Duration::from_secs(12), 7)
    );
    refused!(
        create(&c, &at, &from_start()).await,
        Error::ResourceAlreadyExists
    );
    Ok(())
}

async fn group_update(c: Arc<Context>) -> Checked {
    let at = made(&c, 0, from_start()).await?;
    let changed = from_start().max_retry_count(3);
    let update = async |group: &str| {
        let stream = at.stream.as_str();
        c.client
            .update_persistent_subscription(stream, group, &changed)
            .await
    };
    update(&at.group).await?;
    let settings = info(&c, &at).await?.settings.ok_or("no settings")?;
    assert_eq!(settings.max_retry_count, 3);
    refused!(update("no").await, Error::ResourceNotFound);
    Ok(())
}

async fn delete(c: &Context, at: &At) -> client::Result<()> {
    let (stream, options) = (at.stream.as_str(), Default::default());
    c.client
        .delete_persistent_subscription(stream, &at.group, &options)
        .await
}

async fn group_delete(c: Arc<Context>) -> Checked {
    let at = made(&c, 0, from_start()).await?;
    delete(&c, &at).await?;
    refused!(info(&c, &at).await, Error::ResourceNotFound);
    refused!(delete(&c, &at).await, Error::ResourceNotFound);
    Ok(())
}

async fn group_list(c: Arc<Context>) -> Checked {
    let at = made(&c, 0, from_start()).await?;
    let all = c
        .client
        .list_all_persistent_subscriptions(&Default::default())
        .await?;
    assert!(all.iter().any(|info| info.group_name == at.group));
    let list = async |stream: &str| {
        let options = Default::default();
        c.client
            .list_persistent_subscriptions_for_stream(stream, &options)
            .await
    };
    let own = list(&at.stream).await?;
    assert_eq!((own.len(), &own[0].group_name), (1, &at.group));
    refused!(list(&name("none")).await, Error::ResourceNotFound);
    Ok(())
}

async fn group_missing(c: Arc<Context>) -> Checked {
    let at = At {
        stream: name("source"),
        group: name("group"),
    };
    match read(&c, &at).await {
        Ok(mut subscription) => refused!(subscription.next().await, Error::ResourceNotFound),
        Err(error) => refused!(Err::<(), _>(error), Error::ResourceNotFound),
    }
    Ok(())
}

async fn group_settings_refused(c: Arc<Context>) -> Checked {
    let options = from_start().read_batch_size(500).history_buffer_size(100);
    let at = At {
        stream: name("source"),
        group: name("group"),
    };
    refused!(create(&c, &at, &options).await, Error::ServerError(_));
    Ok(())
}

async fn group_ack(c: Arc<Context>) -> Checked {
    let options = from_start()
        .checkpoint_lower_bound(1)
        .checkpoint_after(Duration::from_millis(500));
    let at = made(&c, 5, options).await?;
    let mut subscription = read(&c, &at).await?;
    let delivered = take(&mut subscription, 5).await?;
    assert_eq!(revisions(&delivered), [0, 1, 2, 3, 4]);
    for event in &delivered {
        ack(&mut subscription, event).await?;
    }
    until(async || {
        let checkpoint = info(&c, &at).await?.stats.last_checkpointed_event_revision;
        Ok((checkpoint == Some(4)).then_some(()))
    })
    .await?;
    drop(subscription);
    c.append(&at.stream, events(1, "Happened"), client::exactly(4))
        .await?;
    let mut subscription = read(&c, &at).await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [5]);
    Ok(())
}

async fn group_from_revision(c: Arc<Context>) -> Checked {
    let options = from_start().start_from(StreamPosition::Position(3));
    let at = made(&c, 5, options).await?;
    let mut subscription = read(&c, &at).await?;
    assert_eq!(revisions(&take(&mut subscription, 2).await?), [3, 4]);
    Ok(())
}

async fn group_from_end(c: Arc<Context>) -> Checked {
    let at = made(&c, 5, from_start().start_from(StreamPosition::End)).await?;
    let mut subscription = read(&c, &at).await?;
    c.append(&at.stream, events(1, "Happened"), client::exactly(4))
        .await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [5]);
    Ok(())
}

async fn group_nack_retry(c: Arc<Context>) -> Checked {
    let at = made(&c, 1, from_start()).await?;
    let mut subscription = read(&c, &at).await?;
    let first = subscription.next().await?;
    nack(&mut subscription, &first, NakAction::Retry).await?;
    let again = subscription.next().await?;
    assert_eq!(event(&again)?.id, event(&first)?.id);
    ack(&mut subscription, &again).await?;
    Ok(())
}

async fn group_nack_skip(c: Arc<Context>) -> Checked {
    let at = made(&c, 2, from_start()).await?;
    let mut subscription = read(&c, &at).await?;
    let both = take(&mut subscription, 2).await?;
    nack(&mut subscription, &both[0], NakAction::Skip).await?;
    ack(&mut subscription, &both[1]).await?;
    c.append(&at.stream, events(1, "Happened"), client::exactly(1))
        .await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [2]);
    parked(&c, &at, 0).await
}

async fn group_park_replay(c: Arc<Context>) -> Checked {
    let at = made(&c, 3, from_start()).await?;
    let mut subscription = read(&c, &at).await?;
    let delivered = take(&mut subscription, 3).await?;
    ack(&mut subscription, &delivered[0]).await?;
    for event in &delivered[1..] {
        nack(&mut subscription, event, NakAction::Park).await?;
    }
    parked(&c, &at, 2).await?;
    let links = format!("$persistentsubscription-{}::{}-parked", at.stream, at.group);
    let options = ReadStreamOptions::default().resolve_link_tos();
    let found = collect(c.client.read_stream(links, &options).await?).await?;
    assert_eq!(
        (event(&found[0])?.revision, event(&found[1])?.revision),
        (1, 2)
    );
    let (stream, options) = (at.stream.as_str(), Default::default());
    c.client
        .replay_parked_messages(stream, &at.group, &options)
        .await?;
    let again = take(&mut subscription, 2).await?;
    for resolved in &again {
        assert_eq!(client::stream_of(event(resolved)?), at.stream);
        ack(&mut subscription, resolved).await?;
    }
    parked(&c, &at, 0).await
}

async fn group_retries_park(c: Arc<Context>) -> Checked {
    let at = made(&c, 1, from_start().max_retry_count(1)).await?;
    let mut subscription = read(&c, &at).await?;
    for _ in 0..2 {
        let event = subscription.next().await?;
        nack(&mut subscription, &event, NakAction::Retry).await?;
    }
    parked(&c, &at, 1).await
}

async fn group_timeout(c: Arc<Context>) -> Checked {
    let options = from_start().message_timeout(Duration::from_secs(1));
    let at = made(&c, 1, options).await?;
    let mut subscription = read(&c, &at).await?;
    let both = take(&mut subscription, 2).await?;
    assert_eq!(event(&both[0])?.id, event(&both[1])?.id);
    Ok(())
}

async fn group_max_consumers(c: Arc<Context>) -> Checked {
    let at = made(&c, 1, from_start().max_subscriber_count(1)).await?;
    let mut subscription = read(&c, &at).await?;
    subscription.next().await?;
    match read(&c, &at).await {
        Ok(mut second) => refused!(second.next().await, Error::Grpc { .. }),
        Err(error) => refused!(Err::<(), _>(error), Error::Grpc { .. }),
    }
    Ok(())
}

async fn group_connections(c: Arc<Context>) -> Checked {
    let at = made(&c, 1, from_start()).await?;
    let mut subscription = read(&c, &at).await?;
    subscription.next().await?;
    let info = info(&c, &at).await?;
    let [connection] = info.connections.as_slice() else {
        return Err(format!("{} connections", info.connections.len()).into());
    };
    // A server that asks nobody who they are takes everybody for its administrator.
    let names: &[&str] = if c.tls() {
        &["admin"]
    } else {
        &["admin", "anonymous", "system"]
    };
    assert!(
        names.contains(&connection.username.as_str()),
        "{}",
        connection.username
    );
    assert_eq!(connection.in_flight_messages, 1);
    Ok(())
}

async fn group_deleted_under_consumer(c: Arc<Context>) -> Checked {
    let at = made(&c, 1, from_start()).await?;
    let mut subscription = read(&c, &at).await?;
    subscription.next().await?;
    delete(&c, &at).await?;
    refused!(subscription.next().await, Error::IllegalStateError(_));
    Ok(())
}

async fn group_links(c: Arc<Context>) -> Checked {
    let (stream, links) = (c.filled("target", 2).await?, name("links"));
    for revision in 0..2 {
        let link = EventData::binary("$>", Bytes::from(format!("{revision}@{stream}")));
        c.append(&links, vec![link], Expect::Any).await?;
    }
    let at = At {
        stream: links,
        group: name("group"),
    };
    create(&c, &at, &from_start().resolve_link_tos(true)).await?;
    let mut subscription = read(&c, &at).await?;
    for resolved in take(&mut subscription, 2).await? {
        assert_eq!(client::stream_of(event(&resolved)?), stream);
        assert_eq!(resolved.get_original_stream_id(), at.stream);
        ack(&mut subscription, &resolved).await?;
    }
    Ok(())
}

async fn group_category(c: Arc<Context>) -> Checked {
    let category = kind();
    c.filled(&category, 2).await?;
    let at = At {
        stream: format!("$ce-{category}"),
        group: name("group"),
    };
    create(&c, &at, &from_start().resolve_link_tos(true)).await?;
    let mut subscription = read(&c, &at).await?;
    let delivered = take(&mut subscription, 2).await?;
    assert_eq!(revisions(&delivered), [0, 1]);
    for event in &delivered {
        ack(&mut subscription, event).await?;
    }
    c.filled(&category, 1).await?;
    assert_eq!(revisions(&take(&mut subscription, 1).await?), [2]);
    Ok(())
}

async fn group_pinned(c: Arc<Context>) -> Checked {
    let options = from_start().consumer_strategy_name(SystemConsumerStrategy::Pinned);
    let at = made(&c, 8, options).await?;
    let mut subscription = read(&c, &at).await?;
    assert_eq!(
        revisions(&take(&mut subscription, 8).await?),
        [0, 1, 2, 3, 4, 5, 6, 7]
    );
    Ok(())
}

async fn group_all(c: Arc<Context>) -> Checked {
    let (kind, group) = (kind(), name("group"));
    c.filled_with("all", 2, &kind).await?;
    let options = PersistentSubscriptionToAllOptions::default()
        .start_from(StreamPosition::Start)
        .filter(SubscriptionFilter::on_event_type().regex(format!("^{kind}$")));
    let none = Default::default();
    c.client
        .create_persistent_subscription_to_all(&group, &options)
        .await?;
    let mut subscription = c
        .client
        .subscribe_to_persistent_subscription_to_all(&group, &none)
        .await?;
    for resolved in take(&mut subscription, 2).await? {
        assert_eq!(event(&resolved)?.event_type, kind);
        ack(&mut subscription, &resolved).await?;
    }
    c.filled("other", 3).await?;
    c.filled_with("all", 1, &kind).await?;
    let third = subscription.next().await?;
    nack(&mut subscription, &third, NakAction::Park).await?;
    until(async || {
        let options = Default::default();
        let info = c
            .client
            .get_persistent_subscription_info_to_all(&group, &options)
            .await?;
        Ok((info.stats.parked_message_count == 1).then_some(()))
    })
    .await?;
    c.client
        .replay_parked_messages_to_all(&group, &Default::default())
        .await?;
    assert_eq!(event(&subscription.next().await?)?.id, event(&third)?.id);
    let listed = c
        .client
        .list_persistent_subscriptions_to_all(&Default::default())
        .await?;
    assert!(listed.iter().any(|info| info.group_name == group));
    c.client
        .update_persistent_subscription_to_all(&group, &options)
        .await?;
    let none = Default::default();
    c.client
        .delete_persistent_subscription_to_all(&group, &none)
        .await?;
    Ok(())
}

async fn group_all_from_position(c: Arc<Context>) -> Checked {
    let (stream, group) = (name("all"), name("group"));
    let at = c
        .append(&stream, events(1, "Happened"), Expect::NoStream)
        .await?
        .position;
    let options =
        PersistentSubscriptionToAllOptions::default().start_from(StreamPosition::Position(at));
    c.client
        .create_persistent_subscription_to_all(&group, &options)
        .await?;
    let none = Default::default();
    let mut subscription = c
        .client
        .subscribe_to_persistent_subscription_to_all(&group, &none)
        .await?;
    assert_eq!(subscription.next().await?.get_original_stream_id(), stream);
    Ok(())
}

async fn group_restart(c: Arc<Context>) -> Checked {
    c.client
        .restart_persistent_subscription_subsystem(&Default::default())
        .await?;
    Ok(())
}
