//! What was asked for on the command line, which the shell script passes on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::work::Work;

/// Annal, its peers and the machine's limits, at the same work in turn
#[derive(Debug, Parser)]
#[command(name = "run.sh", version, about)]
pub struct Options {
    /// Works: LIMITS,A1,A64,AP,B1,B8,L,C,D,E,F1,F2,G,M,S,R,Z,CLIENTS (the last for the plot)
    #[arg(id = "work", long = "work", value_name = "WORK,..", value_delimiter = ',',
        value_parser = work, default_values = default_works())]
    pub works: Vec<Work>,
    /// Stores: annal,limits,postgres,redis,nats,umadb, and embedded: raw,fjall,redb,rocksdb
    #[arg(
        long,
        value_name = "PEER,..",
        value_delimiter = ',',
        ignore_case = true,
        default_value = "annal,limits,postgres,redis,nats,umadb,raw,fjall,redb,rocksdb"
    )]
    pub peers: Vec<String>,
    /// Rounds; each gives every store its turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: u32,
    /// How long a work goes on
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    pub seconds: f64,
    /// Events of the works that load a store
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub events: u64,
    /// Sizes of the log for Z
    #[arg(long, value_name = "N,..", value_delimiter = ',',
        default_values_t = [1_000_000, 10_000_000])]
    pub sizes: Vec<u64>,
    /// Live subscribers of S; a tenth as many follow the whole log
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub subscribers: usize,
    /// Write all figures of all rounds to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the tables to a file; one with marks for a generated section keeps its other text
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Draw plots into a folder
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
    /// Make the tables and plots of a file that --json wrote, and measure nothing
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The binary of Annal
    #[arg(
        long,
        value_name = "FILE",
        env = "ANNAL_COMPARE_ANNAL",
        default_value = "annal"
    )]
    pub annal: PathBuf,
    /// The folder of PostgreSQL's programs
    #[arg(long, value_name = "DIR", env = "ANNAL_COMPARE_POSTGRES", hide = true)]
    pub postgres: Option<PathBuf>,
    /// NATS's server
    #[arg(long, value_name = "FILE", env = "ANNAL_COMPARE_NATS", hide = true)]
    pub nats: Option<PathBuf>,
    /// UmaDB's server
    #[arg(long, value_name = "FILE", env = "ANNAL_COMPARE_UMADB", hide = true)]
    pub umadb: Option<PathBuf>,
    /// Where servers keep their data, on a real disk
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub folder: PathBuf,
    /// Servers listen on loopback from this port on
    #[arg(long, value_name = "PORT", default_value_t = 2600)]
    pub port: u16,
    #[command(subcommand)]
    pub inner: Option<Inner>,
}

/// What the harness starts itself for.
#[derive(Debug, Subcommand)]
pub enum Inner {
    /// The bare server
    #[command(hide = true)]
    BareServer {
        /// Where its log is
        folder: PathBuf,
        /// Where it listens
        port: u16,
    },
}

fn default_works() -> Vec<&'static str> {
    let all = Work::ALL.into_iter().filter(|work| *work != Work::Clients);
    all.map(Work::id).collect()
}

fn work(id: &str) -> Result<Work> {
    Work::find(id)
}

impl Options {
    /// How long a work goes on.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Whether a store was asked for.
    pub fn has_peer(&self, name: &str) -> bool {
        self.peers
            .iter()
            .any(|peer| peer.eq_ignore_ascii_case(name))
    }
}
