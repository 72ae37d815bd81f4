//! What a server needs with `git-histories` in it: time, memory, space on the disk.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use annal::cli::input::Lines;
use annal::cli::ndjson::Line;
use annal::client::Read;
use annal::{Client, Position};

use super::answers::Answers;
use super::binary::{Served, folder, import, imported};

const STARTS: usize = 10;
/// How many more events are there at each kill.
const KILL_EVERY: u64 = 110_000;
const LONG: Duration = Duration::from_secs(120);

/// The figures, each with its limit.
#[derive(Default)]
struct Table {
    text: String,
    missed: bool,
}

impl Table {
    fn row(&mut self, what: &str, figure: f64, limit: Option<f64>) {
        let verdict = match limit {
            None => String::new(),
            Some(limit) if figure <= limit => format!("at most {limit}: kept"),
            Some(limit) => {
                self.missed = true;
                format!("at most {limit}: MISSED")
            }
        };
        writeln!(self.text, "{what:<58} {figure:>14.2}  {verdict}").unwrap();
    }
}

/// Measures everything, prints it, and panics if a limit is not kept.
pub(crate) async fn all(answers: &Answers) {
    let mut table = Table::default();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("load of the machine at the start: {load}");
    let place = folder();
    let data = place.path().join("data");
    let server = Served::start(&data);
    let import = imported(answers, &server.url);
    assert_eq!(import["imported"], answers.value["events"]);
    let rate = import["events_per_second"].as_f64().unwrap();
    table.row("import, events a second", rate, None);
    let megabytes = |key: &str| kibibytes(server.id(), key) * 1024.0 / 1e6;
    table.row("memory after import, MB", megabytes("VmRSS:"), Some(150.0));
    table.row("memory at its most, MB", megabytes("VmHWM:"), None);
    server.stop();
    let on_disk = as_float(bytes_on_disk(&data));
    let of_events = as_float(bytes_of_events(answers));
    table.row("bytes on disk after a clean stop", on_disk, None);
    table.row("bytes of names, types, data and metadata", of_events, None);
    let ratio = on_disk / of_events;
    table.row("the one divided by the other", ratio, Some(1.35));
    let clean = clean_starts(&data).await;
    starts(&mut table, "clean start", &clean, 50.0);
    let killed = starts_after_kill(answers, &place.path().join("killed")).await;
    starts(
        &mut table,
        "start after kill -9 in an import",
        &killed,
        300.0,
    );
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("{}load of the machine at the end: {load}", table.text);
    assert!(!table.missed, "a limit is not kept, see the table");
}

/// From a start to the first answer to a read, in milliseconds: the median and the longest.
fn starts(table: &mut Table, what: &str, times: &[f64], limit: f64) {
    let median = (times[STARTS / 2 - 1] + times[STARTS / 2]) / 2.0;
    let text = format!("{what} to first read, ms, median of {STARTS}");
    table.row(&text, median, Some(limit));
    table.row(&format!("{what}, ms, the longest"), times[STARTS - 1], None);
}

async fn clean_starts(data: &Path) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let (server, time) = start(data).await;
        assert_eq!(server.hello["clean_stop"], true);
        times.push(time);
        server.stop();
    }
    times.sort_by(f64::total_cmp);
    times
}

/// Each round goes on with the import, and kills it together with its server on the way.
async fn starts_after_kill(answers: &Answers, data: &Path) -> Vec<f64> {
    let mut times = Vec::new();
    let mut server = Served::start(data);
    for round in 1..=STARTS {
        let client = Client::connect(&*server.url).await.unwrap();
        let mut token = client.status().await.unwrap().token;
        token.end = Position(KILL_EVERY * u64::try_from(round).unwrap());
        let mut importing = import(answers, &server.url).spawn().unwrap();
        client.wait_for(token, LONG).await.unwrap();
        server.kill();
        importing.kill().unwrap();
        importing.wait().unwrap();
        let time;
        (server, time) = start(data).await;
        assert_eq!(server.hello["clean_stop"], false);
        times.push(time);
    }
    server.stop();
    times.sort_by(f64::total_cmp);
    times
}

/// Starts a server and reads the last event; gives the milliseconds that this took.
async fn start(data: &Path) -> (Served, f64) {
    let began = Instant::now();
    let server = Served::start(data);
    let client = Client::connect(&*server.url).await.unwrap();
    let last = client.read(Read::all().backwards().events_max(1));
    assert_eq!(last.collect().await.unwrap().len(), 1);
    (server, began.elapsed().as_secs_f64() * 1000.0)
}

/// A figure of a process, as the system tells it.
fn kibibytes(id: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let figure = line.unwrap().split_whitespace().next().unwrap();
    figure.parse().unwrap()
}

/// What the files of a folder take, by their lengths or by their blocks, whichever is more.
fn bytes_on_disk(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    let metadata = files.map(|file| file.unwrap().metadata().unwrap());
    metadata
        .map(|metadata| metadata.len().max(metadata.blocks() * 512))
        .sum()
}

fn bytes_of_events(answers: &Answers) -> u64 {
    let lines = Lines::open(&answers.ndjson()).unwrap();
    let len_bytes = lines.map(|line| {
        let (number, text) = line.unwrap();
        let line = Line::parse(number, &text).unwrap();
        let texts = line.stream.as_str().len() + line.event_type.as_str().len();
        texts + line.data.len() + line.metadata.len()
    });
    u64::try_from(len_bytes.sum::<usize>()).unwrap()
}

/// Exact for what occurs here, which is less than 4 GiB.
fn as_float(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).unwrap())
}
