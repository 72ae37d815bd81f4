//! The server in a process of its own, where its memory can be measured and its files limited.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use annal::{Append, ExpectedRevision, ServerOptions};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::bound::memory_max;
use super::witness::Witness;
use super::{Attack, Place, chosen};
use crate::network::ask::receipt;
use crate::network::{Raw, event, name};

const MIB: u64 = 1024 * 1024;

/// A running server.
struct Process {
    child: Child,
    place: Place,
    _folder: TempDir,
}

impl Process {
    /// Starts one that may have so many files open.
    fn start(files_max: u64, scale: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = || env!("CARGO_BIN_EXE_annal").to_owned();
        let annal = std::env::var("HOSTILE_SERVER").unwrap_or_else(|_| built());
        let script = format!(
            "ulimit -n {files_max} && exec {annal} serve --json --log error --data {} \
             --tcp 127.0.0.1:0 --http 127.0.0.1:0",
            folder.path().display()
        );
        let mut command = Command::new("sh");
        let command = command.args(["-c", &script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let place = Place {
            native: line["tcp"].as_str().unwrap().parse().unwrap(),
            http: line["http"][0].as_str().unwrap().parse().unwrap(),
            connections_max: ServerOptions::default().connections_max,
            scale,
            mutations: 500,
            seed: number("HOSTILE_SEED", 1),
        };
        Self {
            child,
            place,
            _folder: folder,
        }
    }

    /// A figure of the process, in bytes.
    fn figure(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn a_flood_of_connections_leaves_the_store_its_files() {
    let process = Process::start(300, 1);
    runtime().block_on(async {
        let mut witness = Witness::connect(process.place).await;
        let mut writer = Raw::connect(process.place.native).await;
        let mut held = Vec::new();
        for _ in 0..400 {
            held.push(TcpStream::connect(process.place.native).await.unwrap());
            held.push(TcpStream::connect(process.place.http).await.unwrap());
        }
        // Enough for new segments, which are files.
        for _ in 0..6 {
            let events = (0..4).map(|_| event(&"x".repeat(1 << 20)));
            let append = Append::to(name("large"), ExpectedRevision::Any, events);
            receipt(&mut writer, append).await;
            witness.append().await;
        }
        drop((held, writer));
        witness.check().await;
    });
}

/// How fast the witness appended.
struct Pace {
    count: usize,
    took: Duration,
    p99: Duration,
    rss_max: u64,
}

async fn pace(process: &Process, witness: &mut Witness, within: Duration) -> Pace {
    let began = Instant::now();
    let (mut times, mut rss_max) = (Vec::new(), 0);
    while times.len() < 20 || began.elapsed() < within {
        let asked = Instant::now();
        witness.append().await;
        times.push(asked.elapsed());
        if times.len() % 16 == 1 {
            rss_max = rss_max.max(process.figure("VmRSS"));
        }
    }
    times.sort_unstable();
    Pace {
        count: times.len(),
        took: began.elapsed(),
        p99: times[times.len() * 99 / 100],
        rss_max,
    }
}

impl Pace {
    fn per_second(&self) -> f64 {
        let count = u32::try_from(self.count).unwrap();
        f64::from(count) / self.took.as_secs_f64()
    }
}

#[test]
fn the_server_stays_within_its_memory_and_serves_through_every_attack() {
    let seconds = number("HOSTILE_SECONDS", 0);
    let is_long = seconds > 0;
    let within = Duration::from_secs(seconds);
    let scale = number("HOSTILE_SCALE", if is_long { 10 } else { 1 });
    let scale = usize::try_from(scale).unwrap();
    let history = if is_long { 64 } else { 4 };
    let bound = memory_max();
    println!(
        "| attack | appends/s before | during | p99 ms before | during | memory MiB before | \
         highest | bound |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let slow = |(name, _): &&(&str, Attack)| is_long || name.ends_with("slow");
    for (name, attack) in chosen().filter(slow) {
        let process = Process::start(20_000, scale);
        runtime().block_on(async {
            load(process.place, history).await;
            let mut witness = Witness::connect(process.place).await;
            let before = pace(&process, &mut witness, within / 4).await;
            let held = attack(process.place).await;
            let during = pace(&process, &mut witness, within).await;
            let highest = during.rss_max.max(process.figure("VmHWM"));
            println!(
                "| {name} | {:.0} | {:.0} | {:.1} | {:.1} | {} | {} | {} |",
                before.per_second(),
                during.per_second(),
                before.p99.as_secs_f64() * 1e3,
                during.p99.as_secs_f64() * 1e3,
                before.rss_max / MIB,
                highest / MIB,
                bound / MIB,
            );
            assert!(highest <= bound, "{name}: {highest} bytes");
            drop(held);
            witness.check().await;
        });
    }
}

/// What slow consumers have to read: about so many MiB.
async fn load(place: Place, mib: usize) {
    let mut raw = Raw::connect(place.native).await;
    let data = "x".repeat(10_000);
    for _ in 0..mib {
        let events = (0..100).map(|_| event(&data));
        let append = Append::to(name("history"), ExpectedRevision::Any, events);
        receipt(&mut raw, append).await;
    }
}
