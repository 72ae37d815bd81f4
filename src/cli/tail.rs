//! `annal tail`: what is there from a place on, and what comes.

use serde_json::json;

use super::failure::Failure;
use super::output::{EventLines, Output, faint};
use super::select::SelectArgs;
use super::target::{Make, Seen, Target, TargetArgs};
use super::values::From;
use crate::model::Source;

/// Follow events as they come, without missing or repeating one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Goes on until Ctrl-C. With --json, lines with a \"notice\" stand between the events: it has
caught up with the log, or fell behind, or connected again.

Examples:
  annal tail --all
  annal tail order-1 --from start
  annal tail --category order --from 1000 --json
  annal tail --prefix order- --prefix invoice- --from start --once   what is there, then end")]
pub(super) struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// Where to begin: start, end, a revision of the stream, or a position; included
    #[arg(long, value_name = "PLACE", default_value = "end")]
    from: From,
    /// End after this many events
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// End when everything that is there was shown
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Prints each event as it comes, until it is told to stop.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let source = args.select.source()?;
    let from = args.from.subscribe(matches!(source, Source::Stream(_)));
    let target = Target::open(&args.target, Make::No).await?;
    let mut feed = target.subscribe(source, from).await?;
    if output.is_terminal() {
        let what = args.select.describe();
        eprintln!(
            "{}",
            faint(format!("following {what}; Ctrl-C ends it")).for_stderr()
        );
    }
    let mut lines = EventLines::new(output);
    let mut left = args.max.unwrap_or(u64::MAX);
    while left > 0 {
        let seen = tokio::select! {
            seen = feed.next() => seen?,
            _ = tokio::signal::ctrl_c() => break,
        };
        match seen {
            Seen::Events(events) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX);
                for event in events.iter().take(taken) {
                    lines.event(event)?;
                    left -= 1;
                }
                lines.flush()?;
            }
            Seen::Notice { word, position } => {
                lines.note(&json!({ "notice": word, "position": position.0 }))?;
                lines.flush()?;
                if word == "resumed" && !output.json {
                    let note = "the connection was lost and is back; nothing was left out";
                    eprintln!("{}", faint(note).for_stderr());
                }
                if args.once && word == "caught_up" {
                    break;
                }
            }
            Seen::Ended(why) => return Err(why),
        }
    }
    lines.flush()?;
    target.close().await
}
