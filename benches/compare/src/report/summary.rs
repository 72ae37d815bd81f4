//! Samples made into rows: medians, and ratios within a round with their spread.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rows::{Better, Row};
use super::table::number;
use crate::rounds::median;
use crate::sample::Sample;

/// What all is compared with.
pub const OURS: &str = "Annal";
/// What the machine allows.
pub const LIMIT: &str = "Limit";
/// What the machine allows a program with a disk of its own.
pub const RAW_LOG: &str = "raw log";

/// A median and what it lies between.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
        Some(Self {
            median: median(values),
            min: fold(f64::min)?,
            max: fold(f64::max)?,
        })
    }

    /// As text.
    pub fn text(self) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(number);
        match self.min == self.max {
            true => format!("{median} x"),
            false => format!("{median} x ({min}-{max})"),
        }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// What a store came to in a row.
#[derive(Clone, Debug)]
pub struct Cell {
    /// By round, in the row's unit.
    pub by_round: BTreeMap<u32, f64>,
    /// Why there is nothing, if it failed in any round.
    pub failed: Option<String>,
}

impl Cell {
    /// The median of the rounds; nothing if one failed.
    pub fn median(&self) -> Option<f64> {
        let values: Vec<f64> = self.by_round.values().copied().collect();
        Some(median(&values)).filter(|value| self.failed.is_none() && !value.is_nan())
    }

    /// As text.
    pub fn text(&self) -> String {
        match (&self.failed, self.median()) {
            (Some(_), _) => "failed".to_owned(),
            (None, Some(median)) => number(median),
            (None, None) => "-".to_owned(),
        }
    }
}

/// A row with what each store came to.
#[derive(Clone, Debug)]
pub struct Line {
    /// The row.
    pub row: Row,
    /// By store.
    pub cells: BTreeMap<String, Cell>,
}

impl Line {
    /// From all samples; nothing if there is none for it.
    pub fn of(row: Row, samples: &[Sample]) -> Option<Self> {
        let mut cells = BTreeMap::new();
        for sample in samples.iter().filter(|sample| sample.work == row.work) {
            let figure = sample.figures.get(row.figure);
            if figure.is_none() && sample.failed.is_none() {
                continue;
            }
            let cell = cells.entry(sample.peer.to_owned()).or_insert_with(|| Cell {
                by_round: BTreeMap::new(),
                failed: None,
            });
            cell.failed = cell.failed.take().or(sample.failed.clone());
            if let Some(figure) = figure {
                cell.by_round.insert(sample.round, figure / row.unit);
            }
        }
        (!cells.is_empty()).then_some(Self { row, cells })
    }

    /// What a store came to.
    pub fn text(&self, peer: &str) -> String {
        self.cells
            .get(peer)
            .map_or_else(|| "-".to_owned(), Cell::text)
    }

    /// How many times better ours is than another, within each round.
    pub fn ahead_of(&self, other: &str) -> Option<Spread> {
        let (ours, other) = (self.cells.get(OURS)?, self.cells.get(other)?);
        if ours.failed.is_some() || other.failed.is_some() {
            return None;
        }
        let ratio = |(round, ours): (&u32, &f64)| {
            let other = other.by_round.get(round)?;
            Some(match self.row.better {
                Better::Higher => ours / other,
                Better::Lower => other / ours,
            })
        };
        Spread::of(&ours.by_round.iter().filter_map(ratio).collect::<Vec<_>>())
    }

    /// The best of the others that are stores.
    pub fn best_other(&self) -> Option<&str> {
        let others = self
            .cells
            .iter()
            .filter(|(peer, _)| ![OURS, LIMIT, RAW_LOG].contains(&&***peer));
        let with_median = others.filter_map(|(peer, cell)| Some((peer, cell.median()?)));
        let best = with_median.max_by(|(_, one), (_, other)| match self.row.better {
            Better::Higher => one.total_cmp(other),
            Better::Lower => other.total_cmp(one),
        });
        best.map(|(peer, _)| &**peer)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let cells = self.cells.iter().map(|(peer, cell)| {
            let value = json!({ "median": cell.median(), "rounds": cell.by_round,
                "failed": cell.failed, "ours_ahead": self.ahead_of(peer).map(Spread::json) });
            (peer.clone(), value)
        });
        json!({ "row": self.row.id, "title": self.row.title, "figure": self.row.figure,
            "higher_is_better": self.row.better == Better::Higher,
            "stores": cells.collect::<serde_json::Map<_, _>>() })
    }
}

/// All rows that have something.
pub fn lines(rows: &[Row], samples: &[Sample]) -> Vec<Line> {
    rows.iter()
        .filter_map(|row| Line::of(*row, samples))
        .collect()
}
