//! Merging adjacent tables into one, in bounded steps.
//!
//! All inputs are read once, in the order of their keys. Long leaves are copied as they are, since
//! they do not depend on the table they stand in.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::disk::Disk;
use crate::format::codec::to_u64;
use crate::format::filter::KeyHasher;
use crate::format::manifest::TableEntry;
use crate::format::table::Kind;
use crate::format::table::entry::Entry;
use crate::format::table::leaf::LEAF_ITEMS_MAX;
use crate::index::IndexOptions;
use crate::index::ids::SeenRequest;
use crate::index::layers::Slot;
use crate::index::table::{Plan, Table, TableWriter};
use crate::log::StorageError;

/// So many adjacent tables of one level become one of the next.
pub(super) const FAN_IN: usize = 8;
/// Tables with more events are not merged any more: it bounds the space a merge needs.
const EVENTS_MAX: u64 = 1 << 29;
/// A leaf with so many items is copied as it is.
const LEAF_ITEMS_TO_COPY: usize = LEAF_ITEMS_MAX / 2;
/// A step writes about so many bytes.
const STEP_LEN_BYTES: u64 = 1 << 20;

/// A merge that has begun.
#[derive(Debug)]
pub(super) struct Merge {
    /// Ascending by position.
    pub(super) inputs: Vec<Arc<Slot>>,
    reads: Vec<Read>,
    writer: TableWriter,
}

/// Where a merge is in one of its inputs.
#[derive(Debug)]
struct Read {
    keys: VecDeque<(Vec<u8>, Entry)>,
    next: Option<Vec<u8>>,
}

/// Why a merge stopped.
#[derive(Debug)]
pub(super) enum MergeError {
    /// Nothing can be read from an input any more.
    Input(Arc<Slot>),
    /// The new table cannot be written.
    Output(StorageError),
}

/// Which tables to merge next, if any: ascending, with the level of the outcome.
pub(super) fn choose(newest_first: &[Arc<Slot>]) -> Option<(Vec<Arc<Slot>>, u32)> {
    let ascending: Vec<_> = newest_first.iter().rev().collect();
    let fits = |group: &[&Arc<Slot>]| {
        group
            .iter()
            .all(|slot| slot.table().is_some() && !slot.is_outdated())
            && group.iter().map(|slot| slot.events()).sum::<u64>() <= EVENTS_MAX
    };
    let clone = |group: &[&Arc<Slot>]| group.iter().map(|slot| Arc::clone(slot)).collect();
    for group in ascending.windows(FAN_IN).rev() {
        let level = group.first().map_or(0, |slot| slot.facts.level);
        if group.iter().all(|slot| slot.facts.level == level) && fits(group) {
            return Some((clone(group), level + 1));
        }
    }
    // A rebuild leaves small tables in front of large ones, where none of their kind will follow.
    for (index, slot) in ascending.iter().enumerate() {
        let level = slot.facts.level;
        let front = ascending.get(..index).unwrap_or_default();
        let smaller = |slot: &&&Arc<Slot>| slot.facts.level < level;
        let count = front.iter().rev().take_while(smaller).count().min(FAN_IN);
        let group = front.get(index - count..).unwrap_or_default();
        if count >= 2 && fits(group) {
            let highest = group.iter().map(|slot| slot.facts.level).max();
            let outcome = highest.unwrap_or(0) + 1;
            return Some((clone(group), outcome.min(level.saturating_sub(1))));
        }
    }
    None
}

impl Merge {
    /// Begins to merge adjacent tables.
    pub(super) fn begin(
        disk: &dyn Disk,
        hasher: KeyHasher,
        inputs: Vec<Arc<Slot>>,
        (id, level): (u32, u32),
    ) -> Result<Self, MergeError> {
        let mut keys_max = 0;
        let mut reads = Vec::new();
        for slot in &inputs {
            let table = usable(slot)?;
            keys_max += table.footer().keys;
            let page = table.keys(&[], false);
            let page = page.map_err(|_| MergeError::Input(Arc::clone(slot)))?;
            reads.push(Read {
                keys: page.keys.into(),
                next: page.next,
            });
        }
        let plan = Plan {
            id,
            level,
            first: inputs.first().map_or(0, |slot| slot.facts.first.0),
            end: inputs.last().map_or(0, |slot| slot.facts.end.0),
            keys_max: usize::try_from(keys_max).unwrap_or(usize::MAX),
        };
        let writer = TableWriter::create(disk, hasher, plan).map_err(MergeError::Output)?;
        Ok(Self {
            inputs,
            reads,
            writer,
        })
    }

    /// Merges about a mebibyte of keys; says whether there are more.
    pub(super) fn step(&mut self) -> Result<bool, MergeError> {
        let enough = self.writer.len_bytes() + STEP_LEN_BYTES;
        while self.writer.len_bytes() < enough {
            let fronts = self.reads.iter().filter_map(|read| read.keys.front());
            let Some(key) = fronts.map(|(key, _)| key).min().cloned() else {
                return Ok(false);
            };
            self.key(&key)?;
        }
        Ok(true)
    }

    fn key(&mut self, key: &[u8]) -> Result<(), MergeError> {
        let damaged = |slot: &Arc<Slot>| MergeError::Input(Arc::clone(slot));
        let (kind, text) = match (key.first(), key.get(1..)) {
            (Some(byte), Some(text)) => (Kind::from_byte(*byte), text),
            _ => (None, key),
        };
        let mut base = 0;
        let mut tombstone = None;
        let mut metadata = None;
        for (slot, read) in self.inputs.iter().zip(&mut self.reads) {
            let Some((_, entry)) = read.keys.pop_front_if(|(front, _)| front == key) else {
                continue;
            };
            let table = usable(slot)?;
            let relative = kind != Some(Kind::Stream);
            copy(
                table,
                &entry,
                if relative { base } else { 0 },
                &mut self.writer,
            )
            .map_err(|failure| failure.map_or_else(|| damaged(slot), MergeError::Output))?;
            base = base.saturating_add(entry.span);
            tombstone = tombstone.or(entry.tombstone);
            metadata = entry.metadata.or(metadata);
            if read.keys.is_empty()
                && let Some(next) = read.next.take()
            {
                let page = table.keys(&next, false).map_err(|_| damaged(slot))?;
                read.keys = page.keys.into();
                read.next = page.next;
            }
        }
        let kind = kind.ok_or_else(|| match self.inputs.first() {
            Some(slot) => damaged(slot),
            None => MergeError::Output(StorageError::Closed),
        })?;
        let span = (kind != Kind::Stream).then_some(base);
        let written = self.writer.key(kind, text, span, tombstone, metadata);
        written.map_err(MergeError::Output)
    }

    /// Ends the merge: the new table, durable. Ids are kept from `ids_from` on, and the last
    /// requests.
    pub(super) fn finish(
        self,
        ids_from: u64,
        options: &IndexOptions,
    ) -> Result<TableEntry, MergeError> {
        let mut ids: Vec<u64> = Vec::new();
        let mut ids_first = 0;
        let mut requests: Vec<([u8; 16], SeenRequest)> = Vec::new();
        for slot in &self.inputs {
            let damaged = |_| MergeError::Input(Arc::clone(slot));
            let table = usable(slot)?;
            let (first, of_table) = table.ids().map_err(damaged)?;
            if ids_first + to_u64(ids.len()) != first {
                ids.clear();
            }
            if ids.is_empty() {
                ids_first = first;
            }
            ids.extend(of_table);
            requests.extend(table.requests().map_err(damaged)?);
        }
        let too_old = usize::try_from(ids_from.saturating_sub(ids_first)).unwrap_or(usize::MAX);
        let too_old = too_old.min(ids.len());
        let kept = ids.get(too_old..).unwrap_or_default();
        let surplus = requests.len().saturating_sub(options.window_requests);
        let requests = requests.get(surplus..).unwrap_or_default();
        let ids = (ids_first + to_u64(too_old), kept);
        self.writer
            .finish(ids, requests)
            .map_err(MergeError::Output)
    }
}

fn usable(slot: &Arc<Slot>) -> Result<&Table, MergeError> {
    slot.table()
        .ok_or_else(|| MergeError::Input(Arc::clone(slot)))
}

/// Copies a list behind what was written of it. An error without content is the input's.
fn copy(
    table: &Table,
    entry: &Entry,
    base: u64,
    writer: &mut TableWriter,
) -> Result<(), Option<StorageError>> {
    let mut failure = None;
    let copied = table.leaves(&entry.list, &mut |content, items| {
        let items: Vec<_> = items
            .iter()
            .map(|(at, place)| (at.saturating_add(base), *place))
            .collect();
        let put = match content {
            Some(content) if items.len() >= LEAF_ITEMS_TO_COPY => writer.leaf(content, &items),
            _ => items.iter().try_for_each(|item| writer.item(*item)),
        };
        put.inspect_err(|error| failure = Some(error.clone()))
    });
    copied.map_err(|_| failure)
}
