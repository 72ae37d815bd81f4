//! The tables of a run as Markdown, which is what the terminal shows too; and a file's generated
//! section replaced by them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::facts::Facts;
use super::goals;
use super::rows::{EMBEDDED, SERVERS};
use super::summary::{LIMIT, Line, OURS, RAW_LOG, lines};
use super::table::{Table, number};
use crate::rounds::median;
use crate::sample::Sample;
use crate::work::Work;
use crate::work::size::STREAMS_IN_MEMORY;

const BEGIN: &str = "<!-- benches/compare/run.sh --markdown writes from here -->";
const END: &str = "<!-- to here -->";

/// The stores in the order of the tables.
const SERVING: [&str; 6] = [OURS, "PostgreSQL", "Redis", "NATS", "UmaDB", LIMIT];
const IN_PROCESS: [&str; 5] = [OURS, "RocksDB", "fjall", "redb", RAW_LOG];

/// All tables.
pub fn tables(facts: &Facts, samples: &[Sample]) -> String {
    let mut text = how(facts, samples);
    let mut section = |title: &str, table: Table| {
        if !table.is_empty() {
            let _infallible = write!(text, "\n{title}\n\n{}", table.text());
        }
    };
    let [servers, engines] = [SERVERS, EMBEDDED].map(|rows| lines(rows, samples));
    let serving = compared(&servers, &SERVING, LIMIT);
    section(
        "Servers (medians of the rounds; ratios within a round, smallest and largest):",
        serving,
    );
    let embedded = compared(&engines, &IN_PROCESS, RAW_LOG);
    section(
        "Engines within the program, one thread, events of 256 bytes:",
        embedded,
    );
    section(
        "Where Annal wants to stand, and whether it does:",
        goals::table(&[servers, engines].concat()),
    );
    section(
        "Latencies in microseconds, and processors (100 % is one core):",
        latencies(samples),
    );
    section("Appends while others follow:", followers(samples));
    section("By the size of the log:", sizes(samples));
    section("By the number of clients, events/s:", clients(samples));
    section("What the machine allows:", limits(samples));
    text
}

fn how(facts: &Facts, samples: &[Sample]) -> String {
    let fact = |name: &str| match facts.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    };
    let range = |of: fn(&Sample) -> f64| {
        let values: Vec<f64> = samples.iter().map(of).collect();
        let (low, high) = values
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
        format!(
            "{} ({}-{})",
            number(median(&values)),
            number(low),
            number(high)
        )
    };
    let mut text = format!(
        "Measured {} on {}, {} cores for clients and servers together, {} GiB, {}, {}; {} rounds \
         of {} s a work, loads of {} events. Load average {}; a small write with `fdatasync` into \
         a zeroed file before each turn took {} us, into a growing one {} us.\n",
        fact("date"),
        fact("processor"),
        fact("cores"),
        fact("memory_gib"),
        fact("kernel"),
        fact("file_system"),
        fact("rounds"),
        fact("seconds"),
        fact("events"),
        range(|sample| sample.machine.load_average),
        range(|sample| sample.machine.zeroed_us),
        range(|sample| sample.machine.growing_us),
    );
    if let Some(versions) = facts
        .get("versions")
        .and_then(|versions| versions.as_object())
    {
        let versions = versions
            .iter()
            .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?")));
        let _infallible = write!(text, "\n{}.\n", versions.collect::<Vec<_>>().join(", "));
    }
    let missing = facts.get("not_run").and_then(|list| list.as_array());
    for missing in missing.into_iter().flatten().filter_map(|one| one.as_str()) {
        let _infallible = write!(text, "\nNot run: {missing}\n");
    }
    text
}

fn compared(lines: &[Line], peers: &[&str], limit: &str) -> Table {
    let there = |peer: &&&str| lines.iter().any(|line| line.cells.contains_key(**peer));
    let peers: Vec<&str> = peers.iter().filter(there).copied().collect();
    let mut head = vec!["row", "what"];
    head.extend(&peers);
    head.extend(["ahead of the best", "share of the limit"]);
    let mut table = Table::new(2, head);
    for line in lines {
        let mut cells = vec![line.row.id.to_owned(), line.row.title.to_owned()];
        cells.extend(peers.iter().map(|peer| line.text(peer)));
        let best = line.best_other();
        let ahead = best.and_then(|best| Some((best, line.ahead_of(best)?)));
        let dash = || "-".to_owned();
        cells.push(ahead.map_or_else(dash, |(best, by)| format!("{best}: {}", by.text())));
        cells.push(line.ahead_of(limit).map_or_else(dash, |share| share.text()));
        table.row(cells);
    }
    table
}

/// The medians of figures of one work and store.
fn figures(samples: &[Sample], work: Work, peer: &str, names: &[&str]) -> Option<Vec<f64>> {
    let of = samples
        .iter()
        .filter(|sample| sample.work == work && sample.peer == peer && sample.failed.is_none());
    let of: Vec<&Sample> = of.collect();
    let value = |name: &&str| {
        let values: Vec<f64> = of
            .iter()
            .filter_map(|one| one.figures.get(*name).copied())
            .collect();
        median(&values)
    };
    (!of.is_empty()).then(|| names.iter().map(value).collect())
}

fn latencies(samples: &[Sample]) -> Table {
    let mut table = Table::new(
        2,
        [
            "work",
            "store",
            "p50",
            "p99",
            "p99.9",
            "client",
            "server",
            "events a server second",
        ],
    );
    let names = [
        "p50_us",
        "p99_us",
        "p999_us",
        "client_cpu_percent",
        "server_cpu_percent",
    ];
    let works = Work::ALL.into_iter().filter(|work| {
        work.load().is_some() || [Work::C, Work::D, Work::E, Work::M].contains(work)
    });
    for work in works {
        for peer in SERVING {
            let Some(values) = figures(samples, work, peer, &names) else {
                continue;
            };
            if values[4].is_nan() {
                continue;
            }
            let mut cells = vec![work.id().to_owned(), peer.to_owned()];
            cells.extend(values[..3].iter().map(|value| number(*value)));
            cells.extend(values[3..].iter().map(|value| format!("{value:.0} %")));
            let rate = figures(samples, work, peer, &["events_per_second"]);
            let by_cpu = rate.map_or(f64::NAN, |rate| rate[0] / (values[4] / 100.0));
            cells.push(number(by_cpu));
            table.row(cells);
        }
    }
    table
}

fn followers(samples: &[Sample]) -> Table {
    let mut table = Table::new(
        1,
        [
            "work",
            "subscribers",
            "appends/s",
            "of those alone",
            "delivered/s",
            "missing",
            "p50 us",
            "p99 us",
        ],
    );
    for sample in samples.iter().filter(|sample| sample.work == Work::S) {
        let show = |name: &str| {
            sample
                .figures
                .get(name)
                .copied()
                .map_or(f64::NAN, |value| value)
        };
        let (kind, missing) = match sample.figures.contains_key("missing_all") {
            true => ("S, $all", "missing_all"),
            false => ("S, streams", "missing_streams"),
        };
        let mut cells = vec![kind.to_owned()];
        if let Some(why) = &sample.failed {
            cells.push(format!("failed: {why}"));
        } else {
            let names = [
                "subscribers",
                "events_per_second",
                "kept_share",
                "delivered_per_second",
                missing,
                "p50_us",
                "p99_us",
            ];
            cells.extend(names.map(|name| number(show(name))));
        }
        table.row(cells);
    }
    table
}

fn sizes(samples: &[Sample]) -> Table {
    let again = format!("read one of {STREAMS_IN_MEMORY} us");
    let mut table = Table::new(
        1,
        [
            "events",
            "append us",
            "append to a new stream us",
            "a sync of the disk us",
            "read a stream of 10,000 us",
            "of it from the disk MB",
            &again,
            "start ms",
            "start after kill -9 ms",
            "memory MB",
            "bytes an event",
        ],
    );
    for sample in samples.iter().filter(|sample| sample.work == Work::Z) {
        let names = [
            "log_events",
            "append_p50_us",
            "new_stream_p50_us",
            "sync_p50_us",
            "read_p50_us",
            "read_disk_mb",
            "read_again_p50_us",
            "clean_ms",
            "killed_ms",
            "memory_mb",
            "bytes_per_event",
        ];
        let show = |name: &str| number(sample.figures.get(name).copied().unwrap_or(f64::NAN));
        table.row(names.map(show).to_vec());
    }
    table
}

fn clients(samples: &[Sample]) -> Table {
    let of = |peer: &str, clients: usize| {
        let found = samples.iter().find(|sample| {
            sample.work == Work::Clients
                && sample.peer == peer
                && sample.failed.is_none()
                && sample.figures.get("clients") == Some(&(clients as f64))
        });
        found.and_then(|sample| sample.figures.get("events_per_second").copied())
    };
    let counts = crate::turn::CLIENTS;
    let mut head = vec!["store".to_owned()];
    head.extend(counts.map(|count| count.to_string()));
    let mut table = Table::new(1, head);
    for peer in SERVING {
        let rates = counts.map(|count| of(peer, count));
        if rates.iter().any(Option::is_some) {
            let mut cells = vec![peer.to_owned()];
            cells.extend(rates.map(|rate| number(rate.unwrap_or(f64::NAN))));
            table.row(cells);
        }
    }
    table
}

fn limits(samples: &[Sample]) -> Table {
    let mut table = Table::new(1, ["what", "median"]);
    let rows = [
        ("write and fdatasync, zeroed file: p50 us", "p50_us", 1.0),
        ("the same: p99 us", "p99_us", 1.0),
        ("the same: a second", "syncs_per_second", 1.0),
        (
            "write and fdatasync, growing file: p50 us",
            "growing_p50_us",
            1.0,
        ),
        ("the same: p99 us", "growing_p99_us", 1.0),
        (
            "loopback, one connection: GB/s",
            "loopback_bytes_per_second",
            1e9,
        ),
        ("copy in memory: GB/s", "copy_bytes_per_second", 1e9),
    ];
    for (title, name, unit) in rows {
        if let Some(values) = figures(samples, Work::Limits, LIMIT, &[name]) {
            table.row(vec![title.to_owned(), number(values[0] / unit)]);
        }
    }
    table
}

/// Writes the tables to a file: into its generated section, if it has one.
pub fn write(path: &Path, tables: &str) -> Result<()> {
    let generated = format!("{BEGIN}\n\n{tables}\n{END}\n");
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let (before, rest) = old.split_once(BEGIN).unwrap_or((&old, ""));
    let after = rest
        .split_once(END)
        .map_or("", |(_, after)| after.trim_start_matches('\n'));
    let after = if after.is_empty() {
        String::new()
    } else {
        format!("\n{after}")
    };
    std::fs::write(path, format!("{before}{generated}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_section_is_replaced_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.md");
        std::fs::write(&path, format!("# Title\n\n{BEGIN}\nold\n{END}\n\n## Why\n")).unwrap();
        for tables in ["first\n", "second\n"] {
            write(&path, tables).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            format!("# Title\n\n{BEGIN}\n\nsecond\n\n{END}\n\n## Why\n")
        );
    }
}
