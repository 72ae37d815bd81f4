//! The writing side of the index: looking up what happened lately, and adding what happens now.
//!
//! One append at a time, never with a disk access. What is staged is seen here at once, and by
//! readers only when it is committed.

use std::sync::Arc;

use smallvec::SmallVec;
use uuid::Uuid;

use crate::format::codec::to_u64;
use crate::format::table::Kind;
use crate::format::unit::RequestEntry;
use crate::index::ids::{SeenRequest, request_fingerprint};
use crate::index::key::Posting;
use crate::index::layers::Layers;
use crate::index::memory::{Found, Part};
use crate::index::{Shared, StreamEntry};
use crate::model::{Position, Revision, SETTINGS_STREAM, StreamName};
use crate::sync::atomic::Ordering;
use crate::sync::{ArcRwLockWriteGuard, RawRwLock};

/// What became of a stream since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    /// Nothing.
    Unchanged,
    /// Something: put this over what was found at that position, with [`StreamEntry::updated`].
    Entry(StreamEntry),
    /// The memory does not reach back so far: look it up again.
    TooOld,
}

/// The right to stage one append.
#[derive(Debug)]
pub(crate) struct StageGuard<'a> {
    shared: &'a Shared,
    layers: Arc<Layers>,
    part: ArcRwLockWriteGuard<RawRwLock, Part>,
    /// Of the events that were added, which become known together: each is put somewhere else in
    /// memory, and without a lock between them the processor waits for all of these places at once.
    fingerprints: SmallVec<[u64; 4]>,
}

impl<'a> StageGuard<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        loop {
            let layers = shared.layers();
            if layers.filling.is_full() && layers.flushing.is_none() {
                shared.freeze();
                continue;
            }
            let part = layers.filling.part.write_arc();
            // The part may have been frozen between the two steps; then nothing may be added.
            if Arc::ptr_eq(&shared.layers().filling, &layers.filling) {
                return Self {
                    shared,
                    layers,
                    part,
                    fingerprints: SmallVec::new(),
                };
            }
        }
    }

    /// The lowest position since which everything is known here.
    pub(crate) fn reaches_back_to(&self) -> Position {
        let flushing = self.layers.flushing.as_ref();
        Position(flushing.map_or(self.part.first(), |cell| cell.part.read().first()))
    }

    /// What became of a stream since a position, staged events included.
    pub(crate) fn head(&self, stream: &str, since: Position) -> Staged {
        if since < self.reaches_back_to() {
            return Staged::TooOld;
        }
        let hash = |kind: Kind| self.shared.hasher.hash(kind.byte(), stream.as_bytes());
        let hashes = (hash(Kind::Stream), hash(Kind::Metadata));
        let mut entry = StreamEntry::default();
        let mut put = |part: &Part| {
            let older = part_entry(part, stream, hashes, since.0);
            entry = older.updated(&entry);
        };
        put(&self.part);
        if let Some(cell) = &self.layers.flushing {
            put(&cell.part.read());
        }
        match entry == StreamEntry::default() {
            true => Staged::Unchanged,
            false => Staged::Entry(entry),
        }
    }

    /// Adds an event; positions must go on without gaps.
    pub(crate) fn insert(&mut self, posting: &Posting<'_>) {
        let shared = self.shared;
        if posting.stream.described().is_some() || posting.stream.as_str() == SETTINGS_STREAM {
            let end = posting.position.next().0;
            shared.rules_end.fetch_max(end, Ordering::Release);
        }
        let stream_hash = shared.stream_hash(posting.stream);
        self.part.insert(posting, stream_hash);
        let fingerprint = shared
            .hasher
            .fingerprint(stream_hash, posting.id.as_bytes());
        self.fingerprints.push(fingerprint);
    }

    /// Positions from `since` on that may hold an event of this stream with this id. Read them, or
    /// compare with what is staged, to be sure.
    pub(crate) fn ids_since(
        &self,
        stream: &StreamName,
        id: Uuid,
        since: Position,
    ) -> SmallVec<[u64; 2]> {
        self.shared.positions_of_id(stream, id, since.0)
    }

    /// Whether an event of this stream with this id may have been added at `since` or behind it.
    pub(crate) fn id_seen_since(&self, stream: &StreamName, id: Uuid, since: Position) -> bool {
        !self.ids_since(stream, id, since).is_empty()
    }

    /// Remembers the request that an append answers.
    pub(crate) fn insert_request(&self, first: Position, count: u32, request: &RequestEntry) {
        let fingerprint = request_fingerprint(&request.principal, request.id);
        let seen = SeenRequest::of(first.0, count, request);
        self.shared.ids.lock().push_request(fingerprint, seen);
    }

    /// What is remembered of a request, if it was staged at `since` or behind it.
    pub(crate) fn request_since(
        &self,
        principal: &str,
        id: Uuid,
        since: Position,
    ) -> Option<SeenRequest> {
        let seen = self.shared.ids.lock().request(principal, id);
        seen.filter(|seen| seen.first >= since.0)
    }
}

impl Drop for StageGuard<'_> {
    fn drop(&mut self) {
        let added = to_u64(self.fingerprints.len());
        if added > 0 {
            let first = self.part.end() - added;
            self.shared.ids.lock().push_all(first, &self.fingerprints);
        }
        let options = &self.shared.options;
        let part = &*self.part;
        let full = part.end() - part.first() >= options.flush_events
            || part.log_len_bytes() >= options.flush_log_bytes
            || part.memory_bytes() >= options.memory_bytes;
        self.layers.filling.full.store(full, Ordering::Release);
        let bytes = part.memory_bytes();
        self.layers.filling.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// What a part knows of a stream, of what lies at `since` or behind it.
fn part_entry(part: &Part, stream: &str, hashes: (u64, u64), since: u64) -> StreamEntry {
    let found = part.find(Kind::Stream, stream, hashes.0, u64::MAX);
    let metadata = part.find(Kind::Metadata, stream, hashes.1, u64::MAX);
    let last = found.and_then(|found| found.last());
    let last = last.filter(|(_, position)| *position >= since);
    let tombstone = found.and_then(|found| found.tombstone());
    let metadata = metadata.and_then(|found| Found::metadata(&found));
    StreamEntry {
        last: last.map(|(ordinal, position)| (Revision(ordinal), Position(position))),
        tombstoned: tombstone.filter(|at| *at >= since).map(Position),
        metadata: metadata
            .filter(|(position, _)| *position >= since)
            .map(|(position, metadata)| (Position(position), metadata)),
    }
}
