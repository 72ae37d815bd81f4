//! `annal bench`: how fast this store is, by works that have names.

mod latency;
mod work;

use std::time::Duration;

use serde_json::json;

use super::failure::Failure;
use super::output::{Output, faint, grouped, strong};
use super::target::{Make, Target, TargetArgs};
use work::{Bench, Measured, Work};

/// Measure a server or a folder with typical work
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works, all with events of 256 bytes; appends are durable before they are answered, state
an expected revision, and go to a new stream each:
  A1   1 client, one event a request            L    4 clients, batches of 1,000
  A64  64 clients, one event a request          C    read a stream of 10,000 events
  AP   16 connections with 64 requests each     D    catch up with the whole log
  B1   1 client, batches of 100                 E    live delivery at 500 events a second
  B8   8 clients, batches of 100
Latencies are those of a request (append, read, catch-up); for E, from the append being
sent to the event being delivered. Client and server say how busy this process and the
server's were, where 100 % is one core. The events stay in the store: use one made for this.

Examples:
  annal bench
  annal bench --work A1,A64 --seconds 10
  annal bench --data /tmp/bench --work B8 --json     the engine, no server")]
pub(super) struct Args {
    /// The works, by their names, in this order
    #[arg(long, value_name = "WORK", value_delimiter = ',', ignore_case = true,
        default_values_t = Work::ALL.map(|work| work.id().to_owned()),
        value_parser = clap::builder::PossibleValuesParser::new(Work::ALL.map(Work::id)))]
    work: Vec<String>,
    /// How long each work goes on
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// How many events L appends at most, and D reads at most
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    #[command(flatten)]
    target: TargetArgs,
}

/// Does the works one after the other.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::Yes).await?;
    let mut bench = Bench::new(&args.target, Duration::from_secs(args.seconds), args.events);
    output.say(faint(format!(
        "{:<5}{:>14}{:>10}{:>10}{:>10}{:>9}{:>9}{:>9}",
        "work", "events/s", "p50 us", "p99 us", "p99.9 us", "errors", "client", "server"
    )))?;
    let chosen = args.work.iter().filter_map(|id| Work::find(id));
    for work in chosen {
        let measured = bench.run(work, &target).await?;
        show(work, &measured, output)?;
    }
    target.close().await
}

fn show(work: Work, measured: &Measured, output: Output) -> Result<(), Failure> {
    let [p50, p99, p999] = [500, 990, 999].map(|mille| measured.latencies.per_mille_us(mille));
    let us = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), grouped);
    let client = measured.client_cpu_percent();
    let server = measured.server_cpu_percent();
    let percent = |cpu: Option<u64>| cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu} %"));
    let text = format!(
        "{:<5}{:>14}{:>10}{:>10}{:>10}{:>9}{:>9}{:>9}",
        strong(work.id()),
        grouped(measured.events_per_second()),
        us(p50),
        us(p99),
        us(p999),
        measured.errors,
        percent(client),
        percent(server),
    );
    let json = json!({
        "work": work.id(),
        "events": measured.events,
        "seconds": measured.took.as_secs_f64(),
        "events_per_second": measured.events_per_second(),
        "p50_us": p50,
        "p99_us": p99,
        "p999_us": p999,
        "errors": measured.errors,
        "client_cpu_percent": client,
        "server_cpu_percent": server,
    });
    output.result(&text, &json)
}
