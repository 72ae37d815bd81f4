//! What makes a group, and how it is written down: a JSON object in a state record, so that other
//! versions read what they know of it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::model::{EventFilter, FilterRule, FilterTarget, Position, Revision, StreamName};
use crate::model::{GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy};

/// A group as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) source: GroupSource,
    pub(super) name: GroupName,
    pub(super) settings: GroupSettings,
    pub(super) start: GroupStart,
    /// The end of the log when the group was asked for: where "the end" is.
    pub(super) begin: Position,
}

/// The text that names a group, also in its streams.
pub(super) fn group_key(source: &GroupSource, name: &GroupName) -> String {
    format!("{source}::{name}")
}

impl Definition {
    pub(super) fn key(&self) -> String {
        group_key(&self.source, &self.name)
    }

    /// The first position that concerns the group, as far as its start says.
    pub(super) fn first_position(&self) -> Position {
        match self.start {
            GroupStart::Start | GroupStart::Revision(_) => Position::START,
            GroupStart::End => self.begin,
            GroupStart::Position(position) => position,
        }
    }

    pub(super) fn encode(&self) -> String {
        let mut object = Map::new();
        object.insert("group".into(), self.name.as_str().into());
        match &self.source {
            GroupSource::Stream(stream) => {
                object.insert("stream".into(), stream.as_str().into());
            }
            GroupSource::All { filter } => {
                let filter = filter.as_ref().map_or(Value::Null, encode_filter);
                object.insert("filter".into(), filter);
            }
        }
        let start = match self.start {
            GroupStart::Start => json!("start"),
            GroupStart::End => json!("end"),
            GroupStart::Revision(revision) => json!({"revision": revision.0}),
            GroupStart::Position(position) => json!({"position": position.0}),
        };
        object.insert("start".into(), start);
        object.insert("begin".into(), self.begin.0.into());
        object.insert("settings".into(), encode_settings(&self.settings));
        Value::Object(object).to_string()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let source = match value.get("stream") {
            Some(stream) => GroupSource::Stream(StreamName::new(stream.as_str()?.to_owned()).ok()?),
            None => GroupSource::All {
                filter: match value.get("filter")? {
                    Value::Null => None,
                    filter => Some(decode_filter(filter)?),
                },
            },
        };
        let start = value.get("start")?;
        let number = |key: &str| start.get(key).and_then(Value::as_u64);
        let start = match (start.as_str(), number("revision"), number("position")) {
            (Some("start"), ..) => GroupStart::Start,
            (Some("end"), ..) => GroupStart::End,
            (_, Some(revision), _) => GroupStart::Revision(Revision(revision)),
            (.., Some(position)) => GroupStart::Position(Position(position)),
            _ => return None,
        };
        Some(Self {
            source,
            name: GroupName::new(value.get("group")?.as_str()?.to_owned()).ok()?,
            settings: decode_settings(value.get("settings")?)?,
            start,
            begin: Position(value.get("begin")?.as_u64()?),
        })
    }
}

fn encode_filter(filter: &EventFilter) -> Value {
    let target = match filter.target() {
        FilterTarget::Stream => "stream",
        FilterTarget::EventType => "type",
    };
    match filter.rule() {
        FilterRule::Prefixes(prefixes) => {
            let prefixes: Vec<&str> = prefixes.iter().map(|prefix| &**prefix).collect();
            json!({"of": target, "prefixes": prefixes})
        }
        FilterRule::Pattern(pattern) => json!({"of": target, "pattern": pattern.as_str()}),
    }
}

fn decode_filter(value: &Value) -> Option<EventFilter> {
    let target = match value.get("of")?.as_str()? {
        "stream" => FilterTarget::Stream,
        "type" => FilterTarget::EventType,
        _ => return None,
    };
    if let Some(pattern) = value.get("pattern") {
        return EventFilter::pattern(target, pattern.as_str()?).ok();
    }
    let prefixes = value.get("prefixes")?.as_array()?.iter();
    let prefixes: Option<Vec<String>> = prefixes
        .map(|prefix| Some(prefix.as_str()?.to_owned()))
        .collect();
    EventFilter::prefixes(target, prefixes?).ok()
}

fn encode_settings(settings: &GroupSettings) -> Value {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    json!({
        "resolve_links": settings.resolve_links,
        "extra_statistics": settings.extra_statistics,
        "message_timeout_us": us(settings.message_timeout),
        "max_retry_count": settings.max_retry_count,
        "checkpoint_after_us": us(settings.checkpoint_after),
        "min_checkpoint_count": settings.min_checkpoint_count,
        "max_checkpoint_count": settings.max_checkpoint_count,
        "max_member_count": settings.max_member_count,
        "live_buffer_size": settings.live_buffer_size,
        "read_batch_size": settings.read_batch_size,
        "history_buffer_size": settings.history_buffer_size,
        "strategy": settings.strategy.as_str(),
    })
}

fn decode_settings(value: &Value) -> Option<GroupSettings> {
    let number = |key: &str| value.get(key)?.as_u64();
    let count = |key: &str| u32::try_from(number(key)?).ok();
    let time = |key: &str| number(key).map(Duration::from_micros);
    Some(GroupSettings {
        resolve_links: value.get("resolve_links")?.as_bool()?,
        extra_statistics: value.get("extra_statistics")?.as_bool()?,
        message_timeout: time("message_timeout_us")?,
        max_retry_count: count("max_retry_count")?,
        checkpoint_after: time("checkpoint_after_us")?,
        min_checkpoint_count: count("min_checkpoint_count")?,
        max_checkpoint_count: count("max_checkpoint_count")?,
        max_member_count: count("max_member_count")?,
        live_buffer_size: count("live_buffer_size")?,
        read_batch_size: count("read_batch_size")?,
        history_buffer_size: count("history_buffer_size")?,
        strategy: GroupStrategy::of_name(value.get("strategy")?.as_str()?).ok()?,
    })
}
