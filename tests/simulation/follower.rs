//! Subscriptions that outlive restarts: each event that matches comes once, in order, over every
//! crash, and no checkpoint runs ahead.

use annal::{
    BatchLimit, EventFilter, EventType, FilterTarget, Notice, Position, ReadError, RecordedEvent,
    Revision, Source, Store, SubscribeFrom, SubscribeOptions, Subscription, Tag,
};

use crate::common::reference::{Entry, Reference};
use crate::dice::Dice;
use crate::workload::{PLAIN, TAG, TYPES, is_tagged, stream};

/// What is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    All,
    Plain,
    Category,
    Type,
    Tag,
    Filtered,
}

pub(crate) const INTERESTS: [Interest; 6] = [
    Interest::All,
    Interest::Plain,
    Interest::Category,
    Interest::Type,
    Interest::Tag,
    Interest::Filtered,
];

impl Interest {
    fn source(self) -> Source {
        match self {
            Self::All => Source::All,
            Self::Plain => Source::Stream(stream(PLAIN)),
            Self::Category => Source::Category("a".to_owned()),
            Self::Type => Source::EventType(EventType::new(TYPES[0]).unwrap()),
            Self::Tag => Source::Tag(Tag::new(TAG).unwrap()),
            Self::Filtered => {
                Source::Filtered(EventFilter::prefixes(FilterTarget::Stream, ["b", "c"]).unwrap())
            }
        }
    }

    pub(crate) fn has(self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Plain => entry.stream.as_str() == PLAIN,
            Self::Category => entry.stream.category() == Some("a"),
            Self::Type => entry.event_type == TYPES[0],
            Self::Tag => entry.id.is_some_and(is_tagged),
            Self::Filtered => entry.stream.starts_with('b') || entry.stream.starts_with('c'),
        }
    }
}

/// A client with a subscription, and what it remembers when the server is gone.
#[derive(Debug)]
pub(crate) struct Follower {
    interest: Interest,
    subscription: Option<Subscription>,
    /// Where it goes on: behind this position everything is new to it.
    done: Option<Position>,
    revision: Option<Revision>,
}

impl Follower {
    pub(crate) const fn new(interest: Interest) -> Self {
        Self {
            interest,
            subscription: None,
            done: None,
            revision: None,
        }
    }

    /// The server is gone.
    pub(crate) fn lose(&mut self) {
        self.subscription = None;
    }

    /// Takes everything that is there, or at random a part of it.
    pub(crate) fn follow(
        &mut self,
        store: &Store,
        reference: &Reference,
        dice: &mut Dice,
    ) -> Result<(), ReadError> {
        let mut subscription = match self.subscription.take() {
            Some(subscription) => subscription,
            None => self.subscribe(store, dice)?,
        };
        for _ in 0..=dice.below(30) {
            let limit = BatchLimit {
                events_max: dice.pick(&[1, 3, usize::MAX]),
                ..BatchLimit::default()
            };
            match subscription.try_next(limit)? {
                None => {
                    self.has_all(reference, reference.end());
                    break;
                }
                Some(Notice::Events(batch)) => {
                    for event in batch.events() {
                        self.take(&event.unwrap(), reference);
                    }
                }
                Some(
                    Notice::Checkpoint(progress)
                    | Notice::CaughtUp(progress)
                    | Notice::FellBehind(progress),
                ) => self.reaches(progress.position, reference),
                Some(notice) => panic!("{:?} got {notice:?}", self.interest),
            }
        }
        self.subscription = Some(subscription);
        Ok(())
    }

    fn subscribe(&self, store: &Store, dice: &mut Dice) -> Result<Subscription, ReadError> {
        let options = SubscribeOptions::default()
            .checkpoint_events(dice.pick(&[1, 5, 10_000]))
            .behind_events(dice.pick(&[1, 100_000]));
        let from = match (self.done, self.revision) {
            (_, Some(revision)) if dice.percent(50) => SubscribeFrom::AfterRevision(revision),
            (None, _) => SubscribeFrom::Start,
            (Some(position), _) => SubscribeFrom::After(position),
        };
        store.subscribe_with(self.interest.source(), from, options)
    }

    fn take(&mut self, event: &RecordedEvent, reference: &Reference) {
        let interest = self.interest;
        assert!(event.position < reference.end(), "{interest:?} not durable");
        let is_new = self.done.is_none_or(|done| event.position > done);
        assert!(is_new, "{interest:?} got {} again", event.position);
        self.has_all(reference, event.position);
        let entry = reference.at(event.position);
        entry.is_event(event);
        assert!(interest.has(entry), "{interest:?} got {event:?}");
        self.done = Some(event.position);
        if let Interest::Plain = interest {
            self.revision = Some(event.revision);
        }
    }

    /// The store says that everything in front of a position was looked at.
    fn reaches(&mut self, position: Position, reference: &Reference) {
        assert!(position <= reference.end());
        self.has_all(reference, position);
        if let Some(done) = position.0.checked_sub(1) {
            self.done = self.done.max(Some(Position(done)));
        }
    }

    /// Nothing in front of the position is missing.
    fn has_all(&self, reference: &Reference, position: Position) {
        let first = self.done.map_or(0, |done| done.0 + 1);
        for at in first..position.0 {
            let missed = self.interest.has(reference.at(Position(at)));
            let may_be_gone = reference.may_be_gone(Position(at));
            assert!(!missed || may_be_gone, "{:?} missed {at}", self.interest);
        }
    }
}
