//! Writing a sealed segment again without some of its events. Positions stay, and so do the places
//! of all other segments; what is read from the file, by whoever has it open, stays as it is.
//!
//! The new file is written, synced and read back before a manifest names it in the place of the old
//! one, which is removed after that. A crash in between leaves one of both, and what is left of the
//! other is removed when the store is opened.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::format::checksum::{ChecksumList, checksum};
use crate::format::footer::{Digest, FIXED_LEN_BYTES, LEAF_EVENTS, Mark};
use crate::format::manifest::{Rewrite, SealedSegment};
use crate::format::record::Layout;
use crate::format::rewrite::{IndexKey, KeptRun, RemovedKeys, RemovedKeysWriter, RewrittenTrailer};
use crate::format::segment::{HEADER_LEN_BYTES, SegmentHeader, SegmentKind};
use crate::format::store::Identity;
use crate::format::unit::{AppendEntry, HEADER_LEN, Place, Trailer, UnitHeader};
use crate::log::error::StorageError;
use crate::log::facts::{ContentDigests, Facts, RecordEntry};
use crate::log::file::create_new;
use crate::log::seal::digest_of;
use crate::log::sealed::{Contents, FileKey, SealedFile};
use crate::log::shared::Shared;
use crate::log::walk::{Expected, READ_BYTES, WalkedUnit, Walker, fill};
use crate::model::Position;

/// How much is written between two syncs, in bytes: the commits' own syncs wait for it.
const SYNC_BYTES: usize = 4 * 1024 * 1024;

/// A unit to be judged.
pub(crate) struct JudgedUnit<'a> {
    /// The position of its first event.
    pub first: Position,
    /// Its records, with their positions.
    pub records: Vec<(Position, Layout, &'a [u8])>,
    /// Its appends and state records.
    pub trailer: &'a Trailer,
}

/// What becomes of a unit.
#[derive(Debug, Default)]
pub(crate) struct UnitFate {
    /// For each record that goes, the keys that it has in the index; none for one that stays.
    pub removed: Vec<Option<Vec<IndexKey>>>,
    /// For each state record, whether it stays.
    pub states: Vec<bool>,
}

/// Judges units, and lets the work go on or not.
pub(crate) trait RewriteJudge {
    /// What becomes of a unit.
    ///
    /// # Errors
    /// Ends the rewriting.
    fn judge(&mut self, unit: &JudgedUnit<'_>) -> Result<UnitFate, StorageError>;

    /// Is told of bytes that were read or written, and may take its time. Whether to go on.
    fn go_on(&mut self, bytes: u64) -> bool;
}

/// What rewriting a segment did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RewriteOutcome {
    /// How many events went.
    pub removed_events: u64,
    /// How many bytes were given back.
    pub freed_bytes: u64,
    /// Whether the segment was written again.
    pub rewritten: bool,
    /// Whether the work was stopped before it did anything.
    pub stopped: bool,
}

/// What is to become of the events and state records of a segment.
#[derive(Default)]
struct Plan {
    /// For each record, whether it stays.
    kept: Vec<bool>,
    /// For each state record, whether it stays.
    states: Vec<bool>,
    removed_events: u64,
    /// How many bytes of records go.
    removed_bytes: u64,
    keys: RemovedKeysWriter,
}

impl Shared {
    /// The sealed segments that may be written again, in order, and their lengths in bytes: those
    /// in front of the leaf that is still open, whose digest will be made of their events, and in
    /// front of the state file's place, which is a place in a file.
    pub(super) fn rewritable(&self) -> Vec<(u32, u64)> {
        let manifest = self.manifest.current();
        let leaf = manifest.sealed_end().0 / LEAF_EVENTS * LEAF_EVENTS;
        let indexed = manifest.indexed_to.0;
        let state = manifest.state.filter(|state| state.number > 0);
        let may = |sealed: &&SealedSegment| {
            sealed.end_position().0 <= leaf.min(indexed)
                && state.is_none_or(|state| sealed.id < state.place.segment)
        };
        manifest
            .sealed
            .iter()
            .take_while(may)
            .map(|sealed| (sealed.id, sealed.len_bytes.into()))
            .collect()
    }

    /// Shows the removed events of a range of positions.
    pub(super) fn removed(
        &self,
        from: Position,
        to: Position,
        visit: &mut dyn FnMut(Position, &mut dyn Iterator<Item = &IndexKey>),
    ) -> Result<(), StorageError> {
        let manifest = self.manifest.current();
        let sealed = &manifest.sealed;
        let behind = sealed.partition_point(|sealed| sealed.end_position() <= from);
        let touched = sealed.get(behind..).unwrap_or_default().iter();
        let touched = touched.take_while(|sealed| sealed.first_position < to);
        for entry in touched.filter(|sealed| sealed.rewrite.is_some()) {
            let contents = self.contents(entry)?;
            let keys = self.removed_keys(&contents)?;
            let first = contents.first();
            let index = |at: Position| u32::try_from(at.0.saturating_sub(first.0));
            let (from, to) = (index(from), index(to));
            let range = keys.range(from.unwrap_or(u32::MAX), to.unwrap_or(u32::MAX));
            for (index, mut keys) in range {
                visit(first.plus(index.into()), &mut keys);
            }
        }
        Ok(())
    }

    /// The keys of a segment's removed events; those of the last one are kept.
    fn removed_keys(&self, contents: &Contents) -> Result<Arc<RemovedKeys>, StorageError> {
        let mut last = self.removed_keys.lock();
        if let Some((key, keys)) = &*last
            && *key == contents.key()
        {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(contents.read_removed_keys()?);
        *last = Some((contents.key(), Arc::clone(&keys)));
        Ok(keys)
    }

    /// Writes a segment again if that gives back so many bytes.
    pub(super) fn rewrite(
        &self,
        segment: u32,
        at_least_bytes: u64,
        judge: &mut dyn RewriteJudge,
    ) -> Result<RewriteOutcome, StorageError> {
        let manifest = self.manifest.current();
        let Some(at) = manifest.sealed.iter().position(|one| one.id == segment) else {
            return Ok(RewriteOutcome::default());
        };
        let before = at.checked_sub(1).and_then(|at| manifest.sealed.get(at));
        let Some(entry) = manifest.sealed.get(at).cloned() else {
            return Ok(RewriteOutcome::default());
        };
        let opened = self.open_sealed(&entry)?;
        let source = Source {
            shared: self,
            opened: &opened,
            before: before.map_or(Mark::START, |before| before.mark),
            removed: opened.read_removed_keys()?,
        };
        let stopped = RewriteOutcome {
            stopped: true,
            ..RewriteOutcome::default()
        };
        let Some(plan) = source.plan(judge)? else {
            return Ok(stopped);
        };
        if plan.removed_bytes == 0 || plan.removed_bytes < at_least_bytes {
            return Ok(RewriteOutcome::default());
        }
        let next = SealedSegment {
            rewrite: Some(Rewrite {
                number: entry.key().1 + 1,
                keys_len: 0,
                keys_checksum: 0,
            }),
            ..entry.clone()
        };
        let name = next.file_name().to_string();
        let written = source.write(plan.keys.encode(), &plan, next, judge);
        let next = match written {
            Ok(Some(next)) => next,
            other => {
                // So that a disk that stays full does not fill with beginnings.
                let _stays = self.disk.remove(&name);
                return other.map(|_| stopped);
            }
        };
        let len_bytes = next.len_bytes;
        self.manifest.update(|manifest| {
            let mut sealed = manifest.sealed.iter_mut();
            if let Some(old) = sealed.find(|old| old.key() == entry.key()) {
                *old = next;
            }
        })?;
        self.sealed.close(entry.key());
        let mut state = self.state.write();
        state.recent.forget_before(entry.end_position());
        drop(state);
        let _stays = self.disk.remove(&entry.file_name().to_string());
        Ok(RewriteOutcome {
            removed_events: plan.removed_events,
            freed_bytes: u64::from(entry.len_bytes.saturating_sub(len_bytes)),
            rewritten: true,
            stopped: false,
        })
    }
}

/// The segment as it is.
struct Source<'a> {
    shared: &'a Shared,
    opened: &'a SealedFile,
    /// The last unit in front of the segment.
    before: Mark,
    /// The keys of events that were removed earlier.
    removed: RemovedKeys,
}

impl Source<'_> {
    /// Shows all units; false if the work was stopped.
    fn walk(
        &self,
        judge: &mut dyn RewriteJudge,
        visit: &mut dyn FnMut(&WalkedUnit<'_>, &mut dyn RewriteJudge) -> Result<(), StorageError>,
    ) -> Result<bool, StorageError> {
        let opened = self.opened;
        let (file, name) = (Arc::clone(&opened.file), Arc::clone(&opened.name));
        let end = opened.footer.end_offset;
        let mut walker = Walker::new(&self.shared.identity, file, name, end.into());
        walker.rewritten = opened.rewrite.is_some();
        let mut expected = Expected {
            place: Place {
                segment: opened.id,
                offset: HEADER_LEN_BYTES,
            },
            position: opened.footer.first_position,
            mark: self.before,
        };
        while expected.place.offset < end {
            let offset = expected.place.offset.into();
            let unit = walker.unit(&expected)?;
            let unit = unit.map_err(|error| StorageError::damaged(&opened.name, offset, error))?;
            visit(&unit, judge)?;
            expected = unit.expected();
            if !judge.go_on(unit.len.into()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn index(&self, position: Position) -> u32 {
        let first = self.opened.footer.first_position;
        u32::try_from(position.0.saturating_sub(first.0)).unwrap_or(u32::MAX)
    }

    /// Has everything judged; none if the work was stopped.
    fn plan(&self, judge: &mut dyn RewriteJudge) -> Result<Option<Plan>, StorageError> {
        let mut plan = Plan::default();
        let mut seen = 0;
        let mut removed_before = |plan: &mut Plan, to: u32| {
            for (index, keys) in self.removed.range(seen, to) {
                plan.keys.push(index, keys);
            }
            seen = to;
        };
        let done = self.walk(judge, &mut |unit, judge| {
            let damaged = |error| StorageError::damaged(&self.opened.name, 0, error);
            let mut records = Vec::with_capacity(unit.records.len());
            for (position, bytes) in unit.positions().zip(unit.record_bytes()) {
                let layout = Layout::parse(bytes).map_err(damaged)?;
                records.push((position, layout, bytes));
            }
            let judged = JudgedUnit {
                first: unit.header.first_position,
                records,
                trailer: &unit.trailer,
            };
            let fate = judge.judge(&judged)?;
            let mut fates = fate.removed.into_iter();
            for (position, _, bytes) in &judged.records {
                let keys = fates.next().flatten();
                plan.kept.push(keys.is_none());
                if let Some(keys) = keys {
                    let index = self.index(*position);
                    removed_before(&mut plan, index);
                    plan.keys.push(index, &keys);
                    plan.removed_events += 1;
                    plan.removed_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                }
            }
            for (state, stays) in unit.trailer.states.iter().zip(fate.states) {
                plan.states.push(stays);
                if !stays {
                    let len = state.key.len() + state.value.as_ref().map_or(0, |it| it.len());
                    plan.removed_bytes += u64::try_from(len).unwrap_or(u64::MAX);
                }
            }
            Ok(())
        })?;
        removed_before(&mut plan, u32::MAX);
        Ok(done.then_some(plan))
    }

    /// Writes what stays; gives the manifest's entry once the file is durable and was read back,
    /// and none if the work was stopped.
    fn write(
        &self,
        keys: Vec<u8>,
        plan: &Plan,
        next: SealedSegment,
        judge: &mut dyn RewriteJudge,
    ) -> Result<Option<SealedSegment>, StorageError> {
        let shared = self.shared;
        let name = next.file_name().to_string();
        let footer = &self.opened.footer;
        let target = Target {
            disk: &*shared.disk,
            identity: &shared.identity,
            key: next.key(),
            first: footer.first_position,
            before: self.before,
            behind: footer.mark,
        };
        let mut output = Output::create(&target, &name)?;
        let mut kept = plan.kept.iter().copied();
        let mut states = plan.states.iter().copied();
        let done = self.walk(judge, &mut |unit, judge| {
            output.unit(unit, (&mut kept, &mut states))?;
            if output.buffer.len() >= READ_BYTES {
                let len = output.flush()?;
                if !judge.go_on(len) {
                    return Err(StorageError::Closed);
                }
            }
            Ok(())
        });
        match done {
            Ok(true) => {}
            Ok(false) | Err(StorageError::Closed) => return Ok(None),
            Err(error) => return Err(error),
        }
        let digests = ContentDigests {
            chain: footer.chain,
            blocks: footer.blocks.clone(),
            leaves: footer.leaves.clone(),
        };
        let sealed = output.finish(footer.end_position(), &keys, &digests, next)?;
        let synced = shared.disk.sync_directory();
        synced.map_err(|error| StorageError::io("sync the directory of", &name, error))?;
        Ok(Some(sealed))
    }
}

/// The new file.
pub(super) struct Output<'a> {
    identity: &'a Identity,
    file: Arc<dyn DiskFile>,
    name: String,
    pub(super) facts: Facts,
    /// The mark behind the segment, as it is for the next one.
    mark_behind: Mark,
    hasher: blake3::Hasher,
    /// What is not written yet, and where it goes.
    pub(super) buffer: Vec<u8>,
    offset: u64,
    unsynced: usize,
}

/// What a file will be that a segment is written to again.
pub(super) struct Target<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) identity: &'a Identity,
    /// The segment, and how often it was written again.
    pub(super) key: FileKey,
    pub(super) first: Position,
    /// The last unit in front of the segment.
    pub(super) before: Mark,
    /// Its last unit, as it was written first.
    pub(super) behind: Mark,
}

impl<'a> Output<'a> {
    pub(super) fn create(target: &Target<'a>, name: &str) -> Result<Self, StorageError> {
        let (segment, number) = target.key;
        let header = SegmentHeader {
            store: target.identity.store,
            segment,
            kind: SegmentKind::Rewritten { number },
        };
        let salt = target.identity.record_salt;
        Ok(Self {
            identity: target.identity,
            file: create_new(target.disk, name)?,
            name: name.to_owned(),
            facts: Facts::new(segment, target.first, target.before, salt),
            mark_behind: target.behind,
            hasher: blake3::Hasher::new(),
            buffer: header.encode(),
            offset: 0,
            unsynced: 0,
        })
    }

    /// Adds what stays of a unit.
    pub(super) fn unit(
        &mut self,
        unit: &WalkedUnit<'_>,
        (kept, states): (
            &mut dyn Iterator<Item = bool>,
            &mut dyn Iterator<Item = bool>,
        ),
    ) -> Result<(), StorageError> {
        let identity = self.identity;
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER_LEN, 0);
        let mut sums = ChecksumList::default();
        let mut positions = Vec::new();
        let mut records = Vec::new();
        let all = unit.positions().zip(unit.record_bytes()).zip(&unit.records);
        for ((position, bytes), record) in all {
            if !kept.next().unwrap_or(true) {
                continue;
            }
            let layout = Layout::parse(bytes);
            let layout = layout.map_err(|error| StorageError::damaged(&self.name, 0, error))?;
            sums.push(layout.header_checksum());
            positions.push(position);
            records.push(RecordEntry {
                offset: short(self.buffer.len() - start),
                ..*record
            });
            self.buffer.extend_from_slice(bytes);
        }
        let records_end = self.buffer.len();
        let trailer = trailer(unit, &positions, states);
        let is_named = |append: &AppendEntry| append.request.is_some();
        let empty = records.is_empty()
            && trailer.trailer.states.is_empty()
            && !trailer.trailer.appends.iter().any(is_named);
        if empty {
            self.buffer.truncate(start);
            return Ok(());
        }
        sums.push(trailer.encode(&mut self.buffer));
        let header = UnitHeader {
            place: Place {
                segment: self.facts.segment,
                offset: self.facts.end_offset,
            },
            first_position: unit.header.first_position,
            committed_us: unit.header.committed_us,
            epoch: unit.header.epoch,
            previous: self.facts.mark.checksum,
            records: short(records.len()),
            records_len: short(records_end - start - HEADER_LEN),
            trailer_len: short(self.buffer.len() - records_end),
            body_checksum: sums.finish(),
        };
        let (bytes, sum) = header.encode(&identity.unit_salt);
        if let Some(hole) = self.buffer.get_mut(start..start + HEADER_LEN) {
            hole.copy_from_slice(&bytes);
        }
        let align = usize::try_from(identity.unit_align).unwrap_or(8);
        let len = (self.buffer.len() - start).next_multiple_of(align);
        self.buffer.resize(start + len, 0);
        for (position, record) in positions.iter().zip(&records) {
            fill(&mut self.facts, *position);
            self.facts.push_record(record);
        }
        fill(&mut self.facts, unit.end);
        let mark = Mark {
            checksum: sum,
            epoch: header.epoch,
            committed_us: header.committed_us,
        };
        self.facts.end_unit(short(len), mark);
        Ok(())
    }

    /// Says what the unit behind the segment continues.
    pub(super) fn set_mark_behind(&mut self, mark: Mark) {
        self.mark_behind = mark;
    }

    /// Writes the buffer, and gives how long it was.
    pub(super) fn flush(&mut self) -> Result<u64, StorageError> {
        let failed = |operation| {
            let name = &self.name;
            move |error: io::Error| StorageError::io(operation, name, error)
        };
        self.hasher.update(&self.buffer);
        let written = self.file.write_all_at(self.offset, &self.buffer);
        written.map_err(failed("write"))?;
        self.unsynced += self.buffer.len();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data().map_err(failed("sync"))?;
            self.unsynced = 0;
        }
        let len = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.offset += len;
        self.buffer.clear();
        Ok(len)
    }

    fn flush_and_sync(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let synced = self.file.sync_data();
        synced.map_err(|error| StorageError::io("sync", &self.name, error))
    }

    /// Writes the keys and the footer, and reads everything back. Gives the entry of the segment
    /// with what is known of the file now.
    pub(super) fn finish(
        &mut self,
        end: Position,
        keys: &[u8],
        digests: &ContentDigests,
        entry: SealedSegment,
    ) -> Result<SealedSegment, StorageError> {
        fill(&mut self.facts, end);
        self.facts.mark = self.mark_behind;
        let (bytes, footer) = self.facts.footer(digests);
        self.buffer.extend_from_slice(keys);
        self.buffer.extend_from_slice(&bytes);
        // Its end comes when all else is durable: where no manifest is left, a file that ends as it
        // should is taken for what it says it is.
        let end_at = self.buffer.len().saturating_sub(FIXED_LEN_BYTES);
        let end_bytes = self.buffer.split_off(end_at);
        self.flush_and_sync()?;
        self.buffer = end_bytes;
        self.flush_and_sync()?;
        let dropped = self.file.drop_cache(0);
        dropped.map_err(|error| StorageError::io("read back", &self.name, error))?;
        let digest: Digest = self.hasher.finalize().into();
        let read = digest_of(&*self.file, &self.name, self.offset)?;
        let len_bytes = u32::try_from(self.offset).ok();
        let Some(len_bytes) = len_bytes.filter(|_| read == digest) else {
            let error = io::Error::other("what was read back is not what was written");
            return Err(StorageError::io("write again", &self.name, error));
        };
        // Only a help against accidents: the store does without.
        let _mark_may_be_missing = self.file.set_read_only();
        let keys_len = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        Ok(SealedSegment {
            len_bytes,
            footer_offset: self.facts.end_offset + keys_len,
            created: footer.created_range(),
            digest,
            rewrite: entry.rewrite.map(|rewrite| Rewrite {
                keys_len,
                keys_checksum: checksum(keys),
                ..rewrite
            }),
            ..entry
        })
    }
}

/// The trailer of a unit of which only some records stay.
fn trailer(
    unit: &WalkedUnit<'_>,
    positions: &[Position],
    states: &mut dyn Iterator<Item = bool>,
) -> RewrittenTrailer {
    let mut appends = Vec::<AppendEntry>::new();
    for append in &unit.trailer.appends {
        // Where one unnamed append ends and the next begins is of no use any more.
        match (appends.last_mut(), &append.request) {
            (Some(last), None) if last.request.is_none() => last.records += append.records,
            _ => appends.push(append.clone()),
        }
    }
    let all = unit.trailer.states.iter();
    let states = all.filter(|_| states.next().unwrap_or(true)).cloned();
    RewrittenTrailer {
        trailer: Trailer {
            appends,
            states: states.collect(),
        },
        kept: kept_runs(unit.header.first_position, unit.end, positions),
    }
}

/// Which of a range of events are left; nothing if all are.
pub(super) fn kept_runs(first: Position, end: Position, positions: &[Position]) -> Vec<KeptRun> {
    let mut kept = Vec::<KeptRun>::new();
    let mut next = first;
    for position in positions {
        match kept.last_mut() {
            Some(run) if *position == next => run.kept += 1,
            _ => kept.push(KeptRun {
                removed: short(usize::try_from(position.0 - next.0).unwrap_or(usize::MAX)),
                kept: 1,
            }),
        }
        next = position.next();
    }
    if positions.is_empty() && end > first {
        kept.push(KeptRun {
            removed: 0,
            kept: 0,
        });
    }
    let whole = [KeptRun {
        removed: 0,
        kept: short(usize::try_from(end.0 - first.0).unwrap_or(0)),
    }];
    if kept == whole {
        kept.clear();
    }
    kept
}

fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
