//! Reading events by position: from the units in memory, from cached blocks, from the disk. Nothing
//! is given out whose checksums were not found right.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::format::FormatError;
use crate::format::codec::to_u64;
use crate::format::footer::{CreatedRange, RANGE_EVENTS};
use crate::format::manifest::{ManifestData, SealedSegment};
use crate::format::record::Layout;
use crate::log::block::{
    BLOCK_BYTES, Block, BlockPlan, check_record, first_present, last_present, offset_and_limit,
};
use crate::log::chunk::{Chunk, Run};
use crate::log::error::StorageError;
use crate::log::facts::Offsets;
use crate::log::sealed::{Contents, FileKey, SealedFile, SealedOffsets, read_exact};
use crate::log::shared::Shared;
use crate::model::{Position, Timestamp};

/// Single records whose distance is less than this are read by one call, in bytes.
const NEAR_BYTES: u32 = 64 * 1024;
/// So many positions, one behind the other, are read as one piece.
const ADJACENT_MIN: usize = 4;
/// The most positions that are planned together.
const PLANNED_MAX: usize = 128;

/// Where a single record lies.
struct Located {
    position: Position,
    key: FileKey,
    name: Arc<str>,
    file: Arc<dyn DiskFile>,
    offset: u32,
    limit: u32,
}

/// The sealed segment that holds a position.
pub(super) fn sealed_holding(
    manifest: &ManifestData,
    position: Position,
) -> Option<&SealedSegment> {
    let sealed = &manifest.sealed;
    let behind = sealed.partition_point(|segment| segment.first_position <= position);
    let segment = sealed.get(behind.checked_sub(1)?)?;
    (position < segment.end_position()).then_some(segment)
}

fn to_usize(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

fn index_in(position: Position, first: Position) -> usize {
    usize::try_from(position.0.saturating_sub(first.0)).unwrap_or(usize::MAX)
}

impl Shared {
    pub(super) fn end(&self) -> Position {
        self.state.read().end()
    }

    pub(super) fn read(
        &self,
        from: Position,
        to: Position,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        let state = self.state.read();
        let to = to.min(state.end());
        if from >= to {
            return Ok(Chunk::default());
        }
        let recent = state.recent.read(from, to, len_bytes_max);
        drop(state);
        match recent {
            Some(chunk) => Ok(chunk),
            None => match self.present_from(from, to)? {
                None => Ok(Chunk::default()),
                Some(from) => match self.block(from) {
                    Err(error) if error.is_damage() => {
                        self.read_some((from.0..to.0).map(Position), len_bytes_max)
                    }
                    block => block?.chunk(from, to, len_bytes_max),
                },
            },
        }
    }

    pub(super) fn read_back(
        &self,
        before: Position,
        events_max: usize,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        let before = before.min(self.end());
        let Some(last) = self.present_before(before)? else {
            return Ok(Chunk::default());
        };
        match self.block(last) {
            Err(error) if error.is_damage() => {
                let back = (0..=last.0).rev().map(Position);
                self.read_some(back.take(events_max.max(1)), len_bytes_max)
            }
            block => block?.chunk_back(last.next(), events_max, len_bytes_max),
        }
    }

    /// The first of these events, where their block cannot be read as a whole: as many as can be
    /// read by themselves, but no more than about a block.
    fn read_some(
        &self,
        positions: impl Iterator<Item = Position>,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        let positions: Vec<Position> = positions.take(PLANNED_MAX).collect();
        let (chunk, _) = self.read_within(&positions, len_bytes_max.min(to_usize(BLOCK_BYTES)))?;
        Ok(chunk)
    }

    /// The first position of a range whose event was not removed.
    fn present_from(&self, from: Position, to: Position) -> Result<Option<Position>, StorageError> {
        let mut at = from;
        while at < to {
            let manifest = self.manifest.current();
            let rewritten = sealed_holding(&manifest, at).filter(|one| one.rewrite.is_some());
            let Some(entry) = rewritten else {
                return Ok(Some(at));
            };
            let contents = self.contents(entry)?;
            let first = contents.first();
            let index = index_in(at, first);
            let found = self.look(&contents, |offsets| first_present(offsets, index))?;
            at = match found {
                None => contents.end(),
                Some(found) => {
                    let position = first.plus(u64::try_from(found).unwrap_or(u64::MAX));
                    return Ok((position < to).then_some(position));
                }
            };
        }
        Ok(None)
    }

    /// The last position in front of one whose event was not removed.
    fn present_before(&self, before: Position) -> Result<Option<Position>, StorageError> {
        let mut end = before;
        while let Some(last) = end.0.checked_sub(1).map(Position) {
            let manifest = self.manifest.current();
            let rewritten = sealed_holding(&manifest, last).filter(|one| one.rewrite.is_some());
            let Some(entry) = rewritten else {
                return Ok(Some(last));
            };
            let contents = self.contents(entry)?;
            let first = contents.first();
            let index = index_in(end, first);
            let found = self.look(&contents, |offsets| last_present(offsets, index))?;
            if let Some(found) = found {
                let found = u64::try_from(found).unwrap_or(u64::MAX);
                return Ok(Some(first.plus(found)));
            }
            end = first;
        }
        Ok(None)
    }

    /// What says where the events of a sealed segment are: its footer, or if that is damaged and
    /// nothing is written, its units.
    pub(super) fn contents(&self, entry: &SealedSegment) -> Result<Contents, StorageError> {
        if self.options.read_only
            && let Some(rescued) = self.rescued.lock().get(&entry.id)
        {
            return Ok(Contents::Units(Arc::clone(rescued)));
        }
        match self.open_sealed(entry) {
            Err(damage) if self.options.read_only && damage.is_damage() => {
                let rescued = self.rescue(entry)?;
                rescued.map(Contents::Units).ok_or(damage)
            }
            opened => opened.map(Contents::Footer),
        }
    }

    /// Looks at the offsets of a sealed segment.
    fn look<T>(&self, contents: &Contents, look: impl FnOnce(&dyn Offsets) -> T) -> T {
        match contents {
            Contents::Footer(sealed) => look(&SealedOffsets {
                files: &self.sealed,
                sealed,
                salt: &self.identity.record_salt,
            }),
            Contents::Units(rescued) => look(&rescued.facts),
        }
    }

    /// Opens a sealed segment, also if it was written again since the manifest was asked for it.
    pub(super) fn open_sealed(
        &self,
        entry: &SealedSegment,
    ) -> Result<Arc<SealedFile>, StorageError> {
        let mut entry = entry.clone();
        loop {
            // Where nothing is written there is another way to its events, if the first is damaged.
            let check = |opened: &SealedFile| match self.options.read_only {
                true => (0..opened.footer.pages.len()).try_for_each(|page| {
                    opened.read_page(page, &self.identity.record_salt).map(drop)
                }),
                false => Ok(()),
            };
            let opened = self.sealed.open(&*self.disk, &entry, check);
            if !matches!(opened, Err(StorageError::Missing { .. })) {
                return opened;
            }
            let manifest = self.manifest.current();
            let newer = manifest.sealed.iter().find(|one| one.id == entry.id);
            match newer.filter(|newer| newer.key() != entry.key()) {
                None => return opened,
                Some(newer) => entry = newer.clone(),
            }
        }
    }

    /// The block that holds a position in front of the end.
    fn block(&self, position: Position) -> Result<Arc<Block>, StorageError> {
        let plan = self.with_offsets(position, |offsets, file_key, file, first| {
            let index = index_in(position, first);
            let place = offset_and_limit(offsets, index)?;
            let (offset, _) = place.ok_or_else(|| self.lost(position))?;
            let number = offset / BLOCK_BYTES;
            match self.cached(file_key, offset, position) {
                Some(block) => Ok(Err(block)),
                None => Ok(Ok((
                    (file_key, number),
                    BlockPlan::new(offsets, number, file, first)?,
                ))),
            }
        })?;
        let (key, plan) = match plan {
            Err(cached) => return Ok(cached),
            Ok(planned) => planned,
        };
        let block = Arc::new(plan.read(&self.identity.record_salt)?);
        let weight = block.weight();
        self.blocks.insert(key, Arc::clone(&block), weight);
        Ok(block)
    }

    /// The cached block that holds a position, which begins at an offset of a segment.
    fn cached(&self, key: FileKey, offset: u32, position: Position) -> Option<Arc<Block>> {
        let block = self.blocks.find((key, offset / BLOCK_BYTES));
        block.filter(|block| block.end() > position)
    }

    /// Looks at the offsets of the segment that holds a position in front of the end.
    fn with_offsets<T>(
        &self,
        position: Position,
        look: impl FnOnce(
            &dyn Offsets,
            FileKey,
            (&Arc<str>, &Arc<dyn DiskFile>),
            Position,
        ) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let state = self.state.read();
        if let Some(live) = state.holding(position) {
            let facts = &live.facts;
            let key = (facts.segment, 0);
            return look(facts, key, (&live.name, &live.file), facts.first);
        }
        drop(state);
        let manifest = self.manifest.current();
        let entry = sealed_holding(&manifest, position).ok_or_else(|| self.lost(position))?;
        let contents = self.contents(entry)?;
        self.look(&contents, |offsets| {
            look(offsets, contents.key(), contents.file(), contents.first())
        })
    }

    fn lost(&self, position: Position) -> StorageError {
        let error = FormatError::Invalid("the list of segments");
        StorageError::damaged(&format!("the place of event {position}"), 0, error)
    }

    pub(super) fn read_at(&self, positions: &[Position]) -> Result<Chunk, StorageError> {
        let mut chunk = Chunk::default();
        for planned in positions.chunks(PLANNED_MAX) {
            self.read_planned(planned, usize::MAX, &mut chunk)?;
        }
        Ok(chunk)
    }

    pub(super) fn read_within(
        &self,
        positions: &[Position],
        len_bytes_max: usize,
    ) -> Result<(Chunk, usize), StorageError> {
        let mut chunk = Chunk::default();
        let mut planned = positions.get(..PLANNED_MAX).unwrap_or(positions);
        loop {
            match self.read_planned(planned, len_bytes_max, &mut chunk) {
                Ok(count) => return Ok((chunk, count)),
                // What is sound in front of damage is given all the same.
                Err(error) if error.is_damage() && planned.len() > 1 => {
                    planned = planned.get(..planned.len() / 2).unwrap_or(planned);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads some of these positions, in their order: as many as fit, but at least one. Returns how
    /// many; the events go to the chunk by their positions.
    fn read_planned(
        &self,
        positions: &[Position],
        len_bytes_max: usize,
        chunk: &mut Chunk,
    ) -> Result<usize, StorageError> {
        let mut found: Vec<(Position, Run)> = Vec::with_capacity(positions.len());
        let mut located = Vec::new();
        let mut left = len_bytes_max;
        let mut count = 0;
        let mut rest = positions;
        while let Some((&position, behind)) = rest.split_first() {
            if let Some((part, len)) = self.read_adjacent(rest, left, count == 0)? {
                if part.runs.is_empty() || len > left && count > 0 {
                    break;
                }
                left = left.saturating_sub(len);
                let covered: usize = part.runs.iter().map(|run| to_usize(run.count)).sum();
                count += covered;
                rest = rest.get(covered..).unwrap_or_default();
                found.extend(part.runs.into_iter().map(|run| (run.first, run)));
                continue;
            }
            rest = behind;
            let state = self.state.read();
            let is_there = position < state.end();
            let recent = state.recent.record(position).filter(|_| is_there);
            drop(state);
            let place = match recent {
                Some(run) => Err(Some(run)),
                None if is_there => self.locate(position)?,
                None => Err(None),
            };
            let len = match &place {
                Err(run) => run.as_ref().map_or(0, |run| run.bytes.len()),
                Ok(place) => to_usize(place.limit - place.offset),
            };
            if len > left && count > 0 {
                break;
            }
            left = left.saturating_sub(len);
            count += 1;
            match place {
                Err(run) => found.extend(run.map(|run| (position, run))),
                Ok(place) => located.push(place),
            }
        }
        located.sort_by_key(|place| place.position);
        let mut rest = &*located;
        while let Some(first) = rest.first() {
            let near = |pair: &[Located]| match pair {
                [before, after] => {
                    before.key == after.key
                        && after.offset.saturating_sub(before.offset) < NEAR_BYTES
                        && after.offset.saturating_sub(first.offset) < 4 * BLOCK_BYTES
                }
                _ => false,
            };
            let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (group, behind) = rest.split_at(count);
            self.read_near(group, &mut found)?;
            rest = behind;
        }
        found.sort_by_key(|(position, _)| *position);
        found.into_iter().for_each(|(_, run)| chunk.push(run));
        Ok(count)
    }

    /// Reads positions that follow one another, as those of an append do, in one piece: from the
    /// first on, as many as fit; at least one if `some` are needed. With them, how many bytes they
    /// count for. None where there are too few of them to be worth it, or events were removed.
    fn read_adjacent(
        &self,
        positions: &[Position],
        len_bytes_max: usize,
        some: bool,
    ) -> Result<Option<(Chunk, usize)>, StorageError> {
        let Some(&from) = positions.first() else {
            return Ok(None);
        };
        let follows = |pair: &&[Position]| matches!(pair, [one, two] if one.next() == *two);
        let count = 1 + positions.windows(2).take_while(follows).count();
        if count < ADJACENT_MIN {
            return Ok(None);
        }
        let state = self.state.read();
        let to = from.plus(to_u64(count)).min(state.end());
        if from >= to {
            return Ok(None);
        }
        if let Some(chunk) = state.recent.read(from, to, len_bytes_max) {
            let len = chunk.len_bytes();
            return Ok(Some((chunk, len)));
        }
        drop(state);
        let plan = self.with_offsets(from, |offsets, key, file, first| {
            if offsets.has_holes() {
                return Ok(None);
            }
            let range = index_in(from, first)..index_in(to, first);
            let place = offset_and_limit(offsets, range.start)?;
            let (offset, limit) = place.ok_or_else(|| self.lost(from))?;
            if let Some(block) = self.cached(key, offset, from) {
                return Ok(Some(Err(block)));
            }
            if !some && to_usize(limit - offset) > len_bytes_max {
                return Ok(Some(Err(Arc::default())));
            }
            let len_max = u32::try_from(len_bytes_max).unwrap_or(u32::MAX).max(1);
            let end = offset.saturating_add(len_max);
            let plan = BlockPlan::of_range(offsets, range, end, file, first)?;
            Ok(Some(Ok(plan)))
        })?;
        let (block, len) = match plan {
            None => return Ok(None),
            Some(Err(block)) => (block, None),
            Some(Ok(plan)) => {
                let block = plan.read(&self.identity.record_salt)?;
                (Arc::new(block), Some(plan.len_bytes()))
            }
        };
        let chunk = block.chunk(from, to, len_bytes_max)?;
        let len = len.unwrap_or(chunk.len_bytes());
        Ok(Some((chunk, len)))
    }

    /// Where a record is; if its block is cached, the record itself, or none if it was removed.
    fn locate(&self, position: Position) -> Result<Result<Located, Option<Run>>, StorageError> {
        self.with_offsets(position, |offsets, key, (name, file), first| {
            let index = index_in(position, first);
            let place = offset_and_limit(offsets, index)?;
            let (offset, limit) = place.ok_or_else(|| self.lost(position))?;
            if offset == 0 {
                return Ok(Err(None));
            }
            if let Some(block) = self.cached(key, offset, position) {
                let run = block.chunk(position, position.next(), usize::MAX)?;
                return Ok(Err(run.runs.into_iter().next()));
            }
            Ok(Ok(Located {
                position,
                key,
                name: Arc::clone(name),
                file: Arc::clone(file),
                offset,
                limit,
            }))
        })
    }

    /// Reads records of one segment that lie close together.
    fn read_near(
        &self,
        group: &[Located],
        found: &mut Vec<(Position, Run)>,
    ) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(());
        };
        let end = last.limit.min(last.offset.saturating_add(NEAR_BYTES));
        let len = to_usize(end.saturating_sub(first.offset));
        let bytes = read_exact(&*first.file, &first.name, first.offset.into(), len)?;
        let bytes = Bytes::from(bytes);
        let salt = &self.identity.record_salt;
        for place in group {
            let damaged = |error| StorageError::damaged(&place.name, place.offset.into(), error);
            let mut record = bytes.slice(to_usize(place.offset - first.offset)..);
            let layout = Layout::parse(&record).map_err(damaged)?;
            if layout.record_len() > record.len() {
                layout
                    .check_header(&record, place.position, salt)
                    .map_err(damaged)?;
                if layout.record_len() > to_usize(place.limit - place.offset) {
                    return Err(damaged(FormatError::Invalid("a record's length")));
                }
                let at = place.offset.into();
                record = read_exact(&*place.file, &place.name, at, layout.record_len())?.into();
            }
            let len = check_record(&record, place.position, salt).map_err(damaged)?;
            let run = Run {
                first: place.position,
                count: 1,
                bytes: record.slice(..to_usize(len)),
            };
            found.push((place.position, run));
        }
        Ok(())
    }

    /// The first position whose event was created at a time or later.
    pub(super) fn position_at(&self, created: Timestamp) -> Result<Position, StorageError> {
        let micros = created.micros();
        let reaches = |range: &CreatedRange| range.max_us >= micros;
        // The manifest is asked last: a segment that is sealed meanwhile is in both, never in none.
        let live: Vec<(Position, Vec<CreatedRange>)> = {
            let state = self.state.read();
            let segments = state.live.iter().map(|live| &live.facts);
            segments
                .map(|facts| (facts.first, facts.created().to_vec()))
                .collect()
        };
        let manifest = self.manifest.current();
        for entry in manifest
            .sealed
            .iter()
            .filter(|entry| reaches(&entry.created))
        {
            let contents = self.contents(entry)?;
            let found = self.created_in(entry.first_position, contents.created(), created)?;
            if let Some(position) = found {
                return Ok(position);
            }
        }
        for (first, ranges) in live {
            if let Some(position) = self.created_in(first, &ranges, created)? {
                return Ok(position);
            }
        }
        Ok(self.end())
    }

    fn created_in(
        &self,
        first: Position,
        ranges: &[CreatedRange],
        created: Timestamp,
    ) -> Result<Option<Position>, StorageError> {
        let per_range = u64::try_from(RANGE_EVENTS).unwrap_or(u64::MAX);
        for (number, range) in (0u64..).zip(ranges) {
            if range.max_us < created.micros() {
                continue;
            }
            let mut from = first.plus(number * per_range);
            let to = from.plus(per_range).min(self.end());
            while from < to {
                let chunk = self.read(from, to, usize::MAX)?;
                let Some(last) = chunk.runs.last() else {
                    break;
                };
                from = last.end();
                for run in &chunk.runs {
                    for record in run.records() {
                        let (position, layout, _) = record.map_err(|error| {
                            StorageError::damaged("an event in memory", 0, error)
                        })?;
                        let (at, asked) = (layout.created(), created);
                        if (at.seconds(), at.nanos()) >= (asked.seconds(), asked.nanos()) {
                            return Ok(Some(position));
                        }
                    }
                }
            }
        }
        Ok(None)
    }
}
