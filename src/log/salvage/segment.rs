//! One segment of a damaged log: its file as far as it can be read, its footer if that is whole,
//! and what of its events both tell together.

use std::sync::Arc;

use super::LostRange;
use super::known::Known;
use super::patient::{FileDamage, PatientFile};
use super::scan::{HalfUnit, Looked, Piece};
use crate::disk::{Disk, DiskFile};
use crate::format::FormatError;
use crate::format::checksum::Salt;
use crate::format::footer::{OffsetPage, PAGE_EVENTS};
use crate::format::manifest::SealedSegment;
use crate::format::names::FileName;
use crate::format::record::{HEADER_LEN_BYTES_MAX, Layout};
use crate::log::error::StorageError;
use crate::log::sealed::SealedFile;
use crate::log::segment::{CAPACITY_MIN, Spare, open_segment};
use crate::model::Position;

/// A segment, as it is found.
pub(super) struct Segment {
    pub(super) spare: Result<Spare, StorageError>,
    /// What is wrong with it whatever its units say: its header, or a place that cannot be read.
    pub(super) file_damage: FileDamage,
    pub(super) name: Arc<str>,
    pub(super) id: u32,
    /// What the manifest says of it, if it is sealed.
    pub(super) entry: Option<SealedSegment>,
    /// Its footer, if that is whole: it says where each record stands, and which were removed.
    footer: Option<SealedFile>,
}

impl Segment {
    pub(super) fn sealed(disk: &dyn Disk, entry: &SealedSegment) -> Self {
        let name: Arc<str> = entry.file_name().to_string().into();
        let missing = StorageError::Missing {
            file: Arc::clone(&name),
            len_bytes: entry.len_bytes.into(),
        };
        let file_damage = FileDamage::default();
        let spare = disk.open_to_read(&name).map(|file| Spare {
            id: entry.id,
            file: Arc::new(PatientFile::new(file, &name, &file_damage)),
            name: Arc::clone(&name),
            capacity: 0,
            zeroed: entry.units_end(),
        });
        Self {
            spare: spare.map_err(|_| missing),
            file_damage,
            name,
            id: entry.id,
            entry: Some(entry.clone()),
            footer: SealedFile::open(disk, entry).ok(),
        }
    }

    pub(super) fn unsealed(disk: &dyn Disk, known: &Known, id: u32) -> Self {
        let name: Arc<str> = FileName::Segment(id).to_string().into();
        let file_damage = FileDamage::default();
        let spare = match open_segment(disk, &known.identity, id) {
            // The units tell whose they are by themselves.
            Err(damage) if damage.is_damage() => {
                file_damage.get_or_init(|| damage.clone());
                let opened = disk.open_to_read(&name).and_then(|file| {
                    let len = file.len()?;
                    Ok(Spare {
                        id,
                        file,
                        name: Arc::clone(&name),
                        capacity: CAPACITY_MIN,
                        zeroed: u32::try_from(len).unwrap_or(u32::MAX),
                    })
                });
                opened.map_err(|_| damage)
            }
            other => other,
        };
        Self {
            spare: spare.map(|spare| Spare {
                file: Arc::new(PatientFile::new(spare.file, &name, &file_damage)),
                ..spare
            }),
            file_damage,
            name,
            id,
            entry: None,
            footer: None,
        }
    }

    /// What is sound of a stretch or of a unit, by all that tells where its records stand.
    pub(super) fn rescue(&self, known: &Known, piece: &Piece<'_>) -> Option<HalfUnit> {
        let half = match piece {
            Piece::Gap(gap) if gap.end > gap.first => HalfUnit::of_gap(gap, self.id),
            Piece::Half(half) if !half.lost().is_empty() => HalfUnit::clone(half),
            Piece::Whole(_) | Piece::Half(_) | Piece::Gap(_) => return None,
        };
        let mut half = half;
        let spare = self.spare.as_ref().ok()?;
        let salt = &known.identity.record_salt;
        if matches!(piece, Piece::Gap(_)) {
            // A unit whose header is not whole begins here, perhaps.
            let len = half.end_offset.saturating_sub(half.header.place.offset);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            let read = spare
                .file
                .read_at(half.header.place.offset.into(), &mut bytes);
            bytes.truncate(read.unwrap_or(0));
            half.gather(&bytes, &known.identity);
        }
        if let Some(footer) = &self.footer {
            let mut places = Places::new(footer, salt);
            for (first, end) in half.lost() {
                for position in (first.0..end.0).map(Position) {
                    match places.offset(position) {
                        None => {}
                        // It is not lost: it had gone before.
                        Some(0) => half.add_removed(position),
                        Some(offset) => {
                            let place = (position, offset, half.end_offset);
                            if let Some(bytes) = record_at(&*spare.file, place, salt) {
                                half.add(position, offset, bytes, salt);
                            }
                        }
                    }
                }
            }
        }
        Some(half)
    }

    /// What is wrong at a place of it.
    pub(super) fn damage(&self, offset: u32, why: FormatError) -> StorageError {
        match &self.spare {
            Err(error) => error.clone(),
            Ok(_) => StorageError::damaged(&self.name, offset.into(), why),
        }
    }

    pub(super) fn look<'a>(&'a self, known: &'a Known, known_end: Position) -> Option<Looked<'a>> {
        Some(Looked {
            identity: &known.identity,
            spare: self.spare.as_ref().ok()?,
            limit: self.spare.as_ref().ok()?.zeroed,
            rewritten: self.entry.as_ref().is_some_and(|it| it.rewrite.is_some()),
            known_end,
        })
    }

    /// What a piece of it says of lost events.
    pub(super) fn lost(&self, piece: &Piece<'_>) -> Vec<LostRange> {
        let lost = |(first, end), damage, streams: &[String]| LostRange {
            first,
            end,
            damage,
            streams: streams.to_vec(),
        };
        match piece {
            Piece::Whole(_) => Vec::new(),
            Piece::Half(half) => {
                let damage = self.damage(half.header.place.offset, half.why);
                let ranges = half.lost().into_iter();
                ranges
                    .map(|range| lost(range, damage.clone(), &half.streams))
                    .collect()
            }
            Piece::Gap(gap) if gap.end > gap.first => {
                let damage = self.damage(gap.offset, gap.why);
                vec![lost((gap.first, gap.end), damage, &[])]
            }
            Piece::Gap(_) => Vec::new(),
        }
    }
}

/// What a footer says of where events stand.
struct Places<'a> {
    footer: &'a SealedFile,
    salt: &'a Salt,
    /// The page that was asked last, if it is whole.
    page: Option<(usize, Option<OffsetPage>)>,
}

impl<'a> Places<'a> {
    fn new(footer: &'a SealedFile, salt: &'a Salt) -> Self {
        Self {
            footer,
            salt,
            page: None,
        }
    }

    /// Where an event stands; 0 if it was removed, and none if nobody knows.
    fn offset(&mut self, position: Position) -> Option<u32> {
        let index = position
            .0
            .checked_sub(self.footer.footer.first_position.0)?;
        let index = usize::try_from(index).ok()?;
        let number = index / PAGE_EVENTS;
        let page = match &self.page {
            Some((read, page)) if *read == number => page,
            _ => {
                let page = self.footer.read_page(number, self.salt).ok();
                &self.page.insert((number, page)).1
            }
        };
        page.as_ref()?.offset(index % PAGE_EVENTS)
    }
}

/// The bytes of a record where the footer says that it stands; they are to be checked.
fn record_at(
    file: &dyn DiskFile,
    (position, offset, limit): (Position, u32, u32),
    salt: &Salt,
) -> Option<Vec<u8>> {
    let left = usize::try_from(limit.checked_sub(offset)?).ok()?;
    let mut bytes = vec![0; left.min(HEADER_LEN_BYTES_MAX)];
    file.read_at(offset.into(), &mut bytes).ok()?;
    let layout = Layout::parse(&bytes).ok()?;
    layout.check_header(&bytes, position, salt).ok()?;
    bytes.resize(layout.record_len().min(left), 0);
    file.read_at(offset.into(), &mut bytes).ok()?;
    Some(bytes)
}
