//! What clients ask for, in the words of the groups.

use std::time::Duration;

use bytes::Bytes;
use tonic::Status;

use super::{Named, failure, wire};
use crate::grpc::wire::event_store::client::streams::read_req::options as read;
use crate::grpc::wire::event_store::client::{Empty, StreamIdentifier};
use crate::grpc::{convert, status, streams};
use crate::model::{EventFilter, FilterTarget, Revision};
use crate::subscription::{GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy};
use wire::options::all_options::{AllOption, FilterOption};
use wire::options::{AllOptions, Settings, StreamOption};

/// The number that stands for the end where it is unsigned.
const END: u64 = u64::MAX;

/// Which group is meant.
#[derive(Debug)]
pub(in crate::grpc) struct Target {
    pub(in crate::grpc) source: GroupSource,
    pub(in crate::grpc) name: GroupName,
}

impl Target {
    /// The group of a stream, or of the whole log by the name that it has.
    pub(in crate::grpc) fn named(stream: &str, group: &str) -> Result<Self, Status> {
        let named = match stream {
            "$all" => None,
            stream => Some(StreamIdentifier {
                stream_name: Bytes::copy_from_slice(stream.as_bytes()),
            }),
        };
        target(Some(named), group.to_owned())
    }
}

/// A group as it is to be.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) settings: GroupSettings,
    pub(super) start: GroupStart,
}

/// The group that a request names.
pub(super) fn target(named: Named, group: String) -> Result<Target, Status> {
    let source = match named {
        Some(Some(stream)) => stream_source(stream, &group)?,
        Some(None) => GroupSource::ALL,
        None => return Err(status::invalid("neither a stream nor $all is named")),
    };
    with_name(source, group)
}

fn with_name(source: GroupSource, group: String) -> Result<Target, Status> {
    match GroupName::new(group.clone()) {
        Ok(name) => Ok(Target { source, name }),
        Err(error) => Err(failure::failed(source.as_str(), &group, &error.to_string())),
    }
}

fn stream_source(stream: StreamIdentifier, group: &str) -> Result<GroupSource, Status> {
    if stream.stream_name.is_empty() {
        return Err(failure::failed("", group, "Bad stream name."));
    }
    if &*stream.stream_name == b"$all" {
        let reason = "Cannot create a subscription to $all through the stream option.";
        return Err(failure::failed("$all", group, reason));
    }
    Ok(GroupSource::Stream(convert::stream(Some(stream))?))
}

/// The group that a request wants to be there.
pub(super) fn group(options: wire::Options) -> Result<Asked, Status> {
    let group = options.group_name;
    let settings = options.settings.unwrap_or_default();
    let (source, start) = match options.stream_option {
        Some(StreamOption::Stream(stream)) => {
            let start = stream_start(stream.revision_option);
            let identifier = stream.stream_identifier.unwrap_or_default();
            (stream_source(identifier, &group)?, start)
        }
        Some(StreamOption::All(all)) => all_source(all)?,
        None => {
            let identifier = options.stream_identifier.unwrap_or_default();
            let start = revision_start(settings.revision);
            (stream_source(identifier, &group)?, start)
        }
    };
    let target = with_name(source, group)?;
    let settings = self::settings(settings)
        .map_err(|reason| failure::failed(target.source.as_str(), target.name.as_str(), &reason))?;
    Ok(Asked {
        target,
        settings,
        start,
    })
}

fn stream_start(option: Option<read::stream_options::RevisionOption>) -> GroupStart {
    use read::stream_options::RevisionOption;
    match option {
        Some(RevisionOption::Revision(revision)) => revision_start(revision),
        Some(RevisionOption::End(Empty {})) => GroupStart::End,
        Some(RevisionOption::Start(Empty {})) | None => GroupStart::Start,
    }
}

fn revision_start(revision: u64) -> GroupStart {
    match revision {
        0 => GroupStart::Start,
        END => GroupStart::End,
        revision => GroupStart::Revision(Revision(revision)),
    }
}

fn all_source(options: AllOptions) -> Result<(GroupSource, GroupStart), Status> {
    let start = match options.all_option {
        Some(AllOption::Position(position)) => match position.commit_position {
            END => GroupStart::End,
            // The event at the position is the first one.
            told => convert::position(told).map_or(GroupStart::Start, GroupStart::Position),
        },
        Some(AllOption::End(Empty {})) => GroupStart::End,
        Some(AllOption::Start(Empty {})) | None => GroupStart::Start,
    };
    let filter = match options.filter_option {
        Some(FilterOption::Filter(filter)) => Some(self::filter(filter)?),
        Some(FilterOption::NoFilter(Empty {})) | None => None,
    };
    Ok((GroupSource::All { filter }, start))
}

/// How many events are looked at in one step is the group's to decide.
fn filter(options: read::FilterOptions) -> Result<EventFilter, Status> {
    use read::filter_options::Filter;
    let missing = || status::invalid("the expression of the filter is missing");
    let (target, expression) = match options.filter.ok_or_else(missing)? {
        Filter::StreamIdentifier(expression) => (FilterTarget::Stream, expression),
        Filter::EventType(expression) => (FilterTarget::EventType, expression),
    };
    streams::filter(target, expression)
}

fn settings(asked: Settings) -> Result<GroupSettings, String> {
    use wire::options::settings::{CheckpointAfter, MessageTimeout};
    let defaults = GroupSettings::default();
    let message_timeout = match asked.message_timeout {
        Some(MessageTimeout::MessageTimeoutTicks(ticks)) => of_ticks(ticks),
        Some(MessageTimeout::MessageTimeoutMs(ms)) => of_ms(ms),
        None => defaults.message_timeout,
    };
    let checkpoint_after = match asked.checkpoint_after {
        Some(CheckpointAfter::CheckpointAfterTicks(ticks)) => of_ticks(ticks),
        Some(CheckpointAfter::CheckpointAfterMs(ms)) => of_ms(ms),
        None => defaults.checkpoint_after,
    };
    let count = |what: &str, count: i32| {
        u32::try_from(count).map_err(|_| format!("{what} may not be negative."))
    };
    Ok(GroupSettings {
        resolve_links: asked.resolve_links,
        extra_statistics: asked.extra_statistics,
        message_timeout,
        max_retry_count: count("Maximum retry count", asked.max_retry_count)?,
        checkpoint_after,
        min_checkpoint_count: count("Minimum checkpoint count", asked.min_checkpoint_count)?,
        max_checkpoint_count: count("Maximum checkpoint count", asked.max_checkpoint_count)?,
        max_member_count: count("Maximum subscriber count", asked.max_subscriber_count)?,
        live_buffer_size: count("Live buffer size", asked.live_buffer_size)?,
        read_batch_size: count("Read batch size", asked.read_batch_size)?,
        history_buffer_size: count("History buffer size", asked.history_buffer_size)?,
        strategy: strategy(&asked)?,
    })
}

fn strategy(asked: &Settings) -> Result<GroupStrategy, String> {
    use wire::options::ConsumerStrategy;
    if !asked.consumer_strategy.is_empty() {
        return GroupStrategy::of_name(&asked.consumer_strategy).map_err(|error| error.to_string());
    }
    match ConsumerStrategy::try_from(asked.named_consumer_strategy) {
        Ok(ConsumerStrategy::DispatchToSingle) => Ok(GroupStrategy::DispatchToSingle),
        Ok(ConsumerStrategy::RoundRobin) => Ok(GroupStrategy::RoundRobin),
        Ok(ConsumerStrategy::Pinned) => Ok(GroupStrategy::Pinned),
        Err(_) => {
            let number = asked.named_consumer_strategy;
            Err(format!("Consumer strategy {number} does not exist."))
        }
    }
}

/// Units of 100 ns; below zero is zero.
fn of_ticks(ticks: i64) -> Duration {
    let ticks = u64::try_from(ticks).unwrap_or(0);
    Duration::from_micros(ticks / 10)
}

fn of_ms(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The group whose parked events are meant, and in front of which of them to stop.
pub(super) fn parked(options: wire::ParkedOptions) -> Result<(Target, Option<i64>), Status> {
    use wire::parked_options::{StopAtOption, StreamOption};
    let named = options.stream_option.map(|option| match option {
        StreamOption::StreamIdentifier(stream) => Some(stream),
        StreamOption::All(Empty {}) => None,
    });
    let target = target(named, options.group_name)?;
    match options.stop_at_option {
        Some(StopAtOption::StopAt(revision)) => Ok((target, Some(revision))),
        Some(StopAtOption::NoLimit(Empty {})) => Ok((target, None)),
        None => Err(status::invalid(
            "neither a revision to stop at nor no limit",
        )),
    }
}

/// Whose groups are to be listed; none for all.
pub(super) fn listed(options: wire::list_req::Options) -> Result<Option<GroupSource>, Status> {
    use wire::list_req::options::ListOption;
    use wire::list_req::stream_option::StreamOption;
    let stream = match options.list_option {
        Some(ListOption::ListAllSubscriptions(Empty {})) => return Ok(None),
        Some(ListOption::ListForStream(stream)) => stream.stream_option,
        None => None,
    };
    match stream {
        Some(StreamOption::Stream(stream)) => {
            Ok(Some(GroupSource::Stream(convert::stream(Some(stream))?)))
        }
        Some(StreamOption::All(Empty {})) => Ok(Some(GroupSource::ALL)),
        None => Err(status::invalid("neither all groups nor those of a stream")),
    }
}
