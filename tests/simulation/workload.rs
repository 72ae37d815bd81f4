//! What clients ask for: appends to one and several streams with every expectation, named
//! requests, state records, metadata, deletions and tombstones. Names and ids are few, so that
//! requests meet.

use annal::{EventType, ExpectedRevision, NewEvent, Revision, StreamMetadata, StreamName, Tag};
use uuid::Uuid;

use crate::common::reference::Ask;
use crate::dice::Dice;
use crate::mix::Mix;

/// All streams that are written.
pub(crate) const STREAMS: [&str; 7] = ["a-1", "a-2", "b", "c-7", "$$a-1", "$$b", "$system"];
/// Streams that are ended. Subscriptions to the others show all their events.
const ENDED: [&str; 4] = ["a-1", "a-2", "b", "$system"];
/// A stream that nobody ends or describes.
pub(crate) const PLAIN: &str = "c-7";
pub(crate) const TYPES: [&str; 2] = ["Happened", "Opened"];
pub(crate) const TAG: &str = "third";

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name.to_owned()).unwrap()
}

/// Whether an event of this id has the tag.
pub(crate) fn is_tagged(id: Uuid) -> bool {
    id.as_u128().is_multiple_of(3)
}

pub(crate) fn tags_of(id: Uuid) -> Vec<Tag> {
    let tag = is_tagged(id).then(|| Tag::new(TAG).unwrap());
    tag.into_iter().collect()
}

/// A request in few words.
pub(crate) fn brief(ask: &Ask) -> String {
    match ask {
        Ask::BringBack(stream, expected) => format!("bring back {stream} at {expected}"),
        Ask::Delete(stream, expected) => format!("delete {stream} at {expected}"),
        Ask::Tombstone(stream, expected) => format!("tombstone {stream} at {expected}"),
        Ask::Append {
            events,
            expected,
            states,
            request,
        } => {
            let event = |(stream, event): &(StreamName, NewEvent)| {
                let (id, len) = (event.id.as_u128(), event.data.len());
                format!("{stream}#{id} ({len} B)")
            };
            let events: Vec<String> = events.iter().map(event).collect();
            let request = request.map_or(String::new(), |id| format!(" request {id}"));
            let states = match states.len() {
                0 => String::new(),
                len => format!(" and {len} states"),
            };
            let events = events.join(" ");
            format!("append {events}{states} at {expected:?}{request}")
        }
    }
}

/// Makes requests.
#[derive(Debug)]
pub(crate) struct Workload {
    ids_made: u128,
    requests_made: u128,
}

impl Workload {
    pub(crate) const fn new() -> Self {
        Self {
            ids_made: 1_000,
            requests_made: 0,
        }
    }

    pub(crate) fn ask(&mut self, dice: &mut Dice, mix: &Mix) -> Ask {
        match dice.below(16) {
            0..12 => self.append(dice, mix),
            12 | 13 => Ask::Delete(stream(dice.pick(&ENDED)), expected(dice)),
            14 => Ask::BringBack(stream(dice.pick(&STREAMS)), expected(dice)),
            _ => Ask::Tombstone(stream(dice.pick(&ENDED)), expected(dice)),
        }
    }

    fn append(&mut self, dice: &mut Dice, mix: &Mix) -> Ask {
        let alone = dice.percent(50).then(|| dice.pick(&STREAMS));
        let events = (0..dice.below(mix.events_max)).map(|_| {
            let name = alone.unwrap_or_else(|| dice.pick(&STREAMS));
            (stream(name), self.event(name, dice, mix))
        });
        let events: Vec<_> = events.collect();
        let mut expectations = Vec::new();
        for name in STREAMS {
            let written = events.iter().any(|(of, _)| of.as_str() == name);
            if dice.percent(if written { 50 } else { 5 }) {
                expectations.push((stream(name), expected(dice)));
            }
        }
        let states = if dice.percent(40) { dice.below(3) } else { 0 };
        let states = (0..states).map(|_| {
            let value = dice.percent(70).then(|| {
                let len = dice.below(9);
                (0..len).map(|_| small(dice)).collect()
            });
            (small(dice) % 9, value)
        });
        let states = states.collect();
        let request = dice.percent(25).then(|| {
            self.requests_made += 1;
            self.requests_made
        });
        Ask::Append {
            events,
            expected: expectations,
            states,
            request,
        }
    }

    fn event(&mut self, name: &str, dice: &mut Dice, mix: &Mix) -> NewEvent {
        let id = match mix.ids {
            Some(ids) => dice.below(ids).into(),
            None => {
                self.ids_made += 1;
                self.ids_made
            }
        };
        let (event_type, data) = match name.starts_with("$$") {
            true => (StreamMetadata::EVENT_TYPE, metadata(dice).to_owned()),
            false => (dice.pick(&TYPES), text(dice, mix.len_max)),
        };
        let mut event = NewEvent::json(EventType::new(event_type).unwrap(), data);
        event.id = Uuid::from_u128(id);
        event.tags = tags_of(event.id);
        event
    }
}

fn small(dice: &mut Dice) -> u8 {
    u8::try_from(dice.below(256)).unwrap()
}

/// JSON of about any length, which says where it is from.
fn text(dice: &mut Dice, len_max: u64) -> String {
    let mark = dice.roll();
    let len = usize::try_from(dice.below(len_max + 1)).unwrap();
    let mut text = format!("{{\"it\":{mark},\"more\":\"");
    let letters = mark.to_string();
    text.extend(letters.chars().cycle().take(len));
    text.push_str("\"}");
    text
}

fn metadata(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        r#"{"$tb":2}"#,
        r#"{"$maxCount":2,"mine":1}"#,
        r#"{"$tb":9223372036854775807,"kept":true}"#,
        "{}",
    ])
}

fn expected(dice: &mut Dice) -> ExpectedRevision {
    match dice.below(9) {
        0..3 => ExpectedRevision::Any,
        3 | 4 => ExpectedRevision::NoStream,
        5 => ExpectedRevision::StreamExists,
        _ => ExpectedRevision::Exactly(Revision(dice.below(8))),
    }
}
