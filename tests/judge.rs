//! The judge of the fault campaigns (`tests/faults/judge.rs`) sees: a sound history passes, and
//! each way of losing, doubling, reordering and inventing is found, by the promise that it breaks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test may panic, and of the campaigns only the judge is used here"
)]

#[path = "faults/history.rs"]
mod history;
#[path = "faults/judge.rs"]
mod judge;

use annal::{
    Append, EventType, ExpectedRevision, Lineage, NewEvent, Position, Receipt, RecordedEvent,
    Revision, StoreId, StreamName, Tag, Timestamp, Token,
};
use uuid::Uuid;

use history::{Asked, Followed, Followings, Given, History, Look, Moment, NEVER, Outcome, Saw};
use judge::{Promise, judge};

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

/// A history in the making, of a store that does one thing after the other, and its log.
#[derive(Clone, Default)]
struct Making {
    history: History,
    log: Vec<RecordedEvent>,
}

impl Making {
    fn events(&self, count: u128) -> Vec<NewEvent> {
        let first = u128::try_from(self.history.asked.len()).unwrap() * 1_000;
        let event = |nth| {
            let event = NewEvent::json(EventType::new("T").unwrap(), format!("[{nth}]"));
            event.with_id(Uuid::from_u128(first + nth))
        };
        (1..=count).map(event).collect()
    }

    fn head(&self, stream: &StreamName) -> Option<Revision> {
        let events = self.log.iter().rev();
        let mut of_stream = events.filter(|event| event.stream == *stream);
        of_stream.next().map(|event| event.revision)
    }

    fn record(&mut self, append: &Append) -> Receipt {
        let first = Position(u64::try_from(self.log.len()).unwrap());
        let mut revisions: Vec<(StreamName, Revision)> = Vec::new();
        for (stream, event) in &append.events {
            let revision = self.head(stream).map_or(Revision(0), Revision::next);
            self.log.push(RecordedEvent {
                position: Position(u64::try_from(self.log.len()).unwrap()),
                stream: stream.clone(),
                revision,
                id: event.id,
                event_type: event.event_type.clone(),
                content_type: event.content_type.clone(),
                created: Timestamp::from_micros(0),
                tags: Vec::new(),
                metadata: event.metadata.clone(),
                data: event.data.clone(),
            });
            revisions.retain(|(of, _)| of != stream);
            revisions.push((stream.clone(), revision));
        }
        let end = Position(u64::try_from(self.log.len()).unwrap());
        let token = Token {
            store: StoreId(Uuid::nil()),
            lineage: Lineage(Uuid::nil()),
            end,
        };
        let last = Some(Position(end.0 - 1));
        Receipt {
            first,
            last,
            revisions,
            token,
            repeated: false,
        }
    }

    fn note(&mut self, append: Append, at: (Moment, Moment), outcome: Outcome) {
        let (invoked, returned) = at;
        self.history.asked.push(Asked {
            append,
            over_grpc: false,
            invoked,
            returned,
            outcome,
        });
    }

    /// An append that is acknowledged.
    fn done(&mut self, stream: &str, count: u128, at: (Moment, Moment)) {
        let stream = name(stream);
        let head = self.head(&stream);
        let expected = head.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exactly);
        let append = Append::to(stream, expected, self.events(count));
        let receipt = self.record(&append);
        self.note(append, at, Outcome::Done(receipt));
    }

    /// An append of unknown outcome, which is in the log or not.
    fn unknown(&mut self, stream: &str, there: bool, invoked: Moment) {
        let any = ExpectedRevision::Any;
        let append = Append::to(name(stream), any, self.events(2));
        if there {
            self.record(&append);
        }
        let why = Outcome::Unknown("lost".to_owned());
        self.note(append, (invoked, NEVER), why);
    }

    /// An append that expected this revision, and was told where the stream is.
    fn conflict(&mut self, stream: &str, expected: u64, at: (Moment, Moment)) {
        let stream = name(stream);
        let found = self.head(&stream);
        let expected = ExpectedRevision::Exactly(Revision(expected));
        let append = Append::to(stream.clone(), expected, self.events(1));
        self.note(append, at, Outcome::Conflict { stream, found });
    }

    fn look(&mut self, at: (Moment, Moment), saw: Saw) {
        let (invoked, returned) = at;
        self.history.looks.push(Look {
            invoked,
            returned,
            saw,
        });
    }

    fn look_at_all(&mut self, at: (Moment, Moment)) {
        let saw = Saw::Log(Position(0), self.log.clone());
        self.look(at, saw);
    }

    fn follow(&mut self, of: Followed, at: Moment) {
        let wanted = self.log.iter().filter(|event| of.wants(event)).cloned();
        let given: Vec<_> = wanted
            .map(|event| Given::Event(at, Box::new(event)))
            .collect();
        self.history.followed.push(Followings {
            of,
            given,
            resumed: 0,
            reached_the_end: true,
        });
    }

    #[track_caller]
    fn is_sound(&self) {
        let found = judge(&self.history, &self.log);
        assert!(found.is_empty(), "{found:?}");
    }

    #[track_caller]
    fn breaks(&self, promise: Promise) {
        let found = judge(&self.history, &self.log);
        let it = found.iter().any(|violation| violation.promise == promise);
        assert!(it, "{promise:?} was broken, and found was {found:?}");
    }

    /// What is left when its log is changed.
    fn with_log(&self, change: impl FnOnce(&mut Vec<RecordedEvent>)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.log);
        changed
    }

    /// What is left when its history is changed.
    fn with(&self, change: impl FnOnce(&mut History)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.history);
        changed
    }
}

/// A history with something of everything, in which nothing is wrong.
fn sound() -> Making {
    let mut making = Making::default();
    making.done("a", 1, (10, 20));
    making.done("b", 3, (15, 30));
    making.conflict("a", 7, (31, 40));
    making.unknown("a", true, 32);
    making.unknown("a", false, 33);
    making.look_at_all((50, 60));
    making.done("a", 2, (61, 70));
    making.look((71, 72), Saw::Head(name("a"), Some(Revision(4))));
    making.look((71, 72), Saw::Head(name("c"), None));
    let tail: Vec<_> = making.log[6..].to_vec();
    making.look((71, 75), Saw::Stream(name("a"), Revision(3), tail));
    making.look((73, 75), Saw::Stream(name("a"), Revision(5), Vec::new()));
    making.follow(Followed::All, 80);
    making.follow(Followed::Stream(name("b")), 80);
    making
}

#[test]
fn a_sound_history_passes() {
    sound().is_sound();
}

#[test]
fn a_lost_acknowledged_append_is_seen() {
    sound()
        .with_log(|log| log.truncate(6))
        .breaks(Promise::Kept);
    let mut middle = sound();
    middle.log.remove(0);
    middle.breaks(Promise::Kept);
    middle.breaks(Promise::Numbered);
}

#[test]
fn what_was_shown_and_is_gone_is_seen_though_nobody_was_told_that_it_is_kept() {
    let mut making = Making::default();
    making.unknown("a", true, 10);
    making.look_at_all((20, 30));
    making.is_sound();
    making.with_log(Vec::clear).breaks(Promise::Kept);
    let mut head = Making::default();
    head.look((20, 30), Saw::Head(name("a"), Some(Revision(0))));
    head.breaks(Promise::Kept);
}

#[test]
fn a_doubled_event_is_seen() {
    let doubled = |log: &mut Vec<RecordedEvent>| {
        let mut again = log[0].clone();
        again.position = Position(8);
        again.revision = Revision(5);
        log.push(again);
    };
    sound().with_log(doubled).breaks(Promise::Once);
}

#[test]
fn an_invented_event_is_seen() {
    let invented = |log: &mut Vec<RecordedEvent>| {
        let mut new = log[0].clone();
        new.position = Position(8);
        new.revision = Revision(5);
        new.id = Uuid::from_u128(7);
        log.push(new);
    };
    sound().with_log(invented).breaks(Promise::Asked);
}

#[test]
fn a_refused_append_that_is_there_is_seen() {
    let mut making = Making::default();
    making.unknown("a", true, 10);
    making.is_sound();
    let refused = Outcome::Refused("no room".to_owned());
    let refused = making.with(|history| history.asked[0].outcome = refused);
    refused.breaks(Promise::Asked);
}

#[test]
fn a_changed_event_is_seen() {
    let changed = |log: &mut Vec<RecordedEvent>| log[2].data = "{}".into();
    sound().with_log(changed).breaks(Promise::Unchanged);
    let elsewhere = |log: &mut Vec<RecordedEvent>| log[2].stream = name("z");
    sound().with_log(elsewhere).breaks(Promise::Unchanged);
}

#[test]
fn a_torn_append_is_seen() {
    let mut making = Making::default();
    making.unknown("a", true, 10);
    making
        .with_log(|log| log.truncate(1))
        .breaks(Promise::Whole);
    let mut reordered = making.with_log(|log| log.swap(0, 1));
    reordered.log[0].position = Position(0);
    reordered.log[0].revision = Revision(0);
    reordered.log[1].position = Position(1);
    reordered.log[1].revision = Revision(1);
    reordered.breaks(Promise::Whole);
}

#[test]
fn a_wrong_receipt_is_seen() {
    let wrong = |change: fn(&mut Receipt)| {
        sound().with(|history| match &mut history.asked[1].outcome {
            Outcome::Done(receipt) => change(receipt),
            other => panic!("{other:?}"),
        })
    };
    wrong(|receipt| receipt.first = Position(2)).breaks(Promise::Receipt);
    wrong(|receipt| receipt.last = None).breaks(Promise::Receipt);
    wrong(|receipt| receipt.revisions.clear()).breaks(Promise::Receipt);
    wrong(|receipt| receipt.revisions[0].1 = Revision(9)).breaks(Promise::Receipt);
    wrong(|receipt| receipt.token.end = Position(3)).breaks(Promise::Receipt);
}

#[test]
fn two_winners_of_one_revision_are_seen() {
    let mut making = Making::default();
    making.done("a", 1, (10, 20));
    making.done("a", 1, (15, 25));
    making.is_sound();
    let both = ExpectedRevision::NoStream;
    let both = making.with(|history| history.asked[1].append.expectations[0].1 = both);
    both.breaks(Promise::Expected);
}

#[test]
fn a_refusal_without_grounds_is_seen() {
    let mut making = Making::default();
    making.done("a", 1, (10, 20));
    making.conflict("a", 0, (30, 40));
    making.breaks(Promise::Expected);
}

#[test]
fn a_refusal_whose_grounds_came_later_or_were_gone_is_seen() {
    let mut making = Making::default();
    making.conflict("a", 3, (10, 20));
    making.done("a", 1, (15, 25));
    making.conflict("a", 3, (22, 30));
    making.is_sound();
    let too_early = |history: &mut History| history.asked[2].returned = 12;
    let mut early = making.with(too_early);
    early.history.asked[2].invoked = 11;
    early.breaks(Promise::Order);
    let mut late = making.clone();
    (
        late.history.asked[0].invoked,
        late.history.asked[0].returned,
    ) = (26, 28);
    late.breaks(Promise::Order);
}

#[test]
fn appends_in_the_order_in_which_they_were_not_made_are_seen() {
    let mut making = Making::default();
    making.done("a", 1, (30, 40));
    making.done("b", 1, (35, 45));
    making.is_sound();
    let mut reordered = making;
    (
        reordered.history.asked[1].invoked,
        reordered.history.asked[1].returned,
    ) = (10, 20);
    reordered.breaks(Promise::Order);
}

#[test]
fn a_look_that_does_not_see_what_was_acknowledged_is_seen() {
    let mut making = Making::default();
    making.done("a", 1, (10, 20));
    let before = making.log.clone();
    making.done("a", 1, (30, 40));
    for saw in [
        Saw::Log(Position(0), before.clone()),
        Saw::Stream(name("a"), Revision(0), before),
        Saw::Head(name("a"), Some(Revision(0))),
        Saw::Head(name("a"), None),
        Saw::Stream(name("a"), Revision(1), Vec::new()),
        Saw::Log(Position(1), Vec::new()),
    ] {
        let mut stale = making.clone();
        stale.look((41, 50), saw);
        stale.breaks(Promise::Order);
    }
}

#[test]
fn a_look_behind_the_look_of_somebody_else_is_seen() {
    let mut making = Making::default();
    making.unknown("a", true, 10);
    let seen = making.log.clone();
    making.look((20, 25), Saw::Log(Position(0), seen));
    let mut overlapping = making.clone();
    overlapping.look((24, 30), Saw::Head(name("a"), None));
    overlapping.is_sound();
    making.look((26, 30), Saw::Head(name("a"), None));
    making.breaks(Promise::Order);
}

#[test]
fn an_event_shown_before_it_was_asked_for_is_seen() {
    let mut making = Making::default();
    making.done("a", 1, (30, 40));
    making.look_at_all((10, 20));
    making.breaks(Promise::Order);
    let mut followed = Making::default();
    followed.done("a", 1, (30, 40));
    followed.follow(Followed::All, 20);
    followed.breaks(Promise::Order);
}

#[test]
fn half_an_append_that_was_shown_is_seen() {
    let mut making = Making::default();
    making.done("a", 2, (10, 40));
    let half = making.log[..1].to_vec();
    making.look((20, 30), Saw::Log(Position(0), half));
    making.breaks(Promise::Order);
    let mut head = Making::default();
    head.done("a", 2, (10, 40));
    head.look((20, 30), Saw::Head(name("a"), Some(Revision(0))));
    head.breaks(Promise::Order);
}

#[test]
fn a_follower_that_misses_doubles_or_reorders_is_seen() {
    let followed = |change: fn(&mut Vec<Given>)| {
        let changed = sound().with(|history| change(&mut history.followed[0].given));
        changed.breaks(Promise::Followed);
    };
    followed(|given| drop(given.remove(3)));
    followed(|given| given.swap(1, 2));
    followed(|given| given.insert(3, given[2].clone()));
    followed(|given| drop(given.pop()));
    followed(|given| given.insert(2, Given::LookedAt(80, Position(5), None)));
    followed(|given| match &mut given[2] {
        Given::Event(_, event) => event.data = "no".into(),
        other @ (Given::Untagged(..) | Given::LookedAt(..)) => panic!("{other:?}"),
    });
    let stuck = |history: &mut History| history.followed[1].reached_the_end = false;
    sound().with(stuck).breaks(Promise::Followed);
}

#[test]
fn a_clock_that_goes_back_is_seen() {
    let times = |first, second| {
        sound().with(|history| {
            let given = &mut history.followed[0].given;
            given.push(Given::LookedAt(81, Position(8), Some(first)));
            given.push(Given::LookedAt(81, Position(8), None));
            given.push(Given::LookedAt(81, Position(8), Some(second)));
        })
    };
    times(5, 5).is_sound();
    times(5, 4).breaks(Promise::Clock);
}

/// A protocol without tags shows everything else.
#[test]
fn what_is_shown_without_tags_is_compared_in_everything_else() {
    let mut world = Making::default();
    world.done("order-1", 2, (10, 20));
    world.log[0].tags = vec![Tag::new("kind:tagged").unwrap()];
    world.history.asked[0].append.events[0].1.tags = world.log[0].tags.clone();
    let follows = |shows: fn(Moment, Box<RecordedEvent>) -> Given,
                   change: fn(&mut RecordedEvent)| {
        let mut world = world.clone();
        world.follow(Followed::All, 30);
        for given in &mut world.history.followed[0].given {
            let Given::Event(at, event) = given else {
                panic!("{given:?}");
            };
            let (at, mut event) = (*at, event.clone());
            change(&mut event);
            *given = shows(at, event);
        }
        world
    };
    follows(Given::Event, |_| ()).is_sound();
    follows(Given::Untagged, |event| event.tags.clear()).is_sound();
    follows(Given::Event, |event| event.tags.clear()).breaks(Promise::Followed);
    let changed = |event: &mut RecordedEvent| {
        event.tags.clear();
        event.data = "no".into();
    };
    follows(Given::Untagged, changed).breaks(Promise::Followed);
}
