//! A store that is easy to believe: one list of events, searched from end to end. Tests hold the
//! real one against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annal::{
    Append, ExpectedRevision, NewEvent, Position, Receipt, RecordedEvent, Request, Revision,
    StateChange, StateSpace, StreamHead, StreamMetadata, StreamName,
};
use uuid::Uuid;

/// An event of the reference log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stream: StreamName,
    pub(crate) revision: Revision,
    pub(crate) id: Option<Uuid>,
    pub(crate) event_type: String,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    /// Checks that an event which the store shows is this one.
    pub(crate) fn is_event(&self, event: &RecordedEvent) {
        let shown = (&event.stream, event.revision);
        assert_eq!(shown, (&self.stream, self.revision));
        assert_eq!(*event.event_type, *self.event_type, "{}", event.position);
        assert!(event.data == self.data, "the data of {event:?}");
        assert!(self.id.is_none_or(|id| event.id == id), "{event:?}");
    }
}

/// What a request asks of the reference store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Append {
        events: Vec<(StreamName, NewEvent)>,
        expected: Vec<(StreamName, ExpectedRevision)>,
        /// State records: a key of one byte, and a value.
        states: Vec<(u8, Option<Vec<u8>>)>,
        /// The request's id, if it is named.
        request: Option<u128>,
    },
    BringBack(StreamName, ExpectedRevision),
    Delete(StreamName, ExpectedRevision),
    Tombstone(StreamName, ExpectedRevision),
}

impl Ask {
    /// The same as a request to the real store.
    pub(crate) fn append(&self) -> Append {
        match self.clone() {
            Self::BringBack(stream, expected) => Append::bring_back(stream, expected),
            Self::Delete(stream, expected) => Append::delete(stream, expected),
            Self::Tombstone(stream, expected) => Append::tombstone(stream, expected),
            Self::Append {
                events,
                expected,
                states,
                request,
            } => {
                let append = events
                    .into_iter()
                    .fold(Append::new(), |append, (stream, event)| {
                        append.event(stream, event)
                    });
                let append = expected
                    .into_iter()
                    .fold(append, |append, (stream, expected)| {
                        append.expect(stream, expected)
                    });
                let append = states.into_iter().fold(append, |append, (key, value)| {
                    let space = StateSpace::Settings;
                    append.state(match value {
                        Some(value) => StateChange::put(space, vec![key], value),
                        None => StateChange::remove(space, vec![key]),
                    })
                });
                let name = |id| Request {
                    principal: "ann".to_owned(),
                    id: Uuid::from_u128(id),
                };
                match request {
                    Some(id) => append.request(name(id)),
                    None => append,
                }
            }
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done {
        first: Position,
        last: Option<Position>,
        revisions: Vec<(StreamName, Revision)>,
        repeated: bool,
    },
    Wrong(StreamName, StreamHead),
    Deleted(StreamName, StreamHead),
    Reused,
}

impl Answer {
    pub(crate) fn of(receipt: Receipt) -> Self {
        let Receipt {
            first,
            last,
            revisions,
            repeated,
            ..
        } = receipt;
        Self::Done {
            first,
            last,
            revisions,
            repeated,
        }
    }
}

/// The reference store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) log: Vec<Arc<Entry>>,
    pub(crate) states: BTreeMap<u8, Vec<u8>>,
    /// Positions whose events nobody could read when a scavenge began.
    gone: BTreeSet<u64>,
    /// What was asked under an id, and the answer.
    requests: BTreeMap<u128, (Ask, Answer)>,
}

impl Reference {
    fn events<'a>(
        &'a self,
        stream: &'a str,
    ) -> impl DoubleEndedIterator<Item = (usize, &'a Entry)> {
        let of = move |(_, entry): &(usize, &Entry)| entry.stream.as_str() == stream;
        self.log.iter().map(|entry| &**entry).enumerate().filter(of)
    }

    fn tombstoned(&self, stream: &str) -> bool {
        self.events(stream)
            .any(|(_, entry)| entry.revision == Revision::TOMBSTONE)
    }

    pub(crate) fn last(&self, stream: &str) -> Option<Revision> {
        let ordinary = |revision: &Revision| *revision != Revision::TOMBSTONE;
        self.events(stream)
            .map(|(_, entry)| entry.revision)
            .filter(ordinary)
            .max()
    }

    /// The JSON of the stream's metadata; none if it never had any.
    fn metadata(&self, stream: &str) -> Option<Vec<u8>> {
        if stream.starts_with("$$") {
            return None;
        }
        self.events(&format!("$${stream}"))
            .next_back()
            .map(|(_, entry)| entry.data.clone())
    }

    fn deleted(&self, stream: &str) -> bool {
        !self.tombstoned(stream)
            && self
                .metadata(stream)
                .is_some_and(|json| StreamMetadata::parse(&json).is_deleted())
    }

    pub(crate) fn head(&self, stream: &str) -> StreamHead {
        match self.last(stream) {
            _ if self.tombstoned(stream) => StreamHead::Tombstoned,
            last if self.deleted(stream) => StreamHead::Deleted(last),
            Some(last) => StreamHead::At(last),
            None => StreamHead::Absent,
        }
    }

    /// The event at a position.
    pub(crate) fn at(&self, position: Position) -> &Entry {
        &self.log[usize::try_from(position.0).unwrap()]
    }

    /// Whether a scavenge may have removed the event at a position.
    pub(crate) fn may_be_gone(&self, position: Position) -> bool {
        self.gone.contains(&position.0)
    }

    /// A scavenge may remove what nobody can read now, but for the last event of each stream, the
    /// last metadata, and tombstones.
    pub(crate) fn scavenge(&mut self) {
        let streams: BTreeSet<StreamName> =
            self.log.iter().map(|entry| entry.stream.clone()).collect();
        for stream in streams {
            let readable = self.readable(&stream).unwrap_or_default();
            let of_stream: Vec<usize> = self.events(&stream).map(|(at, _)| at).collect();
            let last = of_stream.iter().copied().max_by_key(|at| {
                let revision = self.log[*at].revision;
                (revision != Revision::TOMBSTONE, revision)
            });
            for at in of_stream {
                let is_tombstone = self.log[at].revision == Revision::TOMBSTONE;
                if !is_tombstone && Some(at) != last && !readable.contains(&at) {
                    self.gone.insert(at.try_into().unwrap());
                }
            }
        }
    }

    /// The places of the readable events of a stream, oldest first; none if there is no such stream
    /// to read.
    pub(crate) fn readable(&self, stream: &str) -> Option<Vec<usize>> {
        let described = stream.strip_prefix("$$").unwrap_or("");
        if self.tombstoned(stream) || self.tombstoned(described) || self.deleted(stream) {
            return None;
        }
        self.last(stream)?;
        let metadata = self
            .metadata(stream)
            .map(|json| StreamMetadata::parse(&json));
        let mut limits = metadata.unwrap_or_default();
        if stream.starts_with("$$") {
            limits.max_count = Some(1);
        }
        let last = self.last(stream)?.0;
        let by_count = limits
            .max_count
            .map_or(0, |count| (last + 1).saturating_sub(count));
        let first = by_count.max(limits.truncate_before.map_or(0, |revision| revision.0));
        let shown = |(_, entry): &(usize, &Entry)| (first..=last).contains(&entry.revision.0);
        Some(
            self.events(stream)
                .filter(shown)
                .map(|(at, _)| at)
                .collect(),
        )
    }

    fn push(&mut self, stream: &StreamName, event: &NewEvent) -> Revision {
        let revision = self.last(stream).map_or(Revision(0), Revision::next);
        self.log.push(Arc::new(Entry {
            stream: stream.clone(),
            revision,
            id: Some(event.id),
            event_type: event.event_type.to_string(),
            data: event.data.to_vec(),
        }));
        revision
    }

    fn push_own(&mut self, stream: &str, event_type: &str, data: Vec<u8>) -> Revision {
        let stream = StreamName::new(stream.to_owned()).unwrap();
        let revision = match event_type {
            "$streamDeleted" => Revision::TOMBSTONE,
            _ => self.last(&stream).map_or(Revision(0), Revision::next),
        };
        let event_type = event_type.to_owned();
        self.log.push(Arc::new(Entry {
            stream,
            revision,
            id: None,
            event_type,
            data,
        }));
        revision
    }

    pub(crate) fn end(&self) -> Position {
        Position(self.log.len().try_into().unwrap())
    }

    /// What the store must answer; the reference log then is as the store's must be.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Append {
                events,
                expected,
                states,
                request,
            } => {
                if let Some((asked, answer)) = request.and_then(|id| self.requests.get(&id)) {
                    return match asked == ask {
                        true => answer.clone(),
                        false => Answer::Reused,
                    };
                }
                let answer = self.append(events, expected);
                self.keep(ask, &answer, states, *request);
                answer
            }
            Ask::BringBack(stream, expected) => self.bring_back(stream, *expected),
            Ask::Delete(stream, expected) => self.finish(stream, *expected, false),
            Ask::Tombstone(stream, expected) => self.finish(stream, *expected, true),
        }
    }

    /// A request that did something changes state records, and is remembered by its name.
    fn keep(
        &mut self,
        ask: &Ask,
        answer: &Answer,
        states: &[(u8, Option<Vec<u8>>)],
        request: Option<u128>,
    ) {
        let Answer::Done {
            first,
            last,
            revisions,
            repeated: false,
        } = answer.clone()
        else {
            return;
        };
        for (key, value) in states {
            match value {
                Some(value) => self.states.insert(*key, value.clone()),
                None => self.states.remove(key),
            };
        }
        let again = Answer::Done {
            first,
            last,
            revisions,
            repeated: true,
        };
        self.requests
            .extend(request.map(|id| (id, (ask.clone(), again))));
    }

    fn bring_back(&mut self, stream: &StreamName, expected: ExpectedRevision) -> Answer {
        let (head, last) = (self.head(stream), self.last(stream));
        let exists = last.is_some() || self.metadata(stream).is_some();
        let holds = match (head, expected) {
            (StreamHead::Tombstoned, _)
            | (StreamHead::Deleted(_), ExpectedRevision::StreamExists) => {
                return Answer::Deleted(stream.clone(), head);
            }
            (_, ExpectedRevision::Any) => true,
            (_, ExpectedRevision::StreamExists) => exists,
            (_, ExpectedRevision::NoStream) => !matches!(head, StreamHead::At(_)),
            (_, ExpectedRevision::Exactly(revision)) => last == Some(revision),
        };
        if !holds {
            return Answer::Wrong(stream.clone(), head);
        }
        let mut done = self.write(&[], std::slice::from_ref(stream));
        if let Answer::Done { revisions, .. } = &mut done {
            *revisions = last
                .map(|last| (stream.clone(), last))
                .into_iter()
                .collect();
        }
        done
    }

    fn finish(&mut self, stream: &StreamName, expected: ExpectedRevision, hard: bool) -> Answer {
        let head = self.head(stream);
        let never = head == StreamHead::Absent && self.metadata(stream).is_none();
        let wrong = match (head, expected) {
            (StreamHead::Tombstoned, _) => return Answer::Deleted(stream.clone(), head),
            (StreamHead::Deleted(_), ExpectedRevision::StreamExists) => {
                return Answer::Deleted(stream.clone(), head);
            }
            (_, ExpectedRevision::Exactly(revision)) => self.last(stream) != Some(revision),
            (_, ExpectedRevision::StreamExists) => never,
            (StreamHead::At(_), ExpectedRevision::NoStream) => true,
            (_, ExpectedRevision::NoStream | ExpectedRevision::Any) => never && !hard,
        };
        if wrong {
            return Answer::Wrong(stream.clone(), head);
        }
        let first = self.end();
        let (named, revision) = if hard {
            (
                stream.to_string(),
                self.push_own(stream, "$streamDeleted", Vec::new()),
            )
        } else {
            let named = format!("$${stream}");
            let data = StreamMetadata::deleting().to_vec();
            let revision = self.push_own(&named, "$metadata", data);
            (named, revision)
        };
        let revisions = vec![(StreamName::new(named).unwrap(), revision)];
        Answer::Done {
            first,
            last: Some(first),
            revisions,
            repeated: false,
        }
    }

    fn append(
        &mut self,
        events: &[(StreamName, NewEvent)],
        expected: &[(StreamName, ExpectedRevision)],
    ) -> Answer {
        let mut written: Vec<StreamName> = Vec::new();
        for (stream, _) in events {
            if !written.contains(stream) {
                written.push(stream.clone());
            }
        }
        let expectation = |stream: &StreamName| {
            let stated = expected.iter().find(|(of, _)| of == stream);
            stated.map_or(ExpectedRevision::Any, |(_, expected)| *expected)
        };
        let checked = expected.iter().map(|(stream, _)| stream);
        let checked = checked.filter(|stream| !written.contains(stream)).cloned();
        let subjects: Vec<StreamName> = written.iter().cloned().chain(checked).collect();
        let mut repeated: Vec<(StreamName, Vec<usize>)> = Vec::new();
        for stream in &subjects {
            let ids: Vec<Uuid> = events
                .iter()
                .filter(|(of, _)| of == stream)
                .map(|(_, event)| event.id)
                .collect();
            if ids.is_empty() && !written.is_empty() && repeated.len() == written.len() {
                break;
            }
            match self.judge(stream, expectation(stream), &ids) {
                Err(answer) => return answer,
                Ok(Some(places)) => repeated.push((stream.clone(), places)),
                Ok(None) => {}
            }
        }
        if let Some((stream, _)) = repeated.first() {
            if repeated.len() < written.len() {
                return Answer::Wrong(stream.clone(), self.head(stream));
            }
            let places = || repeated.iter().flat_map(|(_, places)| places);
            let position = |place: &usize| Position(u64::try_from(*place).unwrap());
            let revision = |places: &[usize]| self.log[*places.last().unwrap()].revision;
            return Answer::Done {
                first: places().map(position).min().unwrap(),
                last: repeated
                    .iter()
                    .filter_map(|(_, places)| places.last())
                    .map(position)
                    .max(),
                revisions: repeated
                    .iter()
                    .map(|(of, at)| (of.clone(), revision(at)))
                    .collect(),
                repeated: true,
            };
        }
        self.write(events, &written)
    }

    fn write(&mut self, events: &[(StreamName, NewEvent)], written: &[StreamName]) -> Answer {
        let before = self.clone();
        let first = self.end();
        let mut revisions: Vec<(StreamName, Revision)> = written
            .iter()
            .map(|stream| (stream.clone(), Revision(0)))
            .collect();
        for (stream, event) in events {
            let revision = self.push(stream, event);
            revisions.iter_mut().find(|(of, _)| of == stream).unwrap().1 = revision;
        }
        let last = (!events.is_empty()).then(|| Position(self.end().0 - 1));
        for stream in written {
            let described = stream.strip_prefix("$$").map(str::to_owned);
            let brought_back = described.clone().unwrap_or_else(|| stream.to_string());
            let metadata_stream = format!("$${brought_back}");
            let writes_metadata = written.iter().any(|one| one.as_str() == metadata_stream);
            if !before.deleted(&brought_back) || (described.is_none() && writes_metadata) {
                continue;
            }
            let json = match described {
                None => before.metadata(&brought_back),
                Some(_) => self.metadata(&brought_back),
            };
            let json = json.unwrap_or_default();
            if described_deletes_again(&json, stream) {
                continue;
            }
            let next = before
                .last(&brought_back)
                .map_or(Revision(0), Revision::next);
            let json = StreamMetadata::with_truncate_before(&json, next);
            self.push_own(&metadata_stream, "$metadata", json.to_vec());
        }
        Answer::Done {
            first,
            last,
            revisions,
            repeated: false,
        }
    }

    /// Judges one stream: an answer if the request ends here, else where its events already are.
    fn judge(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        ids: &[Uuid],
    ) -> Result<Option<Vec<usize>>, Answer> {
        let head = self.head(stream);
        let last = self.last(stream);
        let wrong = || Err(Answer::Wrong(stream.clone(), head));
        let gone = || Err(Answer::Deleted(stream.clone(), head));
        let exists = last.is_some() || self.metadata(stream).is_some();
        let deleted = matches!(head, StreamHead::Deleted(_));
        if ids.is_empty() {
            let holds = match expected {
                ExpectedRevision::Any => true,
                ExpectedRevision::NoStream => !matches!(head, StreamHead::At(_)),
                ExpectedRevision::StreamExists => {
                    exists && !deleted && head != StreamHead::Tombstoned
                }
                ExpectedRevision::Exactly(revision) => {
                    head != StreamHead::Tombstoned && last == Some(revision)
                }
            };
            return if holds { Ok(None) } else { wrong() };
        }
        if head == StreamHead::Tombstoned {
            return gone();
        }
        if expected == ExpectedRevision::StreamExists && deleted {
            return gone();
        }
        if expected == ExpectedRevision::StreamExists && !exists {
            return wrong();
        }
        let from = match expected {
            ExpectedRevision::Any | ExpectedRevision::StreamExists => {
                let place = |id: &Uuid| {
                    self.events(stream)
                        .filter(|(_, one)| one.id == Some(*id))
                        .map(|(at, _)| at)
                        .next_back()
                };
                let places: Vec<Option<usize>> = ids.iter().map(place).collect();
                return match places.iter().copied().collect::<Option<Vec<usize>>>() {
                    Some(places) => Ok(Some(places)),
                    None if places[0].is_none() => Ok(None),
                    None => wrong(),
                };
            }
            ExpectedRevision::NoStream if last.is_none() => return Ok(None),
            ExpectedRevision::NoStream => Revision(0),
            ExpectedRevision::Exactly(revision) if last == Some(revision) => return Ok(None),
            ExpectedRevision::Exactly(revision) if last < Some(revision) => return wrong(),
            ExpectedRevision::Exactly(revision) => revision.next(),
        };
        let behind = self.events(stream).filter(|(_, one)| one.revision >= from);
        let behind: Vec<(usize, &Entry)> = behind.take(ids.len()).collect();
        let same = behind
            .iter()
            .zip(ids)
            .take_while(|((_, one), id)| one.id == Some(**id))
            .count();
        match same {
            same if same == ids.len() => Ok(Some(behind.iter().map(|(at, _)| *at).collect())),
            0 if expected == ExpectedRevision::NoStream && deleted => Ok(None),
            _ => wrong(),
        }
    }
}

fn described_deletes_again(json: &[u8], stream: &StreamName) -> bool {
    stream.starts_with("$$") && StreamMetadata::parse(json).is_deleted()
}
