//! The read models of the data sets: what a projection over their events arrives at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use annal::model::RecordedEvent;
use serde_json::{Map, Value, json};

use super::answers::{Counts, count};

/// The read models that one data set asks for.
pub(crate) struct ReadModels {
    events_per_month: Counts,
    of: Of,
}

enum Of {
    Incidents(Box<Incidents>),
    Git(Box<Git>),
}

impl ReadModels {
    /// The models that stand under `read_model` in the answers, the ones "before" at these times.
    pub(crate) fn new(expected: &Value, times: &[String]) -> Self {
        let of = match expected.get("folded_state_of") {
            Some(folded) => {
                let streams = folded.as_object().unwrap().keys();
                Of::Incidents(Box::new(Incidents {
                    folded: streams.map(|stream| (stream.clone(), json!({}))).collect(),
                    before: LastBefore::new(times),
                    ..Incidents::default()
                }))
            }
            None => Of::Git(Box::new(Git {
                before: LastBefore::new(times),
                ..Git::default()
            })),
        };
        Self {
            events_per_month: Counts::new(),
            of,
        }
    }

    pub(crate) fn add(&mut self, event: &RecordedEvent, time: &str) {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        count(&mut self.events_per_month, &time[..7]);
        match &mut self.of {
            Of::Incidents(incidents) => incidents.add(event, time, &data),
            Of::Git(git) => git.add(event, time, &data),
        }
    }

    pub(crate) fn finish(self) -> Value {
        let mut found = match self.of {
            Of::Incidents(incidents) => incidents.finish(),
            Of::Git(git) => git.finish(),
        };
        found["events_per_month"] = json!(self.events_per_month);
        found
    }
}

/// What the last event of each stream before some times says.
#[derive(Default)]
struct LastBefore(BTreeMap<String, HashMap<String, String>>);

impl LastBefore {
    fn new(times: &[String]) -> Self {
        Self(
            times
                .iter()
                .map(|time| (time.clone(), HashMap::new()))
                .collect(),
        )
    }

    fn add(&mut self, event: &RecordedEvent, time: &str, says: &str) {
        for (_, last) in self
            .0
            .iter_mut()
            .filter(|(before, _)| time < before.as_str())
        {
            last.insert(event.stream.to_string(), says.to_string());
        }
    }

    /// For each time: how many streams there are under each key.
    fn counts(&self, key: impl Fn(&str, &str) -> Option<String>) -> BTreeMap<String, Counts> {
        let counts = |last: &HashMap<String, String>| {
            let mut counts = Counts::new();
            let keys = last.iter().filter_map(|(stream, says)| key(stream, says));
            keys.for_each(|key| count(&mut counts, &key));
            counts
        };
        self.0
            .iter()
            .map(|(time, last)| (time.clone(), counts(last)))
            .collect()
    }
}

#[derive(Default)]
struct Incidents {
    before: LastBefore,
    types_per_month: BTreeMap<String, Counts>,
    /// Seconds of each incident's first event, and time and seconds of its latest IncidentClosed.
    opened: HashMap<String, i64>,
    closed: HashMap<String, (String, i64)>,
    actors: HashMap<u64, u64>,
    folded: Map<String, Value>,
}

impl Incidents {
    fn add(&mut self, event: &RecordedEvent, time: &str, data: &Value) {
        let stream = event.stream.to_string();
        let metadata: Value = serde_json::from_slice(&event.metadata).unwrap();
        self.before
            .add(event, time, data["state"].as_str().unwrap());
        let month = self
            .types_per_month
            .entry(time[..7].to_string())
            .or_default();
        count(month, &event.event_type);
        *self
            .actors
            .entry(metadata["actor"].as_u64().unwrap())
            .or_default() += 1;
        if let Some(state) = self.folded.get_mut(&stream) {
            for (field, value) in data["fields"].as_object().unwrap() {
                state[field] = value.clone();
            }
            state["state"] = data["state"].clone();
            state["mod_count"] = data["mod_count"].clone();
        }
        if event.revision.0 == 0 {
            self.opened.insert(stream.clone(), event.created.seconds());
        }
        if event.event_type.as_str() == "IncidentClosed" {
            let latest = (time.to_string(), event.created.seconds());
            let closed = self.closed.entry(stream).or_insert_with(|| latest.clone());
            *closed = latest.max(closed.clone());
        }
    }

    fn finish(self) -> Value {
        let open = |states: &Counts| -> u64 {
            let open = states.iter().filter(|(state, _)| *state != "Closed");
            open.map(|(_, count)| count).sum()
        };
        let states = self.before.counts(|_, state| Some(state.to_string()));
        let open: Counts = states
            .iter()
            .map(|(time, states)| (time.clone(), open(states)))
            .collect();
        let mut minutes = BTreeMap::new();
        for (stream, (time, seconds)) in &self.closed {
            let sum = minutes.entry(time[..7].to_string()).or_insert(0);
            *sum += (seconds - self.opened[stream]) / 60;
        }
        let mut actors: Vec<(u64, u64)> = self.actors.into_iter().collect();
        actors.sort_by_key(|&(actor, count)| (u64::MAX - count, actor));
        let top = actors
            .iter()
            .take(10)
            .map(|(actor, count)| (actor.to_string(), json!(count)));
        json!({
            "incidents_per_state_before": states,
            "open_incidents_before": open,
            "types_per_month": self.types_per_month,
            "minutes_from_first_event_to_last_closed_by_month": minutes,
            "events_per_actor_top_10": top.collect::<Map<_, _>>(),
            "folded_state_of": self.folded,
        })
    }
}

#[derive(Default)]
struct Git {
    before: LastBefore,
    /// By repository and year: commits, files, lines added and deleted.
    commits: BTreeMap<String, BTreeMap<String, [u64; 4]>>,
    /// By repository: events, lines added and deleted.
    files: BTreeMap<String, [u64; 3]>,
    deleted: BTreeSet<String>,
    added_again: BTreeSet<String>,
}

impl Git {
    fn add(&mut self, event: &RecordedEvent, time: &str, data: &Value) {
        let number = |key: &str| data[key].as_u64().unwrap_or(0);
        if let Some(repository) = event.stream.strip_prefix("repo-") {
            let years = self.commits.entry(repository.to_string()).or_default();
            let sums = years.entry(time[..4].to_string()).or_default();
            add(
                sums,
                [1, number("files"), number("added"), number("deleted")],
            );
            return;
        }
        let stream = event.stream.to_string();
        let sums = self.files.entry(repository(&stream)).or_default();
        add(sums, [1, number("added"), number("deleted")]);
        self.before.add(event, time, &event.event_type);
        let was_deleted = self.deleted.remove(&stream);
        match event.event_type.as_str() {
            "FileDeleted" => drop(self.deleted.insert(stream)),
            "FileAdded" if was_deleted => drop(self.added_again.insert(stream)),
            _ => {}
        }
    }

    fn finish(self) -> Value {
        let live = self.before.counts(|stream, last| match last {
            "FileDeleted" => None,
            _ => Some(repository(stream)),
        });
        json!({
            "live_files_per_repo_before": live,
            "repo_year_commits_files_added_deleted": self.commits,
            "file_events_added_deleted_per_repo": self.files,
            "files_deleted_and_added_again": self.added_again.len(),
        })
    }
}

/// The repository of a file's stream, `file-NAME/PATH`.
fn repository(stream: &str) -> String {
    let inside = stream.strip_prefix("file-").unwrap();
    inside.split_once('/').unwrap().0.to_string()
}

fn add<const N: usize>(sums: &mut [u64; N], numbers: [u64; N]) {
    sums.iter_mut()
        .zip(numbers)
        .for_each(|(sum, number)| *sum += number);
}
