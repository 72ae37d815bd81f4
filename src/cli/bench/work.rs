//! The works: what each does, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::latency::Latencies;
use crate::cli::failure::Failure;
use crate::cli::output::rate;
use crate::cli::target::{Query, Seen, Target, TargetArgs};
use crate::cli::values::From;
use crate::model::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, Position, Source, StreamName,
    SubscribeFrom,
};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// One client, one event a request.
    A1,
    /// 64 clients, one event a request.
    A64,
    /// 16 connections with 64 requests on their way each.
    Ap,
    /// One client, batches of 100.
    B1,
    /// 8 clients, batches of 100.
    B8,
    /// Load: 4 clients, batches of 1,000.
    L,
    /// Read one stream of 10,000.
    C,
    /// Catch up with the log.
    D,
    /// Live delivery at 500 events a second.
    E,
}

impl Work {
    /// In the order in which they are done unless somebody says otherwise.
    pub(super) const ALL: [Self; 9] = [
        Self::A1,
        Self::A64,
        Self::Ap,
        Self::B1,
        Self::B8,
        Self::L,
        Self::C,
        Self::D,
        Self::E,
    ];

    /// Its name.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::A1 => "A1",
            Self::A64 => "A64",
            Self::Ap => "AP",
            Self::B1 => "B1",
            Self::B8 => "B8",
            Self::L => "L",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }

    /// The work of a name, in large or small letters.
    pub(super) fn find(id: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|work| work.id().eq_ignore_ascii_case(id))
    }

    /// How the work appends, if that is what it does.
    fn load(self) -> Option<Load> {
        let (connections, each, batch) = match self {
            Self::A1 => (1, 1, 1),
            Self::A64 => (64, 1, 1),
            Self::Ap => (16, 64, 1),
            Self::B1 => (1, 1, 100),
            Self::B8 => (8, 1, 100),
            Self::L => (4, 1, 1_000),
            Self::C | Self::D | Self::E => return None,
        };
        Some(Load {
            connections,
            each,
            batch,
        })
    }
}

/// How appends are made.
#[derive(Clone, Copy, Debug)]
struct Load {
    connections: u32,
    /// Requests on their way on each connection.
    each: u32,
    /// Events of one append.
    batch: u64,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) events: u64,
    pub(super) took: Duration,
    pub(super) errors: u64,
    pub(super) latencies: Latencies,
    cpu: Option<Cpu>,
}

impl Measured {
    /// The figure that everybody looks at.
    pub(super) fn events_per_second(&self) -> u64 {
        rate(self.events, self.took)
    }

    /// How busy this process was, in percent of one core.
    pub(super) fn client_cpu_percent(&self) -> Option<u64> {
        self.percent(self.cpu?.client?)
    }

    /// How busy the server was.
    pub(super) fn server_cpu_percent(&self) -> Option<u64> {
        self.percent(self.cpu?.server?)
    }

    fn percent(&self, cpu: Duration) -> Option<u64> {
        let micros = u64::try_from(cpu.as_micros()).ok()?;
        Some(rate(micros, self.took) / 10_000)
    }

    fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.errors += other.errors;
        self.latencies.merge(&other.latencies);
    }
}

/// The processor time of both sides so far: of this process, and of the server, if there is one and
/// it tells.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    client: Option<Duration>,
    server: Option<Duration>,
}

impl Cpu {
    async fn of(target: &Target) -> Result<Self, Failure> {
        let server = match target {
            Target::Server(client) => {
                let figures = client.status().await?.figures;
                let told = figures.into_iter().find(|(name, _)| name == "cpu_us");
                told.map(|(_, micros)| Duration::from_micros(micros))
            }
            Target::Folder(_) => None,
        };
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Self {
            client: Duration::try_from(own).ok(),
            server,
        })
    }

    /// What was taken since an earlier look.
    async fn since(before: Self, target: &Target) -> Result<Self, Failure> {
        let now = Self::of(target).await?;
        let between =
            |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Ok(Self {
            client: between(now.client, before.client),
            server: between(now.server, before.server),
        })
    }
}

const EVENT_LEN_BYTES: usize = 256;
const STREAM_EVENTS: u64 = 10_000;
const LIVE_EVERY: Duration = Duration::from_millis(2);

/// What all works of one run share.
pub(super) struct Bench {
    target: TargetArgs,
    time: Duration,
    events_max: u64,
    run: String,
    /// How many works were begun: one that is done again goes to other streams.
    works: u64,
}

impl Bench {
    /// Works go on for `time`; L and D stop at `events_max`.
    pub(super) fn new(target: &TargetArgs, time: Duration, events_max: u64) -> Self {
        let run = Uuid::new_v4().simple().to_string();
        let run = run.get(..8).unwrap_or(&run).to_owned();
        Self {
            target: target.clone(),
            time,
            events_max,
            run,
            works: 0,
        }
    }

    /// Does one work.
    pub(super) async fn run(&mut self, work: Work, target: &Target) -> Result<Measured, Failure> {
        self.works += 1;
        match (work.load(), work) {
            (Some(load), Work::L) => self.append(work, load, target, self.events_max).await,
            (Some(load), _) => self.append(work, load, target, u64::MAX).await,
            (None, Work::C) => self.read_stream(target).await,
            (None, Work::D) => self.catch_up(target).await,
            (None, _) => self.live(target).await,
        }
    }

    fn stream(&self, work: Work, name: impl std::fmt::Display) -> Result<StreamName, Failure> {
        let name = format!("bench{}-{}-{}-{name}", work.id(), self.run, self.works);
        StreamName::new(name).map_err(Failure::usage)
    }

    async fn append(
        &self,
        work: Work,
        load: Load,
        target: &Target,
        events_max: u64,
    ) -> Result<Measured, Failure> {
        let mut writers = JoinSet::new();
        let appends_left = Arc::new(AtomicU64::new(events_max.div_ceil(load.batch)));
        let mut connections = Vec::new();
        for _ in 0..load.connections {
            connections.push(target.another(&self.target).await?);
        }
        let cpu = Cpu::of(target).await?;
        let started = Instant::now();
        for (at, connection) in connections.into_iter().enumerate() {
            for each in 0..load.each {
                let name = self.stream(work, format!("{at}-{each}"))?;
                let writer = Writer {
                    target: connection.clone(),
                    name,
                    batch: load.batch,
                    appends_left: Arc::clone(&appends_left),
                    until: started + self.time,
                };
                writers.spawn(writer.run());
            }
        }
        let mut measured = Measured::default();
        while let Some(one) = writers.join_next().await {
            measured.merge(&one.map_err(Failure::usage)??);
        }
        measured.took = started.elapsed();
        measured.cpu = Some(Cpu::since(cpu, target).await?);
        Ok(measured)
    }

    async fn read_stream(&self, target: &Target) -> Result<Measured, Failure> {
        let stream = self.stream(Work::C, "all")?;
        for _ in 0..STREAM_EVENTS / 1_000 {
            let events = events(1_000)?;
            target
                .append(Append::to(stream.clone(), ExpectedRevision::Any, events))
                .await?;
        }
        let mut measured = Measured::default();
        let cpu = Cpu::of(target).await?;
        let started = Instant::now();
        while started.elapsed() < self.time {
            let query = Query {
                source: Source::Stream(stream.clone()),
                from: From::Start,
                direction: Direction::Forwards,
                events_max: u64::MAX,
            };
            let asked = Instant::now();
            let mut read = target.read(query)?;
            let mut count = 0;
            while let Some(batch) = read.next_batch().await? {
                count += u64::try_from(batch.len()).unwrap_or(0);
            }
            measured.latencies.add(asked.elapsed());
            measured.events += count;
            measured.errors += u64::from(count != STREAM_EVENTS);
        }
        measured.took = started.elapsed();
        measured.cpu = Some(Cpu::since(cpu, target).await?);
        Ok(measured)
    }

    async fn catch_up(&self, target: &Target) -> Result<Measured, Failure> {
        let there = target.committed().await?.0;
        if let Some(load) = Work::L.load().filter(|_| there < self.events_max) {
            self.append(Work::D, load, target, self.events_max - there)
                .await?;
        }
        let end = Position(target.committed().await?.0.min(self.events_max));
        let mut measured = Measured::default();
        let cpu = Cpu::of(target).await?;
        let started = Instant::now();
        let mut feed = target.subscribe(Source::All, SubscribeFrom::Start).await?;
        let mut seen = Position::START;
        while seen < end {
            match feed.next().await? {
                Seen::Events(events) => {
                    measured.events += u64::try_from(events.len()).unwrap_or(0);
                    seen = events.last().map_or(seen, |event| event.position.next());
                }
                Seen::Notice { position, .. } => seen = seen.max(position),
                Seen::Ended(why) => return Err(why),
            }
        }
        measured.took = started.elapsed();
        measured.latencies.add(measured.took);
        measured.cpu = Some(Cpu::since(cpu, target).await?);
        Ok(measured)
    }

    async fn live(&self, target: &Target) -> Result<Measured, Failure> {
        let reader = target.another(&self.target).await?;
        let stream = self.stream(Work::E, "live")?;
        let source = Source::Stream(stream.clone());
        let mut feed = reader.subscribe(source, SubscribeFrom::Start).await?;
        let cpu = Cpu::of(target).await?;
        let started = Instant::now();
        let writing = async {
            let mut ticks = interval(LIVE_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut sent = 0u64;
            let mut errors = 0u64;
            while started.elapsed() < self.time {
                ticks.tick().await;
                let event_type = EventType::new("Measured").map_err(Failure::usage)?;
                let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let mut data = vec![0; EVENT_LEN_BYTES];
                if let Some(stamp) = data.first_chunk_mut() {
                    *stamp = nanos.to_le_bytes();
                }
                let event = NewEvent::binary(event_type, data);
                let append = Append::to(stream.clone(), ExpectedRevision::Any, [event]);
                match target.append(append).await {
                    Ok(_) => sent += 1,
                    Err(_) => errors += 1,
                }
            }
            Ok::<_, Failure>((sent, errors))
        };
        tokio::pin!(writing);
        let mut measured = Measured::default();
        let mut expected = None;
        while expected.is_none_or(|expected| measured.events < expected) {
            let seen = tokio::select! {
                seen = feed.next() => seen?,
                done = &mut writing, if expected.is_none() => {
                    let (sent, errors) = done?;
                    measured.errors = errors;
                    expected = Some(sent);
                    continue;
                }
            };
            let Seen::Events(events) = seen else { continue };
            for event in &events {
                let stamp = event.data.first_chunk().copied().unwrap_or_default();
                let sent = Duration::from_nanos(u64::from_le_bytes(stamp));
                measured
                    .latencies
                    .add(started.elapsed().saturating_sub(sent));
                measured.events += 1;
            }
        }
        measured.took = started.elapsed();
        measured.cpu = Some(Cpu::since(cpu, target).await?);
        Ok(measured)
    }
}

fn events(count: u64) -> Result<Vec<NewEvent>, Failure> {
    let event_type = EventType::new("Measured").map_err(Failure::usage)?;
    let data = Bytes::from_static(&[b'x'; EVENT_LEN_BYTES]);
    Ok((0..count)
        .map(|_| NewEvent::binary(event_type.clone(), data.clone()))
        .collect())
}

/// One after the other, each to a new stream.
struct Writer {
    target: Target,
    name: StreamName,
    batch: u64,
    appends_left: Arc<AtomicU64>,
    until: Instant,
}

impl Writer {
    async fn run(self) -> Result<Measured, Failure> {
        let mut measured = Measured::default();
        let mut number = 0u64;
        while Instant::now() < self.until && take_one(&self.appends_left) {
            number += 1;
            let stream = StreamName::new(format!("{}-{number}", self.name));
            let stream = stream.map_err(Failure::usage)?;
            let append = Append::to(stream, ExpectedRevision::NoStream, events(self.batch)?);
            let asked = Instant::now();
            match self.target.append(append).await {
                Ok(_) => {
                    measured.latencies.add(asked.elapsed());
                    measured.events += self.batch;
                }
                Err(_) => measured.errors += 1,
            }
        }
        Ok(measured)
    }
}

fn take_one(left: &AtomicU64) -> bool {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    });
    taken.is_ok()
}
