//! Links: events that stand for an event of another stream.

use super::{RecordedEvent, Revision, StreamName};

/// What a link points to: `REVISION@STREAM` in the data of an event of the type `$>`.
///
/// The type makes it a link. Data that cannot be read makes it an ordinary event, and so does the
/// type `$@`, which refers to a whole stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The stream of the event it points to.
    pub stream: StreamName,
    /// The revision of that event.
    pub revision: Revision,
}

impl Link {
    /// The type of a link.
    pub const EVENT_TYPE: &'static str = "$>";
    /// The type of a reference to a whole stream, whose data is the stream's name.
    pub const STREAM_REFERENCE_TYPE: &'static str = "$@";

    /// Where an event points to, if it is a link.
    #[must_use]
    pub fn of_event(event: &RecordedEvent) -> Option<Self> {
        match &*event.event_type {
            Self::EVENT_TYPE => Self::parse(&event.data),
            _ => None,
        }
    }

    /// Reads the data of a link. The stream begins behind the first `@`, and may hold others.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (revision, stream) = std::str::from_utf8(data).ok()?.split_once('@')?;
        Some(Self {
            revision: Revision(revision.parse().ok()?),
            stream: StreamName::new(stream.to_owned()).ok()?,
        })
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.revision, self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_split_at_the_first_at_sign() {
        let link = Link::parse(b"7@a@b@c").unwrap();
        assert_eq!((link.revision, &*link.stream), (Revision(7), "a@b@c"));
        assert_eq!(link.to_string(), "7@a@b@c");
        for data in [
            "", "7", "7@", "@a", "-1@a", "x@a", "7 @a", "7@$all", "7@a\n",
        ] {
            assert_eq!(Link::parse(data.as_bytes()), None, "{data:?}");
        }
        assert_eq!(Link::parse(b"7@\xff"), None);
    }
}
