//! The names of the files in a data directory. One flat directory; numbers are lower-case
//! hexadecimal of a fixed width, so that an alphabetical list is in order.

use std::fmt;

/// A file of a data directory, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileName {
    /// `store`: the store's identity.
    Store,
    /// `store.tmp`: the identity of a store that is being made.
    StoreDraft,
    /// `manifest-<generation>`: which files there are, and what they hold.
    Manifest(u64),
    /// `manifest.tmp`: the next manifest while it is being written.
    ManifestDraft,
    /// `floor`: how far the log is known to be durable.
    Floor,
    /// `lock`: held by the process that has the store open.
    Lock,
    /// `segment-<id>`: a part of the log.
    Segment(u32),
    /// `segment-<id>-<number>`: a part of the log that was written again.
    Rewritten {
        /// The segment.
        segment: u32,
        /// Counts how often the segment was written again.
        number: u32,
    },
    /// `checkpoint-<segment>-<number>`: a footer in advance for a segment that is still written.
    Checkpoint {
        /// The segment.
        segment: u32,
        /// Counts the checkpoints of the segment.
        number: u16,
    },
    /// `table-<id>`: a part of the index.
    Table(u32),
    /// `state-<id>`: the state records up to a place in the log.
    State(u32),
    /// `quarantine-<segment>-<offset>-<number>`: bytes that recovery took out of a segment.
    Quarantine {
        /// The segment.
        segment: u32,
        /// Where in the segment they were.
        offset: u32,
        /// Tells apart what was taken from the same place.
        number: u16,
    },
}

impl FileName {
    /// The file with this name, if it is one of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let parsed = match name {
            "store" => Self::Store,
            "store.tmp" => Self::StoreDraft,
            "manifest.tmp" => Self::ManifestDraft,
            "floor" => Self::Floor,
            "lock" => Self::Lock,
            _ => Self::parse_numbered(name)?,
        };
        // Upper case, signs and other widths are not how we write numbers.
        (parsed.to_string() == name).then_some(parsed)
    }

    fn parse_numbered(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let kind = parts.next()?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        Some(match kind {
            "manifest" => Self::Manifest(number()?),
            "segment" => {
                let segment = number()?.try_into().ok()?;
                match number() {
                    None => Self::Segment(segment),
                    Some(number) => Self::Rewritten {
                        segment,
                        number: number.try_into().ok()?,
                    },
                }
            }
            "table" => Self::Table(number()?.try_into().ok()?),
            "state" => Self::State(number()?.try_into().ok()?),
            "checkpoint" => Self::Checkpoint {
                segment: number()?.try_into().ok()?,
                number: number()?.try_into().ok()?,
            },
            "quarantine" => Self::Quarantine {
                segment: number()?.try_into().ok()?,
                offset: number()?.try_into().ok()?,
                number: number()?.try_into().ok()?,
            },
            _ => return None,
        })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::StoreDraft => f.write_str("store.tmp"),
            Self::Manifest(generation) => write!(f, "manifest-{generation:016x}"),
            Self::ManifestDraft => f.write_str("manifest.tmp"),
            Self::Floor => f.write_str("floor"),
            Self::Lock => f.write_str("lock"),
            Self::Segment(id) => write!(f, "segment-{id:08x}"),
            Self::Rewritten { segment, number } => write!(f, "segment-{segment:08x}-{number:08x}"),
            Self::Checkpoint { segment, number } => {
                write!(f, "checkpoint-{segment:08x}-{number:04x}")
            }
            Self::Table(id) => write!(f, "table-{id:08x}"),
            Self::State(id) => write!(f, "state-{id:08x}"),
            Self::Quarantine {
                segment,
                offset,
                number,
            } => write!(f, "quarantine-{segment:08x}-{offset:08x}-{number:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(a: u64, b: u32, c: u32, d: u16) {
            let names = [
                FileName::Store,
                FileName::StoreDraft,
                FileName::Manifest(a),
                FileName::ManifestDraft,
                FileName::Floor,
                FileName::Lock,
                FileName::Segment(b),
                FileName::Rewritten { segment: b, number: c },
                FileName::Checkpoint { segment: b, number: d },
                FileName::Table(b),
                FileName::State(b),
                FileName::Quarantine { segment: b, offset: c, number: d },
            ];
            for name in names {
                prop_assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }

        #[test]
        fn what_is_read_as_a_name_is_written_so(
            text in "(segment|table|manifest)-[+0-9a-fA-F]{7,17}",
        ) {
            if let Some(name) = FileName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in [
            "",
            "segment-1",
            "segment-0000000A",
            "segment-00000001-",
            "store2",
            "table",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
