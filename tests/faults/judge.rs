//! The judge: whether one correct store can have given a history, judged by the log it ended with.
//!
//! The log is one order of all events, and events name their append by unique ids. So nothing has
//! to be guessed, as a checker of linearizability must where it sees answers only: an append took
//! effect at its place in the log, and a look at some length of the log. What is left to decide is
//! whether those lengths can be chosen so that what was answered before something else was asked
//! also stands in front of it. `times` chooses the least lengths that fit; where these do not fit,
//! none do. Together with the checks of content this is exact: a history passes if and only if
//! appends, refusals and looks happened one at a time, each between its request and its answer.
//!
//! Always holds: an append that was answered as done is there once, whole, where the answer says;
//! one that was refused is not there; one of unknown outcome is there once and whole, or not.

#[path = "times.rs"]
mod times;

use std::collections::HashMap;
use std::fmt;

use annal::{
    Append, ExpectedRevision, NewEvent, Position, Receipt, RecordedEvent, Revision, StreamName,
};
use uuid::Uuid;

use super::history::{Asked, Followings, Given, History, Look, Outcome, Saw};
use times::Spans;

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// Positions count from 0 without gaps, revisions too.
    Numbered,
    /// Every id is in the log once.
    Once,
    /// What is in the log was asked for, and not refused.
    Asked,
    /// What is in the log, and what was shown of it, is what its writer handed in.
    Unchanged,
    /// What was acknowledged, or shown, is in the log.
    Kept,
    /// An append is there whole, in one run, in its order.
    Whole,
    /// A receipt says where the events are.
    Receipt,
    /// What was expected of the streams was so, or it was not and that was said.
    Expected,
    /// What was answered before something else was asked stands in front of it.
    Order,
    /// A follower is given everything once and in order, up to the end.
    Followed,
    /// No later commit has an earlier time.
    Clock,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// Where the events of an append stand in the log: the first, and the one behind the last.
type Place = (u64, u64);

/// Everything that a correct store cannot have done, in a history and the log behind it.
pub(crate) fn judge(history: &History, log: &[RecordedEvent]) -> Vec<Violation> {
    let mut judge = Judge::new(log);
    judge.numbers();
    let places = judge.appends(&history.asked);
    let spans = Spans::new(&places);
    for followed in &history.followed {
        judge.followings(followed);
    }
    let looks: Vec<_> = history.looks.iter().map(|look| judge.look(look)).collect();
    judge.times(history, &places, &looks, &spans);
    judge.found
}

struct Judge<'a> {
    log: &'a [RecordedEvent],
    /// The positions of each stream's events.
    streams: HashMap<&'a StreamName, Vec<u64>>,
    found: Vec<Violation>,
}

/// The lengths of the log that a look can have seen, both ends included; none if it is no look at
/// any length.
type Lengths = Option<(u64, u64)>;

impl<'a> Judge<'a> {
    fn new(log: &'a [RecordedEvent]) -> Self {
        let mut streams: HashMap<_, Vec<u64>> = HashMap::new();
        for (at, event) in (0..).zip(log) {
            streams.entry(&event.stream).or_default().push(at);
        }
        let found = Vec::new();
        Self {
            log,
            streams,
            found,
        }
    }

    fn broken(&mut self, promise: Promise, what: String) {
        self.found.push(Violation { promise, what });
    }

    fn of_stream(&self, stream: &StreamName) -> &[u64] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    /// The last revision of a stream in front of a position.
    fn head_before(&self, stream: &StreamName, position: u64) -> Option<u64> {
        let events = self.of_stream(stream).partition_point(|at| *at < position);
        u64::try_from(events).unwrap().checked_sub(1)
    }

    fn numbers(&mut self) {
        let mut next = HashMap::<_, u64>::new();
        for (at, event) in (0..).zip(self.log) {
            let revision = next.entry(&event.stream).or_default();
            if (event.position.0, event.revision.0) != (at, *revision) {
                let what = format!("{} should be at {at}, {revision}", shown(event));
                self.found.push(Violation {
                    promise: Promise::Numbered,
                    what,
                });
            }
            *revision += 1;
        }
    }

    /// Compares every append with the log; where each stands.
    fn appends(&mut self, asked: &[Asked]) -> Vec<Option<Place>> {
        let mut stand = HashMap::<Uuid, Vec<u64>>::new();
        for (at, event) in (0..).zip(self.log) {
            stand.entry(event.id).or_default().push(at);
        }
        let places: Vec<_> = asked
            .iter()
            .map(|asked| {
                let place = self.place(&asked.append, &mut stand);
                self.outcome(asked, place);
                place
            })
            .collect();
        for (id, at) in stand {
            let what = format!("nobody asked for {id}, at {at:?}");
            self.broken(Promise::Asked, what);
        }
        places
    }

    /// Where an append stands; its events are taken out of `stand`.
    fn place(&mut self, append: &Append, stand: &mut HashMap<Uuid, Vec<u64>>) -> Option<Place> {
        let mut first = None;
        let mut there = 0;
        for (nth, (stream, event)) in (0..).zip(&append.events) {
            let Some(at) = stand.remove(&event.id) else {
                continue;
            };
            if at.len() > 1 {
                let what = format!("{} of {stream} stands at {at:?}", event.id);
                self.broken(Promise::Once, what);
            }
            there += 1;
            let at = at[0];
            let begin = *first.get_or_insert(at - nth.min(at));
            if at != begin + nth {
                let what = format!("{} stands at {at}, its append at {begin}", event.id);
                self.broken(Promise::Whole, what);
            }
            let recorded = &self.log[usize::try_from(at).unwrap()];
            if !is_of(recorded, stream, event) {
                let what = format!("{} is not what {} was", shown(recorded), event.id);
                self.broken(Promise::Unchanged, what);
            }
        }
        let events = u64::try_from(append.events.len()).unwrap();
        let first = first?;
        if there != events {
            let what = format!("{there} of {events} events of {}", name(append));
            self.broken(Promise::Whole, what);
        }
        Some((first, first + events))
    }

    fn outcome(&mut self, asked: &Asked, place: Option<Place>) {
        let append = &asked.append;
        match (&asked.outcome, place) {
            (Outcome::Done(receipt), Some(place)) => self.receipt(append, receipt, place),
            (Outcome::Done(receipt), None) => {
                let what = format!("{} was acknowledged at {}", name(append), receipt.first);
                self.broken(Promise::Kept, what);
            }
            (refused @ (Outcome::Conflict { .. } | Outcome::Refused(_)), Some((at, _))) => {
                let what = format!("{} stands at {at}, told: {refused:?}", name(append));
                self.broken(Promise::Asked, what);
            }
            (Outcome::Unknown(_) | Outcome::Conflict { .. } | Outcome::Refused(_), _) => {}
        }
        if let Some((first, _)) = place {
            for (stream, expected) in &append.expectations {
                let head = self.head_before(stream, first);
                if !fits(*expected, head) {
                    let what = format!("{stream} was at {head:?}, not {expected}, at {first}");
                    self.broken(Promise::Expected, what);
                }
            }
        }
        if let Outcome::Conflict { stream, found } = &asked.outcome {
            let mut expectations = append.expectations.iter();
            let told = expectations.find(|(expected, _)| expected == stream);
            if told.is_none_or(|(_, expected)| fits(*expected, found.map(|found| found.0))) {
                let what = format!("{} was refused with {stream} at {found:?}", name(append));
                self.broken(Promise::Expected, what);
            }
        }
    }

    fn receipt(&mut self, append: &Append, receipt: &Receipt, (first, end): Place) {
        let streams = receipt.revisions.iter();
        let revisions_fit = streams
            .clone()
            .all(|(stream, revision)| self.head_before(stream, end) == Some(revision.0));
        let streams_fit = append
            .events
            .iter()
            .all(|(stream, _)| streams.clone().any(|(of, _)| of == stream));
        let place_fits = receipt.first.0 == first
            && receipt.last.is_some_and(|last| last.0 + 1 == end)
            && receipt.token.end.0 >= end;
        if !(revisions_fit && streams_fit && place_fits) {
            let what = format!("{} stands at {first}, not {receipt:?}", name(append));
            self.broken(Promise::Receipt, what);
        }
    }

    fn followings(&mut self, followed: &Followings) {
        let log = self.log.iter();
        let mut clock = None;
        let mut wanted = log.filter(|event| followed.of.wants(event)).peekable();
        for given in &followed.given {
            match given {
                Given::Event(_, event) | Given::Untagged(_, event) => match wanted.next() {
                    Some(wanted) if is_shown(wanted, given) => {}
                    wanted => {
                        let wanted = wanted.map_or("nothing".to_owned(), shown);
                        let what = format!("{}, not {wanted}, of {:?}", shown(event), followed.of);
                        return self.broken(Promise::Followed, what);
                    }
                },
                Given::LookedAt(_, position, committed_us) => {
                    if committed_us.is_some() && *committed_us < clock {
                        let what = format!("committed {committed_us:?} after {clock:?}");
                        self.broken(Promise::Clock, what);
                    }
                    clock = clock.max(*committed_us);
                    if let Some(left_out) = wanted.peek().filter(|next| next.position < *position) {
                        let what = format!("{} left out before {position}", shown(left_out));
                        return self.broken(Promise::Followed, what);
                    }
                }
            }
        }
        if let Some(left_out) = wanted.peek() {
            let what = format!("{} never came, of {:?}", shown(left_out), followed.of);
            self.broken(Promise::Followed, what);
        } else if !followed.reached_the_end {
            let what = format!("{:?} did not reach the end", followed.of);
            self.broken(Promise::Followed, what);
        }
    }

    /// The lengths of the log at which one sees what a look saw.
    fn look(&mut self, look: &Look) -> Lengths {
        let lengths = match &look.saw {
            Saw::Head(stream, head) => self.lengths_of(stream, head.map_or(0, |head| head.0 + 1)),
            Saw::Stream(stream, from, events) => {
                let at = self.of_stream(stream).iter().skip(index(from.0));
                let stand: Vec<_> = at.map(|at| &self.log[index(*at)]).collect();
                self.compare(events, &stand)?;
                match u64::try_from(events.len()).unwrap() {
                    // It ended somewhere in front of there.
                    0 => Some((0, self.lengths_of(stream, from.0).map_or(u64::MAX, |l| l.1))),
                    events => self.lengths_of(stream, from.0 + events),
                }
            }
            Saw::Log(from, events) => {
                let stand: Vec<_> = self.log.iter().skip(index(from.0)).collect();
                self.compare(events, &stand)?;
                match u64::try_from(events.len()).unwrap() {
                    0 => Some((0, from.0)),
                    events => Some((from.0 + events, from.0 + events)),
                }
            }
        };
        if lengths.is_none() {
            let what = format!("the log never was as it was seen: {:?}", look.saw);
            self.broken(Promise::Kept, what);
        }
        lengths
    }

    /// The lengths of the log at which a stream has so many events.
    fn lengths_of(&self, stream: &StreamName, events: u64) -> Lengths {
        let at = self.of_stream(stream);
        let least = match events.checked_sub(1) {
            None => 0,
            Some(last) => at.get(index(last))? + 1,
        };
        let next = at.get(index(events));
        Some((least, next.copied().unwrap_or(u64::MAX)))
    }

    fn compare(&mut self, seen: &[RecordedEvent], stand: &[&RecordedEvent]) -> Option<()> {
        for (nth, event) in seen.iter().enumerate() {
            match stand.get(nth) {
                Some(stands) if *stands == event => {}
                Some(stands) => {
                    let what = format!("{} was seen as {}", shown(stands), shown(event));
                    self.broken(Promise::Unchanged, what);
                    return None;
                }
                None => {
                    let what = format!("{} was seen and is not in the log", shown(event));
                    self.broken(Promise::Kept, what);
                    return None;
                }
            }
        }
        Some(())
    }
}

impl Saw {
    fn name(&self) -> String {
        match self {
            Self::Head(stream, head) => format!("{stream}, which ended at {head:?}"),
            Self::Stream(stream, Revision(from), events) => {
                format!("{} events of {stream} from {from} on", events.len())
            }
            Self::Log(Position(from), events) => {
                format!("{} events of the log from {from} on", events.len())
            }
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn fits(expected: ExpectedRevision, head: Option<u64>) -> bool {
    match expected {
        ExpectedRevision::Any => true,
        ExpectedRevision::NoStream => head.is_none(),
        ExpectedRevision::StreamExists => head.is_some(),
        ExpectedRevision::Exactly(revision) => head == Some(revision.0),
    }
}

fn is_of(recorded: &RecordedEvent, stream: &StreamName, event: &NewEvent) -> bool {
    recorded.stream == *stream
        && recorded.event_type == event.event_type
        && recorded.content_type == event.content_type
        && recorded.data == event.data
        && recorded.metadata == event.metadata
        && recorded.tags == event.tags
}

/// Whether what was given is an event of the log, as far as its protocol shows it.
fn is_shown(stands: &RecordedEvent, given: &Given) -> bool {
    match given {
        Given::Event(_, event) => **event == *stands,
        Given::Untagged(_, event) => {
            let stands = RecordedEvent {
                tags: Vec::new(),
                ..stands.clone()
            };
            **event == stands
        }
        Given::LookedAt(..) => false,
    }
}

fn shown(event: &RecordedEvent) -> String {
    let RecordedEvent {
        position,
        stream,
        revision,
        id,
        ..
    } = event;
    format!("{stream}@{revision} ({id}, position {position})")
}

fn name(append: &Append) -> String {
    let events = append.events.len();
    match append.events.first() {
        Some((stream, event)) => format!("the append of {events} to {stream} ({})", event.id),
        None => "an append of nothing".to_owned(),
    }
}
