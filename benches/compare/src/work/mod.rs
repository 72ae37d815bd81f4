//! The works: what they are called, and how appends are made.

pub mod append;
pub mod limits;
pub mod live;
pub mod mixed;
pub mod read;
pub mod size;
pub mod start;
pub mod subscribers;

use anyhow::{Result, bail};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// 1 client, one event a request.
    A1,
    /// 64 clients.
    A64,
    /// 16 connections with 64 requests under way each.
    Ap,
    /// 1 client, batches of 100.
    B1,
    /// 8 clients, batches of 100.
    B8,
    /// Load, in batches of 1,000 by 4 clients.
    L,
    /// Read one stream of 10,000.
    C,
    /// Catch up with the log.
    D,
    /// Live delivery at 500 events a second.
    E,
    /// Memory with a million events.
    F1,
    /// Bytes on disk of an event.
    F2,
    /// Start.
    G,
    /// A64 while 4 readers catch up.
    M,
    /// Many live subscribers.
    S,
    /// Embedded.
    R,
    /// By the size of the log.
    Z,
    /// Throughput by the number of clients, for the plot.
    Clients,
    /// What the machine allows.
    Limits,
}

use Work::{A1, A64, Ap, B1, B8, C, Clients, D, E, F1, F2, G, L, Limits, M, R, S, Z};

impl Work {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Limits, A1, A64, Ap, B1, B8, L, C, D, E, F1, F2, G, M, S, R, Z, Clients,
    ];

    /// Its name.
    pub fn id(self) -> &'static str {
        match self {
            A1 => "A1",
            A64 => "A64",
            Ap => "AP",
            B1 => "B1",
            B8 => "B8",
            L => "L",
            C => "C",
            D => "D",
            E => "E",
            F1 => "F1",
            F2 => "F2",
            G => "G",
            M => "M",
            S => "S",
            R => "R",
            Z => "Z",
            Clients => "CLIENTS",
            Limits => "LIMITS",
        }
    }

    /// The work of a name, in large or small letters.
    pub fn find(id: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|work| work.id().eq_ignore_ascii_case(id));
        let Some(work) = found else {
            bail!(
                "there is no work {id:?}; there are {}",
                Self::ALL.map(Self::id).join(", ")
            );
        };
        Ok(work)
    }

    /// How it appends to new streams, if that is what it does.
    pub fn load(self) -> Option<Load> {
        let (connections, in_flight, batch) = match self {
            A1 => (1, 1, 1),
            A64 => (64, 1, 1),
            Ap => (16, 64, 1),
            B1 => (1, 1, 100),
            B8 => (8, 1, 100),
            L => (4, 1, 1_000),
            _ => return None,
        };
        Some(Load {
            connections,
            in_flight,
            batch,
        })
    }
}

/// How appends are made.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients.
    pub connections: usize,
    /// Requests under way for each.
    pub in_flight: usize,
    /// Events of a request.
    pub batch: usize,
}

impl Load {
    /// The threads of the client's runtime: a single client needs no second one.
    pub fn threads(self) -> usize {
        if self.connections == 1 { 1 } else { 2 }
    }
}
