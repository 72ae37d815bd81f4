//! What a segment holds that was written again without some of its events: units that say which of
//! their events are left, and the keys that the removed ones had in the index.
//!
//! Positions never move. A unit keeps the appends it had, with their numbers of events, so that
//! the positions of all of them can be told; behind the state records its trailer says where events
//! are missing. The keys of the removed events are kept so that an index that is made again counts
//! as the one before did.

use std::collections::HashMap;

use super::FormatError;
use super::checksum::checksum;
use super::codec::{Reader, put_bytes, put_varint, to_u64};
use super::unit::Trailer;

const UNIT: &str = "the trailer of a unit that was written again";
const KEYS: &str = "the keys of removed events";

/// Events that were removed, and those behind them that were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRun {
    /// How many were removed.
    pub removed: u32,
    /// How many behind them are left.
    pub kept: u32,
}

/// The trailer of a unit that was written again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewrittenTrailer {
    /// The appends, with all the events they ever had, and the state records that are left.
    pub trailer: Trailer,
    /// Which events are left, from the unit's first position on; those behind the last run are
    /// removed. Empty if all are left.
    pub kept: Vec<KeptRun>,
}

impl RewrittenTrailer {
    /// How many positions the unit covers.
    #[must_use]
    pub fn positions(&self) -> u64 {
        let appends = self.trailer.appends.iter();
        appends.map(|append| u64::from(append.records)).sum()
    }

    /// Where each event that is left stands, counted from the unit's first position.
    pub fn places(&self) -> impl Iterator<Item = u64> + '_ {
        let all = KeptRun {
            removed: 0,
            kept: u32::try_from(self.positions()).unwrap_or(u32::MAX),
        };
        let all = self.kept.is_empty().then_some(all);
        let mut at = 0;
        let runs = self.kept.iter().copied().chain(all);
        runs.flat_map(move |run| {
            let start = at + u64::from(run.removed);
            at = start + u64::from(run.kept);
            start..at
        })
    }

    /// Appends the trailer's bytes and returns their checksum.
    pub fn encode(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        self.trailer.encode(out);
        put_varint(out, to_u64(self.kept.len()));
        for run in &self.kept {
            put_varint(out, run.removed.into());
            put_varint(out, run.kept.into());
        }
        checksum(out.get(start..).unwrap_or_default())
    }

    /// Reads the trailer that takes all the bytes, of a unit with so many records.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] or [`FormatError::Invalid`] if they are not one.
    pub fn decode(bytes: &[u8], records: u32) -> Result<Self, FormatError> {
        let invalid = FormatError::Invalid(UNIT);
        let mut reader = Reader::new(bytes, UNIT);
        let trailer = Trailer::read(&mut reader)?;
        let mut kept = Vec::new();
        let mut number = || u32::try_from(reader.varint()?).map_err(|_| invalid);
        for _ in 0..number()? {
            kept.push(KeptRun {
                removed: number()?,
                kept: number()?,
            });
        }
        let decoded = Self { trailer, kept };
        let runs = decoded.kept.iter();
        let (covered, left) = runs.fold((0, 0), |(covered, left), run| {
            let kept = u64::from(run.kept);
            (covered + u64::from(run.removed) + kept, left + kept)
        });
        let positions = decoded.positions();
        let left = if decoded.kept.is_empty() {
            positions
        } else {
            left
        };
        let fits = left == u64::from(records) && covered <= positions;
        match fits && reader.remaining() == 0 && u32::try_from(positions).is_ok() {
            true => Ok(decoded),
            false => Err(invalid),
        }
    }
}

/// The key of a list of the index: its kind and its text.
pub type IndexKey = (u8, Box<str>);

/// The keys that removed events had, but for those of their streams: revisions say more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedKeys {
    keys: Vec<IndexKey>,
    /// Each a list of keys that some event had.
    sets: Vec<Vec<u32>>,
    /// Adjacent events with equal sets: the first, how many, and the set.
    runs: Vec<(u32, u32, u32)>,
}

impl RemovedKeys {
    /// The removed events from one on to in front of another, counted from the segment's first, and
    /// their keys.
    pub fn range(
        &self,
        from: u32,
        to: u32,
    ) -> impl Iterator<Item = (u32, impl Iterator<Item = &IndexKey>)> {
        let behind = self
            .runs
            .partition_point(|(start, count, _)| start + count <= from);
        let runs = self.runs.get(behind..).unwrap_or_default();
        let runs = runs.iter().take_while(move |(start, ..)| *start < to);
        runs.flat_map(move |(start, count, set)| {
            let range = (*start).max(from)..(start + count).min(to);
            range.map(|index| (index, self.set(*set)))
        })
    }

    fn set(&self, set: u32) -> impl Iterator<Item = &IndexKey> {
        let set = usize::try_from(set).ok().and_then(|at| self.sets.get(at));
        let keys = set.into_iter().flatten();
        keys.filter_map(|key| self.keys.get(usize::try_from(*key).ok()?))
    }

    /// Reads the section that takes all the bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] or [`FormatError::Invalid`] if they are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let invalid = FormatError::Invalid(KEYS);
        let mut reader = Reader::new(bytes, KEYS);
        let mut decoded = Self::default();
        for _ in 0..reader.varint()? {
            let kind = reader.u8()?;
            let text = reader.bytes_at_most(reader.remaining())?;
            let text = std::str::from_utf8(text).map_err(|_| invalid)?;
            decoded.keys.push((kind, text.into()));
        }
        let number = |reader: &mut Reader<'_>, below: usize| {
            let number = u32::try_from(reader.varint()?).map_err(|_| invalid)?;
            match usize::try_from(number).is_ok_and(|number| number < below) {
                true => Ok(number),
                false => Err(invalid),
            }
        };
        for _ in 0..reader.varint()? {
            let mut set = Vec::new();
            for _ in 0..reader.varint()? {
                set.push(number(&mut reader, decoded.keys.len())?);
            }
            decoded.sets.push(set);
        }
        let mut at = 0u32;
        while reader.remaining() > 0 {
            let gap = u32::try_from(reader.varint()?).map_err(|_| invalid)?;
            let count = u32::try_from(reader.varint()?).map_err(|_| invalid)?;
            let set = number(&mut reader, decoded.sets.len())?;
            let start = at.checked_add(gap).ok_or(invalid)?;
            at = start.checked_add(count).ok_or(invalid)?;
            decoded.runs.push((start, count, set));
        }
        Ok(decoded)
    }
}

/// Gathers the keys of removed events, in the order of their positions.
#[derive(Debug, Default)]
pub struct RemovedKeysWriter {
    removed: RemovedKeys,
    keys: HashMap<IndexKey, u32>,
    sets: HashMap<Vec<u32>, u32>,
}

impl RemovedKeysWriter {
    /// Adds an event, counted from the segment's first, behind all before.
    pub fn push<'a>(&mut self, index: u32, keys: impl IntoIterator<Item = &'a IndexKey>) {
        let removed = &mut self.removed;
        let mut set = Vec::new();
        for key in keys {
            let next = u32::try_from(removed.keys.len()).unwrap_or(u32::MAX);
            set.push(*self.keys.entry(key.clone()).or_insert_with(|| {
                removed.keys.push(key.clone());
                next
            }));
        }
        let next = u32::try_from(removed.sets.len()).unwrap_or(u32::MAX);
        let set = *self.sets.entry(set).or_insert_with_key(|set| {
            removed.sets.push(set.clone());
            next
        });
        match removed.runs.last_mut() {
            Some((start, count, last)) if *start + *count == index && *last == set => *count += 1,
            _ => removed.runs.push((index, 1, set)),
        }
    }

    /// The section's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let removed = &self.removed;
        let mut out = Vec::new();
        put_varint(&mut out, to_u64(removed.keys.len()));
        for (kind, text) in &removed.keys {
            out.push(*kind);
            put_bytes(&mut out, text.as_bytes());
        }
        put_varint(&mut out, to_u64(removed.sets.len()));
        for set in &removed.sets {
            put_varint(&mut out, to_u64(set.len()));
            for key in set {
                put_varint(&mut out, (*key).into());
            }
        }
        let mut at = 0;
        for (start, count, set) in &removed.runs {
            for value in [start - at, *count, *set] {
                put_varint(&mut out, value.into());
            }
            at = start + count;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::unit::AppendEntry;
    use proptest::prelude::*;

    fn trailer(kept: &[bool]) -> RewrittenTrailer {
        let mut runs = Vec::<KeptRun>::new();
        let mut last = false;
        for kept in kept {
            if *kept != last || runs.is_empty() {
                last = *kept;
                if !*kept || runs.is_empty() {
                    runs.push(KeptRun {
                        removed: 0,
                        kept: 0,
                    });
                }
            }
            let run = runs.last_mut().unwrap();
            if *kept {
                run.kept += 1;
            } else {
                run.removed += 1;
            }
        }
        RewrittenTrailer {
            trailer: Trailer {
                appends: vec![AppendEntry {
                    records: u32::try_from(kept.len()).unwrap(),
                    request: None,
                }],
                states: Vec::new(),
            },
            kept: runs,
        }
    }

    type Event = (u32, Vec<IndexKey>);

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let key = (1u8..4, "[ab]").prop_map(|(kind, text)| (kind, text.into_boxed_str()));
        let event = (1u32..3, prop::collection::vec(key, 0..3));
        prop::collection::vec(event, 0..50).prop_map(|events| {
            let place = |at: &mut u32, (step, keys)| {
                *at += step;
                Some((*at, keys))
            };
            events.into_iter().scan(0, place).collect()
        })
    }

    proptest! {
        #[test]
        fn a_trailer_tells_which_events_are_left(
            kept in prop::collection::vec(any::<bool>(), 1..40),
        ) {
            let trailer = trailer(&kept);
            let mut bytes = Vec::new();
            let sum = trailer.encode(&mut bytes);
            prop_assert_eq!(sum, checksum(&bytes));
            let left = kept.iter().filter(|kept| **kept).count();
            let left = u32::try_from(left).unwrap();
            let decoded = RewrittenTrailer::decode(&bytes, left);
            prop_assert_eq!(decoded.as_ref(), Ok(&trailer));
            prop_assert!(RewrittenTrailer::decode(&bytes, left + 1).is_err());
            let places: Vec<u64> = trailer.places().collect();
            let expected = (0u64..).zip(&kept).filter(|(_, kept)| **kept);
            prop_assert_eq!(places, expected.map(|(place, _)| place).collect::<Vec<_>>());
            bytes.push(0);
            prop_assert!(RewrittenTrailer::decode(&bytes, left).is_err());
        }

        #[test]
        fn keys_of_removed_events_come_back(events in events(), from in 0u32..60, to in 0u32..90) {
            let mut writer = RemovedKeysWriter::default();
            for (index, keys) in &events {
                writer.push(*index, keys);
            }
            let decoded = RemovedKeys::decode(&writer.encode()).unwrap();
            let found = decoded.range(from, to);
            let found: Vec<Event> = found
                .map(|(index, keys)| (index, keys.cloned().collect()))
                .collect();
            let expected = events.into_iter().filter(|(at, _)| (from..to).contains(at));
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(
            bytes in prop::collection::vec(0u8..12, 0..99),
            records: u32,
        ) {
            if let Ok(trailer) = RewrittenTrailer::decode(&bytes, records) {
                let _places = trailer.places().take(1000).count();
            }
            if let Ok(keys) = RemovedKeys::decode(&bytes) {
                let _found = keys.range(0, 1000).take(1000).count();
            }
        }
    }

    #[test]
    fn neighbours_with_the_same_keys_share_an_entry() {
        let (one, other) = ([(1, "a".into())], [(1, "b".into())]);
        let mut writer = RemovedKeysWriter::default();
        for (index, keys) in [(3, &one), (4, &one), (6, &one), (7, &other)] {
            writer.push(index, keys);
        }
        assert_eq!(writer.removed.runs, [(3, 2, 0), (6, 1, 0), (7, 1, 1)]);
    }

    #[test]
    fn numbers_of_what_is_not_there_are_refused() {
        // A key of one letter, a set of one key, and two events of one set.
        let bytes = |key, set| [1, 7, 1, b'a', 1, 1, key, 5, 2, set];
        assert!(RemovedKeys::decode(&bytes(0, 0)).is_ok());
        assert!(RemovedKeys::decode(&bytes(1, 0)).is_err());
        assert!(RemovedKeys::decode(&bytes(0, 1)).is_err());
    }
}
