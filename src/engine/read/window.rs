//! Which events of a stream a reader sees: the rules of stream metadata, in one place, pure.

use crate::index::StreamEntry;
use crate::model::{ReadFrom, Revision, StreamHead, StreamMetadata, StreamName, Timestamp};

/// What becomes of a read of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It was never written, or it is deleted.
    NotFound,
    /// It is closed for ever.
    Tombstoned,
    /// These revisions can be seen.
    Window(Window),
}

/// The readable part of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first revision that may be seen; it can be behind the last, then there is nothing.
    pub(crate) first: Revision,
    /// The last revision of the stream.
    pub(crate) last: Revision,
    /// Events created before this time, in seconds since 1970, are hidden.
    pub(crate) created_min_s: Option<i64>,
}

impl Window {
    /// Where a forward read begins; none if it gives nothing.
    pub(crate) fn forwards(&self, from: ReadFrom<Revision>) -> Option<Revision> {
        let first = match from {
            ReadFrom::Start => self.first,
            ReadFrom::At(revision) => revision.max(self.first),
            ReadFrom::End => return None,
        };
        (first <= self.last).then_some(first)
    }

    /// Where a backward read begins; none if it gives nothing. From beyond the end it begins at the
    /// end.
    pub(crate) fn backwards(&self, from: ReadFrom<Revision>) -> Option<Revision> {
        let first = match from {
            ReadFrom::End => self.last,
            ReadFrom::At(revision) => revision.min(self.last),
            ReadFrom::Start => Revision::START,
        };
        (first >= self.first).then_some(first)
    }
}

/// Whether a lower limit of the created time, in seconds since 1970, lets an event be seen.
pub(crate) fn is_young(created: Timestamp, created_min_s: i64) -> bool {
    created.seconds() >= created_min_s
}

/// What can be seen of a stream. `described` is the entry of the stream that a metadata stream
/// describes: nothing is to be seen of the metadata of a tombstoned stream.
pub(crate) fn sight(
    stream: &StreamName,
    entry: &StreamEntry,
    described: Option<&StreamEntry>,
    now_us: i64,
) -> Sight {
    let tombstoned = |entry: &StreamEntry| entry.tombstoned.is_some();
    if tombstoned(entry) || described.is_some_and(tombstoned) {
        return Sight::Tombstoned;
    }
    let none = StreamMetadata::default();
    let last_word = StreamMetadata {
        max_count: Some(1),
        ..StreamMetadata::default()
    };
    let metadata = match (stream.described(), &entry.metadata) {
        // Of a metadata stream only the last word counts.
        (Some(_), _) => &last_word,
        (None, Some((_, metadata))) => metadata,
        (None, None) => &none,
    };
    let Some((last, _)) = entry.last.filter(|_| !metadata.is_deleted()) else {
        return Sight::NotFound;
    };
    let kept = metadata.max_count.unwrap_or(u64::MAX);
    let by_count = last.0.saturating_add(1).saturating_sub(kept);
    let truncated = metadata.truncate_before.unwrap_or_default();
    let created_min_s = metadata.max_age.map(|age| {
        let age_s = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        now_us.div_euclid(1_000_000).saturating_sub(age_s)
    });
    Sight::Window(Window {
        first: truncated.max(Revision(by_count)),
        last,
        created_min_s,
    })
}

/// What can be seen of a stream, by its name, at a time; nothing if there is nothing to be seen.
pub(crate) fn sight_of(stream: &str, entry: &StreamEntry, now_us: i64) -> Option<Window> {
    let stream = StreamName::new(stream.to_owned()).ok()?;
    match sight(&stream, entry, None, now_us) {
        Sight::Window(window) => Some(window),
        Sight::NotFound | Sight::Tombstoned => None,
    }
}

/// Where a stream ends.
pub(crate) fn head(entry: &StreamEntry) -> StreamHead {
    let last = entry.last.map(|(revision, _)| revision);
    let metadata = entry.metadata.as_ref().map(|(_, metadata)| metadata);
    match last {
        _ if entry.tombstoned.is_some() => StreamHead::Tombstoned,
        last if metadata.is_some_and(StreamMetadata::is_deleted) => StreamHead::Deleted(last),
        Some(last) => StreamHead::At(last),
        None => StreamHead::Absent,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Position;

    const NOW_US: i64 = 1_000_000_000;

    fn entry(last: u64, json: &str) -> StreamEntry {
        StreamEntry {
            last: Some((Revision(last), Position(last))),
            metadata: Some((Position(99), StreamMetadata::parse(json.as_bytes()))),
            ..StreamEntry::default()
        }
    }

    fn window(last: u64, json: &str) -> Window {
        let name = StreamName::new("a").unwrap();
        match sight(&name, &entry(last, json), None, NOW_US) {
            Sight::Window(window) => window,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        /// Each revision is judged by itself, by each rule by itself.
        #[test]
        fn the_strictest_limit_wins(
            last in 0u64..12,
            max_count in prop::option::of(1u64..15),
            truncate_before in prop::option::of(0u64..15),
            max_age in prop::option::of(1i64..15),
            created in prop::collection::vec(985i64..1005, 12),
            from in 0u64..15,
        ) {
            let metadata = StreamMetadata {
                max_count,
                truncate_before: truncate_before.map(Revision),
                max_age: max_age.map(|age| std::time::Duration::from_secs(age.unsigned_abs())),
                has_acl: false,
            };
            let entry = StreamEntry {
                last: Some((Revision(last), Position(last))),
                metadata: Some((Position(50), metadata)),
                tombstoned: None,
            };
            let name = StreamName::new("a").unwrap();
            let Sight::Window(window) = sight(&name, &entry, None, NOW_US) else { panic!() };
            let shown = |revision: &u64| {
                last - revision < max_count.unwrap_or(u64::MAX)
                    && *revision >= truncate_before.unwrap_or(0)
                    && max_age.is_none_or(|age| {
                        1000 - created[usize::try_from(*revision).unwrap()] <= age
                    })
            };
            let young = |revision: &u64| {
                let created = created[usize::try_from(*revision).unwrap()];
                let created = Timestamp::new(created, 0, 0).unwrap();
                window.created_min_s.is_none_or(|min| is_young(created, min))
            };
            let expected: Vec<u64> = (from..=last).filter(shown).collect();
            let start = window.forwards(ReadFrom::At(Revision(from)));
            let walked = start.map_or(0..0, |start| start.0..last + 1).filter(young);
            prop_assert_eq!(walked.collect::<Vec<_>>(), expected);

            let expected: Vec<u64> = (0..=last.min(from)).filter(shown).collect();
            let start = window.backwards(ReadFrom::At(Revision(from)));
            let walked = start.map_or(0..0, |start| window.first.0..start.0 + 1).filter(young);
            prop_assert_eq!(walked.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_forward_read_from_the_end_gives_nothing_and_a_backward_one_begins_there() {
        let window = window(9, r#"{"$tb":4}"#);
        assert_eq!(window.forwards(ReadFrom::Start), Some(Revision(4)));
        assert_eq!(window.forwards(ReadFrom::End), None);
        assert_eq!(window.backwards(ReadFrom::End), Some(Revision(9)));
        assert_eq!(window.backwards(ReadFrom::Start), None);
    }

    #[test]
    fn what_is_gone_is_not_shown() {
        let name = StreamName::new("a").unwrap();
        let deleted = entry(9, r#"{"$tb":9223372036854775807}"#);
        assert_eq!(sight(&name, &deleted, None, 0), Sight::NotFound);
        assert_eq!(head(&deleted), StreamHead::Deleted(Some(Revision(9))));
        let absent = StreamEntry::default();
        assert_eq!(sight(&name, &absent, None, 0), Sight::NotFound);
        assert_eq!(head(&absent), StreamHead::Absent);
        let closed = StreamEntry {
            tombstoned: Some(Position(3)),
            ..entry(9, "{}")
        };
        assert_eq!(sight(&name, &closed, None, 0), Sight::Tombstoned);
        assert_eq!(head(&closed), StreamHead::Tombstoned);
        let metadata = StreamName::new("$$a").unwrap();
        let own = StreamEntry {
            last: Some((Revision(4), Position(8))),
            ..StreamEntry::default()
        };
        assert_eq!(sight(&metadata, &own, Some(&closed), 0), Sight::Tombstoned);
        let Sight::Window(window) = sight(&metadata, &own, None, 0) else {
            panic!("a metadata stream is there")
        };
        assert_eq!((window.first, window.last), (Revision(4), Revision(4)));
    }
}
