//! The rounds: in each, every store has its turn at a group of works, one after the other, with a
//! calibration of the disk before each. A round in which the disk was another one than in most is
//! done again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::embedded::Embedded;
use crate::limit::sync::calibrate;
use crate::options::Options;
use crate::peer::Peer;
use crate::peer::annal::Annal;
use crate::peer::nats::Nats;
use crate::peer::postgres::Postgres;
use crate::peer::redis::Redis;
use crate::peer::umadb::UmaDb;
use crate::process::load_average;
use crate::report::table::number;
use crate::sample::{Machine, Sample};
use crate::turn::{Turn, empty_folder};
use crate::work::Work;
use crate::work::start::Ports;

/// Works that one start of a store serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What the machine allows.
    Limits,
    /// Appends to new streams.
    Appends,
    /// A million events in streams of 10,000.
    Loaded,
    /// As many streams as events.
    Many,
    /// Many live subscribers.
    Subscribers,
    /// Engines within the program.
    Embedded,
    /// A log that grows.
    Sizes,
    /// More and more clients.
    Clients,
}

impl Group {
    const ALL: [Self; 8] = [
        Self::Limits,
        Self::Appends,
        Self::Loaded,
        Self::Many,
        Self::Subscribers,
        Self::Embedded,
        Self::Sizes,
        Self::Clients,
    ];

    fn works(self) -> &'static [Work] {
        match self {
            Self::Limits => &[Work::Limits, Work::C, Work::D],
            Self::Appends => &[Work::A1, Work::A64, Work::Ap, Work::B1, Work::B8],
            Self::Loaded => &[
                Work::L,
                Work::C,
                Work::D,
                Work::E,
                Work::F1,
                Work::F2,
                Work::G,
                Work::M,
            ],
            Self::Many => &[Work::F1],
            Self::Subscribers => &[Work::S],
            Self::Embedded => &[Work::R],
            Self::Sizes => &[Work::Z],
            Self::Clients => &[Work::Clients],
        }
    }

    /// How often it is done: figures that do not depend on the hour are taken once.
    fn rounds(self, asked: u32) -> u32 {
        match self {
            Self::Many | Self::Sizes | Self::Clients => 1,
            _ => asked,
        }
    }
}

/// Who has a turn.
#[derive(Clone, Debug)]
pub enum Participant {
    /// The machine.
    Limits,
    /// Annal.
    Annal(PathBuf),
    /// PostgreSQL.
    Postgres(PathBuf),
    /// Redis.
    Redis,
    /// NATS JetStream.
    Nats(PathBuf),
    /// UmaDB.
    UmaDb(PathBuf),
    /// An engine within the program.
    Embedded(Embedded),
}

impl Participant {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Limits => "Limit",
            Self::Annal(_) => "Annal",
            Self::Postgres(_) => "PostgreSQL",
            Self::Redis => "Redis",
            Self::Nats(_) => "NATS",
            Self::UmaDb(_) => "UmaDB",
            Self::Embedded(engine) => engine.name(),
        }
    }

    fn takes_part(&self, group: Group) -> bool {
        match (self, group) {
            (Self::Embedded(_), _) => group == Group::Embedded,
            (_, Group::Embedded) => false,
            (Self::Annal(_), _) => group != Group::Limits,
            (_, Group::Subscribers | Group::Sizes) => false,
            (Self::Limits, _) => group != Group::Many,
            _ => group != Group::Limits,
        }
    }

    fn turn(&self, group: Group, turn: &mut Turn<'_>) -> Result<()> {
        match self {
            Self::Limits => match group {
                Group::Limits => turn.limits(),
                Group::Appends => turn.bare_appends(),
                Group::Loaded => turn.bare_loaded(),
                _ => turn.bare_clients(),
            },
            Self::Annal(binary) => {
                let annal = Annal {
                    binary: binary.clone(),
                };
                match group {
                    Group::Subscribers => turn.subscribers(&annal),
                    Group::Sizes => turn.sizes(&annal),
                    _ => store(&annal, group, turn),
                }
            }
            Self::Postgres(programs) => store(
                &Postgres {
                    programs: programs.clone(),
                },
                group,
                turn,
            ),
            Self::Redis => store(&Redis, group, turn),
            Self::Nats(binary) => store(
                &Nats {
                    binary: binary.clone(),
                },
                group,
                turn,
            ),
            Self::UmaDb(packages) => store(
                &UmaDb {
                    packages: packages.clone(),
                },
                group,
                turn,
            ),
            Self::Embedded(engine) => turn.embedded(*engine),
        }
    }
}

fn store<P: Peer>(peer: &P, group: Group, turn: &mut Turn<'_>) -> Result<()> {
    match group {
        Group::Appends => turn.appends(peer),
        Group::Loaded => turn.loaded(peer),
        Group::Many => turn.many(peer),
        Group::Clients => turn.clients(peer),
        Group::Limits | Group::Subscribers | Group::Embedded | Group::Sizes => Ok(()),
    }
}

/// How long the disk is looked at before each turn, in either way.
const CALIBRATION: Duration = Duration::from_millis(400);
/// A calibration that is so much slower than the median makes the round one to be done again.
const OUTLYING: f64 = 1.5;

/// All rounds of all groups.
pub struct Rounds<'a> {
    options: &'a Options,
    participants: Vec<Participant>,
    ports: Ports,
    base: &'a Path,
    /// Calibrations so far.
    zeroed_us: Vec<f64>,
    /// Rounds that were done again.
    pub again: u32,
}

impl<'a> Rounds<'a> {
    /// With these, in this order.
    pub fn new(options: &'a Options, participants: Vec<Participant>, base: &'a Path) -> Self {
        Self {
            options,
            participants,
            ports: Ports::from(options.port),
            base,
            zeroed_us: Vec::new(),
            again: 0,
        }
    }

    /// Does them all; `kept` is told all samples after each group, since a run is long.
    pub fn run(&mut self, kept: impl Fn(&[Sample]) -> Result<()>) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        let wanted = |group: &Group| {
            group
                .works()
                .iter()
                .any(|work| self.options.works.contains(work))
        };
        for group in Group::ALL.into_iter().filter(wanted).collect::<Vec<_>>() {
            samples.extend(self.group(group)?);
            kept(&samples)?;
        }
        Ok(samples)
    }

    fn group(&mut self, group: Group) -> Result<Vec<Sample>> {
        let rounds = group.rounds(self.options.rounds);
        let mut kept: BTreeMap<u32, Vec<Sample>> = BTreeMap::new();
        for round in 0..rounds {
            kept.insert(round, self.round(group, round)?);
        }
        // As many again at most: a machine that never gets calm is not waited for.
        for round in 0..rounds {
            let limit = median(&self.zeroed_us) * OUTLYING;
            let slowest = kept[&round].iter().map(|sample| sample.machine.zeroed_us);
            if rounds > 1 && slowest.fold(0.0, f64::max) > limit {
                eprintln!(
                    "round {} of {group:?}: the disk was slow, once more",
                    round + 1
                );
                self.again += 1;
                kept.insert(round, self.round(group, round)?);
            }
        }
        Ok(kept.into_values().flatten().collect())
    }

    fn round(&mut self, group: Group, round: u32) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for participant in self.participants.clone() {
            if participant.takes_part(group) {
                samples.extend(self.turn(&participant, group, round)?);
            }
        }
        Ok(samples)
    }

    fn turn(&mut self, who: &Participant, group: Group, round: u32) -> Result<Vec<Sample>> {
        let folder = empty_folder(self.base)?;
        let calibration = calibrate(folder.path(), CALIBRATION.min(self.options.time()))?;
        ensure!(calibration.zeroed.count() > 0, "the disk did not sync once");
        let machine = Machine {
            load_average: load_average(),
            growing_us: calibration.growing.percentile_us(50.0),
            zeroed_us: calibration.zeroed.percentile_us(50.0),
        };
        self.zeroed_us.push(machine.zeroed_us);
        eprintln!(
            "{:?}, round {}: {:<10}  load {:.1}, sync {:.0} us (growing {:.0})",
            group,
            round + 1,
            who.name(),
            machine.load_average,
            machine.zeroed_us,
            machine.growing_us
        );
        let mut turn = Turn {
            options: self.options,
            ports: &self.ports,
            folder: folder.path().to_owned(),
            peer: who.name(),
            round,
            machine,
            samples: Vec::new(),
        };
        if let Err(error) = who.turn(group, &mut turn) {
            eprintln!("{} FAILED in {group:?}: {error:#}", who.name());
            let why = format!("{error:#}");
            let works = group
                .works()
                .iter()
                .filter(|work| self.options.works.contains(work));
            for work in works {
                if turn.samples.iter().all(|sample| sample.work != *work) {
                    turn.samples.push(Sample {
                        round,
                        peer: who.name(),
                        work: *work,
                        figures: Default::default(),
                        failed: Some(why.clone()),
                        machine,
                    });
                }
            }
        }
        turn.samples.iter().for_each(show);
        Ok(turn.samples)
    }
}

/// One line on the progress of the run.
fn show(sample: &Sample) {
    let names = [
        "events_per_second",
        "p50_us",
        "p99_us",
        "client_cpu_percent",
        "server_cpu_percent",
    ];
    let value = |name: &'static str| Some((name, *sample.figures.get(name)?));
    let mut values: Vec<(&str, f64)> = names.into_iter().filter_map(value).collect();
    if values.is_empty() {
        values = sample
            .figures
            .iter()
            .map(|(name, value)| (*name, *value))
            .collect();
    }
    let values = values
        .iter()
        .map(|(name, value)| format!("{name} {}", number(*value)));
    let failed = sample.failed.as_ref().map(|why| format!("  FAILED: {why}"));
    let (values, failed) = (
        values.collect::<Vec<_>>().join("  "),
        failed.unwrap_or_default(),
    );
    eprintln!("    {:<8}{values}{failed}", sample.work.id());
}

/// The one in the middle; nothing of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, half) if len % 2 == 1 => sorted[half],
        (_, half) => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}
