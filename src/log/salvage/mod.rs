//! What is left of a log that does not open, because acknowledged bytes of it are damaged.
//!
//! Recovery refuses such a log and changes nothing. Here it is looked at all the same, for three
//! purposes: to say what is lost ([`examine`]), to read what is sound ([`survey`], for a store that
//! is opened for reading only), and to take out what is not (`mend.rs`, with the consent of whoever
//! keeps the store). Looking changes nothing.
//!
//! What always holds: an event that is shown has both its checksums right at its position; one that
//! was there and is not whole is an error to whoever reads it, never a gap in silence.

mod known;
mod mend;
mod patient;
mod rescue;
mod scan;
mod segment;

use std::fmt;
use std::sync::Arc;

use crate::disk::Disk;
use crate::format::FormatError;
use crate::format::floor::FILE_LEN_BYTES;
use crate::format::footer::Mark;
use crate::format::manifest::{SealedSegment, TableEntry};
use crate::format::names::FileName;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::Place;
use crate::log::error::{LogOpenError, StorageError};
use crate::log::facts::Facts;
use crate::log::recovery::{RecoveryReport, Survey, Walked};
use crate::log::seal::digest_of;
use crate::log::segment::{CAPACITY_MIN, Spare};
use crate::log::verify::{FileFinding, FileRole};
use crate::log::walk::{Expected, fill};
use crate::model::Position;
use known::Known;
pub(crate) use mend::{Mended, mend};
pub(super) use rescue::Rescued;
use scan::{Gap, HalfUnit, Piece};
use segment::Segment;

/// Events that are lost, and where they were.
#[derive(Clone, Debug)]
pub struct LostRange {
    /// The first of them.
    pub first: Position,
    /// Behind the last of them.
    pub end: Position,
    /// What is wrong, and in which file.
    pub damage: StorageError,
    /// Streams that are known to have had events among them.
    pub streams: Vec<String>,
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = Position(self.end.0.saturating_sub(1));
        match self.first == last {
            true => write!(f, "Event {last} is lost")?,
            false => write!(f, "Events {} to {last} are lost", self.first)?,
        }
        write!(f, ": {}.", self.damage)?;
        match &*self.streams {
            [] => write!(f, " Of which streams is not known."),
            streams => write!(f, " Streams: {}.", streams.join(", ")),
        }
    }
}

/// Is shown a log, segment by segment.
trait Visitor {
    /// A segment begins, behind this.
    fn begin(&mut self, segment: &Segment, behind: &Expected) -> Result<(), StorageError>;

    /// A part of it.
    fn piece(&mut self, segment: &Segment, piece: Piece<'_>) -> Result<(), StorageError>;

    /// It ends; this comes next.
    fn end(&mut self, segment: &Segment, next: &Expected) -> Result<(), StorageError>;
}

/// Shows the segments that are not sealed, and with `sealed` the others in front of them. Gives
/// what comes behind the last event.
fn show(
    disk: &dyn Disk,
    known: &Known,
    sealed: bool,
    visitor: &mut dyn Visitor,
) -> Result<Expected, StorageError> {
    let at_start = |id, position, mark| Expected {
        place: Place {
            segment: id,
            offset: HEADER_LEN_BYTES,
        },
        position,
        mark,
    };
    let mut expected = at_start(0, Position::START, Mark::START);
    for entry in &known.manifest.sealed {
        if sealed {
            let segment = Segment::sealed(disk, entry);
            let start = at_start(entry.id, entry.first_position, expected.mark);
            show_one(&segment, known, start, entry.end_position(), visitor)?;
        }
        expected = at_start(entry.id, entry.end_position(), entry.mark);
    }
    let unsealed = known.manifest.unsealed.iter();
    let unsealed: Vec<Segment> = unsealed
        .map(|id| Segment::unsealed(disk, known, *id))
        .collect();
    for (index, segment) in unsealed.iter().enumerate() {
        let start = at_start(segment.id, expected.position, expected.mark);
        let mut end = Position::START;
        for next in unsealed.iter().skip(index + 1) {
            let from = at_start(next.id, expected.position, expected.mark);
            if let Some(looked) = next.look(known, Position::START) {
                end = looked.first_position(&from)?;
            }
            if end > Position::START {
                break;
            }
        }
        if end == Position::START {
            end = known.known_end();
        }
        let next = show_one(segment, known, start, end.max(start.position), visitor)?;
        expected = Expected {
            // Where nothing stands, as in a spare, the log does not end.
            place: match next.place == start.place {
                true => expected.place,
                false => next.place,
            },
            ..next
        };
    }
    Ok(expected)
}

fn show_one(
    segment: &Segment,
    known: &Known,
    start: Expected,
    known_end: Position,
    visitor: &mut dyn Visitor,
) -> Result<Expected, StorageError> {
    visitor.begin(segment, &start)?;
    let next = match segment.look(known, known_end) {
        Some(looked) => looked.scan(start, &mut |piece| match segment.rescue(known, &piece) {
            Some(half) => visitor.piece(segment, Piece::Half(&half)),
            None => visitor.piece(segment, piece),
        })?,
        None => {
            let gap = Gap {
                offset: HEADER_LEN_BYTES,
                end_offset: HEADER_LEN_BYTES,
                first: start.position,
                end: known_end,
                mark: start.mark,
                why: FormatError::Truncated("a segment"),
            };
            visitor.piece(segment, Piece::Gap(gap))?;
            Expected {
                position: known_end,
                ..start
            }
        }
    };
    visitor.end(segment, &next)?;
    Ok(next)
}

/// What is wrong with a log.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// The events that are lost, in order.
    pub(crate) lost: Vec<LostRange>,
    /// Each segment, in order.
    pub(crate) files: Vec<FileFinding>,
    /// What is wrong with the small files without which no store opens.
    pub(crate) damage: Vec<StorageError>,
    /// Damaged stretches that may have held state records which nothing else has.
    pub(crate) unknown_states: u64,
    /// Behind the last event.
    pub(crate) end: Position,
    /// The tables of the index that the manifest names.
    pub(crate) tables: Vec<TableEntry>,
    /// The segments to be written again.
    damaged: Vec<u32>,
    /// Whether one of those that are not sealed is among them.
    unsealed_too: bool,
}

struct Examiner {
    found: Examined,
    /// The state file has the records in front of this.
    states_from: Place,
    /// What is wrong with the segment, and where it begins.
    damage: Option<StorageError>,
    first: Position,
}

impl Visitor for Examiner {
    fn begin(&mut self, segment: &Segment, behind: &Expected) -> Result<(), StorageError> {
        self.damage = segment.spare.as_ref().err().cloned();
        self.first = behind.position;
        Ok(())
    }

    fn piece(&mut self, segment: &Segment, piece: Piece<'_>) -> Result<(), StorageError> {
        let lost = segment.lost(&piece);
        let (offset, end, why, has_states) = match &piece {
            Piece::Whole(_) => return Ok(()),
            Piece::Half(half) => {
                let offset = half.header.place.offset;
                (offset, half.end_offset, half.why, half.trailer.is_some())
            }
            Piece::Gap(gap) => (gap.offset, gap.end_offset, gap.why, false),
        };
        let end = Place {
            segment: segment.id,
            // Of a file that is not there nobody knows where it ended.
            offset: segment.spare.as_ref().map_or(u32::MAX, |_| end),
        };
        self.found.unknown_states += u64::from(!has_states && end > self.states_from);
        let damage = || segment.damage(offset, why);
        self.damage.get_or_insert_with(damage);
        self.found.lost.extend(lost);
        Ok(())
    }

    fn end(&mut self, segment: &Segment, next: &Expected) -> Result<(), StorageError> {
        if let (Some(entry), Ok(spare), None) = (&segment.entry, &segment.spare, &self.damage) {
            let digest = digest_of(&*spare.file, &segment.name, entry.len_bytes.into())?;
            let len = spare.file.len();
            let len = len.map_err(|error| StorageError::io("read", &segment.name, error))?;
            if digest != entry.digest || len != u64::from(entry.len_bytes) {
                let why = FormatError::Invalid("the digest of a segment's file");
                self.damage = Some(segment.damage(entry.footer_offset, why));
            }
        }
        self.damage = (self.damage.take()).or_else(|| segment.file_damage.get().cloned());
        if self.damage.is_some() {
            self.found.damaged.push(segment.id);
            self.found.unsealed_too |= segment.entry.is_none();
        }
        let entry = segment.entry.as_ref();
        let end = entry.map_or(next.position, SealedSegment::end_position);
        self.found.files.push(FileFinding {
            file: segment.name.to_string(),
            role: FileRole::Segment,
            first: self.first,
            events: end.0.saturating_sub(self.first.0),
            damage: self.damage.take(),
        });
        Ok(())
    }
}

/// Reads a whole log, however damaged, and says what is lost. Changes nothing.
pub(crate) fn examine(disk: &dyn Disk, files: &[(String, u64)]) -> Result<Examined, LogOpenError> {
    let known = Known::read(disk, files)?;
    let (states_from, _) = known.states(disk);
    examine_known(disk, &known, states_from)
}

/// The same where more is known: the state file has the records in front of a place.
fn examine_known(
    disk: &dyn Disk,
    known: &Known,
    states_from: Place,
) -> Result<Examined, LogOpenError> {
    let mut examiner = Examiner {
        found: Examined::default(),
        states_from,
        damage: None,
        first: Position::START,
    };
    examiner.found.damage.extend(known.manifest_damage.clone());
    if known.floor.is_none() {
        examiner.found.damage.push(StorageError::Missing {
            file: FileName::Floor.to_string().into(),
            len_bytes: u64::try_from(FILE_LEN_BYTES).unwrap_or(0),
        });
    }
    let end = show(disk, known, true, &mut examiner)?;
    examiner.found.end = end.position;
    examiner.found.tables = known.manifest.tables.clone();
    let unsealed = known.manifest.unsealed.len();
    examiner.found.unsealed_too |= !(1..=3).contains(&unsealed);
    Ok(examiner.found)
}

/// Gathers what a store needs that is only read.
struct Surveyor<'a> {
    disk: &'a dyn Disk,
    survey: Survey,
    facts: Option<Facts>,
}

impl Visitor for Surveyor<'_> {
    fn begin(&mut self, segment: &Segment, behind: &Expected) -> Result<(), StorageError> {
        let salt = self.survey.identity.record_salt;
        let facts = Facts::new(segment.id, behind.position, behind.mark, salt);
        self.facts = Some(facts);
        Ok(())
    }

    fn piece(&mut self, segment: &Segment, piece: Piece<'_>) -> Result<(), StorageError> {
        self.survey.report.lost.extend(segment.lost(&piece));
        let Some(facts) = &mut self.facts else {
            return Ok(());
        };
        match piece {
            Piece::Whole(unit) => {
                unit.add_to(facts);
                self.survey.states.apply(unit.trailer.states.clone());
            }
            Piece::Half(half) => {
                add_half(facts, half);
                if let Some(trailer) = &half.trailer {
                    self.survey.states.apply(trailer.states.clone());
                }
            }
            Piece::Gap(gap) => add_gap(facts, &gap),
        }
        Ok(())
    }

    fn end(&mut self, segment: &Segment, next: &Expected) -> Result<(), StorageError> {
        let spare = match &segment.spare {
            Ok(spare) => spare.clone(),
            Err(_) => {
                let failed = |error| StorageError::io("create", &segment.name, error);
                Spare {
                    id: segment.id,
                    file: self.disk.create(&segment.name).map_err(failed)?,
                    name: Arc::clone(&segment.name),
                    capacity: CAPACITY_MIN,
                    zeroed: HEADER_LEN_BYTES,
                }
            }
        };
        if let Some(mut facts) = self.facts.take() {
            if let Some(entry) = &segment.entry {
                // What went behind the last unit of a segment that was written again.
                fill(&mut facts, entry.end_position());
            }
            facts.mark = next.mark;
            self.survey.walked.push(Walked { spare, facts });
        }
        Ok(())
    }
}

/// Looks at a damaged log so that what is sound can be read. Nothing can be written to it: the disk
/// is one that keeps changes to itself.
pub(super) fn survey(disk: &dyn Disk, files: &[(String, u64)]) -> Result<Survey, LogOpenError> {
    let mut known = Known::read(disk, files)?;
    if known.manifest.unsealed.is_empty() {
        known.manifest.unsealed.push(known.manifest.next_segment);
        known.manifest.next_segment += 1;
    }
    let manifest = Arc::new(known.manifest.clone());
    let survey = Survey::new(known.identity, manifest, RecoveryReport::default());
    let mut surveyor = Surveyor {
        disk,
        survey,
        facts: None,
    };
    // Where a part of them cannot be read, they are as of what can.
    let _as_far_as_it_goes = surveyor.survey.load_states(disk);
    let end = show(disk, &known, false, &mut surveyor)?;
    let mut survey = surveyor.survey;
    survey.report.end = end.position;
    Ok(survey)
}

fn add_half(facts: &mut Facts, half: &HalfUnit) {
    let first = half.header.first_position;
    let mut sound = half.records.iter().peekable();
    let mut offset = facts.end_offset;
    for index in 0..u64::from(half.header.records) {
        let position = first.plus(index);
        match sound.next_if(|record| record.position == position) {
            Some(record) => {
                let len = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
                offset = (facts.end_offset + record.entry.offset).saturating_add(len);
                facts.push_record(&record.entry);
            }
            None if half.is_removed(position) => facts.push_removed(),
            None => facts.push_damaged(offset),
        }
    }
    facts.end_unit(half.end_offset.saturating_sub(facts.end_offset), half.mark);
}

fn add_gap(facts: &mut Facts, gap: &Gap) {
    for _ in gap.first.0..gap.end.0 {
        facts.push_damaged(gap.offset);
    }
    let mark = facts.mark;
    facts.end_unit(gap.end_offset.saturating_sub(facts.end_offset), mark);
}
