//! The units of the log one after another, with what stands behind their records: for rebuilding
//! what is derived from requests and state records.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::footer::Mark;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{Place, Trailer, UnitHeader};
use crate::log::error::StorageError;
use crate::log::shared::Shared;
use crate::log::walk::{Expected, Walker};
use crate::model::Position;

/// A verified unit.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// What it says of itself.
    pub header: UnitHeader,
    /// Its appends, their requests, and its state records.
    pub trailer: Trailer,
}

/// A segment to walk.
struct Stretch {
    id: u32,
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    first: Position,
    end: Position,
    end_offset: u32,
    rewritten: bool,
    mark: Mark,
}

impl Stretch {
    /// Its first unit, behind this mark.
    fn start(&self, before: Mark) -> Expected {
        Expected {
            place: Place {
                segment: self.id,
                offset: HEADER_LEN_BYTES,
            },
            position: self.first,
            mark: before,
        }
    }
}

impl Shared {
    /// A unit without events at the position stands in front of the one that holds its event: the
    /// place at which the store was opened may lie between them, and is not where to begin then.
    pub(super) fn units(
        &self,
        from: Position,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.walk_units(from, self.start.position < from, visit)
    }

    /// The same for whoever knows what stands in front of the place at which the store was opened.
    pub(super) fn units_behind_start(
        &self,
        from: Position,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.walk_units(from, self.start.position <= from, visit)
    }

    fn walk_units(
        &self,
        from: Position,
        may_begin_at_start: bool,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut mark = Mark::START;
        for stretch in self.stretches(from)? {
            let before = std::mem::replace(&mut mark, stretch.mark);
            if stretch.end < from {
                continue;
            }
            // The place at which the store was opened saves the way there.
            let at_start =
                self.start.place.segment == stretch.id && may_begin_at_start && !stretch.rewritten;
            let start = match at_start {
                true => self.start,
                false => stretch.start(before),
            };
            self.walk_stretch(&stretch, start, from, visit)?;
        }
        Ok(())
    }

    /// Shows the units from a place on.
    pub(super) fn units_from(
        &self,
        start: Expected,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut mark = Mark::START;
        for stretch in self.stretches(start.position)? {
            let before = std::mem::replace(&mut mark, stretch.mark);
            if stretch.id < start.place.segment {
                continue;
            }
            let from = match stretch.id == start.place.segment {
                true => start,
                false => stretch.start(before),
            };
            self.walk_stretch(&stretch, from, Position::START, visit)?;
        }
        Ok(())
    }

    /// The segments from the one in front of a position on. The live ones are asked for first: a
    /// segment that is sealed meanwhile is then in both lists, never in none.
    fn stretches(&self, from: Position) -> Result<Vec<Stretch>, StorageError> {
        let live: Vec<Stretch> = {
            let state = self.state.read();
            let stretch = |live: &crate::log::state::Live| Stretch {
                id: live.facts.segment,
                file: Arc::clone(&live.file),
                name: Arc::clone(&live.name),
                first: live.facts.first,
                end: live.facts.end(),
                end_offset: live.facts.end_offset,
                rewritten: false,
                mark: live.facts.mark,
            };
            state.live.iter().map(stretch).collect()
        };
        let manifest = self.manifest.current();
        let behind = manifest
            .sealed
            .partition_point(|sealed| sealed.end_position() < from);
        let first_live = live.first().map_or(u32::MAX, |live| live.id);
        let mut stretches = Vec::new();
        for sealed in manifest.sealed.iter().skip(behind.saturating_sub(1)) {
            if sealed.id >= first_live {
                break;
            }
            let contents = self.contents(sealed)?;
            let (name, file) = contents.file();
            stretches.push(Stretch {
                id: sealed.id,
                file: Arc::clone(file),
                name: Arc::clone(name),
                first: sealed.first_position,
                end: sealed.end_position(),
                end_offset: contents.units_end(),
                rewritten: contents.key().1 > 0,
                mark: sealed.mark,
            });
        }
        stretches.extend(live);
        Ok(stretches)
    }

    fn walk_stretch(
        &self,
        stretch: &Stretch,
        start: Expected,
        from: Position,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let (file, name) = (Arc::clone(&stretch.file), Arc::clone(&stretch.name));
        let mut walker = Walker::new(&self.identity, file, name, stretch.end_offset.into());
        walker.rewritten = stretch.rewritten;
        let mut expected = start;
        while expected.place.offset < stretch.end_offset {
            let offset = expected.place.offset.into();
            let unit = walker.unit(&expected)?;
            let unit = unit.map_err(|error| StorageError::damaged(&stretch.name, offset, error))?;
            expected = unit.expected();
            // What it ends with may stand at the position: a named request without events.
            if unit.end >= from {
                visit(Unit {
                    header: unit.header,
                    trailer: unit.trailer,
                })?;
            }
        }
        Ok(())
    }
}
