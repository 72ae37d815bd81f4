//! Everything that readers can see, compared with the reference: the log from both ends, every
//! stream, every list of the index, single events, heads, state records.
//!
//! While the disk is in trouble a read may fail; what it gives before must be true all the same.

use annal::{
    Direction, EventType, Events, Position, ReadError, ReadFrom, RecordedEvent, Revision, Store,
    StreamHead, StreamName, Tag,
};

use crate::common::reference::{Entry, Reference};
use crate::follower::Interest;
use crate::workload::{STREAMS, TAG, TYPES, stream};
use crate::world::{Trouble, World, states_of};

/// What a comparison ended with; an error is the store's, and may be excused.
pub(crate) type Compared = Result<(), ReadError>;

impl World {
    /// Compares everything.
    pub(crate) fn check(&mut self) {
        self.counts.checks += 1;
        let compared = compare(self.store(), &self.reference);
        self.tolerate_read(compared);
        if self.trouble == Trouble::None && !self.deceived && self.dice.percent(20) {
            let verified = self.store().verify(&mut |_| ()).unwrap();
            assert!(verified.is_whole(), "{verified:?}");
            assert_eq!(verified.end, self.reference.end());
        }
    }

    /// Compares something.
    pub(crate) fn read_some(&mut self) {
        let name = stream(self.dice.pick(&STREAMS));
        let from = Revision(self.dice.below(12));
        let position = Position(self.dice.below(self.reference.end().0 + 2));
        let (store, reference) = (self.store.as_ref().unwrap(), &self.reference);
        let compared = match self.dice.below(5) {
            0 => compare_stream(store, reference, &name),
            1 => compare_range(store, reference, &name, from),
            2 => compare_event(store, reference, position),
            3 => compare_head(store, reference, &name),
            _ => compare_lists(store, reference, position),
        };
        self.tolerate_read(compared);
    }

    /// A read that fails without reason is a bug.
    pub(crate) fn tolerate_read(&mut self, compared: Compared) {
        let Err(error) = compared else { return };
        let storage = matches!(
            error,
            ReadError::Storage(_) | ReadError::IndexRebuilding { .. }
        );
        let excused = self.trouble != Trouble::None || self.deceived;
        assert!(excused && storage, "{error}");
        self.say(format_args!("reading: {error}"));
    }
}

/// Compares everything that can be seen of a store.
pub(crate) fn compare(store: &Store, reference: &Reference) -> Compared {
    assert_eq!(store.committed(), reference.end());
    assert_eq!(states_of(store), reference.states);
    compare_lists(store, reference, Position::START)?;
    for name in STREAMS {
        let name = stream(name);
        compare_head(store, reference, &name)?;
        compare_stream(store, reference, &name)?;
    }
    compare_names(store, reference)
}

/// The log and the lists, from a position on, and back to it.
fn compare_lists(store: &Store, reference: &Reference, from: Position) -> Compared {
    let (forwards, backwards) = (Direction::Forwards, Direction::Backwards);
    let at = ReadFrom::At(from);
    let same = |read: Result<Events, ReadError>, interest: Interest| {
        let expected = (from.0..reference.end().0).map(Position);
        let expected = expected.filter(|at| interest.has(reference.at(*at)));
        same_events(read, reference, expected)
    };
    let reversed = |read: Result<Events, ReadError>, interest: Interest| {
        let expected = (0..from.0.min(reference.end().0)).rev().map(Position);
        let expected = expected.filter(|at| interest.has(reference.at(*at)));
        same_events(read, reference, expected)
    };
    let event_type = EventType::new(TYPES[0]).unwrap();
    let tag = Tag::new(TAG).unwrap();
    same(store.read_all(at, forwards, None), Interest::All)?;
    same(store.read_category("a", at, forwards), Interest::Category)?;
    same(store.read_type(&event_type, at, forwards), Interest::Type)?;
    same(store.read_tag(&tag, at, forwards), Interest::Tag)?;
    reversed(store.read_all(at, backwards, None), Interest::All)?;
    reversed(store.read_category("a", at, backwards), Interest::Category)?;
    reversed(store.read_type(&event_type, at, backwards), Interest::Type)?;
    reversed(store.read_tag(&tag, at, backwards), Interest::Tag)
}

/// The events of a read are the expected ones, but for those that a scavenge may have removed.
fn same_events(
    read: Result<Events, ReadError>,
    reference: &Reference,
    expected: impl Iterator<Item = Position>,
) -> Compared {
    let mut expected = expected.peekable();
    for event in read? {
        let event: RecordedEvent = event?;
        let is_gone = |at: &Position| *at != event.position && reference.may_be_gone(*at);
        while expected.next_if(is_gone).is_some() {}
        assert_eq!(expected.next(), Some(event.position));
        reference.at(event.position).is_event(&event);
    }
    let missing = expected.find(|at| !reference.may_be_gone(*at));
    assert_eq!(missing, None, "an event is missing");
    Ok(())
}

fn compare_stream(store: &Store, reference: &Reference, name: &StreamName) -> Compared {
    let position = |at: &usize| Position((*at).try_into().unwrap());
    let expected = reference.readable(name);
    for direction in [Direction::Forwards, Direction::Backwards] {
        let from = match direction {
            Direction::Forwards => ReadFrom::Start,
            Direction::Backwards => ReadFrom::End,
        };
        let read = store.read_stream(name, from, direction);
        let expected = match (&read, &expected) {
            (Ok(_), Some(expected)) => expected,
            (Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)), None) => continue,
            (Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)), Some(_)) => {
                panic!("{name} is not there: {read:?}")
            }
            (Ok(_), None) => panic!("{name} can be read"),
            (Err(_), _) => return read.map(drop),
        };
        let expected = expected.iter().map(position);
        match direction {
            Direction::Forwards => same_events(read, reference, expected)?,
            Direction::Backwards => same_events(read, reference, expected.rev())?,
        }
    }
    Ok(())
}

/// A stream from the middle on, and one of its events by its revision.
fn compare_range(
    store: &Store,
    reference: &Reference,
    name: &StreamName,
    from: Revision,
) -> Compared {
    let Some(readable) = reference.readable(name) else {
        return Ok(());
    };
    let position = |at: usize| Position(at.try_into().unwrap());
    let behind = readable
        .iter()
        .copied()
        .map(position)
        .filter(|at| reference.at(*at).revision >= from);
    let read = store.read_stream(name, ReadFrom::At(from), Direction::Forwards);
    same_events(read, reference, behind.clone())?;
    let event = store.event(name, from)?;
    let expected = behind.map(|at| (at, reference.at(at)));
    let expected = expected.take(1).find(|(_, one)| one.revision == from);
    same_event(event, expected, reference);
    Ok(())
}

fn compare_event(store: &Store, reference: &Reference, at: Position) -> Compared {
    let event = store.event_at(at)?;
    let expected = (at < reference.end()).then(|| (at, reference.at(at)));
    same_event(event, expected, reference);
    Ok(())
}

fn same_event(
    event: Option<RecordedEvent>,
    expected: Option<(Position, &Entry)>,
    reference: &Reference,
) {
    match (event, expected) {
        (Some(event), Some((at, entry))) => {
            assert_eq!(event.position, at);
            entry.is_event(&event);
        }
        (None, None) => {}
        (None, Some((at, _))) => assert!(reference.may_be_gone(at), "{at} is missing"),
        (Some(event), None) => panic!("{event:?} was invented"),
    }
}

fn compare_head(store: &Store, reference: &Reference, name: &StreamName) -> Compared {
    let expected = reference.head(name);
    match store.stream(name) {
        Ok(info) => {
            assert_eq!(info.head, expected, "{name}");
            let count = reference.last(name).map_or(0, |last| last.0 + 1);
            assert_eq!(info.events_count, count, "{name}");
        }
        Err(ReadError::StreamNotFound(_)) => assert_eq!(expected, StreamHead::Absent, "{name}"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The list of all streams.
fn compare_names(store: &Store, reference: &Reference) -> Compared {
    let mut found = store.streams("", None, 100)?;
    found.retain(|one| STREAMS.contains(&one.stream.as_str()));
    let found: Vec<_> = found.into_iter().map(|one| one.stream).collect();
    let mut expected = STREAMS.map(stream).to_vec();
    expected.retain(|name| reference.log.iter().any(|entry| entry.stream == *name));
    expected.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    assert_eq!(found, expected);
    Ok(())
}
