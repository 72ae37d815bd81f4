//! The messages about consumer groups, and what is made of them.
//!
//! Frozen like the others. An event of a group travels decoded, since it may be a link that is
//! stored nowhere; the server has checked it against its checksums when it read it.

use std::time::Duration;

use bytes::Bytes;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::error::WireError;
use super::message::Filter;
use crate::model::{
    self, ContentType, EventType, InvalidText, Position, RecordedEvent, Revision, StreamName, Tag,
    Timestamp,
};

/// Bytes that are not looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;
        impl Visitor<'_> for Taken {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(Taken)
    }
}

/// Looks at groups, or changes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupRequest {
    /// Shows all groups, or those of a stream or of `$all`.
    List(Option<String>),
    /// Shows one group.
    Describe(GroupId),
    /// Makes a group.
    Create(GroupDefinition),
    /// Changes a group; its filter stays.
    Update(GroupDefinition),
    /// Deletes a group.
    Delete(GroupId),
    /// Delivers again what is parked.
    Replay(Parked),
    /// Forgets what is parked.
    Truncate(Parked),
}

/// Names a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupId {
    /// The stream, or `$all`.
    pub source: String,
    /// The group.
    pub group: String,
}

/// Which parked events are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The group.
    pub group: GroupId,
    /// Those in front of this revision of the parked stream; all of them if there is none.
    pub before: Option<u64>,
}

/// What a group is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDefinition {
    /// Its name.
    pub group: GroupId,
    /// What it takes of `$all`; everything if there is none.
    pub filter: Option<Filter>,
    /// Where it begins without a checkpoint.
    pub start: GroupStart,
    /// How it is set.
    pub settings: GroupSettings,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupStart {
    /// With the first event.
    Start,
    /// With what is committed after it was made.
    End,
    /// With this revision of the stream.
    Revision(u64),
    /// With this position of the log.
    Position(u64),
}

/// How a group is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Whether links come with what they point to.
    pub resolve_links: bool,
    /// Whether times are measured.
    pub extra_statistics: bool,
    /// How long a member may take for an event, in microseconds.
    pub message_timeout_us: u64,
    /// How often an event is delivered again.
    pub max_retry_count: u32,
    /// How long after a checkpoint the next one is due, in microseconds.
    pub checkpoint_after_us: u64,
    /// Handled events that make it due then.
    pub min_checkpoint_count: u32,
    /// Handled events that make it due at once.
    pub max_checkpoint_count: u32,
    /// Members at most; 0 for any number.
    pub max_member_count: u32,
    /// Events kept while it is live.
    pub live_buffer_size: u32,
    /// Events read at once.
    pub read_batch_size: u32,
    /// Events kept while it is behind.
    pub history_buffer_size: u32,
    /// The name of the strategy.
    pub strategy: String,
}

/// The groups that were asked for; none if something was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupList {
    /// In the order of their names.
    pub groups: Vec<GroupIs>,
}

/// A group as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupIs {
    /// What it was made to be.
    pub definition: GroupDefinition,
    /// What it is doing.
    pub status: String,
    /// The last event in front of which everything is handled for good.
    pub last_checkpoint: Option<GroupPlace>,
    /// The last event that it has read.
    pub last_known: Option<GroupPlace>,
    /// The last event that went to a member for the first time.
    pub last_delivered: Option<GroupPlace>,
    /// The last event that was acknowledged.
    pub last_acknowledged: Option<GroupPlace>,
    /// The event that is at a member for the longest time.
    pub oldest_in_flight: Option<OldestInFlight>,
    /// What went wrong last, if that is tried again.
    pub failure: Option<String>,
    /// Figures by name; a client shows those it does not know as they are.
    pub figures: Vec<(String, u64)>,
    /// Its members.
    pub members: Vec<MemberIs>,
}

/// Where an event of a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlace {
    /// In the log.
    pub position: u64,
    /// In the stream of the group.
    pub revision: Option<u64>,
}

/// An event that is at a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldestInFlight {
    /// Its id.
    pub id: [u8; 16],
    /// Its stream.
    pub stream: String,
    /// Its revision there.
    pub revision: u64,
    /// Its position.
    pub position: u64,
    /// How often it was delivered before.
    pub retry_count: u32,
    /// What the member calls its connection.
    pub connection_name: String,
    /// Since when, in microseconds since 1970.
    pub since_us: i64,
}

/// A member as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberIs {
    /// Where it calls from.
    pub from: String,
    /// Who it is.
    pub principal: String,
    /// What it calls its connection.
    pub connection_name: String,
    /// Figures by name.
    pub figures: Vec<(String, u64)>,
}

/// Becomes a member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGroup {
    /// The group.
    pub group: GroupId,
    /// How many events are sent until one is acknowledged or refused.
    pub credit_events: u32,
    /// What the member calls its connection; at most 256 bytes.
    pub connection_name: String,
}

/// Events are handled; each makes room for one more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Their ids: of the links, where they came through links.
    pub ids: Vec<[u8; 16]>,
}

/// Events are not handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// Their ids: of the links, where they came through links.
    pub ids: Vec<[u8; 16]>,
    /// What becomes of them.
    pub action: NackAction,
    /// Why, for whoever looks at what is parked; at most 1,024 bytes.
    pub reason: String,
}

/// What becomes of an event that is not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NackAction {
    /// It is parked.
    Park,
    /// It is delivered again.
    Retry,
    /// It is left out.
    Skip,
}

/// Events for a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliveries {
    /// At least one.
    pub events: Vec<GroupDelivery>,
}

/// An event for a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDelivery {
    /// The event; none if a link points to what is gone.
    pub event: Option<GroupEvent>,
    /// The link through which it came.
    pub link: Option<GroupEvent>,
    /// How often it was delivered before.
    pub retry_count: u32,
}

/// An event as its writer made it, with its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEvent {
    /// Its number in the log.
    pub position: u64,
    /// Its stream.
    pub stream: String,
    /// Its number in the stream.
    pub revision: u64,
    /// Its id.
    pub id: [u8; 16],
    /// Its type.
    pub event_type: String,
    /// What its data is.
    pub content_type: String,
    /// When it was created, in seconds since 1970.
    pub created_seconds: i64,
    /// Nanoseconds on top.
    pub created_nanos: u32,
    /// The decimals that it was written with.
    pub created_decimals: u8,
    /// Its labels.
    pub tags: Vec<String>,
    /// Facts about the fact.
    pub metadata: Blob,
    /// The fact.
    pub data: Blob,
}

impl From<RecordedEvent> for GroupEvent {
    fn from(event: RecordedEvent) -> Self {
        Self {
            position: event.position.0,
            stream: event.stream.to_string(),
            revision: event.revision.0,
            id: event.id.into_bytes(),
            event_type: event.event_type.to_string(),
            content_type: event.content_type.as_str().to_owned(),
            created_seconds: event.created.seconds(),
            created_nanos: event.created.nanos(),
            created_decimals: event.created.decimals(),
            tags: event.tags.iter().map(ToString::to_string).collect(),
            metadata: Blob(event.metadata),
            data: Blob(event.data),
        }
    }
}

impl TryFrom<GroupEvent> for RecordedEvent {
    type Error = WireError;

    fn try_from(event: GroupEvent) -> Result<Self, WireError> {
        let created = Timestamp::new(
            event.created_seconds,
            event.created_nanos,
            event.created_decimals,
        );
        let tags: Result<Vec<Tag>, InvalidText> = event.tags.into_iter().map(Tag::new).collect();
        Ok(Self {
            position: Position(event.position),
            stream: StreamName::new(event.stream)?,
            revision: Revision(event.revision),
            id: uuid::Uuid::from_bytes(event.id),
            event_type: EventType::new(event.event_type)?,
            content_type: ContentType::new(event.content_type)?,
            created: created.map_err(|error| WireError::Invalid(error.to_string()))?,
            tags: tags?,
            metadata: event.metadata.0,
            data: event.data.0,
        })
    }
}

impl GroupId {
    /// Names a group.
    #[must_use]
    pub fn of(source: &model::GroupSource, name: &model::GroupName) -> Self {
        Self {
            source: source.as_str().to_owned(),
            group: name.as_str().to_owned(),
        }
    }

    /// What it names.
    ///
    /// # Errors
    /// If it is no name.
    pub fn parts(self) -> Result<(model::GroupSource, model::GroupName), WireError> {
        let source = match &*self.source {
            "$all" => model::GroupSource::ALL,
            _ => model::GroupSource::Stream(StreamName::new(self.source)?),
        };
        Ok((source, model::GroupName::new(self.group)?))
    }
}

/// A definition taken apart.
pub(crate) type Defined = (
    model::GroupSource,
    model::GroupName,
    model::GroupSettings,
    model::GroupStart,
);

impl GroupDefinition {
    /// What a group is to be.
    #[must_use]
    pub fn of(
        source: &model::GroupSource,
        name: &model::GroupName,
        settings: &model::GroupSettings,
        start: model::GroupStart,
    ) -> Self {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            group: GroupId::of(source, name),
            filter: match source {
                model::GroupSource::All { filter } => filter.as_ref().map(Filter::from),
                model::GroupSource::Stream(_) => None,
            },
            start: match start {
                model::GroupStart::Start => GroupStart::Start,
                model::GroupStart::End => GroupStart::End,
                model::GroupStart::Revision(revision) => GroupStart::Revision(revision.0),
                model::GroupStart::Position(position) => GroupStart::Position(position.0),
            },
            settings: GroupSettings {
                resolve_links: settings.resolve_links,
                extra_statistics: settings.extra_statistics,
                message_timeout_us: us(settings.message_timeout),
                max_retry_count: settings.max_retry_count,
                checkpoint_after_us: us(settings.checkpoint_after),
                min_checkpoint_count: settings.min_checkpoint_count,
                max_checkpoint_count: settings.max_checkpoint_count,
                max_member_count: settings.max_member_count,
                live_buffer_size: settings.live_buffer_size,
                read_batch_size: settings.read_batch_size,
                history_buffer_size: settings.history_buffer_size,
                strategy: settings.strategy.as_str().to_owned(),
            },
        }
    }

    /// The same as values that were checked.
    ///
    /// # Errors
    /// If a name, a filter or the strategy cannot be.
    pub(crate) fn parts(self) -> Result<Defined, WireError> {
        let (mut source, name) = self.group.parts()?;
        if let (model::GroupSource::All { filter }, Some(wanted)) = (&mut source, self.filter) {
            *filter = Some(wanted.try_into()?);
        }
        let start = match self.start {
            GroupStart::Start => model::GroupStart::Start,
            GroupStart::End => model::GroupStart::End,
            GroupStart::Revision(revision) => model::GroupStart::Revision(Revision(revision)),
            GroupStart::Position(position) => model::GroupStart::Position(Position(position)),
        };
        let settings = self.settings;
        let strategy = model::GroupStrategy::of_name(&settings.strategy);
        let settings = model::GroupSettings {
            resolve_links: settings.resolve_links,
            extra_statistics: settings.extra_statistics,
            message_timeout: Duration::from_micros(settings.message_timeout_us),
            max_retry_count: settings.max_retry_count,
            checkpoint_after: Duration::from_micros(settings.checkpoint_after_us),
            min_checkpoint_count: settings.min_checkpoint_count,
            max_checkpoint_count: settings.max_checkpoint_count,
            max_member_count: settings.max_member_count,
            live_buffer_size: settings.live_buffer_size,
            read_batch_size: settings.read_batch_size,
            history_buffer_size: settings.history_buffer_size,
            strategy: strategy.map_err(|error| WireError::Invalid(error.to_string()))?,
        };
        Ok((source, name, settings, start))
    }
}
