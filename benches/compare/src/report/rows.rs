//! The rows of the tables: which figure of which work, in which unit, and which way is better.

use crate::work::Work;

/// What is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub id: &'static str,
    /// What it is, with the unit.
    pub title: &'static str,
    /// Which work.
    pub work: Work,
    /// Which figure.
    pub figure: &'static str,
    /// What the figure is divided by to have the unit.
    pub unit: f64,
    /// Which way is better.
    pub better: Better,
}

use Better::{Higher, Lower};

const fn row(
    id: &'static str,
    title: &'static str,
    work: Work,
    figure: &'static str,
    unit: f64,
    better: Better,
) -> Row {
    Row {
        id,
        title,
        work,
        figure,
        unit,
        better,
    }
}

const RATE: &str = "events_per_second";
const MB: f64 = 1e6;

/// The rows of stores that serve.
pub const SERVERS: &[Row] = &[
    row(
        "A1",
        "1 client, one event a request: events/s",
        Work::A1,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "A64",
        "64 clients, one event a request: events/s",
        Work::A64,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "A64 p99",
        "the same: 99 % of requests within, us",
        Work::A64,
        "p99_us",
        1.0,
        Lower,
    ),
    row(
        "AP",
        "16 connections, 64 requests on each: events/s",
        Work::Ap,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "B1",
        "1 client, batches of 100: events/s",
        Work::B1,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "B8",
        "8 clients, batches of 100: events/s",
        Work::B8,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "L",
        "load, 4 clients, batches of 1,000: events/s",
        Work::L,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "C",
        "read a stream of 10,000: events/s",
        Work::C,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "D",
        "catch up with the log: events/s",
        Work::D,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "E p50",
        "live delivery at 500/s: half within, us",
        Work::E,
        "p50_us",
        1.0,
        Lower,
    ),
    row(
        "E p99",
        "the same: 99 % within, us",
        Work::E,
        "p99_us",
        1.0,
        Lower,
    ),
    row(
        "F1",
        "memory, streams of 10,000: MB",
        Work::F1,
        "memory_bytes_100",
        MB,
        Lower,
    ),
    row(
        "F1 many",
        "memory, a stream an event: MB",
        Work::F1,
        "memory_bytes_many",
        MB,
        Lower,
    ),
    row(
        "F2",
        "disk: bytes an event",
        Work::F2,
        "bytes_per_event",
        1.0,
        Lower,
    ),
    row(
        "G clean",
        "start after a stop in order: ms",
        Work::G,
        "clean_ms",
        1.0,
        Lower,
    ),
    row(
        "G killed",
        "start after kill -9: ms",
        Work::G,
        "killed_ms",
        1.0,
        Lower,
    ),
    row(
        "M",
        "A64 while 4 readers catch up: events/s",
        Work::M,
        RATE,
        1.0,
        Higher,
    ),
    row(
        "M share",
        "the same: share of A64 alone",
        Work::M,
        "kept_share",
        1.0,
        Higher,
    ),
    row(
        "M p99",
        "the same: 99 % of appends within, us",
        Work::M,
        "p99_us",
        1.0,
        Lower,
    ),
    row(
        "S share",
        "A64 to followed streams: share of it alone",
        Work::S,
        "kept_share",
        1.0,
        Higher,
    ),
    row(
        "S missing",
        "the same: events not delivered",
        Work::S,
        "missing_streams",
        1.0,
        Lower,
    ),
    row(
        "S all",
        "many follow everything: not delivered",
        Work::S,
        "missing_all",
        1.0,
        Lower,
    ),
];

/// The rows of embedded engines.
pub const EMBEDDED: &[Row] = &[
    row(
        "R 1",
        "1 event a sync: events/s",
        Work::R,
        "batch_1",
        1.0,
        Higher,
    ),
    row(
        "R 64",
        "64 events a sync: events/s",
        Work::R,
        "batch_64",
        1.0,
        Higher,
    ),
    row(
        "R 1000",
        "1,000 events a sync: events/s",
        Work::R,
        "batch_1000",
        1.0,
        Higher,
    ),
];
