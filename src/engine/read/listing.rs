//! Virtual streams: lists of the index, shown as streams of links.
//!
//! The number of an event of a virtual stream is its ordinal in the list, counted through the whole
//! log, so it never changes. The event itself is made when it is read: a link to an event of the
//! log that has this event's position and created time, and always the same id. What `$maxCount`,
//! `$maxAge` and `$tb` say in the metadata of a virtual stream holds as for any other; without
//! entries, and if it was deleted, it is not there.

use std::collections::HashMap;
use std::vec;

use bytes::Bytes;
use uuid::Uuid;

use crate::engine::ReadError;
use crate::engine::read::resolved::{Bounds, ResolvedEvent};
use crate::engine::read::window::{Sight, Window, is_young, sight};
use crate::engine::read::{BatchLimit, Looked, Reading};
use crate::index::{From, Key, Postings, StreamEntry, View};
use crate::model::{
    ContentType, Direction, EventType, Link, Position, ReadFrom, RecordedEvent, Revision, StoreId,
    StreamName, VirtualStream,
};

/// How many entries are read first. Many readers want one.
const READ_FIRST: usize = 4;
/// The most entries that are read at once.
const READ_MAX: usize = 128;
/// Of so many streams a reader remembers what they show.
const SIGHTS_MAX: usize = 1_024;

/// A virtual stream and its name.
#[derive(Clone, Debug)]
pub(crate) struct Virtual {
    pub(crate) name: StreamName,
    pub(crate) of: VirtualStream,
}

/// An event that a virtual stream links to, and the number of the link.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) event: RecordedEvent,
}

impl Virtual {
    /// The virtual stream of this name, if it is the name of one.
    pub(crate) fn of(name: &StreamName) -> Option<Self> {
        Some(Self {
            of: VirtualStream::of(name)?,
            name: name.clone(),
        })
    }

    pub(crate) fn key(&self) -> Key<'_> {
        match &self.of {
            VirtualStream::Category(category) => Key::Category(category),
            VirtualStream::EventType(event_type) => Key::EventType(event_type),
            VirtualStream::Deletions => Key::Deletions,
            VirtualStream::CorrelationId(id) => Key::CorrelationId(id),
            VirtualStream::CategoryStreams(category) => Key::CategoryStreams(category),
            VirtualStream::Streams => Key::NewStreams,
        }
    }

    /// The event of this stream that stands for an event of the log.
    fn link(&self, store: StoreId, entry: &Entry) -> RecordedEvent {
        let Entry { number, event } = entry;
        let is_reference = matches!(self.of, VirtualStream::CategoryStreams(_));
        let event_type = match is_reference {
            true => Link::STREAM_REFERENCE_TYPE,
            false => Link::EVENT_TYPE,
        };
        let to = Link {
            stream: event.stream.clone(),
            revision: event.revision,
        };
        let data = match &self.of {
            VirtualStream::CategoryStreams(_) => Bytes::from(event.stream.to_string()),
            VirtualStream::Category(_) | VirtualStream::CorrelationId(_) if is_link(event) => {
                event.data.clone()
            }
            _ => Bytes::from(to.to_string()),
        };
        let named = [self.name.as_bytes(), &event.position.0.to_le_bytes()].concat();
        RecordedEvent {
            position: event.position,
            stream: self.name.clone(),
            revision: Revision(*number),
            id: Uuid::new_v5(&store.0, &named),
            event_type: EventType::new(event_type).expect("the types of links are valid"),
            content_type: ContentType::Binary,
            created: event.created,
            tags: Vec::new(),
            metadata: Bytes::new(),
            data,
        }
    }
}

fn is_link(event: &RecordedEvent) -> bool {
    &*event.event_type == Link::EVENT_TYPE
}

/// What streams show, as of a view.
#[derive(Debug)]
pub(crate) struct Sights {
    view: View,
    known: HashMap<StreamName, Sight>,
}

impl Sights {
    fn shows(&mut self, reading: &Reading, event: &RecordedEvent) -> Result<bool, ReadError> {
        let stream = &event.stream;
        let sight = match self.known.get(stream) {
            Some(sight) => *sight,
            None => {
                let entry = self.view.stream(stream)?;
                let sight = reading.sight(&self.view, stream, &entry)?;
                if self.known.len() >= SIGHTS_MAX {
                    self.known.clear();
                }
                self.known.insert(stream.clone(), sight);
                sight
            }
        };
        Ok(match sight {
            Sight::NotFound | Sight::Tombstoned => false,
            Sight::Window(window) => {
                let young = |min_s| is_young(event.created, min_s);
                event.revision >= window.first && window.created_min_s.is_none_or(young)
            }
        })
    }
}

impl Reading {
    /// The position in front of which a virtual stream shows everything, and nothing else.
    pub(crate) fn virtual_end(&self, of: &VirtualStream) -> Position {
        let end = self.committed_end();
        self.stopped_at(of.projection())
            .map_or(end, |at| at.min(end))
    }

    /// What is shown of a virtual stream that has entries in front of `end`.
    fn virtual_window(
        &self,
        view: &View,
        one: &Virtual,
        end: Position,
    ) -> Result<Window, ReadError> {
        let mut last = view.seek(one.key(), From::Position(end), Direction::Backwards)?;
        let last = last.next_chunk(1)?.pop();
        let entry = StreamEntry {
            last: last.map(|(number, position)| (Revision(number), position)),
            tombstoned: None,
            metadata: view.stream(&one.name)?.metadata,
        };
        match sight(&one.name, &entry, None, self.host.now_us()) {
            Sight::Window(window) => Ok(window),
            Sight::NotFound | Sight::Tombstoned => Err(ReadError::StreamNotFound(one.name.clone())),
        }
    }

    /// The last number of a virtual stream, if it shows one.
    pub(crate) fn virtual_last(&self, one: &Virtual) -> Result<Option<Revision>, ReadError> {
        let end = self.virtual_end(&one.of);
        match self.virtual_window(&self.view(), one, end) {
            Ok(window) => Ok(Some(window.last)),
            Err(ReadError::StreamNotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The entries of a virtual stream that it shows.
    pub(crate) fn listing(
        &self,
        one: Virtual,
        from: ReadFrom<Revision>,
        direction: Direction,
    ) -> Result<Listing, ReadError> {
        let end = self.virtual_end(&one.of);
        let view = self.view();
        let window = self.virtual_window(&view, &one, end)?;
        let start = match direction {
            Direction::Forwards => window.forwards(from),
            Direction::Backwards => window.backwards(from),
        };
        let postings = match start {
            None => None,
            Some(start) => Some(view.seek(one.key(), From::Ordinal(start.0), direction)?),
        };
        Ok(Listing {
            reading: self.clone(),
            sights: self.sights(),
            one,
            window,
            direction,
            postings,
            planned: Vec::new(),
            read: Vec::new().into_iter(),
            read_next: READ_FIRST,
        })
    }

    /// Where somebody begins to follow a virtual stream, with everything from a number on: the
    /// position, the first number, and the age that its past must not have, as far as there is one.
    pub(crate) fn virtual_start(
        &self,
        one: &Virtual,
        from: Revision,
    ) -> Result<VirtualStart, ReadError> {
        let end = self.virtual_end(&one.of);
        let view = self.view();
        let window = match self.virtual_window(&view, one, end) {
            Ok(window) => window,
            Err(ReadError::StreamNotFound(_)) => {
                return Ok(VirtualStart {
                    position: end,
                    first: from,
                    young: None,
                });
            }
            Err(error) => return Err(error),
        };
        let first = from.max(window.first);
        let first = first.min(window.last.next()).max(from);
        let from = From::Ordinal(first.0);
        let mut postings = view.seek(one.key(), from, Direction::Forwards)?;
        let position = postings.next_chunk(1)?.pop().map(|(_, position)| position);
        Ok(VirtualStart {
            position: position.map_or(end, |position| position.min(end)),
            first,
            young: window.created_min_s.map(|min_s| (min_s, window.last)),
        })
    }

    /// Numbers events of a virtual stream that follow each other in it.
    pub(crate) fn numbered(
        &self,
        one: &Virtual,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<Entry>, ReadError> {
        let Some(first) = events.first() else {
            return Ok(Vec::new());
        };
        let from = From::Position(first.position);
        let mut postings = self.view().seek(one.key(), from, Direction::Forwards)?;
        let mut numbers = Vec::new().into_iter();
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            // Between two events there may be some that were removed.
            let number = loop {
                match numbers.next() {
                    Some((number, at)) if at == event.position => break number,
                    Some(_) => {}
                    None => {
                        numbers = postings.next_chunk(READ_MAX)?.into_iter();
                        if numbers.len() == 0 {
                            return Ok(entries);
                        }
                    }
                }
            };
            entries.push(Entry { number, event });
        }
        Ok(entries)
    }

    /// What streams show now.
    pub(crate) fn sights(&self) -> Sights {
        Sights {
            view: self.view(),
            known: HashMap::new(),
        }
    }

    /// An entry as a reader meets it.
    pub(crate) fn resolve_entry(
        &self,
        one: &Virtual,
        entry: Entry,
        sights: Option<&mut Sights>,
    ) -> Result<ResolvedEvent, ReadError> {
        let link = one.link(self.log.identity().store, &entry);
        let Some(sights) = sights.filter(|_| is_link(&link)) else {
            return Ok(ResolvedEvent::Plain(link));
        };
        // An entry for a link points to where that one points.
        if is_link(&entry.event) && !matches!(one.of, VirtualStream::Streams) {
            return self.resolve(link);
        }
        let target = sights.shows(self, &entry.event)?.then_some(entry.event);
        Ok(ResolvedEvent::Link { link, target })
    }
}

/// Where somebody begins to follow a virtual stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VirtualStart {
    /// Everything wanted lies at this position or behind it.
    pub(crate) position: Position,
    /// The lowest number that is wanted.
    pub(crate) first: Revision,
    /// Entries up to this number must be created at this time or later, in seconds since 1970.
    pub(crate) young: Option<(i64, Revision)>,
}

impl VirtualStart {
    pub(crate) fn wants(&self, entry: &Entry) -> bool {
        let Entry { number, event } = entry;
        let young =
            |(min_s, last): (i64, Revision)| *number > last.0 || is_young(event.created, min_s);
        *number >= self.first.0 && self.young.is_none_or(young)
    }
}

/// A walk over a virtual stream as of one moment.
#[derive(Debug)]
pub(crate) struct Listing {
    reading: Reading,
    sights: Sights,
    one: Virtual,
    window: Window,
    direction: Direction,
    postings: Option<Postings>,
    /// To be read next, in the direction of the walk.
    planned: Vec<(u64, Position)>,
    read: vec::IntoIter<Entry>,
    read_next: usize,
}

impl Listing {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            first: self.window.first,
            last: self.window.last,
        }
    }

    /// The next event; none at the end.
    pub(crate) fn next(&mut self, resolve_links: bool) -> Result<Option<ResolvedEvent>, ReadError> {
        loop {
            match self.look(resolve_links)? {
                Looked::Found(event) => return Ok(Some(event)),
                Looked::Nothing => {}
                Looked::End => return Ok(None),
            }
        }
    }

    /// The next event, if it is found soon.
    pub(crate) fn look(&mut self, resolve_links: bool) -> Result<Looked<ResolvedEvent>, ReadError> {
        if self.read.as_slice().is_empty() && !self.read_on()? {
            return Ok(Looked::End);
        }
        let Some(entry) = self.read.next() else {
            return Ok(Looked::Nothing);
        };
        let sights = Some(&mut self.sights).filter(|_| resolve_links);
        let event = self.reading.resolve_entry(&self.one, entry, sights)?;
        Ok(Looked::Found(event))
    }

    /// Reads some entries; says whether there may be more.
    fn read_on(&mut self) -> Result<bool, ReadError> {
        if self.planned.is_empty() {
            let Some(postings) = &mut self.postings else {
                return Ok(false);
            };
            self.planned = postings.next_chunk(self.read_next)?;
            self.read_next = READ_MAX.min(self.read_next * 4);
            let shown = self.window.first.0..=self.window.last.0;
            let fetched = self.planned.len();
            self.planned.retain(|(number, _)| shown.contains(number));
            if self.planned.len() < fetched || fetched == 0 {
                self.postings = None;
            }
            if self.planned.is_empty() {
                return Ok(false);
            }
        }
        let positions: Vec<Position> = self.planned.iter().map(|(_, at)| *at).collect();
        let limit = BatchLimit::default().len_bytes_max;
        let (chunk, count) = self.reading.log.read_within(&positions, limit)?;
        let counters = &self.reading.counters;
        counters.read(chunk.events_count(), chunk.len_bytes());
        let rest = self.planned.split_off(count);
        let planned = std::mem::replace(&mut self.planned, rest);
        let events: Result<Vec<_>, _> = chunk.events().collect();
        let mut events = events.map_err(ReadError::unreadable)?;
        if self.direction == Direction::Backwards {
            events.reverse();
        }
        let mut events = events.into_iter().peekable();
        let mut entries = Vec::with_capacity(planned.len());
        for (number, position) in planned {
            // Of an event that was removed there is nothing to show.
            let event = events.next_if(|event| event.position == position);
            entries.extend(event.map(|event| Entry { number, event }));
        }
        let min_s = self.window.created_min_s;
        entries.retain(|entry| min_s.is_none_or(|min_s| is_young(entry.event.created, min_s)));
        self.read = entries.into_iter();
        Ok(true)
    }
}
