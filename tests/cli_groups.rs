//! `annal group` on a real server: groups are made, listed, shown, consumed, replayed and removed,
//! with output for people and for programs, and with the exit codes of the other verbs.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "common/binary.rs"]
mod binary;

use std::path::Path;
use std::process::Output;

use binary::{Served, binary};
use serde_json::Value;

/// Whoever asks so often and finds nothing new waits for ever.
const TRIES: usize = 1_000;

/// A running `annal serve` on a free port, that ends with the test.
struct Groups {
    server: Served,
    folder: tempfile::TempDir,
}

impl Groups {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Served::start(folder.path());
        Self { server, folder }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = binary(arguments);
        command
            .args(["--server", &self.server.address])
            .output()
            .unwrap()
    }

    /// What a verb prints that does its work.
    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same for programs: a value a line.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.text(&[arguments, &["--json"]].concat());
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The exit code of a verb that is refused, and what it says of that.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.ask(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    }

    fn append(&self, stream: &str, count: usize) {
        for _ in 0..count {
            self.text(&["append", stream, "--type", "Counted", "{}"]);
        }
    }

    /// Figures of a group, once so many events are parked and nothing is under way.
    fn settled(&self, source: &str, group: &str, parked: u64) -> Value {
        for _ in 0..TRIES {
            let shown = self.json(&["group", "show", source, group]).remove(0);
            let figures = &shown["figures"];
            if figures["parked_count"] == parked && figures["in_flight_count"] == 0 {
                return shown;
            }
        }
        panic!("{source} {group} never has {parked} parked events");
    }
}

/// Which events are in lines of JSON.
fn events(lines: &[Value]) -> Vec<(String, u64)> {
    let event = |line: &Value| {
        let stream = line["stream"].as_str().unwrap().to_owned();
        (stream, line["revision"].as_u64().unwrap())
    };
    lines.iter().map(event).collect()
}

fn of_stream(stream: &str, revisions: std::ops::Range<u64>) -> Vec<(String, u64)> {
    revisions.map(|at| (stream.to_owned(), at)).collect()
}

#[test]
fn a_group_is_made_listed_shown_and_removed() {
    let server = Groups::start();
    server.append("order-1", 2);
    assert_eq!(server.text(&["group", "ls"]), "");
    let made = server.text(&["group", "create", "order-1", "billing"]);
    assert!(made.contains("order-1 billing is there"), "{made}");
    let all = [
        "--prefix",
        "order-",
        "--strategy",
        "Ordered",
        "--retries",
        "3",
    ];
    let made = server.json(&[&["group", "create", "$all", "audit"][..], &all].concat());
    let told = serde_json::json!({"source": "$all", "group": "audit"});
    assert_eq!(made, [told]);
    let listed = server.json(&["group", "ls"]);
    let names = listed.iter().map(|one| (&one["source"], &one["group"]));
    let names: Vec<_> = names
        .map(|(source, group)| (source.as_str().unwrap(), group.as_str().unwrap()))
        .collect();
    assert_eq!(names, [("$all", "audit"), ("order-1", "billing")]);
    let of_all = server.text(&["group", "ls", "$all"]);
    assert!(of_all.contains("audit") && !of_all.contains("billing"));
    assert!(
        of_all.contains("0 members, 0 in flight, 0 parked"),
        "{of_all}"
    );
    let shown = server.text(&["group", "show", "$all", "audit"]);
    for part in [
        "audit of $all",
        "strategy           Ordered",
        "parked_count",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown = server.json(&["group", "show", "order-1", "billing"]);
    assert_eq!(shown[0]["strategy"], "RoundRobin");
    let gone = server.text(&["group", "rm", "order-1", "billing"]);
    assert!(gone.contains("was removed"), "{gone}");
    assert_eq!(server.json(&["group", "ls"]).len(), 1);
    assert_eq!(server.json(&["group", "ls", "order-1"]).len(), 0);
}

#[test]
fn a_member_acknowledges_what_it_prints() {
    let server = Groups::start();
    server.append("order-1", 5);
    server.text(&["group", "create", "order-1", "g", "--from", "1"]);
    let take = [
        "group", "consume", "order-1", "g", "--max", "2", "--credit", "1",
    ];
    assert_eq!(events(&server.json(&take)), of_stream("order-1", 1..3));
    let printed = server.text(&take);
    assert_eq!(printed.matches("order-1").count(), 2, "{printed}");
    let shown = server.settled("order-1", "g", 0);
    assert_eq!(shown["last_acknowledged"]["revision"], 4);
    assert_eq!(shown["members"], serde_json::json!([]));
    // The last of a stream that is only followed from its end.
    server.text(&["group", "create", "order-1", "late", "--from", "end"]);
    server.append("order-1", 1);
    let take = ["group", "consume", "order-1", "late", "--max", "1"];
    assert_eq!(events(&server.json(&take)), of_stream("order-1", 5..6));
}

#[test]
fn what_is_refused_is_parked_replayed_delivered_again_or_left_out() {
    let server = Groups::start();
    server.append("a", 2);
    server.text(&["group", "create", "a", "g"]);
    let take = |more: &[&str]| {
        let take = ["group", "consume", "a", "g", "--credit", "1", "--max", "1"];
        events(&server.json(&[&take[..], more].concat()))
    };
    assert_eq!(take(&["--refuse", "park"]), of_stream("a", 0..1));
    server.settled("a", "g", 1);
    for how in ["retry", "retry", "skip"] {
        assert_eq!(take(&["--refuse", how]), of_stream("a", 1..2), "{how}");
    }
    server.append("a", 1);
    assert_eq!(take(&["--refuse", "park"]), of_stream("a", 2..3));
    server.settled("a", "g", 2);
    let replayed = server.text(&["group", "replay", "a", "g", "--before", "1"]);
    assert!(replayed.contains("delivers again"), "{replayed}");
    assert_eq!(take(&[]), of_stream("a", 0..1));
    server.settled("a", "g", 1);
    server.text(&["group", "replay", "a", "g"]);
    assert_eq!(take(&[]), of_stream("a", 2..3));
    server.settled("a", "g", 0);
}

#[test]
fn what_cannot_be_done_has_the_exit_code_of_its_kind() {
    let server = Groups::start();
    server.text(&["group", "create", "a", "g"]);
    let folder = server.folder.path().join("other");
    let folder = folder.to_str().unwrap();
    for (arguments, code, said) in [
        (&["group", "create", "a", "g"][..], 3, "g"),
        (&["group", "show", "a", "other"], 4, "other"),
        (&["group", "rm", "a", "other"], 4, "other"),
        (&["group", "replay", "a", "other"], 4, "other"),
        (&["group", "consume", "b", "g"], 4, "g"),
        (&["group", "create", "a", "h", "--prefix", "x"], 2, "$all"),
        (&["group", "create", "a", "h", "--from", "x"], 2, "--from"),
        (&["group", "create", "a", "h", "--strategy", "x"], 2, "x"),
        (&["group", "create", "a", "", "--from", "end"], 2, ""),
        (&["group", "consume", "a", "g", "--credit", "0"], 2, ""),
    ] {
        let (found, told) = server.refused(arguments);
        assert_eq!(found, code, "{arguments:?}: {told}");
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    // Nobody looks after groups where no server is.
    assert!(!Path::new(folder).exists());
    let local = binary(&["group", "ls", "--data", folder]).output().unwrap();
    assert_ne!(local.status.code(), Some(0));
    assert_eq!(server.json(&["group", "ls"]).len(), 1);
}
