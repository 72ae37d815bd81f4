//! `annal read`: what is there, and then the end.

use std::path::Path;

use super::failure::{Exit, Failure};
use super::output::{EventLines, Output, count};
use super::select::SelectArgs;
use super::target::{Make, Query, Target, TargetArgs};
use super::values::From;
use crate::model::Direction;

/// Read a stream, everything, or a choice of events
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("needed").required(true).multiple(true).args(
        ["stream", "all", "category", "event_type", "tag", "prefix", "type_pattern"]
    )),
    after_help = "\
With --json, each event is a line that `annal import` takes as well.

Examples:
  annal read order-1
  annal read order-1 --backwards --max 1             the last event
  annal read --all --from 1000 --max 10              positions 1000 to 1009
  annal read --category order --json | jq .data
  annal read --type Placed --data ./annal-data       from a folder, no server running"
)]
pub(super) struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// Where to begin: start, end, a revision of the stream, or a position; included
    #[arg(long, value_name = "PLACE")]
    from: Option<From>,
    /// From newer to older events
    #[arg(long)]
    backwards: bool,
    /// How many events at most
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Reads, and prints each event.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let direction = match args.backwards {
        true => Direction::Backwards,
        false => Direction::Forwards,
    };
    let from = args.from.unwrap_or(match direction {
        Direction::Forwards => From::Start,
        Direction::Backwards => From::End,
    });
    let query = Query {
        source: args.select.source()?,
        from,
        direction,
        events_max: args.max.unwrap_or(u64::MAX),
    };
    let target = Target::open(&args.target, Make::No).await?;
    let mut events = target.read(query)?;
    let mut lines = EventLines::new(output);
    let mut printed = 0;
    let ended = loop {
        match events.next_batch().await {
            Ok(Some(batch)) => {
                for event in &batch {
                    lines.event(event)?;
                }
                printed += batch.len();
            }
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        }
    };
    lines.flush()?;
    ended.map_err(|failure| match failure.exit() {
        Exit::Damaged => failure.advise(in_front_of_damage(printed, args.target.folder())),
        _ => failure,
    })?;
    target.close().await
}

/// What to do about damage that a read has met.
fn in_front_of_damage(printed: usize, folder: Option<&Path>) -> String {
    let folder = folder.map_or("DIR".into(), Path::to_string_lossy);
    let printed = count(u64::try_from(printed).unwrap_or(u64::MAX), "event");
    format!(
        "{printed} in front of the damage could be read; --from reads on behind it.\n       \
         annal verify --data {folder} says what is lost, and annal repair {folder} takes it out"
    )
}
