//! Real logs, with answers that an independent tool computed: what goes in comes out, byte for
//! byte, in order, and projections arrive where they should: as lines, through a server, and from
//! the folder that the server leaves.
//!
//! The environment variable `ANNAL_DATA_DIR` names the folder of the data. Without it nothing is
//! checked here, and the tests say so. With it, `--release` takes a minute instead of many:
//! `ANNAL_DATA_DIR=... cargo test --release --test real_data`. `tests/real_data.sh` measures.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "real_data/answers.rs"]
mod answers;
#[path = "real_data/binary.rs"]
mod binary;
#[path = "real_data/measure.rs"]
mod measure;
#[path = "real_data/place.rs"]
mod place;
#[path = "real_data/read_models.rs"]
mod read_models;
#[path = "real_data/whole.rs"]
mod whole;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use annal::cli::groups::Groups;
use annal::cli::input::Lines;
use annal::cli::ndjson::{Line, write_line};
use annal::model::{Position, RecordedEvent, Revision};
use annal::{Client, Server, ServerOptions, Store, StoreOptions};
use answers::{Answers, Reckoning};
use place::Place;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

/// The data set of this name, if the data is there.
fn data_set(name: &str) -> Option<Answers> {
    match std::env::var_os("ANNAL_DATA_DIR") {
        Some(folder) => Some(Answers::load(&PathBuf::from(folder), name)),
        None => {
            say(&format!(
                "{name}: NOT CHECKED, ANNAL_DATA_DIR names no folder\n"
            ));
            None
        }
    }
}

/// Past the test harness, which would keep it to itself.
fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
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

/// Imports through a running server, asks it everything, stops it, and asks its folder the same.
async fn a_server_and_its_folder_hold_the_answers(name: &str) {
    let Some(answers) = data_set(name) else {
        return;
    };
    let folder = binary::folder();
    let open = || Store::open(folder.path(), StoreOptions::default()).unwrap();
    let store = open();
    let mut options = ServerOptions::default();
    options.address.set_port(0);
    let server = Server::bind(store.clone(), options).unwrap();
    let url = format!("annal://{}", server.local_addr());
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
    let imported = block_in_place(|| binary::imported(&answers, &url));
    assert_eq!(imported["imported"], answers.value["events"]);
    let client = Client::connect(&*url).await.unwrap();
    whole::check(&Place::Server(client), &answers).await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    block_in_place(|| store.close()).unwrap();

    let place = Place::Folder(open());
    whole::check(&place, &answers).await;
    drop(place);
    let exported = block_in_place(|| binary::exported_sha256(folder.path()));
    assert_eq!(exported, answers.value["ndjson_sha256"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_hold_the_answers_through_a_server_and_in_its_folder() {
    a_server_and_its_folder_hold_the_answers("incidents").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_histories_hold_the_answers_through_a_server_and_in_its_folder() {
    a_server_and_its_folder_hold_the_answers("git-histories").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_git_histories_keeps_its_limits() {
    if std::env::var_os("ANNAL_MEASURE").is_none() {
        say("git-histories: NOT MEASURED, see tests/real_data.sh\n");
        return;
    }
    if let Some(answers) = data_set("git-histories") {
        measure::all(&answers).await;
    }
}
