//! Which streams have events in a range of positions, as far as tables say: for reports of what was
//! lost. Nothing but words depends on it.

use std::sync::Arc;

use crate::disk::Disk;
use crate::format::manifest::TableEntry;
use crate::format::table::Kind;
use crate::index::list::Bound;
use crate::index::table::{PageCache, Table};
use crate::log::StorageError;
use crate::model::Position;

/// So many are named.
const STREAMS_MAX: usize = 1_000;
const CACHE_BYTES: usize = 1 << 20;

/// The streams that have an event in a range, in the order of their names.
pub(crate) fn streams_between(
    disk: &dyn Disk,
    tables: &[TableEntry],
    first: Position,
    end: Position,
) -> Vec<String> {
    let mut streams = Vec::new();
    let overlaps = |table: &&TableEntry| table.first < end && first < table.end;
    for facts in tables.iter().filter(overlaps) {
        // What of a table cannot be read says nothing.
        let _as_far_as_it_goes = in_table(disk, facts, (first.0, end.0), &mut streams);
    }
    streams.sort_unstable();
    streams.dedup();
    streams.truncate(STREAMS_MAX);
    streams
}

fn in_table(
    disk: &dyn Disk,
    facts: &TableEntry,
    (first, end): (u64, u64),
    streams: &mut Vec<String>,
) -> Result<(), StorageError> {
    let cache = Arc::new(PageCache::new(CACHE_BYTES));
    let table = Table::open(disk, facts, &cache)?;
    let mut next = Some(vec![Kind::Stream.byte()]);
    while let Some(at) = next {
        let page = table.keys(&at, false)?;
        next = page.next;
        for (key, entry) in page.keys {
            let Some((kind, text)) = key.split_first() else {
                continue;
            };
            if *kind != Kind::Stream.byte() || streams.len() > STREAMS_MAX {
                return Ok(());
            }
            let items = table.items(&entry.list, Bound::From(first))?;
            let tombstoned = entry.tombstone.is_some_and(|at| (first..end).contains(&at));
            if tombstoned || items.first().is_some_and(|(_, at)| *at < end) {
                streams.push(String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    Ok(())
}
