//! The upkeep of the index, in steps: flushing the memory part to a table, merging tables, making
//! lost tables again, reading back the window of ids.
//!
//! A table becomes durable first, then the manifest names it, then readers see it; whatever stops
//! in between has changed nothing. Steps wait for each other, not for readers or writers.

use std::sync::Arc;

use crate::format::codec::to_u64;
use crate::format::manifest::TableEntry;
use crate::format::state::KnownRequest;
use crate::format::table::Kind;
use crate::index::ids::SeenRequest;
use crate::index::key::Posting;
use crate::index::layers::{Layers, Slot};
use crate::index::memory::Part;
use crate::index::merge::{self, Merge, MergeError};
use crate::index::source::TableSet;
use crate::index::table::{Plan, Table, TableWriter};
use crate::index::{Index, IndexError, Shared};
use crate::log::StorageError;
use crate::model::{Position, correlation_id};
use crate::sync::atomic::Ordering;

/// What the steps have to remember from one to the next.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) next_id: u32,
    merge: Option<Merge>,
    renewal: Option<Renewal>,
}

/// A table of an older version, and what of it was made again: the end, ascending.
#[derive(Debug)]
struct Renewal {
    old: Arc<Slot>,
    tables: Vec<TableEntry>,
    /// In front of this position nothing was made yet.
    end: u64,
}

impl Keeper {
    /// Tables get numbers from this one on.
    pub(super) fn new(next_id: u32) -> Self {
        Self {
            next_id,
            merge: None,
            renewal: None,
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was done, and there may be more.
    Worked,
    /// There is something to do, once more is committed.
    Waiting,
}

impl Index {
    /// Flushes the full memory part, or with `all` whatever is in memory, to a table. Needs all of
    /// it to be committed: `committed` is the position that readers may see.
    ///
    /// # Errors
    /// The disk's. Nothing is lost; the step can be tried again.
    pub(crate) fn flush(&self, committed: Position, all: bool) -> Result<Step, StorageError> {
        let shared = &self.shared;
        let mut keeper = shared.keeper.lock();
        let layers = shared.layers();
        if layers.flushing.is_none() {
            let filling = &layers.filling;
            let part = filling.part.read();
            let empty = part.end() == part.first();
            drop(part);
            if empty || !filling.is_full() && !all {
                return Ok(Step::Idle);
            }
            shared.freeze();
        }
        let Some(cell) = shared.layers().flushing.clone() else {
            return Ok(Step::Idle);
        };
        let part = cell.part.read();
        if part.end() > committed.0.min(shared.source.end().0) {
            return Ok(Step::Waiting);
        }
        let (ids, requests) = {
            let ids = shared.ids.lock();
            (
                ids.fingerprints_in(part.first(), part.end()),
                ids.requests_in(part.first(), part.end()),
            )
        };
        let facts = write_part(
            shared,
            &part,
            (keeper.next_id, 0),
            (ids.0, &ids.1),
            &requests,
        )?;
        drop(part);
        shared.publish(&mut keeper, &[], vec![facts], true)?;
        Ok(Step::Worked)
    }

    /// Writes a checkpoint of the log, behind a table of what is in memory: opening the store walks
    /// only what lies behind it.
    ///
    /// # Errors
    /// The disk's. Nothing is lost; the step can be tried again.
    pub(crate) fn checkpoint(&self, committed: Position) -> Result<Step, StorageError> {
        match self.flush(committed, true)? {
            Step::Idle => {}
            flushed => return Ok(flushed),
        }
        let shared = &self.shared;
        let _keeper = shared.keeper.lock();
        let tables = shared.source.tables();
        let end = tables.end().0;
        let known = |to: Position| shared.known_requests(end, to.0);
        shared.source.put_tables(tables, Some(&known))?;
        Ok(Step::Worked)
    }

    /// Goes on with the merge that has begun, or begins one; about a mebibyte at a time.
    ///
    /// # Errors
    /// The disk's. Nothing is lost; the merge begins again with the next step.
    pub(crate) fn merge_step(&self) -> Result<Step, StorageError> {
        let shared = &self.shared;
        let mut keeper = shared.keeper.lock();
        let outcome = match keeper.merge.take() {
            Some(merge) => Ok(merge),
            None => match merge::choose(&shared.layers().slots) {
                None => return Ok(Step::Idle),
                Some((inputs, level)) => {
                    let id = keeper.next_id;
                    keeper.next_id += 1;
                    Merge::begin(shared.disk.as_ref(), shared.hasher, inputs, (id, level))
                }
            },
        };
        let advance = |mut merge: Merge| match merge.step()? {
            true => Ok((Some(merge), None)),
            false => {
                let inputs = merge.inputs.clone();
                let ids_from = {
                    let ids = shared.ids.lock();
                    ids.lowest(shared.source.end().0)
                };
                let facts = merge.finish(ids_from, &shared.options)?;
                Ok((None, Some((inputs, facts))))
            }
        };
        match outcome.and_then(advance) {
            Ok((merge, finished)) => {
                keeper.merge = merge;
                if let Some((inputs, facts)) = finished {
                    shared.publish(&mut keeper, &inputs, vec![facts], false)?;
                }
                Ok(Step::Worked)
            }
            Err(MergeError::Input(slot)) => {
                slot.lose();
                Ok(Step::Worked)
            }
            Err(MergeError::Output(error)) => Err(error),
        }
    }

    /// Merges all tables into one.
    ///
    /// # Errors
    /// The disk's. Nothing is lost; it can be tried again.
    pub(crate) fn merge_all(&self) -> Result<(), StorageError> {
        {
            let mut keeper = self.shared.keeper.lock();
            let slots = &self.shared.layers().slots;
            if slots.len() < 2
                || slots
                    .iter()
                    .any(|slot| slot.is_lost() || slot.is_outdated())
            {
                return Ok(());
            }
            let inputs: Vec<_> = slots.iter().rev().map(Arc::clone).collect();
            let level = inputs.iter().map(|slot| slot.facts.level).max();
            let plan = (keeper.next_id, level.unwrap_or(0) + 1);
            keeper.next_id += 1;
            let (disk, hasher) = (self.shared.disk.as_ref(), self.shared.hasher);
            keeper.merge = match Merge::begin(disk, hasher, inputs, plan) {
                Ok(merge) => Some(merge),
                Err(MergeError::Input(slot)) => {
                    slot.lose();
                    None
                }
                Err(MergeError::Output(error)) => return Err(error),
            };
        }
        while self.shared.keeper.lock().merge.is_some() {
            self.merge_step()?;
        }
        Ok(())
    }

    /// Whether a table is missing, damaged, or of an older version.
    #[cfg(test)]
    pub(crate) fn wants_rebuild(&self) -> bool {
        let layers = self.shared.layers();
        let mut slots = layers.slots.iter();
        slots.any(|slot| slot.is_lost() || slot.is_outdated())
    }

    /// Makes the newest lost part of the index again, as much as a memory part holds; or else of
    /// the newest table that is of an older version.
    ///
    /// # Errors
    /// The disk's. Nothing is lost; the step can be tried again.
    pub(crate) fn rebuild_step(&self) -> Result<Step, StorageError> {
        let shared = &self.shared;
        let mut keeper = shared.keeper.lock();
        let layers = shared.layers();
        let to_be_made = |slot: &&Arc<Slot>| slot.is_lost() && slot.damage().is_none();
        if let Some(lost) = layers.slots.iter().find(to_be_made) {
            return match self.rebuild_lost(&mut keeper, lost) {
                // Nothing on the disk is given up: opened again, the store tries again.
                Err(damage) if shared.options.read_only && damage.is_damage() => {
                    lost.give_up(damage);
                    Ok(Step::Worked)
                }
                other => other,
            };
        }
        if let Some(old) = layers.slots.iter().find(|slot| slot.is_outdated()) {
            return self.renew(&mut keeper, old);
        }
        shared.rebuilt.store(0, Ordering::Relaxed);
        Ok(Step::Idle)
    }

    fn rebuild_lost(&self, keeper: &mut Keeper, lost: &Arc<Slot>) -> Result<Step, StorageError> {
        // A merge of what is lost will not end well.
        keeper.merge = None;
        let first = lost.facts.first.0;
        let facts = self.table_up_to(keeper, &lost.facts, lost.facts.end.0)?;
        let start = facts.first;
        let rest = (start.0 > first).then(|| TableEntry {
            end: start,
            ..lost.facts.clone()
        });
        let replaced = rest.into_iter().chain([facts]).collect();
        self.shared
            .publish(keeper, &[Arc::clone(lost)], replaced, false)?;
        Ok(Step::Worked)
    }

    /// Makes a table of an older version again. It stays in use until all of it is there.
    fn renew(&self, keeper: &mut Keeper, old: &Arc<Slot>) -> Result<Step, StorageError> {
        let goes_on = |renewal: &Renewal| Arc::ptr_eq(&renewal.old, old);
        let mut renewal = keeper.renewal.take().filter(goes_on).unwrap_or(Renewal {
            old: Arc::clone(old),
            tables: Vec::new(),
            end: old.facts.end.0,
        });
        let made = self.table_up_to(keeper, &old.facts, renewal.end);
        let is_all = made
            .as_ref()
            .is_ok_and(|facts| facts.first == old.facts.first);
        let failure = made.map(|facts| {
            renewal.end = facts.first.0;
            renewal.tables.insert(0, facts);
        });
        if is_all {
            self.shared
                .publish(keeper, &[renewal.old], renewal.tables, false)?;
        } else {
            keeper.renewal = Some(renewal);
        }
        failure.map(|()| Step::Worked)
    }

    /// Makes a table of the end of a range of positions, as much as a memory part holds. Nobody
    /// knows of it yet.
    fn table_up_to(
        &self,
        keeper: &mut Keeper,
        range: &TableEntry,
        end: u64,
    ) -> Result<TableEntry, StorageError> {
        let shared = &self.shared;
        let first = range.first.0;
        let mut start = end.saturating_sub(shared.options.flush_events).max(first);
        let part = loop {
            match self.part_of(start, end)? {
                Some(part) => break part,
                None => start += (end - start) / 2,
            }
        };
        let is_all = (start, end) == (first, range.end.0);
        let level = if is_all { range.level } else { 0 };
        let (ids, requests) = self.ids_of(start, end)?;
        let plan = (keeper.next_id, level);
        let facts = write_part(shared, &part, plan, (start, &ids), &requests)?;
        keeper.next_id += 1;
        shared.rebuilt.fetch_add(end - start, Ordering::Relaxed);
        Ok(facts)
    }

    /// The index of a range of the log; none if it takes too much memory.
    fn part_of(&self, first: u64, end: u64) -> Result<Option<Part>, StorageError> {
        let shared = &self.shared;
        let mut part = Part::new(first, shared.hasher);
        while part.end() < end {
            let from = Position(part.end());
            let events = shared.source.events(from, Position(end))?;
            let to = events
                .last()
                .map_or(Position(end), |(last, _)| last.position);
            let removed = shared.source.removed(from, to)?;
            let mut removed = removed.into_iter().peekable();
            for (event, len) in &events {
                while let Some((at, keys)) = removed.next_if(|(at, _)| *at < event.position) {
                    part.insert_removed(at.0, &keys);
                }
                let metadata = Posting::metadata_of(event);
                let correlation_id = correlation_id(&event.metadata);
                let said = (metadata.as_ref(), correlation_id.as_deref());
                let posting = Posting::of(event, said, *len);
                part.insert(&posting, shared.stream_hash(&event.stream));
            }
            for (at, keys) in removed {
                part.insert_removed(at.0, &keys);
            }
            if events.is_empty() {
                part.skip_to(end);
            }
            if part.memory_bytes() > 2 * shared.options.memory_bytes && end - first > 1 {
                return Ok(None);
            }
        }
        Ok(Some(part))
    }

    /// What the window of ids may want of a range of the log.
    #[expect(clippy::type_complexity, reason = "two lists of what tables keep")]
    fn ids_of(
        &self,
        first: u64,
        end: u64,
    ) -> Result<(Vec<u64>, Vec<([u8; 16], SeenRequest)>), StorageError> {
        let shared = &self.shared;
        let lowest = shared.ids.lock().lowest(shared.source.end().0);
        let mut requests = Vec::new();
        if lowest < end && !shared.options.read_only {
            requests = shared.source.requests(Position(first), Position(end))?;
        }
        let mut ids = Vec::new();
        let mut at = first;
        while at < end && lowest < end {
            let events = shared.source.events(Position(at), Position(end))?;
            if events.is_empty() {
                at = end;
            }
            for (event, _) in &events {
                // Where an event was removed, nothing has its id.
                ids.resize(usize::try_from(event.position.0 - first).unwrap_or(0), 0);
                let stream_hash = shared.stream_hash(&event.stream);
                let id = event.id.as_bytes();
                ids.push(shared.hasher.fingerprint(stream_hash, id));
                at = event.position.0 + 1;
            }
        }
        Ok((ids, requests))
    }
}

/// Writes a memory part to a table of this number and level.
fn write_part(
    shared: &Shared,
    part: &Part,
    (id, level): (u32, u32),
    ids: (u64, &[u64]),
    requests: &[([u8; 16], SeenRequest)],
) -> Result<TableEntry, StorageError> {
    let keys = part.sorted(u64::MAX);
    let plan = Plan {
        id,
        level,
        first: part.first(),
        end: part.end(),
        keys_max: keys.len(),
    };
    let mut writer = TableWriter::create(shared.disk.as_ref(), shared.hasher, plan)?;
    for found in keys {
        found.all().try_for_each(|item| writer.item(item))?;
        let metadata = match found.kind() {
            Kind::Metadata => found.metadata().map(|(_, metadata)| metadata),
            _ => None,
        };
        writer.key(
            found.kind(),
            found.text(),
            None,
            found.tombstone(),
            metadata,
        )?;
    }
    writer.finish(ids, requests)
}

impl Shared {
    /// Puts new tables in the place of others, or behind all: on the disk, in the manifest, and for
    /// readers. `flushed`: they hold what the flushed memory part holds.
    fn publish(
        &self,
        keeper: &mut Keeper,
        replaced: &[Arc<Slot>],
        facts: Vec<TableEntry>,
        flushed: bool,
    ) -> Result<(), StorageError> {
        let synced = self.disk.sync_directory();
        synced.map_err(|error| StorageError::io("sync", "the directory", error))?;
        let slot = |facts: TableEntry| {
            let old = replaced.iter().any(|slot| slot.facts.id == facts.id);
            let table = match old {
                true => None,
                false => Table::open(self.disk.as_ref(), &facts, &self.cache).ok(),
            };
            Slot::new(facts, table)
        };
        let new: Vec<_> = facts.into_iter().rev().map(slot).collect();
        let next_id = new.iter().map(|slot| slot.facts.id + 1).max();
        keeper.next_id = keeper.next_id.max(next_id.unwrap_or(0));
        let is_replaced = |slot: &Arc<Slot>| replaced.iter().any(|old| Arc::ptr_eq(old, slot));
        let mut slots = self.layers().slots.clone();
        let at = slots.iter().position(is_replaced).unwrap_or(0);
        slots.retain(|slot| !is_replaced(slot));
        slots.splice(at..at, new);
        let tables = TableSet {
            tables: slots.iter().rev().map(|slot| slot.facts.clone()).collect(),
            next_id: keeper.next_id,
        };
        let end = tables.end().0;
        let known = |to: Position| self.known_requests(end, to.0);
        let known: &dyn Fn(Position) -> Vec<KnownRequest> = &known;
        self.source.put_tables(tables, flushed.then_some(known))?;
        let mut layers = self.layers.write();
        *layers = Arc::new(Layers {
            filling: Arc::clone(&layers.filling),
            flushing: layers.flushing.clone().filter(|_| !flushed),
            slots,
        });
        Ok(())
    }

    /// The named requests of appends that begin in a range of durable positions.
    fn known_requests(&self, first: u64, end: u64) -> Vec<KnownRequest> {
        let requests = self.ids.lock().requests_in(first, end);
        let known = |(fingerprint, seen): ([u8; 16], SeenRequest)| KnownRequest {
            fingerprint,
            first: seen.first,
            count: seen.count,
            content: seen.content,
        };
        requests.into_iter().map(known).collect()
    }

    /// How far the rebuilding is.
    pub(super) fn rebuilding(&self, layers: &Layers) -> IndexError {
        let done = self.rebuilt.load(Ordering::Relaxed);
        let of = done + layers.lost_events().max(1);
        IndexError::Rebuilding { done, of }
    }

    /// Reads back the ids of the events that the tables cover, the newest first.
    pub(super) fn load_window(&self) -> Result<(), IndexError> {
        if self.window_loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = self.window_load.lock();
        if self.window_loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let layers = self.layers();
        for slot in &layers.slots {
            let wanted = {
                let ids = self.ids.lock();
                ids.has_room() && ids.low() > slot.facts.first.0
            };
            let answer = slot.table().ok_or(()).and_then(|table| {
                let none = (slot.facts.end.0, Vec::new());
                let ids = if wanted { table.ids() } else { Ok(none) };
                let ids = ids.map_err(|_| ())?;
                Ok((ids, table.requests().map_err(|_| ())?))
            });
            let Ok(((first, fingerprints), requests)) = answer else {
                slot.lose();
                return Err(self.rebuilding(&layers));
            };
            let mut ids = self.ids.lock();
            for (index, fingerprint) in fingerprints.iter().enumerate().rev() {
                ids.push_front(first + to_u64(index), *fingerprint);
            }
            for (fingerprint, seen) in requests.into_iter().rev() {
                ids.push_request_front(fingerprint, seen);
            }
        }
        self.window_loaded.store(true, Ordering::Release);
        Ok(())
    }
}
