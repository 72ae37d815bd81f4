//! Every answer of a data set, asked of a place that holds its events.

use std::collections::BTreeMap;

use annal::{EventType, Position, RecordedEvent, Revision, Source, StreamHead};
use serde_json::{Map, Value, json};

use super::answers::{Answers, OrderHash, Reckoning, as_json};
use super::place::Place;

/// Asks for everything that the answers know, by every way that leads to it.
pub(crate) async fn check(place: &Place, answers: &Answers) {
    let mut read = Reckoning::new(answers);
    place.read(Source::All, |event| read.add(event)).await;
    answers.check(&read.finish());

    let mut followed = Reckoning::new(answers);
    place.follow(Source::All, |event| followed.add(event)).await;
    answers.check(&followed.finish());

    let of_type = |name: &str| Source::EventType(EventType::new(name.to_owned()).unwrap());
    chosen(place, answers, "type", of_type).await;
    let of_category = |name: &str| Source::Category(name.to_owned());
    chosen(place, answers, "category", of_category).await;
    single_events(place, answers).await;
    streams(place, answers).await;
}

/// The events of each type or category: their order and their number, read and followed.
async fn chosen(place: &Place, answers: &Answers, by: &str, source: impl Fn(&str) -> Source) {
    let orders = format!("order_sha256_by_{by}");
    let counts = format!("events_per_{by}");
    let expected = answers.value[&orders].as_object().unwrap();
    let (mut read, mut followed) = (Chosen::default(), Chosen::default());
    for name in expected.keys() {
        let mut part = Part::default();
        place.read(source(name), |event| part.add(event)).await;
        read.add(name, part);
        let mut part = Part::default();
        place.follow(source(name), |event| part.add(event)).await;
        followed.add(name, part);
    }
    for Chosen {
        orders: found,
        counts: counted,
    } in [read, followed]
    {
        answers.check(&json!({ &*orders: found, &*counts: counted }));
    }
}

#[derive(Default)]
struct Part {
    order: OrderHash,
    events: u64,
}

impl Part {
    fn add(&mut self, event: &RecordedEvent) {
        self.order.add(event);
        self.events += 1;
    }
}

#[derive(Default)]
struct Chosen {
    orders: Map<String, Value>,
    counts: Map<String, Value>,
}

impl Chosen {
    fn add(&mut self, name: &str, part: Part) {
        self.orders.insert(name.to_owned(), part.order.hex().into());
        self.counts.insert(name.to_owned(), part.events.into());
    }
}

/// Heads, last events, events at positions, and positions at times.
async fn single_events(place: &Place, answers: &Answers) {
    let list = |question: &str| answers.value[question].as_array().unwrap().iter();
    let stream = |answer: &Value| answer["stream"].as_str().unwrap().to_owned();
    let mut heads = Vec::new();
    for answer in list("longest_streams") {
        let stream = stream(answer);
        let (event, head) = place.last_event(&stream).await;
        assert_eq!(head, StreamHead::At(event.revision));
        heads.push(json!({ "stream": stream, "head": event.revision.0 }));
    }
    let mut last = Vec::new();
    for answer in list("last_event_of") {
        last.push(as_json(&place.last_event(&stream(answer)).await.0));
    }
    let mut at = Vec::new();
    for answer in list("at_position") {
        let position = Position(answer["position"].as_u64().unwrap());
        at.push(as_json(&place.event_at(position).await));
    }
    let mut first = Map::new();
    let times = answers.value["first_position_at_or_after"].as_object();
    for time in times.unwrap().keys() {
        let position = place.position_at(time.parse().unwrap()).await;
        first.insert(time.clone(), position.0.into());
    }
    answers.check(&json!({
        "longest_streams": heads,
        "last_event_of": last,
        "at_position": at,
        "first_position_at_or_after": first,
    }));
}

/// What the list of streams says of their number and their lengths.
async fn streams(place: &Place, answers: &Answers) {
    let streams = place.streams().await;
    assert!(
        streams.is_sorted_by(|one, other| one.0.as_str() < other.0.as_str()),
        "a list is in order and names no stream twice"
    );
    let mut by_length = BTreeMap::new();
    let mut by_category = BTreeMap::new();
    for (stream, events) in &streams {
        *by_length
            .entry(events.min(&100).to_string())
            .or_insert(0u64) += 1;
        *by_category
            .entry(stream.category().unwrap().to_owned())
            .or_insert(0u64) += 1;
    }
    let mut longest: Vec<_> = streams.iter().collect();
    // Stable: streams of the same length stay in the order of their names.
    longest.sort_by_key(|(_, events)| u64::MAX - events);
    let head = |(stream, events): &&(_, u64)| {
        let stream: &annal::StreamName = stream;
        json!({ "stream": stream.as_str(), "head": Revision(events - 1).0 })
    };
    let longest: Vec<Value> = longest.iter().take(20).map(head).collect();
    answers.check(&json!({
        "streams": streams.len(),
        "streams_by_length": by_length,
        "streams_per_category": by_category,
        "longest_streams": longest,
    }));
}
