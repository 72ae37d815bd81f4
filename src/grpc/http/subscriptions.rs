//! `/subscriptions`: consumer groups, for clients and tools that look at them over HTTP.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::asked::{Asked, Refused, admit};
use crate::access::Call;
use crate::grpc::persistent::{Target, told_info};
use crate::grpc::wire::event_store::client::persistent_subscriptions::SubscriptionInfo;
use crate::grpc::wire::event_store::client::persistent_subscriptions::subscription_info::{
    ConnectionInfo, Measurement,
};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/subscriptions", get(all))
        .route("/subscriptions/restart", post(restart))
        .route("/subscriptions/{stream}", get(of_stream))
        .route("/subscriptions/{stream}/{group}/info", get(info))
        .route("/subscriptions/{stream}/{group}/replayParked", post(replay))
        .route(
            "/subscriptions/{stream}/{group}/truncateParked",
            post(truncate),
        )
}

async fn all(State(shared): State<Shared>, who: Asked) -> Result<Json<Value>, Refused> {
    admit(&shared, &who, Call::InspectGroups).await?;
    let found = shared.group_infos(None).await?;
    Ok(Json(found.into_iter().map(told_info).map(shown).collect()))
}

async fn of_stream(
    State(shared): State<Shared>,
    Path(stream): Path<String>,
    who: Asked,
) -> Result<Json<Value>, Refused> {
    admit(&shared, &who, Call::InspectGroups).await?;
    let source = Target::named(&stream, "*")?.source;
    let found = shared.group_infos(Some(source)).await?;
    Ok(Json(found.into_iter().map(told_info).map(shown).collect()))
}

async fn info(
    State(shared): State<Shared>,
    Path((stream, group)): Path<(String, String)>,
    who: Asked,
) -> Result<Json<Value>, Refused> {
    admit(&shared, &who, Call::InspectGroups).await?;
    let target = Target::named(&stream, &group)?;
    let info = shared.with_group(target, |groups, source, name| groups.info(&source, &name));
    Ok(Json(shown(told_info(info.await?))))
}

#[derive(Debug, Deserialize)]
struct StopAt {
    #[serde(rename = "stopAt")]
    stop_at: Option<i64>,
}

async fn replay(
    State(shared): State<Shared>,
    Path((stream, group)): Path<(String, String)>,
    Query(StopAt { stop_at }): Query<StopAt>,
    who: Asked,
) -> Result<(), Refused> {
    admit(&shared, &who, Call::ManageGroups).await?;
    let target = Target::named(&stream, &group)?;
    let replayed = shared.with_group(target, move |groups, source, name| {
        groups.replay_parked(&source, &name, stop_at)
    });
    Ok(replayed.await?)
}

async fn truncate(
    State(shared): State<Shared>,
    Path((stream, group)): Path<(String, String)>,
    Query(StopAt { stop_at }): Query<StopAt>,
    who: Asked,
) -> Result<(), Refused> {
    admit(&shared, &who, Call::ManageGroups).await?;
    let target = Target::named(&stream, &group)?;
    let truncated = shared.with_group(target, move |groups, source, name| {
        groups.truncate_parked(&source, &name, stop_at)
    });
    Ok(truncated.await?)
}

async fn restart(State(shared): State<Shared>, who: Asked) -> Result<(), Refused> {
    admit(&shared, &who, Call::ManageGroups).await?;
    Ok(shared.restart_groups().await?)
}

/// A group as EventStoreDB's HTTP interface shows it.
fn shown(info: SubscriptionInfo) -> Value {
    // Where a group of a stream begins is a number there, which one of everything has too.
    let start = info.start_from.parse::<i64>().unwrap_or(0);
    let connections: Vec<Value> = info.connections.into_iter().map(connection).collect();
    json!({
        "config": {
            "resolveLinktos": info.resolve_link_tos,
            "startFrom": start,
            "startPosition": info.start_from,
            "messageTimeoutMilliseconds": info.message_timeout_milliseconds,
            "extraStatistics": info.extra_statistics,
            "maxRetryCount": info.max_retry_count,
            "liveBufferSize": info.live_buffer_size,
            "bufferSize": info.buffer_size,
            "readBatchSize": info.read_batch_size,
            "preferRoundRobin": info.named_consumer_strategy == "RoundRobin",
            "checkPointAfterMilliseconds": info.check_point_after_milliseconds,
            "minCheckPointCount": info.min_check_point_count,
            "maxCheckPointCount": info.max_check_point_count,
            "maxSubscriberCount": info.max_subscriber_count,
            "namedConsumerStrategy": info.named_consumer_strategy,
        },
        "eventStreamId": info.event_source,
        "groupName": info.group_name,
        "status": info.status,
        "averageItemsPerSecond": info.average_per_second,
        "totalItemsProcessed": info.total_items,
        "countSinceLastMeasurement": info.count_since_last_measurement,
        "lastProcessedEventNumber": number(&info.last_checkpointed_event_position),
        "lastKnownEventNumber": number(&info.last_known_event_position),
        "lastCheckpointedEventPosition": info.last_checkpointed_event_position,
        "lastKnownEventPosition": info.last_known_event_position,
        "readBufferCount": info.read_buffer_count,
        "liveBufferCount": info.live_buffer_count,
        "retryBufferCount": info.retry_buffer_count,
        "totalInFlightMessages": info.total_in_flight_messages,
        "outstandingMessagesCount": info.outstanding_messages_count,
        "parkedMessageCount": info.parked_message_count,
        "connectionCount": connections.len(),
        "connections": connections,
    })
}

/// A revision, and -1 where there is none.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or(-1)
}

fn connection(connection: ConnectionInfo) -> Value {
    let measured = |Measurement { key, value }| json!({ "key": key, "value": value });
    let measurements: Vec<Value> = connection
        .observed_measurements
        .into_iter()
        .map(measured)
        .collect();
    json!({
        "from": connection.from,
        "username": connection.username,
        "connectionName": connection.connection_name,
        "averageItemsPerSecond": connection.average_items_per_second,
        "totalItemsProcessed": connection.total_items,
        "countSinceLastMeasurement": connection.count_since_last_measurement,
        "availableSlots": connection.available_slots,
        "inFlightMessages": connection.in_flight_messages,
        "extraStatistics": measurements,
    })
}
