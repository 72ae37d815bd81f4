//! `annal export`: the log as lines of JSON.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::failure::Failure;
use super::ndjson;
use super::output::{Output, Unit, count, duration, grouped, rate};
use super::sink::Sink;
use super::target::{Make, Query, Target, TargetArgs};
use super::values::From;
use crate::model::{Direction, Source};

/// Write the log as lines of JSON, as import takes them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was imported comes out byte for byte. A file whose name ends in .gz or .zst is
compressed. The events that are there when it begins are written.

Examples:
  annal export > events.ndjson
  annal export events.ndjson.zst
  annal export --data ./annal-data backup.ndjson.gz    from a folder, no server running
  annal export --from 1000000 - | tail -1")]
pub(super) struct Args {
    /// The file; - is the standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The first position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    target: TargetArgs,
}

/// Writes every event from a position to the present end.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::No).await?;
    let end = target.committed().await?;
    let to_write = end.0.saturating_sub(args.from);
    let query = Query {
        source: Source::All,
        from: From::At(args.from),
        direction: Direction::Forwards,
        events_max: to_write,
    };
    let started = Instant::now();
    let bar = output.progress("export", Some(to_write), Unit::Events);
    let mut sink = Sink::open(&args.file)?;
    let mut lines = Vec::new();
    let mut events = 0u64;
    if to_write > 0 {
        let mut log = target.read(query)?;
        while let Some(batch) = log.next_batch().await? {
            lines.clear();
            batch
                .iter()
                .for_each(|event| ndjson::write_line(event, &mut lines));
            sink.write_all(&lines)?;
            events += u64::try_from(batch.len()).unwrap_or(u64::MAX);
            bar.set_position(events);
        }
    }
    sink.finish()?;
    bar.finish_and_clear();
    target.close().await?;
    if args.file == Path::new("-") {
        return Ok(());
    }
    let took = started.elapsed();
    let text = format!(
        "wrote {} to {} in {}: {} a second",
        count(events, "event"),
        args.file.display(),
        duration(took),
        grouped(rate(events, took)),
    );
    let json = json!({
        "events": events,
        "file": args.file.display().to_string(),
        "next_position": args.from + events,
        "seconds": took.as_secs_f64(),
    });
    output.result(&text, &json)
}
