//! Real logs, with answers that an independent tool computed: what goes in comes out, byte for
//! byte, in order, and projections arrive where they should.
//!
//! The environment variable `ANNAL_DATA_DIR` names the folder of the data. Without it nothing is
//! checked here, and the test says so. With it, `--release` takes seconds instead of minutes.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "real_data/answers.rs"]
mod answers;
#[path = "real_data/read_models.rs"]
mod read_models;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use annal::cli::groups::Groups;
use annal::cli::input::Lines;
use annal::cli::ndjson::{Line, write_line};
use annal::model::{Position, RecordedEvent, Revision};
use answers::{Answers, Reckoning};
use sha2::{Digest, Sha256};

/// The data set of this name, if the data is there.
fn data_set(name: &str) -> Option<Answers> {
    match std::env::var_os("ANNAL_DATA_DIR") {
        Some(folder) => Some(Answers::load(&PathBuf::from(folder), name)),
        None => {
            // Past the test harness, which would keep it to itself.
            let said = format!("{name}: NOT CHECKED, ANNAL_DATA_DIR names no folder\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            None
        }
    }
}

/// Numbers events as an empty store would.
#[derive(Default)]
struct Numbering {
    next: Position,
    streams: HashMap<String, Revision>,
}

impl Numbering {
    fn record(&mut self, line: Line) -> RecordedEvent {
        let next = self.streams.entry(line.stream.to_string()).or_default();
        let (position, revision) = (self.next, *next);
        (self.next, *next) = (position.next(), revision.next());
        let (stream, event) = line.into_event(revision);
        RecordedEvent {
            position,
            stream,
            revision,
            id: event.id,
            event_type: event.event_type,
            content_type: event.content_type,
            created: event.created.unwrap(),
            tags: event.tags,
            metadata: event.metadata,
            data: event.data,
        }
    }
}

fn lines_hold_the_answers(name: &str) {
    let Some(answers) = data_set(name) else {
        return;
    };
    let mut numbering = Numbering::default();
    let mut reckoning = Reckoning::new(&answers);
    let mut ndjson = Sha256::new();
    let mut written = Vec::new();
    for line in Lines::open(&answers.ndjson()).unwrap() {
        let (number, text) = line.unwrap();
        let event = numbering.record(Line::parse(number, &text).unwrap());
        written.clear();
        write_line(&event, &mut written);
        assert_eq!(
            written.strip_suffix(b"\n").unwrap(),
            &*text,
            "line {number}"
        );
        ndjson.update(&written);
        reckoning.add(&event);
    }
    assert_eq!(
        answers::hex(ndjson),
        answers.value["ndjson_sha256"].as_str().unwrap()
    );
    answers.check(&reckoning.finish());
}

#[test]
fn the_lines_of_incidents_come_back_and_hold_the_answers() {
    lines_hold_the_answers("incidents");
}

#[test]
fn the_lines_of_git_histories_come_back_and_hold_the_answers() {
    lines_hold_the_answers("git-histories");
}

#[test]
fn the_lines_of_a_commit_are_one_group() {
    let Some(answers) = data_set("git-histories") else {
        return;
    };
    let lines = Lines::open(&answers.ndjson()).unwrap();
    let mut groups = 0;
    for group in Groups::new(lines, Some("/metadata/commit".parse().unwrap())) {
        let group = group.unwrap();
        let is_commit = |line: &Line| line.event_type.as_str() == "CommitRecorded";
        assert!(is_commit(&group[0]) && !group[1..].iter().any(is_commit));
        groups += 1;
    }
    assert_eq!(
        Some(groups),
        answers.value["events_per_type"]["CommitRecorded"].as_u64()
    );
}
