//! A request made ready for judgement: limits checked, streams told apart, checksums computed.
//!
//! All of it is pure and happens on the caller's thread, before anything is queued or buffered.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::error::AppendError;
use super::options::StoreOptions;
use super::verdict::Wish;
use crate::format::record::{TAGS_MAX, len_max, payload_checksum};
use crate::format::unit::{
    PRINCIPAL_LEN_BYTES_MAX, STATE_KEY_LEN_BYTES_MAX, STATE_VALUE_LEN_BYTES_MAX, StateRecord,
};
use crate::model::{
    Append, Ending, ExpectedRevision, NewEvent, Request, StateChange, StreamMetadata, StreamName,
    correlation_id,
};

/// What a state record takes beside its key and its value, in bytes, at most.
const STATE_RECORD_LEN_BYTES: usize = 16;

/// A request that is within all limits.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The streams that the request names, each once; written ones in the order they are named.
    pub(super) subjects: SmallVec<[Subject; 2]>,
    /// The events, in order, as they were handed in: many of them fill a processor's cache, so
    /// they are not moved.
    events: Vec<(StreamName, NewEvent)>,
    /// What is known of each.
    notes: SmallVec<[Note; 2]>,
    /// What some of them say to the store, by their indexes, ascending.
    said: Vec<(usize, Said)>,
    /// The name of the request, and a hash of what it asks.
    pub(super) request: Option<(Request, u64)>,
    /// The state records it changes, in order.
    pub(super) states: Vec<StateRecord>,
    /// No less than the bytes its records will take, of events and of state.
    pub(super) len_bytes: usize,
}

/// A stream that the request names.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) stream: StreamName,
    pub(super) expected: ExpectedRevision,
    pub(super) wish: Wish,
    /// For a metadata stream that is written to: the index of the stream it describes.
    pub(super) describes: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Note {
    subject: usize,
    payload_checksum: u32,
}

#[derive(Debug)]
struct Said {
    metadata: Option<StreamMetadata>,
    correlation_id: Option<String>,
}

/// An event, with what can be known of it before its revision and position.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreparedEvent<'a> {
    /// The index of its stream among the subjects.
    pub(super) subject: usize,
    pub(super) event: &'a NewEvent,
    pub(super) payload_checksum: u32,
    /// What it says about the stream that its stream describes.
    pub(super) metadata: Option<&'a StreamMetadata>,
    /// Which conversation it belongs to.
    pub(super) correlation_id: Option<&'a str>,
}

impl Prepared {
    /// The events, in order.
    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = PreparedEvent<'_>> {
        let noted = self.events.iter().zip(&self.notes).enumerate();
        noted.map(|(index, ((_, event), note))| {
            let said = self.said.binary_search_by_key(&index, |(of, _)| *of);
            let said = said.ok().and_then(|at| self.said.get(at));
            PreparedEvent {
                subject: note.subject,
                event,
                payload_checksum: note.payload_checksum,
                metadata: said.and_then(|(_, said)| said.metadata.as_ref()),
                correlation_id: said.and_then(|(_, said)| said.correlation_id.as_deref()),
            }
        })
    }

    /// How many events there are.
    pub(super) fn events_len(&self) -> usize {
        self.events.len()
    }
}

/// Checks a request against the limits and makes it ready.
pub(super) fn prepare(append: Append, options: &StoreOptions) -> Result<Prepared, AppendError> {
    let len_bytes = check_limits(&append, options)?;
    let named = append.request.clone();
    let request = named.map(|request| (request, content_hash(&append)));
    let mut subjects = Subjects::default();
    let mut notes = SmallVec::with_capacity(append.events.len());
    let mut said = Vec::new();
    // They fit the events as they came; whoever changed the events since has lost them.
    let given = Some(append.payload_checksums).filter(|given| given.len() == append.events.len());
    let mut given = given.unwrap_or_default().into_iter();
    for (index, (stream, event)) in append.events.iter().enumerate() {
        notes.push(Note {
            subject: subjects.index_of(stream, Wish::Write),
            payload_checksum: given.next().unwrap_or_else(|| payload_checksum(event)),
        });
        let metadata =
            StreamMetadata::of_event(stream, &event.event_type, &event.content_type, &event.data);
        let correlation_id = correlation_id(&event.metadata);
        if metadata.is_some() || correlation_id.is_some() {
            said.push((
                index,
                Said {
                    metadata,
                    correlation_id,
                },
            ));
        }
    }
    if let Some(stream) = append.brought_back {
        if !append.events.is_empty() || append.ending.is_some() || request.is_some() {
            return Err(AppendError::Invalid(
                "a request that brings a stream back does nothing else and has no name",
            ));
        }
        subjects.index_of(&stream, Wish::Write);
    }
    if append.ending.is_some() && !append.events.is_empty() {
        return Err(AppendError::Invalid(
            "a request deletes a stream or appends, not both",
        ));
    }
    if let Some((stream, ending)) = append.ending {
        subjects.add_ended(stream, ending)?;
    }
    subjects.expect_all(append.expectations)?;
    subjects.add_described();
    let states = append.states.into_iter().map(state_record).collect();
    Ok(Prepared {
        subjects: subjects.list,
        events: append.events,
        notes,
        said,
        request,
        states,
        len_bytes,
    })
}

fn state_record(change: StateChange) -> StateRecord {
    StateRecord {
        space: change.space.byte(),
        key: change.key.as_ref().into(),
        value: change.value.map(|value| value.as_ref().into()),
    }
}

/// The streams of a request, each once. A map finds them when there are many.
#[derive(Default)]
struct Subjects {
    list: SmallVec<[Subject; 2]>,
    places: HashMap<StreamName, usize>,
}

impl Subjects {
    const FEW: usize = 8;

    fn index_of(&mut self, stream: &StreamName, wish: Wish) -> usize {
        if let Some(index) = self.find(stream) {
            return index;
        }
        let index = self.list.len();
        if index == Self::FEW {
            let known = self.list.iter().enumerate();
            self.places = known
                .map(|(index, one)| (one.stream.clone(), index))
                .collect();
        }
        if index >= Self::FEW {
            self.places.insert(stream.clone(), index);
        }
        let expected = ExpectedRevision::Any;
        self.list.push(Subject {
            stream: stream.clone(),
            expected,
            wish,
            describes: None,
        });
        index
    }

    fn find(&self, stream: &StreamName) -> Option<usize> {
        match self.list.len() <= Self::FEW {
            true => self.list.iter().position(|one| one.stream == *stream),
            false => self.places.get(stream).copied(),
        }
    }

    fn add_ended(&mut self, stream: StreamName, ending: Ending) -> Result<(), AppendError> {
        match (ending, stream.metadata_stream()) {
            (Ending::Tombstoned, _) => {
                self.index_of(&stream, Wish::Tombstone);
            }
            (Ending::Deleted, Some(metadata_stream)) => {
                self.index_of(&stream, Wish::Delete);
                self.index_of(&metadata_stream, Wish::Check);
            }
            (Ending::Deleted, None) => {
                return Err(AppendError::Invalid(
                    "a metadata stream cannot be deleted by itself",
                ));
            }
        }
        Ok(())
    }

    fn expect_all(
        &mut self,
        expectations: Vec<(StreamName, ExpectedRevision)>,
    ) -> Result<(), AppendError> {
        let mut stated = SmallVec::<[usize; 4]>::new();
        for (stream, expected) in expectations {
            let index = self.index_of(&stream, Wish::Check);
            if let Some(subject) = self.list.get_mut(index) {
                subject.expected = expected;
            }
            stated.push(index);
        }
        stated.sort_unstable();
        let twice = |pair: &[usize]| matches!(pair, [one, other] if one == other);
        match stated.windows(2).any(twice) {
            false => Ok(()),
            true => Err(AppendError::Invalid(
                "a request states one expectation for a stream, not two",
            )),
        }
    }

    /// Writing to `$$x` can bring a deleted `x` back, so `x` belongs to the request too.
    fn add_described(&mut self) {
        for index in 0..self.list.len() {
            let Some(subject) = self.list.get(index).filter(|one| one.wish == Wish::Write) else {
                continue;
            };
            let described = subject.stream.described().map(StreamName::new);
            if let Some(Ok(described)) = described {
                let describes = Some(self.index_of(&described, Wish::Check));
                if let Some(subject) = self.list.get_mut(index) {
                    subject.describes = describes;
                }
            }
        }
    }
}

fn within(what: &'static str, value: usize, max: usize) -> Result<(), AppendError> {
    match value <= max {
        true => Ok(()),
        false => Err(AppendError::OverLimit {
            what,
            value: value.try_into().unwrap_or(u64::MAX),
            max: max.try_into().unwrap_or(u64::MAX),
        }),
    }
}

/// Refuses state records that are over a limit; returns no less than the bytes they will take.
fn check_states(append: &Append, options: &StoreOptions) -> Result<usize, AppendError> {
    let states = &append.states;
    within(
        "the number of state records",
        states.len(),
        options.append_events_max,
    )?;
    let mut len_bytes = 0;
    for change in states {
        let value_len = change.value.as_ref().map_or(0, bytes::Bytes::len);
        let key_len = change.key.len();
        within(
            "the key of a state record, in bytes,",
            key_len,
            STATE_KEY_LEN_BYTES_MAX,
        )?;
        within(
            "the value of a state record, in bytes,",
            value_len,
            STATE_VALUE_LEN_BYTES_MAX,
        )?;
        len_bytes += STATE_RECORD_LEN_BYTES + key_len + value_len;
    }
    Ok(len_bytes)
}

/// Refuses what is over a limit; returns no less than the bytes that the records will take.
fn check_limits(append: &Append, options: &StoreOptions) -> Result<usize, AppendError> {
    within(
        "the number of events",
        append.events.len(),
        options.append_events_max,
    )?;
    within(
        "the number of expectations",
        append.expectations.len(),
        options.append_events_max,
    )?;
    if let Some(request) = &append.request {
        within(
            "the request's principal, in bytes,",
            request.principal.len(),
            PRINCIPAL_LEN_BYTES_MAX,
        )?;
    }
    let mut len_bytes = 0;
    for (stream, event) in &append.events {
        let tags_len: usize = event.tags.iter().map(|tag| tag.len()).sum();
        let event_len = event.data.len() + event.metadata.len() + tags_len;
        within(
            "an event, in bytes,",
            event_len,
            options.event_len_bytes_max,
        )?;
        within("the number of an event's tags", event.tags.len(), TAGS_MAX)?;
        len_bytes += len_max(stream, event);
    }
    len_bytes += check_states(append, options)?;
    within(
        "the append, in bytes,",
        len_bytes,
        options.append_len_bytes_max,
    )?;
    Ok(len_bytes)
}

/// Tells a request that is sent again from another one under the same id.
fn content_hash(append: &Append) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut text = |bytes: &[u8]| {
        hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(bytes);
    };
    for (stream, event) in &append.events {
        text(stream.as_bytes());
        text(event.id.as_bytes());
        text(event.event_type.as_bytes());
        text(&event.metadata);
        text(&event.data);
    }
    for (stream, expected) in &append.expectations {
        text(stream.as_bytes());
        text(expected.to_string().as_bytes());
    }
    if let Some((stream, ending)) = &append.ending {
        text(stream.as_bytes());
        text(if *ending == Ending::Deleted {
            b"deleted"
        } else {
            b"tombstoned"
        });
    }
    if !append.states.is_empty() {
        text(b"state");
    }
    for change in &append.states {
        text(&[change.space.byte(), u8::from(change.value.is_some())]);
        text(&change.key);
        text(change.value.as_deref().unwrap_or_default());
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}
