//! The index against the log it is made from: a plain list of events answers the same questions.

mod model;
mod places;
mod versions;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::disk::{Disk, MemoryDisk};
use crate::format::state::KnownRequest;
use crate::format::table::{FOOTER_LEN, Footer};
use crate::format::unit::RequestEntry;
use crate::index::ids::SeenRequest;
use crate::index::ids::request_fingerprint;
use crate::index::source::RemovedEvent;
use crate::index::{Index, IndexOptions, Posting, Source, Step, StreamEntry, TableSet};
use crate::log::StorageError;
use crate::model::{
    ContentType, EventType, Position, RecordedEvent, Revision, StreamMetadata, StreamName, Tag,
    Timestamp,
};

/// A log in memory. Clones are handles to the same log.
#[derive(Clone, Debug, Default)]
pub(super) struct TestLog {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<RecordedEvent>,
    next_revisions: HashMap<String, u64>,
    requests: Vec<(String, Uuid, SeenRequest)>,
    /// How many events are durable.
    end: usize,
    tables: TableSet,
}

impl Source for TestLog {
    fn secret(&self) -> [u8; 16] {
        [42; 16]
    }

    fn end(&self) -> Position {
        Position(self.state.lock().end.try_into().unwrap())
    }

    fn events(
        &self,
        from: Position,
        to: Position,
    ) -> Result<Vec<(RecordedEvent, u32)>, StorageError> {
        let state = self.state.lock();
        let range = usize::try_from(from.0).unwrap()..state.end.min(to.0.try_into().unwrap());
        let events = state.events.get(range).unwrap_or_default();
        let some = events.iter().take(100);
        Ok(some.map(|event| (event.clone(), 300)).collect())
    }

    fn requests(
        &self,
        from: Position,
        to: Position,
    ) -> Result<Vec<([u8; 16], SeenRequest)>, StorageError> {
        let state = self.state.lock();
        let all = state.requests.iter();
        let range = all.filter(|(_, _, seen)| seen.first >= from.0 && seen.first < to.0);
        Ok(range
            .map(|(principal, id, seen)| (request_fingerprint(principal, *id), *seen))
            .collect())
    }

    fn removed(&self, _: Position, _: Position) -> Result<Vec<RemovedEvent>, StorageError> {
        Ok(Vec::new())
    }

    fn tables(&self) -> TableSet {
        self.state.lock().tables.clone()
    }

    fn put_tables(
        &self,
        tables: TableSet,
        _checkpoint: Option<&dyn Fn(Position) -> Vec<KnownRequest>>,
    ) -> Result<(), StorageError> {
        self.state.lock().tables = tables;
        Ok(())
    }
}

impl TestLog {
    /// Forgets what is not durable.
    fn truncate(&self, end: usize) {
        let mut state = self.state.lock();
        for event in state.events.split_off(end) {
            if event.revision != Revision::TOMBSTONE {
                let next = state.next_revisions.get_mut(event.stream.as_str());
                *next.unwrap() -= 1;
            }
        }
    }
}

/// A log, a disk and the index between them.
pub(super) struct Fixture {
    pub(super) log: TestLog,
    pub(super) disk: MemoryDisk,
    pub(super) options: IndexOptions,
    pub(super) index: Index,
}

pub(super) fn options() -> IndexOptions {
    IndexOptions {
        flush_events: 16,
        window_events: 100,
        window_requests: 20,
        ..IndexOptions::default()
    }
}

impl Fixture {
    pub(super) fn new(options: IndexOptions) -> Self {
        let (log, disk) = (TestLog::default(), MemoryDisk::new());
        let index = Index::open(&log, Arc::new(disk.clone()), options).unwrap();
        Self {
            log,
            disk,
            options,
            index,
        }
    }

    pub(super) fn reopen(&mut self) {
        let end = self.log.state.lock().end;
        self.log.truncate(end);
        let disk = Arc::new(self.disk.clone());
        self.index = Index::open(&self.log, disk, self.options).unwrap();
    }

    pub(super) fn events(&self) -> Vec<RecordedEvent> {
        self.log.state.lock().events.clone()
    }

    pub(super) fn staged(&self) -> u64 {
        self.log.state.lock().events.len().try_into().unwrap()
    }

    /// Stages an event. `data` is what a metadata event says.
    pub(super) fn stage(&self, stream: &str, event_type: &str, tags: &[&str], data: &str) {
        let mut state = self.log.state.lock();
        let stream = StreamName::new(stream).unwrap();
        let event_type = EventType::new(event_type).unwrap();
        let tombstone = &*event_type == StreamMetadata::TOMBSTONE_TYPE;
        let next = state.next_revisions.entry(stream.to_string()).or_default();
        let revision = match tombstone {
            true => Revision::TOMBSTONE,
            false => Revision(std::mem::replace(next, *next + 1)),
        };
        let number = state.events.len().try_into().unwrap();
        let event = RecordedEvent {
            position: Position(number),
            stream,
            revision,
            id: Uuid::from_u128(number.into()),
            event_type,
            content_type: ContentType::Json,
            created: Timestamp::from_micros(0),
            tags: tags.iter().map(|tag| Tag::new(*tag).unwrap()).collect(),
            // An event belongs to the conversation that its first tag names.
            metadata: tags.first().map_or(Bytes::new(), |tag| {
                Bytes::from(format!("{{\"$correlationId\":\"{tag}\"}}"))
            }),
            data: Bytes::from(data.to_owned()),
        };
        let metadata = Posting::metadata_of(&event);
        let said = (metadata.as_ref(), tags.first().copied());
        let posting = Posting::of(&event, said, 300);
        self.index.stage().insert(&posting);
        state.events.push(event);
    }

    pub(super) fn stage_request(&self, principal: &str, id: u128, count: u32) {
        let mut state = self.log.state.lock();
        let first = u64::try_from(state.events.len()).unwrap();
        let request = RequestEntry {
            principal: principal.into(),
            id: Uuid::from_u128(id),
            content: 7,
        };
        let stage = self.index.stage();
        stage.insert_request(Position(first), count, &request);
        let seen = SeenRequest {
            first,
            count,
            content: 7,
        };
        state
            .requests
            .push((principal.to_owned(), request.id, seen));
    }

    /// Commits everything that is staged.
    pub(super) fn commit(&self) {
        let mut state = self.log.state.lock();
        state.end = state.events.len();
        self.index.requests_durable(self.index.requests_staged());
    }

    pub(super) fn commit_to(&self, end: u64) {
        let mut state = self.log.state.lock();
        state.end = state
            .end
            .max(usize::try_from(end).unwrap().min(state.events.len()));
    }

    pub(super) fn committed(&self) -> Position {
        self.log.end()
    }

    pub(super) fn flush(&self) {
        while self.index.flush(self.committed(), true).unwrap() == Step::Worked {}
    }

    pub(super) fn merge(&self) {
        while self.index.merge_step().unwrap() == Step::Worked {}
    }

    pub(super) fn rebuild(&self) {
        while self.index.rebuild_step().unwrap() == Step::Worked {}
    }

    /// Makes a table one of the first version, unless it is damaged, and opens the index again.
    pub(super) fn make_old(&mut self, table: &str) {
        let Ok(bytes) = self.disk.map(table) else {
            return;
        };
        let at = bytes.len() - FOOTER_LEN;
        let Ok(footer) = Footer::decode(&bytes[at..]) else {
            return;
        };
        let old = Footer {
            version: 1,
            ..footer
        };
        let at = at.try_into().unwrap();
        self.disk.corrupt(table, at, &old.encode()).unwrap();
        self.reopen();
    }

    pub(super) fn table_names(&self) -> Vec<String> {
        let tables = self.log.tables().tables;
        let name = |table: &crate::format::manifest::TableEntry| super::table::file_name(table.id);
        tables.iter().map(name).collect()
    }
}

/// What is known of a stream by looking at every event before a position.
pub(super) fn entry_of(events: &[RecordedEvent], stream: &str, end: u64) -> StreamEntry {
    let mut entry = StreamEntry::default();
    for event in events.iter().filter(|event| event.position.0 < end) {
        if &*event.stream == stream {
            match event.revision {
                Revision::TOMBSTONE => entry.tombstoned = Some(event.position),
                revision => entry.last = Some((revision, event.position)),
            }
        }
        if event.stream.described() == Some(stream)
            && let Some(metadata) = Posting::metadata_of(event)
        {
            entry.metadata = Some((event.position, metadata));
        }
    }
    entry
}
