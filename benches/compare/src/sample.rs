//! What one work by one store in one round came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::{Process, own_cpu};
use crate::tally::Tally;
use crate::work::Work;

/// Percentiles that are kept: the name of the figure, and the percentage.
pub const PERCENTILES: [(&str, f64); 6] = [
    ("p50_us", 50.0),
    ("p90_us", 90.0),
    ("p99_us", 99.0),
    ("p999_us", 99.9),
    ("p9999_us", 99.99),
    ("max_us", 100.0),
];

/// How the machine was when a store had its turn.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The load average of the last minute.
    pub load_average: f64,
    /// A small write and sync into a growing file, the median in microseconds.
    pub growing_us: f64,
    /// The same into a file that was filled with zeros before.
    pub zeroed_us: f64,
}

/// Figures by name.
pub type Figures = BTreeMap<&'static str, f64>;

/// One work, one store, one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which round.
    pub round: u32,
    /// Which store.
    pub peer: &'static str,
    /// Which work.
    pub work: Work,
    /// What came out.
    pub figures: Figures,
    /// Why this is no result, if it is none.
    pub failed: Option<String>,
    /// How the machine was.
    pub machine: Machine,
}

impl Sample {
    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "round": self.round,
            "peer": self.peer,
            "work": self.work.id(),
            "figures": self.figures,
            "failed": self.failed,
            "load_average": self.machine.load_average,
            "calibration_growing_us": self.machine.growing_us,
            "calibration_zeroed_us": self.machine.zeroed_us,
        })
    }

    /// From JSON.
    pub fn of_json(value: &Value) -> Result<Self> {
        let text = |name: &str| {
            value[name]
                .as_str()
                .with_context(|| format!("{name} is missing"))
        };
        let number = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
        let figures = value["figures"]
            .as_object()
            .context("figures are missing")?;
        let figure = |(name, value): (&String, &Value)| Some((kept(name), value.as_f64()?));
        Ok(Self {
            round: u32::try_from(value["round"].as_u64().context("round is missing")?)?,
            peer: kept(text("peer")?),
            work: Work::find(text("work")?)?,
            figures: figures.iter().filter_map(figure).collect(),
            failed: value["failed"].as_str().map(str::to_owned),
            machine: Machine {
                load_average: number("load_average"),
                growing_us: number("calibration_growing_us"),
                zeroed_us: number("calibration_zeroed_us"),
            },
        })
    }
}

/// A text that stays until the end of the process.
fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// Looks at the processor time of both sides while a work is done.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    own: Duration,
    server: Duration,
}

impl Watch {
    /// From here on.
    pub fn start(server: Option<&Process>) -> Self {
        Self {
            own: own_cpu(),
            server: server.map_or(Duration::ZERO, Process::cpu),
            began: Instant::now(),
        }
    }

    /// To here; the figures of what was counted meanwhile.
    pub fn stop(self, tally: &Tally, server: Option<&Process>) -> Figures {
        let took = self.began.elapsed().as_secs_f64();
        let percent = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() / took * 100.0
        };
        let mut figures = Figures::from([
            ("events", tally.digest.count as f64),
            ("events_per_second", tally.events_per_second()),
            ("seconds", tally.took.as_secs_f64()),
            ("errors", tally.errors as f64),
            ("client_cpu_percent", percent(own_cpu(), self.own)),
        ]);
        if let Some(server) = server {
            figures.insert("server_cpu_percent", percent(server.cpu(), self.server));
            figures.insert("memory_bytes", server.memory_bytes() as f64);
        }
        if tally.latencies.count() > 0 {
            for (name, percent) in PERCENTILES {
                figures.insert(name, tally.latencies.percentile_us(percent));
            }
        }
        figures
    }
}
