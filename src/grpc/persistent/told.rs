//! What the groups say of themselves, in the words of clients.

use super::wire::SubscriptionInfo;
use super::wire::subscription_info::{ConnectionInfo, Measurement};
use crate::grpc::convert;
use crate::subscription::{GroupInfo, GroupPlace, GroupSource, GroupStart, MemberInfo};

/// A group as clients know it. Settings are told exactly as they were given.
pub(in crate::grpc) fn info(info: GroupInfo) -> SubscriptionInfo {
    let settings = &info.settings;
    let place =
        |place: Option<GroupPlace>| place.map_or_else(String::new, |at| told(&info.source, at));
    SubscriptionInfo {
        event_source: info.source.as_str().to_owned(),
        group_name: info.name.as_str().to_owned(),
        status: info.status.text(),
        average_per_second: int(info.per_second),
        total_items: long(info.total_count),
        count_since_last_measurement: long(info.since_count),
        last_checkpointed_event_position: place(info.last_checkpoint),
        last_known_event_position: place(info.last_known),
        resolve_link_tos: settings.resolve_links,
        start_from: start(&info.source, info.start),
        message_timeout_milliseconds: int(settings.message_timeout.as_millis()),
        extra_statistics: settings.extra_statistics,
        max_retry_count: int(settings.max_retry_count),
        live_buffer_size: int(settings.live_buffer_size),
        buffer_size: int(settings.history_buffer_size),
        read_batch_size: int(settings.read_batch_size),
        check_point_after_milliseconds: int(settings.checkpoint_after.as_millis()),
        min_check_point_count: int(settings.min_checkpoint_count),
        max_check_point_count: int(settings.max_checkpoint_count),
        read_buffer_count: int(info.read_buffer_count),
        live_buffer_count: long(info.live_buffer_count),
        retry_buffer_count: int(info.retry_buffer_count),
        total_in_flight_messages: int(info.in_flight_count),
        outstanding_messages_count: int(info.in_flight_count),
        named_consumer_strategy: settings.strategy.as_str().to_owned(),
        max_subscriber_count: int(settings.max_member_count),
        parked_message_count: long(info.parked_count),
        connections: info.members.into_iter().map(connection).collect(),
    }
}

fn connection(member: MemberInfo) -> ConnectionInfo {
    let measurements = member.measurements.into_iter().map(|one| Measurement {
        key: one.name.to_owned(),
        value: long(one.value_ms),
    });
    ConnectionInfo {
        from: member.from,
        username: member.principal,
        average_items_per_second: int(member.per_second),
        total_items: long(member.total_count),
        count_since_last_measurement: long(member.since_count),
        observed_measurements: measurements.collect(),
        available_slots: int(member.available_count),
        in_flight_messages: int(member.in_flight_count),
        connection_name: member.connection_name,
    }
}

/// Where a group begins. Clients have to be able to read it: 0 is the start, and -1 the end.
fn start(source: &GroupSource, start: GroupStart) -> String {
    let number = match start {
        GroupStart::Start => 0,
        GroupStart::End => -1,
        GroupStart::Revision(revision) => long(revision.0),
        GroupStart::Position(position) => long(convert::told(position)),
    };
    match source {
        GroupSource::All { .. } => format!("C:{number}/P:{number}"),
        GroupSource::Stream(_) => number.to_string(),
    }
}

/// Where an event is; nothing where that is not known, because clients make a number of it.
fn told(source: &GroupSource, place: GroupPlace) -> String {
    match source {
        GroupSource::All { .. } => {
            let told = convert::told(place.position);
            format!("C:{told}/P:{told}")
        }
        GroupSource::Stream(_) => place
            .revision
            .map_or_else(String::new, |revision| revision.0.to_string()),
    }
}

/// A number as large as the field takes.
fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

fn long(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
