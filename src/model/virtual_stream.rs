//! Streams that nobody writes: what EventStoreDB's system projections make of the log.

use super::{EventType, StreamName};

/// A stream whose events are links to the events of the log that have something in common. It is
/// read from the index, and no event of it is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VirtualStream {
    /// `$ce-CATEGORY`: every event of the streams of a category.
    Category(String),
    /// `$et-TYPE`: every event of a type.
    EventType(EventType),
    /// `$et-$deleted`: every event that deletes or tombstones a stream.
    Deletions,
    /// `$bc-ID`: every event with a correlation id, which is what its metadata has, as JSON, under
    /// `$correlationId`.
    CorrelationId(String),
    /// `$category-CATEGORY`: the streams of a category, as references.
    CategoryStreams(String),
    /// `$streams`: the first event of every stream.
    Streams,
}

/// A system projection: what EventStoreDB starts, stops and reports by this name, and what makes
/// some of the virtual streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Projection {
    /// `$by_category`, which makes `$ce-`.
    ByCategory,
    /// `$by_correlation_id`, which makes `$bc-`.
    ByCorrelationId,
    /// `$by_event_type`, which makes `$et-`.
    ByEventType,
    /// `$stream_by_category`, which makes `$category-`.
    StreamByCategory,
    /// `$streams`.
    Streams,
}

impl VirtualStream {
    /// The property of an event's metadata that holds its correlation id.
    pub const CORRELATION_ID: &'static str = "$correlationId";

    /// The virtual stream of this name, if it is the name of one. A stream that was written under
    /// such a name is hidden by it.
    #[must_use]
    pub fn of(name: &StreamName) -> Option<Self> {
        let rest = name.strip_prefix('$')?;
        if rest == "streams" {
            return Some(Self::Streams);
        }
        let (projection, key) = rest.split_once('-')?;
        if key.is_empty() {
            return None;
        }
        match (projection, key) {
            ("ce", key) => Some(Self::Category(key.to_owned())),
            ("category", key) => Some(Self::CategoryStreams(key.to_owned())),
            ("bc", key) => Some(Self::CorrelationId(key.to_owned())),
            ("et", "$deleted") => Some(Self::Deletions),
            // Links are not listed by their type, and tombstones are deletions.
            ("et", "$>" | "$streamDeleted") => None,
            ("et", key) => EventType::new(key.to_owned()).ok().map(Self::EventType),
            _ => None,
        }
    }

    /// The projection that EventStoreDB would make it with.
    #[must_use]
    pub fn projection(&self) -> Projection {
        match self {
            Self::Category(_) => Projection::ByCategory,
            Self::EventType(_) | Self::Deletions => Projection::ByEventType,
            Self::CorrelationId(_) => Projection::ByCorrelationId,
            Self::CategoryStreams(_) => Projection::StreamByCategory,
            Self::Streams => Projection::Streams,
        }
    }
}

impl Projection {
    /// All of them, by name.
    pub const ALL: [Self; 5] = [
        Self::ByCategory,
        Self::ByCorrelationId,
        Self::ByEventType,
        Self::StreamByCategory,
        Self::Streams,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByCategory => "$by_category",
            Self::ByCorrelationId => "$by_correlation_id",
            Self::ByEventType => "$by_event_type",
            Self::StreamByCategory => "$stream_by_category",
            Self::Streams => "$streams",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_virtual_stream_lists() {
        let of = |name: &str| VirtualStream::of(&StreamName::new(name.to_owned()).unwrap());
        assert_eq!(
            of("$ce-order"),
            Some(VirtualStream::Category("order".into()))
        );
        let category = VirtualStream::CategoryStreams("order".into());
        assert_eq!(of("$category-order"), Some(category));
        let correlation = VirtualStream::CorrelationId("a-b".into());
        assert_eq!(of("$bc-a-b"), Some(correlation));
        let metadata = EventType::new("$metadata").unwrap();
        assert_eq!(
            of("$et-$metadata"),
            Some(VirtualStream::EventType(metadata))
        );
        assert_eq!(of("$et-$deleted"), Some(VirtualStream::Deletions));
        assert_eq!(of("$streams"), Some(VirtualStream::Streams));
        for name in [
            "ce-order",
            "$ce",
            "$ce-",
            "$et",
            "$et-$>",
            "$$ce-order",
            "$streams-1",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        for projection in Projection::ALL {
            assert_eq!(Projection::of_name(projection.name()), Some(projection));
        }
    }
}
