//! The reference answers of a data set, and the same questions asked of any sequence of events.
//!
//! The answers were computed from the lines of the data set by other means. What is asked here asks
//! only for events in global order, so it serves a read, a subscription and the lines themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use annal::model::RecordedEvent;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::read_models::ReadModels;

/// The answers of one data set.
pub(crate) struct Answers {
    pub(crate) value: Value,
    folder: PathBuf,
    name: String,
}

impl Answers {
    pub(crate) fn load(folder: &Path, name: &str) -> Self {
        let text = fs::read(folder.join(format!("{name}.answers.json"))).unwrap();
        Self {
            value: serde_json::from_slice(&text).unwrap(),
            folder: folder.to_path_buf(),
            name: name.to_string(),
        }
    }

    /// The compressed lines.
    pub(crate) fn ndjson(&self) -> PathBuf {
        self.folder.join(format!("{}.ndjson.zst", self.name))
    }

    /// Compares what was found with the answers of the same names.
    pub(crate) fn check(&self, found: &Value) {
        for (question, answer) in found.as_object().unwrap() {
            let expected = &self.value[question];
            match (expected.as_object(), answer.as_object()) {
                // One question at a time, so that a failure can be read.
                (Some(expected), Some(answer)) => {
                    let parts = BTreeSet::from_iter(answer.keys());
                    assert_eq!(parts, BTreeSet::from_iter(expected.keys()), "{question}");
                    for (part, answer) in answer {
                        assert_eq!(answer, &expected[part], "{}: {question}/{part}", self.name);
                    }
                }
                _ => assert_eq!(answer, expected, "{}: {question}", self.name),
            }
        }
    }

    fn keys(&self, question: &str) -> Vec<String> {
        self.value[question]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    }
}

/// A SHA-256 as the answers write it.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// The SHA-256 over `STREAM@REVISION TYPE` and a line end for every event.
#[derive(Clone, Default)]
pub(crate) struct OrderHash(Sha256);

impl OrderHash {
    pub(crate) fn add(&mut self, event: &RecordedEvent) {
        let line = format!("{}@{} {}\n", event.stream, event.revision, event.event_type);
        self.0.update(line);
    }

    pub(crate) fn hex(self) -> String {
        hex(self.0)
    }
}

pub(crate) type Counts = BTreeMap<String, u64>;

/// One more under this key, without a copy of the key if it is known.
pub(crate) fn count(counts: &mut Counts, key: &str) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.to_string(), 1)),
    }
}

/// Everything the answers say that follows from the events, one event after the other.
pub(crate) struct Reckoning {
    events: u64,
    times: Option<(String, String)>,
    /// Events of each stream.
    streams: HashMap<String, u64>,
    types: Counts,
    categories: Counts,
    order: OrderHash,
    order_of_first: Map<String, Value>,
    order_by_type: BTreeMap<String, OrderHash>,
    order_by_category: BTreeMap<String, OrderHash>,
    payload: Sha256,
    at_position: Vec<Value>,
    /// The events that the answers ask for, as JSON: the last one of a stream, in their order.
    last_event_of: Vec<(String, Value)>,
    before: Counts,
    models: ReadModels,
    first_counts: Vec<String>,
    positions: Vec<u64>,
}

impl Reckoning {
    pub(crate) fn new(answers: &Answers) -> Self {
        let list = |question: &str| answers.value[question].as_array().unwrap().clone();
        let streams = list("last_event_of").into_iter();
        let stream = |event: Value| (event["stream"].as_str().unwrap().to_string(), Value::Null);
        let position = |event: &Value| event["position"].as_u64().unwrap();
        let times = answers.keys("first_position_at_or_after");
        Self {
            events: 0,
            times: None,
            streams: HashMap::new(),
            types: Counts::new(),
            categories: Counts::new(),
            order: OrderHash::default(),
            order_of_first: Map::new(),
            order_by_type: BTreeMap::new(),
            order_by_category: BTreeMap::new(),
            payload: Sha256::new(),
            at_position: Vec::new(),
            last_event_of: streams.map(stream).collect(),
            before: times.iter().map(|time| (time.clone(), 0)).collect(),
            models: ReadModels::new(&answers.value["read_model"], &times),
            first_counts: answers.keys("order_sha256_of_first"),
            positions: list("at_position").iter().map(position).collect(),
        }
    }

    /// Takes the next event in global order.
    pub(crate) fn add(&mut self, event: &RecordedEvent) {
        let (stream, event_type) = (event.stream.as_str(), event.event_type.as_str());
        let category = stream.split('-').next().unwrap();
        let time = event.created.to_string();
        self.events += 1;
        match self.streams.get_mut(stream) {
            Some(count) => *count += 1,
            None => drop(self.streams.insert(stream.to_string(), 1)),
        }
        count(&mut self.types, event_type);
        count(&mut self.categories, category);
        self.order.add(event);
        self.order_by_type
            .entry(event_type.to_string())
            .or_default()
            .add(event);
        self.order_by_category
            .entry(category.to_string())
            .or_default()
            .add(event);
        if self.first_counts.contains(&self.events.to_string()) {
            let order = self.order.clone().hex();
            self.order_of_first
                .insert(self.events.to_string(), order.into());
        }
        self.payload.update(&event.data);
        self.payload.update(b"\n");
        if self.positions.contains(&event.position.0) {
            self.at_position.push(as_json(event));
        }
        if let Some((_, last)) = self.last_event_of.iter_mut().find(|(of, _)| of == stream) {
            *last = as_json(event);
        }
        for (_, count) in self.before.iter_mut().filter(|(before, _)| time < **before) {
            *count += 1;
        }
        self.models.add(event, &time);
        let (first, last) = self.times.take().unwrap_or((time.clone(), time.clone()));
        self.times = Some((first.min(time.clone()), last.max(time)));
    }

    /// The answers, under the names they have in the reference.
    pub(crate) fn finish(self) -> Value {
        let mut streams_per_category = Counts::new();
        let mut by_length = BTreeMap::new();
        for (stream, events) in &self.streams {
            count(&mut streams_per_category, stream.split('-').next().unwrap());
            *by_length.entry(*events.min(&100)).or_insert(0u64) += 1;
        }
        let by_length = by_length
            .iter()
            .map(|(len, count)| (len.to_string(), json!(count)));
        let mut longest: Vec<_> = self.streams.iter().collect();
        longest.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        let head =
            |(stream, events): &(&String, &u64)| json!({"stream": stream, "head": **events - 1});
        let hashes = |hashes: BTreeMap<String, OrderHash>| -> Map<String, Value> {
            let hex = |(key, order): (String, OrderHash)| (key, order.hex().into());
            hashes.into_iter().map(hex).collect()
        };
        let (first_time, last_time) = self.times.unwrap();
        json!({
            "events": self.events,
            "streams": self.streams.len(),
            "first_time": first_time,
            "last_time": last_time,
            "events_per_type": self.types,
            "events_per_category": self.categories,
            "streams_per_category": streams_per_category,
            "longest_streams": longest.iter().take(20).map(head).collect::<Vec<_>>(),
            "streams_by_length": by_length.collect::<Map<_, _>>(),
            "order_sha256": self.order.hex(),
            "order_sha256_of_first": self.order_of_first,
            "order_sha256_by_type": hashes(self.order_by_type),
            "order_sha256_by_category": hashes(self.order_by_category),
            "payload_sha256": hex(self.payload),
            "at_position": self.at_position,
            "last_event_of": self.last_event_of.into_iter().map(|of| of.1).collect::<Vec<_>>(),
            "first_position_at_or_after": self.before,
            "read_model": self.models.finish(),
        })
    }
}

/// An event as the answers show it.
pub(crate) fn as_json(event: &RecordedEvent) -> Value {
    let parsed = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    json!({
        "stream": event.stream.as_str(),
        "revision": event.revision.0,
        "position": event.position.0,
        "type": event.event_type.as_str(),
        "time": event.created.to_string(),
        "data": parsed(&event.data),
        "metadata": parsed(&event.metadata),
    })
}
