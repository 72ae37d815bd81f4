//! Stream metadata: the settings that live as JSON in the last event of `$$STREAM`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{ContentType, Revision, StreamName};

/// What the last metadata event of a stream says about how the stream is read.
///
/// Reads obey all limits at once. The text of the event is kept as it was written, with keys that
/// are unknown here; this is only what the store itself acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamMetadata {
    /// `$maxAge`: events created longer ago are hidden.
    pub max_age: Option<Duration>,
    /// `$maxCount`: only so many of the latest events are shown.
    pub max_count: Option<u64>,
    /// `$tb`: events with smaller revisions are hidden. The largest number deletes the stream.
    #[doc(alias = "$tb")]
    pub truncate_before: Option<Revision>,
    /// Whether there is an `$acl`.
    pub has_acl: bool,
}

impl StreamMetadata {
    /// The type of a metadata event.
    pub const EVENT_TYPE: &'static str = "$metadata";
    /// The type of a tombstone, the last event of a stream that is closed for ever.
    pub const TOMBSTONE_TYPE: &'static str = "$streamDeleted";
    /// The `$tb` of a deleted stream.
    pub const DELETED: Revision = Revision::TOMBSTONE;

    /// Reads the data of a metadata event. What is not JSON, not an object, or not a positive
    /// number where one belongs is as if it were not there.
    #[must_use]
    pub fn parse(json: &[u8]) -> Self {
        let Ok(Value::Object(object)) = serde_json::from_slice(json) else {
            return Self::default();
        };
        let number = |key: &str| object.get(key).and_then(Value::as_u64);
        let in_range = |value: &u64| (1..=Self::DELETED.0).contains(value);
        Self {
            max_age: number("$maxAge").filter(in_range).map(Duration::from_secs),
            max_count: number("$maxCount").filter(in_range),
            truncate_before: number("$tb")
                .filter(|tb| *tb <= Self::DELETED.0)
                .map(Revision),
            has_acl: object.contains_key("$acl"),
        }
    }

    /// What an event says about the stream that its own stream describes; none if its stream is no
    /// metadata stream. Any event there replaces what was said before, and one that is not JSON of
    /// the right type says nothing.
    #[must_use]
    pub fn of_event(
        stream: &StreamName,
        event_type: &str,
        content_type: &ContentType,
        data: &[u8],
    ) -> Option<Self> {
        stream.described()?;
        match (event_type, content_type) {
            (Self::EVENT_TYPE, ContentType::Json) => Some(Self::parse(data)),
            _ => Some(Self::default()),
        }
    }

    /// Whether the stream is deleted: everything in it is hidden, and it may be written again.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.truncate_before == Some(Self::DELETED)
    }

    /// The data of the metadata event that deletes a stream.
    #[must_use]
    pub fn deleting() -> Bytes {
        Bytes::from(format!("{{\"$tb\":{}}}", Self::DELETED))
    }

    /// The data of a metadata event with another `$tb`; every other key stays as it was.
    #[must_use]
    pub fn with_truncate_before(json: &[u8], truncate_before: Revision) -> Bytes {
        let mut object = match serde_json::from_slice(json) {
            Ok(Value::Object(object)) => object,
            _ => serde_json::Map::new(),
        };
        object.insert("$tb".into(), truncate_before.0.into());
        Bytes::from(Value::Object(object).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_metadata_is_as_if_it_were_not_there() {
        for json in [
            "",
            "[]",
            "{\"$maxCount\":0}",
            "{\"$maxAge\":-1}",
            "{\"$tb\":\"7\"}",
            "{\"$tb\":9223372036854775808}",
        ] {
            assert_eq!(
                StreamMetadata::parse(json.as_bytes()),
                StreamMetadata::default(),
                "{json}"
            );
        }
    }

    #[test]
    fn the_settings_are_read() {
        let json = br#"{"$maxAge":60,"$maxCount":5,"$tb":3,"$acl":{"$r":"ops"},"mine":1}"#;
        let metadata = StreamMetadata::parse(json);
        assert_eq!(metadata.max_age, Some(Duration::from_secs(60)));
        assert_eq!(metadata.max_count, Some(5));
        assert_eq!(metadata.truncate_before, Some(Revision(3)));
        assert!(metadata.has_acl && !metadata.is_deleted());
        assert!(StreamMetadata::parse(&StreamMetadata::deleting()).is_deleted());
    }

    #[test]
    fn another_truncation_keeps_every_other_key() {
        let json = br#"{"$tb":9223372036854775807,"mine":[1,2.50],"$acl":{"$r":"a"}}"#;
        let text = StreamMetadata::with_truncate_before(json, Revision(4));
        assert_eq!(&text[..], br#"{"$tb":4,"mine":[1,2.50],"$acl":{"$r":"a"}}"#);
    }
}
