//! Resolving: everything about a request that may need the disk, found out on the caller's thread.
//!
//! A resolution holds at one committed position. Staging compares it with what happened since, in
//! memory alone; so no append ever waits for another one's disk reads.

use bytes::Bytes;
use smallvec::SmallVec;
use uuid::Uuid;

use super::error::AppendError;
use super::prepare::{Prepared, Subject};
use super::receipt::{self, Written};
use super::verdict::{Repetition, Standing, Wish};
use crate::index::{From, Index, IndexError, Key, StreamEntry, View};
use crate::log::{Log, StorageError};
use crate::model::{
    Direction, ExpectedRevision, Position, Receipt, RecordedEvent, Request, Revision,
    StreamMetadata, StreamName,
};

/// What is known of a request's streams as of a committed position.
#[derive(Debug)]
pub(super) struct Resolution {
    /// Everything before this position was taken into account.
    pub(super) at: Position,
    /// One for each subject of the request.
    pub(super) facts: SmallVec<[Facts; 1]>,
}

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) entry: StreamEntry,
    pub(super) repetition: Repetition,
    /// For a whole repetition: where the first and the last of the events are.
    pub(super) repeated: Option<Repeated>,
    /// For a deleted stream that is written to: what its metadata stream holds.
    pub(super) deleted: Option<Box<Deleted>>,
}

/// Where the events of a repeated request lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated {
    pub(super) first: Position,
    pub(super) last: Position,
    pub(super) revision: Revision,
}

/// The metadata stream of a deleted stream.
#[derive(Clone, Debug)]
pub(super) struct Deleted {
    pub(super) entry: StreamEntry,
    pub(super) json: Bytes,
}

/// What became of a request when it was looked at.
pub(super) enum Resolved {
    /// It can be staged.
    Ready(Box<Resolution>),
    /// It was answered before; here is the receipt again.
    Repeated(Receipt),
}

/// Resolves requests against the committed log.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    pub(super) log: &'a Log,
    pub(super) index: &'a Index,
    pub(super) committed: Position,
}

impl Resolver<'_> {
    pub(super) fn resolve(&self, prepared: &Prepared) -> Result<Resolved, AppendError> {
        let view = self.index.view(self.committed);
        if let Some((request, content)) = &prepared.request
            && let Some(receipt) = self.first_receipt(&view, request, *content)?
        {
            return Ok(Resolved::Repeated(receipt));
        }
        let mut ids = IdsBySubject::of(prepared);
        let mut facts = SmallVec::with_capacity(prepared.subjects.len());
        for (index, subject) in prepared.subjects.iter().enumerate() {
            facts.push(self.facts(&view, subject, ids.next(index))?);
        }
        let at = self.committed;
        Ok(Resolved::Ready(Box::new(Resolution { at, facts })))
    }

    fn facts(
        &self,
        view: &View,
        subject: &Subject,
        ids: &[(usize, Uuid)],
    ) -> Result<Facts, AppendError> {
        let entry = view.stream(&subject.stream)?;
        let standing = standing(&entry);
        let mut facts = Facts {
            entry,
            repetition: Repetition::None,
            repeated: None,
            deleted: None,
        };
        if subject.wish != Wish::Write || standing.tombstoned {
            return Ok(facts);
        }
        let found = match subject.expected {
            ExpectedRevision::Any | ExpectedRevision::StreamExists => {
                self.recent(view, &subject.stream, ids)?
            }
            ExpectedRevision::NoStream if standing.last.is_some() => {
                self.behind(view, &subject.stream, Revision::START, ids)?
            }
            ExpectedRevision::Exactly(revision) if standing.last > Some(revision) => {
                self.behind(view, &subject.stream, revision.next(), ids)?
            }
            ExpectedRevision::NoStream | ExpectedRevision::Exactly(_) => Found::default(),
        };
        (facts.repetition, facts.repeated) = found.compare(ids);
        if standing.deleted {
            facts.deleted = self.deleted(view, &subject.stream)?.map(Box::new);
        }
        Ok(facts)
    }

    /// The recent events of the stream that have these ids, as far as the first that is not there.
    fn recent(
        &self,
        view: &View,
        stream: &StreamName,
        ids: &[(usize, Uuid)],
    ) -> Result<Found, AppendError> {
        let mut found = Found::default();
        for (_, id) in ids {
            let candidates = view.find_ids(stream, &[*id])?;
            let candidates: SmallVec<[Position; 2]> = candidates
                .into_iter()
                .map(|(_, position)| position)
                .collect();
            let event = match self.event_with(&candidates, stream, *id)? {
                None => self.removed_with(view, &candidates, stream, *id)?,
                event => event,
            };
            let Some(event) = event else {
                break;
            };
            found.push(event);
        }
        Ok(found)
    }

    /// The events of the stream from a revision on, as many as there are ids.
    fn behind(
        &self,
        view: &View,
        stream: &StreamName,
        from: Revision,
        ids: &[(usize, Uuid)],
    ) -> Result<Found, AppendError> {
        let mut found = Found::default();
        let mut postings = view.seek(
            Key::Stream(stream),
            From::Ordinal(from.0),
            Direction::Forwards,
        )?;
        while found.len() < ids.len() {
            let wanted = (ids.len() - found.len()).min(128);
            let positions: Vec<Position> = postings
                .next_chunk(wanted)?
                .into_iter()
                .map(|(_, position)| position)
                .collect();
            if positions.is_empty() {
                break;
            }
            let before = found.len();
            for event in self.written(&positions)? {
                // Events that a scavenge removed leave a hole, and the rest cannot be compared.
                if event.revision != from.plus(found.len().try_into().unwrap_or(u64::MAX)) {
                    return Ok(found);
                }
                found.push(event);
            }
            if found.len() == before {
                break;
            }
        }
        Ok(found)
    }

    fn event_with(
        &self,
        candidates: &[Position],
        stream: &StreamName,
        id: Uuid,
    ) -> Result<Option<Written>, AppendError> {
        let events = self.written(candidates)?;
        Ok(events
            .into_iter()
            .rev()
            .find(|event| event.id == id && event.stream == *stream))
    }

    /// The event of the stream that has this id and was removed: its fingerprint is known, and so
    /// is where it stood in the stream.
    fn removed_with(
        &self,
        view: &View,
        candidates: &[Position],
        stream: &StreamName,
        id: Uuid,
    ) -> Result<Option<Written>, AppendError> {
        for position in candidates.iter().rev() {
            if !self.events(&[*position])?.is_empty() {
                continue;
            }
            let from = From::Position(*position);
            let mut postings = view.seek(Key::Stream(stream), from, Direction::Forwards)?;
            let there = postings.next_chunk(1)?.into_iter().next();
            if let Some((revision, at)) = there
                && at == *position
            {
                return Ok(Some(Written {
                    stream: stream.clone(),
                    id,
                    revision: Revision(revision),
                    position: at,
                }));
            }
        }
        Ok(None)
    }

    fn deleted(&self, view: &View, stream: &StreamName) -> Result<Option<Deleted>, AppendError> {
        let Some(metadata_stream) = stream.metadata_stream() else {
            return Ok(None);
        };
        let entry = view.stream(&metadata_stream)?;
        let Some((_, position)) = entry.last else {
            return Ok(None);
        };
        let event = self.events(&[position])?.pop();
        let json = event.map(|event| event.data).unwrap_or_default();
        Ok(Some(Deleted { entry, json }))
    }

    fn first_receipt(
        &self,
        view: &View,
        request: &Request,
        content: u64,
    ) -> Result<Option<Receipt>, AppendError> {
        let Some(known) = view.find_request(&request.principal, request.id)? else {
            return Ok(None);
        };
        if known.content != content {
            return Err(AppendError::RequestIdReused(request.id));
        }
        let first = Position(known.first);
        let positions: Vec<Position> = (0..u64::from(known.count))
            .map(|offset| first.plus(offset))
            .collect();
        let mut events = Vec::with_capacity(positions.len());
        for planned in positions.chunks(128) {
            events.extend(self.written(planned)?);
        }
        Ok(Some(receipt::again(first, &events, self.log.identity())))
    }

    fn written(&self, positions: &[Position]) -> Result<Vec<Written>, StorageError> {
        Ok(self
            .events(positions)?
            .into_iter()
            .map(Written::of)
            .collect())
    }

    fn events(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StorageError> {
        let chunk = self.log.read_at(positions)?;
        let damaged = |error| StorageError::damaged("the log", 0, error);
        chunk.events().map(|event| event.map_err(damaged)).collect()
    }
}

/// Where a stream stands, by its entry in the index. A stream that is closed for ever is not also
/// deleted: nothing brings it back.
pub(super) fn standing(entry: &StreamEntry) -> Standing {
    let tombstoned = entry.tombstoned.is_some();
    let metadata = entry.metadata.as_ref().map(|(_, metadata)| metadata);
    Standing {
        last: entry.last.map(|(revision, _)| revision),
        has_metadata: metadata.is_some(),
        deleted: !tombstoned && metadata.is_some_and(StreamMetadata::is_deleted),
        tombstoned,
    }
}

/// Events found for a list of ids, in the order of the ids.
#[derive(Default)]
struct Found(Vec<Written>);

impl Found {
    fn push(&mut self, event: Written) {
        self.0.push(event);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn compare(&self, ids: &[(usize, Uuid)]) -> (Repetition, Option<Repeated>) {
        let same = self
            .0
            .iter()
            .zip(ids)
            .take_while(|(event, (_, id))| event.id == *id)
            .count();
        let first = self.0.iter().map(|event| event.position).min();
        match (same, first, self.0.last()) {
            (0, ..) => (Repetition::None, None),
            (same, Some(first), Some(last)) if same == ids.len() => {
                let (revision, last) = (last.revision, last.position);
                (
                    Repetition::Whole,
                    Some(Repeated {
                        first,
                        last,
                        revision,
                    }),
                )
            }
            _ => (Repetition::Part, None),
        }
    }
}

/// The ids of a request's events, grouped by stream in one pass.
struct IdsBySubject {
    ids: SmallVec<[(usize, Uuid); 2]>,
    taken: usize,
}

impl IdsBySubject {
    fn of(prepared: &Prepared) -> Self {
        let mut ids: SmallVec<[(usize, Uuid); 2]> = prepared
            .events()
            .map(|event| (event.subject, event.event.id))
            .collect();
        // Stable: the ids of one stream keep their order.
        ids.sort_by_key(|(subject, _)| *subject);
        Self { ids, taken: 0 }
    }

    /// The ids for a subject; subjects must be asked for in order.
    fn next(&mut self, subject: usize) -> &[(usize, Uuid)] {
        let rest = self.ids.get(self.taken..).unwrap_or_default();
        let count = rest.iter().take_while(|(of, _)| *of == subject).count();
        self.taken += count;
        rest.get(..count).unwrap_or_default()
    }
}

impl std::convert::From<IndexError> for AppendError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Storage(error) => Self::Storage(error),
            IndexError::Rebuilding { done, of } => Self::IndexRebuilding { done, of },
        }
    }
}
