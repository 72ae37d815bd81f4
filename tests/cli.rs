//! The binary as its users meet it: every verb, on a server and on a folder, with exit codes, JSON,
//! and imports that are cut short.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "common/binary.rs"]
mod binary;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Output, Stdio};

use binary::{Served, annal, binary};
use serde_json::{Value, json};
use tempfile::TempDir;

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The lines of JSON of a verb that must succeed.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let arguments = [arguments, &["--json"]].concat();
    let output = annal(&arguments);
    assert_eq!(code(&output), 0, "{arguments:?}: {}", complaint(&output));
    let text = text(&output);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Does the same through a server and on a folder.
fn on_both(check: impl Fn(&[&str])) {
    let folder = TempDir::new().unwrap();
    let served = Served::start(&folder.path().join("served"));
    check(&["--server", &served.address]);
    check(&["--data", folder.path().join("plain").to_str().unwrap()]);
}

/// The arguments with where to do it behind them.
fn at<'a>(place: &[&'a str], arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, place].concat()
}

#[test]
fn events_are_appended_read_and_followed() {
    on_both(|place| {
        let placed = [
            "append",
            "order-1",
            "--type",
            "Placed",
            r#"{"total": 12}"#,
            "--tag",
            "a:b",
        ];
        let receipt = &lines(&at(place, &placed))[0];
        assert_eq!(
            (&receipt["revision"], &receipt["position"]),
            (&json!(0), &json!(0))
        );
        let id = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        let paid = [
            "append", "order-1", "--type", "Paid", "{}", "--expect", "0", "--id", id,
        ];
        assert_eq!(lines(&at(place, &paid))[0]["repeated"], json!(false));
        assert_eq!(lines(&at(place, &paid))[0]["repeated"], json!(true));
        let metadata = [
            "append",
            "cart-1",
            "--type",
            "Placed",
            "[]",
            "--metadata",
            r#"{"n":1}"#,
        ];
        annal(&at(place, &metadata));
        let types = |arguments: &[&str]| {
            let events = lines(&at(place, arguments));
            let types = events.iter().filter_map(|event| event["type"].as_str());
            types.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(types(&["read", "order-1"]), "Placed Paid");
        assert_eq!(types(&["read", "order-1", "--from", "1"]), "Paid");
        assert_eq!(
            types(&["read", "--all", "--backwards"]),
            "Placed Paid Placed"
        );
        assert_eq!(
            types(&["read", "--all", "--backwards", "--from", "1"]),
            "Paid Placed"
        );
        assert_eq!(types(&["read", "--all", "--max", "2"]), "Placed Paid");
        assert_eq!(types(&["read", "--category", "order"]), "Placed Paid");
        assert_eq!(types(&["read", "--type", "Placed"]), "Placed Placed");
        assert_eq!(types(&["read", "--tag", "a:b"]), "Placed");
        assert_eq!(types(&["read", "--prefix", "cart"]), "Placed");
        assert_eq!(types(&["read", "--type-pattern", "^Pai"]), "Paid");
        assert_eq!(
            types(&["tail", "order-1", "--from", "1", "--max", "1"]),
            "Paid"
        );
        let followed = lines(&at(place, &["tail", "--all", "--from", "start", "--once"]));
        assert_eq!(followed.len(), 4);
        assert_eq!(followed[3], json!({ "notice": "caught_up", "position": 3 }));
        assert_eq!(followed[0]["data"]["total"], json!(12));
        assert_eq!(
            (&followed[1]["id"], &followed[2]["metadata"]),
            (&json!(id), &json!({"n": 1}))
        );
        let shown = text(&annal(&at(place, &["read", "order-1"])));
        assert!(
            shown.contains("order-1@0") && shown.contains(r#"{"total": 12}"#),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'), "no colours where nobody looks");
        assert_eq!(lines(&at(place, &["status"]))[0]["events"], json!(3));
    });
}

#[test]
fn data_comes_from_the_standard_input_byte_for_byte() {
    on_both(|place| {
        let append = |arguments: &[&str], input: &[u8]| {
            let mut command = binary(&[]);
            command
                .args(at(place, arguments))
                .stdin(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.stdout(Stdio::null()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(input).unwrap();
            child.wait_with_output().unwrap().status.code().unwrap()
        };
        assert_eq!(append(&["append", "s", "--type", "T"], b"{\"a\" : 1}\n"), 0);
        let pdf = [
            "append",
            "s",
            "--type",
            "T",
            "--content-type",
            "application/pdf",
        ];
        assert_eq!(append(&pdf, b"\xff\n"), 0);
        assert_eq!(append(&["append", "s", "--type", "T"], b"{"), 2);
        let exported = text(&annal(&at(place, &["export"])));
        assert!(exported.contains(r#""data":{"a" : 1}"#), "{exported}");
        assert!(exported.contains(r#""data_base64":"/wo=""#), "{exported}");
    });
}

#[test]
fn streams_are_listed_shown_truncated_and_ended() {
    on_both(|place| {
        for number in 0..3 {
            let expect = if number == 0 {
                "none".into()
            } else {
                (number - 1).to_string()
            };
            annal(&at(
                place,
                &["append", "b-1", "--type", "T", "{}", "--expect", &expect],
            ));
        }
        annal(&at(place, &["append", "a-1", "--type", "T", "{}"]));
        let listed = lines(&at(place, &["stream", "ls"]));
        let names: Vec<_> = listed
            .iter()
            .map(|stream| stream["stream"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a-1", "b-1"]);
        assert_eq!(
            lines(&at(place, &["stream", "ls", "b"]))[0]["events"],
            json!(3)
        );
        assert_eq!(
            lines(&at(place, &["stream", "ls", "--after", "a-1"])).len(),
            1
        );

        let meta = ["stream", "meta", "b-1", r#"{"mine":1}"#, "--expect", "none"];
        assert_eq!(code(&annal(&at(place, &meta))), 0);
        assert_eq!(code(&annal(&at(place, &meta))), 3, "somebody was faster");
        assert_eq!(
            code(&annal(&at(
                place,
                &["stream", "truncate", "b-1", "--before", "2"]
            ))),
            0
        );
        let shown = &lines(&at(place, &["stream", "show", "b-1"]))[0];
        assert_eq!(shown["metadata"], json!({ "mine": 1, "$tb": 2 }));
        assert_eq!(
            (&shown["first_revision"], &shown["last_revision"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(lines(&at(place, &["read", "b-1"])).len(), 1);

        assert_eq!(
            code(&annal(&at(
                place,
                &["stream", "delete", "b-1", "--expect", "2"]
            ))),
            0
        );
        assert_eq!(code(&annal(&at(place, &["read", "b-1"]))), 4);
        assert_eq!(
            lines(&at(place, &["stream", "show", "b-1"]))[0]["state"],
            json!("deleted")
        );
        assert_eq!(code(&annal(&at(place, &["stream", "tombstone", "a-1"]))), 0);
        assert_eq!(
            code(&annal(&at(place, &["append", "a-1", "--type", "T", "{}"]))),
            3
        );
    });
}

#[test]
fn exit_codes_and_advice_tell_what_went_wrong() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let store = store.to_str().unwrap();
    let of = |arguments: &[&str]| {
        let output = annal(arguments);
        (code(&output), complaint(&output))
    };
    let (usage, said) = of(&["append", "a", "--type", "T", "--data", "{\"a\":1}"]);
    assert!(usage == 2 && said.contains("last argument"), "{said}");
    assert_eq!(
        of(&["append", "a", "--type", "T", "{", "--data", store]).0,
        2
    );
    assert_eq!(of(&["append", "a", "--type", "T"]).0, 2, "no data");
    assert_eq!(of(&["read"]).0, 2);
    let (missing, said) = of(&["read", "a", "--data", store]);
    assert!(missing == 4 && said.contains("annal serve"), "{said}");
    assert_eq!(of(&["verify", "--data", store]).0, 4);
    let (unreachable, said) = of(&["read", "a", "--server", "annal://127.0.0.1:1"]);
    assert!(unreachable == 6 && said.contains("annal serve"), "{said}");
    assert_eq!(of(&["read", "a", "--server", "http://x"]).0, 2);

    let served = Served::start(Path::new(store));
    let address = served.address.clone();
    assert_eq!(
        of(&["append", "a", "--type", "T", "{}", "--server", &address]).0,
        0
    );
    let wrong = [
        "append", "a", "--type", "T", "{}", "--expect", "7", "--server", &address,
    ];
    assert_eq!(of(&wrong).0, 3);
    let (_, said) = of(&[&wrong[..], &["--json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["error"]["exit"], &said["error"]["kind"]),
        (&json!(3), &json!("conflict"))
    );
    assert_eq!(of(&["read", "a", "--data", store]).0, 6, "in use");
    assert_eq!(of(&["stream", "show", "b", "--server", &address]).0, 4);
    served.stop("TERM");

    assert_eq!(of(&["verify", "--data", store]).0, 0);
    let files = fs::read_dir(store)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_segment = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("segm")
    };
    let segment = files.into_iter().find(|path| is_segment(path)).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = 4096 + (bytes.len() - 4096) / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (damaged, said) = of(&["verify", "--data", store]);
    assert_eq!(damaged, 5, "{said}");
}

/// Lines such as an export writes, of some streams in turn, three lines a commit.
fn sample(count: usize) -> String {
    let line = |number: usize| {
        format!(
            "{{\"stream\":\"file-{}/\u{e9} x\",\"type\":\"T{}\",\"time\":\"1969-07-20T20:17:40Z\",\
             \"data\":{{\"n\" : {number}}},\"metadata\":{{\"commit\":{}}}}}\n",
            number % 97,
            number % 3,
            number / 3,
        )
    };
    (0..count).map(line).collect()
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_was_imported_is_exported_byte_for_byte_and_a_rerun_adds_nothing() {
    let folder = TempDir::new().unwrap();
    let sample = sample(5_000);
    let file = write(&folder, "events.ndjson", &sample);
    for atomic in [&[][..], &["--atomic-by", "/metadata/commit"]] {
        on_both(|place| {
            let import = [&["import", &file], atomic].concat();
            assert_eq!(lines(&at(place, &import))[0]["imported"], json!(5_000));
            let again = &lines(&at(place, &import))[0];
            assert_eq!(
                (&again["imported"], &again["already_there"]),
                (&json!(0), &json!(5_000))
            );
            assert_eq!(text(&annal(&at(place, &["export"]))), sample);
            let first = &lines(&at(
                place,
                &["read", "--all", "--from", "4321", "--max", "1"],
            ))[0];
            assert_eq!(first["data"], json!({ "n": 4_321 }));
        });
    }
}

#[test]
fn compressed_files_go_out_and_in() {
    let folder = TempDir::new().unwrap();
    let sample = sample(300);
    let file = write(&folder, "events.ndjson", &sample);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let first = path("first");
    annal(&["import", &file, "--data", &first]);
    for name in ["out.gz", "out.zst", "out.ndjson"] {
        let (out, store) = (path(name), path(&format!("store-{name}")));
        assert_eq!(
            lines(&["export", &out, "--data", &first])[0]["events"],
            json!(300)
        );
        assert_eq!(
            fs::read(&out).unwrap() == sample.as_bytes(),
            name == "out.ndjson"
        );
        assert_eq!(code(&annal(&["import", &out, "--data", &store])), 0);
        assert_eq!(text(&annal(&["export", "--data", &store])), sample);
        assert!(!Path::new(&format!("{out}.partial")).exists());
    }
}

#[test]
fn a_bad_line_stops_with_its_number_and_a_rerun_goes_on() {
    let folder = TempDir::new().unwrap();
    let sample = sample(2_500);
    let at_line = |number: usize, instead: &str| -> String {
        let line = |(at, line)| if at + 1 == number { instead } else { line };
        sample.split_inclusive('\n').enumerate().map(line).collect()
    };
    for (bad, before) in [(1, 0), (2_001, 2_000), (2_500, 2_499)] {
        let broken = write(&folder, "broken", at_line(bad, "{\"stream\":\"a\"}\n"));
        let whole = write(&folder, "whole", &sample);
        on_both(|place| {
            let output = annal(&at(place, &["import", &broken]));
            assert_eq!(code(&output), 2);
            let said = complaint(&output);
            assert!(said.contains(&format!("line {bad}: column")), "{said}");
            assert_eq!(
                text(&annal(&at(place, &["export"]))).lines().count(),
                before
            );
            assert_eq!(code(&annal(&at(place, &["import", &whole]))), 0);
            assert_eq!(text(&annal(&at(place, &["export"]))), sample);
        });
    }
}

#[test]
fn an_import_into_streams_that_hold_something_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "events", sample(200));
    on_both(|place| {
        annal(&at(
            place,
            &["append", "file-7/\u{e9} x", "--type", "Mine", "{}"],
        ));
        let output = annal(&at(place, &["import", &file]));
        assert_eq!(code(&output), 3);
        let said = complaint(&output);
        assert!(said.contains("file-7") && said.contains("line "), "{said}");
    });
}

/// Begins an import from a pipe, waits until so many events are in the store, and kills it.
fn import_and_kill(served: &Served, input: &str, until: usize) {
    let mut command = binary(&[]);
    command.args(["import", "-", "--server", &served.address]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).unwrap();
    let count = until.to_string();
    lines(&[
        "tail",
        "--from",
        "0",
        "--max",
        &count,
        "--server",
        &served.address,
    ]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_import_that_was_killed_goes_on_without_doubling_anything() {
    let folder = TempDir::new().unwrap();
    let sample = sample(20_000);
    let file = write(&folder, "events", &sample);
    let served = Served::start(&folder.path().join("store"));
    import_and_kill(&served, &sample[..sample.len() / 3], 3_000);
    import_and_kill(&served, &sample[..sample.len() / 2], 8_000);
    let import = ["import", &file, "--server", &served.address];
    let done = &lines(&import)[0];
    let there = done["already_there"].as_u64().unwrap();
    assert!(there >= 8_000, "{done}");
    assert_eq!(done["imported"].as_u64().unwrap() + there, 20_000);
    assert_eq!(
        text(&annal(&["export", "--server", &served.address])),
        sample
    );
}

#[test]
fn an_import_goes_on_after_the_server_was_killed() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let sample = sample(20_000);
    let file = write(&folder, "events", &sample);
    let mut served = Served::start(&store);
    let mut command = binary(&[]);
    let impatient = format!("{}?reconnect_within_ms=100", served.address);
    command.args(["import", "-", "--server", &impatient]);
    let mut import = command
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = import.stdin.take().unwrap();
    pipe.write_all(&sample.as_bytes()[..sample.len() / 2])
        .unwrap();
    lines(&[
        "tail",
        "--from",
        "0",
        "--max",
        "5000",
        "--server",
        &served.address,
    ]);
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    // What it still wants to read may break its pipe; that it fails is what matters.
    let _unread = pipe.write_all(&sample.as_bytes()[sample.len() / 2..]);
    drop(pipe);
    assert!(!import.wait().unwrap().success());

    let served = Served::start(&store);
    assert_eq!(served.hello["clean_stop"], json!(false));
    assert_eq!(
        code(&annal(&["import", &file, "--server", &served.address])),
        0
    );
    assert_eq!(
        text(&annal(&["export", "--server", &served.address])),
        sample
    );
}

#[test]
fn a_server_stops_in_order_and_says_so() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    for (signal, created) in [("TERM", true), ("INT", false)] {
        let served = Served::start(&store);
        assert_eq!(served.hello["notice"], json!("listening"));
        assert_eq!(served.hello["created"], json!(created));
        let append = [
            "append",
            "a",
            "--type",
            "T",
            "{}",
            "--server",
            &served.address,
        ];
        assert_eq!(code(&annal(&append)), 0);
        let stopped = served.stop(signal);
        assert_eq!(stopped["notice"], json!("stopped"));
    }
    let again = Served::start(&store);
    assert_eq!(
        (&again.hello["clean_stop"], &again.hello["position"]),
        (&json!(true), &json!(2))
    );
}

#[test]
fn others_are_kept_out_unless_somebody_says_otherwise() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    for flag in ["--tcp", "--http"] {
        let data = store.to_str().unwrap();
        let output = annal(&["serve", flag, "0.0.0.0:0", "--data", data]);
        assert_eq!(code(&output), 2);
        let complaint = complaint(&output);
        assert!(complaint.contains("--insecure"), "{complaint}");
        assert!(!store.exists(), "nothing was made");
    }
}

#[test]
fn http_is_answered_beside_the_native_protocol_until_both_stop() {
    let folder = TempDir::new().unwrap();
    let mut command = binary(&[]);
    command
        .args(["serve", "--json", "--tcp", "127.0.0.1:0"])
        .args(["--http", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("store"));
    let served = Served::spawn(command);
    let http = served.hello["http"][0].as_str().unwrap().to_owned();
    let mut socket = TcpStream::connect(&http).unwrap();
    let request = "GET /health/live HTTP/1.1\r\nHost: annal\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(served.stop("TERM")["notice"], json!("stopped"));
    assert!(TcpStream::connect(&http).is_err());
}

#[test]
fn settings_come_from_the_file_the_environment_and_the_flags() {
    let folder = TempDir::new().unwrap();
    let [in_file, in_environment] = ["file", "environment"].map(|name| folder.path().join(name));
    let tcp = "tcp = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\n";
    let toml = format!("[serve]\ndata = {in_file:?}\n{tcp}");
    let config = write(&folder, "annal.toml", toml);
    let serve = || {
        let mut command = binary(&[]);
        command.args(["serve", "--json", "--config", &config]);
        command
    };
    let served = Served::spawn(serve());
    assert_eq!(served.hello["data"], json!(in_file));
    let http = served.hello["http"][0].as_str().unwrap();
    assert!(http.starts_with("127.0.0.1:"), "{http}");
    let mut command = serve();
    command.env("ANNAL_DATA", &in_environment);
    command.env("ANNAL_HTTP", "none");
    let other = Served::spawn(command);
    assert_eq!(other.hello["data"], json!(in_environment));
    assert_eq!(other.hello["http"], json!([]));
    let mut command = binary(&[]);
    command
        .args(["append", "a", "--type", "T", "{}"])
        .env("ANNAL_SERVER", &other.address);
    assert!(command.output().unwrap().status.success());
    let config = write(&folder, "wrong.toml", "[serve]\nport = 1\n");
    let output = annal(&["serve", "--config", &config]);
    assert_eq!(code(&output), 2);
    assert!(
        complaint(&output).contains("no setting `port`"),
        "{}",
        complaint(&output)
    );
}

#[test]
fn the_demo_ends_by_itself_and_its_projection_saw_everything() {
    let folder = TempDir::new().unwrap();
    let repository = folder.path().to_str().unwrap();
    let told = &lines(&["demo", repository, "--commits", "50"])[0];
    assert_eq!(told["commits"], json!(50));
    assert_eq!(told["projection"]["events"], told["events"]);
    let shown = text(&annal(&["demo", repository, "--commits", "50"]));
    assert!(
        shown.contains("made up") && shown.contains("events a second"),
        "{shown}"
    );
    let long = shown.lines().find(|line| line.chars().count() > 80);
    assert_eq!(long, None);
}

#[test]
fn the_benchmark_measures_each_work_that_was_asked_for() {
    on_both(|place| {
        let works = "A1,a64,AP,B1,B8,L,C,D,E,A1,C";
        let bench = [
            "bench",
            "--work",
            works,
            "--seconds",
            "0",
            "--events",
            "2000",
        ];
        let measured = lines(&at(place, &bench));
        let ids: Vec<_> = measured
            .iter()
            .map(|work| work["work"].as_str().unwrap())
            .collect();
        assert_eq!(ids.join(","), works.to_uppercase());
        assert!(
            measured.iter().all(|work| work["errors"] == json!(0)),
            "{measured:?}"
        );
        for work in &measured {
            assert!(work["client_cpu_percent"].is_u64(), "{work}");
            let serves = place[0] == "--server";
            assert_eq!(work["server_cpu_percent"].is_u64(), serves, "{work}");
        }
    });
    assert_eq!(code(&annal(&["bench", "--work", "Z9"])), 2);
}

#[test]
fn every_verb_explains_itself_with_examples() {
    let help = text(&annal(&["--help"]));
    assert!(help.contains("Exit codes:") && help.contains("Examples:"));
    for verb in [
        "serve", "append", "read", "tail", "import", "export", "verify", "repair", "scavenge",
        "status",
    ] {
        let help = text(&annal(&[verb, "--help"]));
        assert!(
            help.contains(&format!("Examples:\n  annal {verb}")) || verb == "serve",
            "{help}"
        );
        assert!(help.contains("--json"), "{verb}");
    }
}
