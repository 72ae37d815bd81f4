//! `annal import`: lines of JSON into the log, in their order, once.
//!
//! # The rule
//!
//! The n-th line of a stream becomes the stream's revision n - 1, or the import stops. Each append
//! states exactly where its streams must end, and an event without an id of its own gets the one
//! derived from stream and revision. So the store itself tells what is there already, however old
//! it is, and no marker of progress is kept anywhere: running an import again does nothing twice.
//!
//! # The walk
//!
//! `plan.rs` reads, checks and numbers lines on a thread of its own and hands them over in blocks.
//! `send.rs` appends them, many at a time and in order. A run begins by skipping: a block whose
//! last event is in the store is not sent. Appends that were on their way when an earlier run ended
//! may have left gaps, but never further back than the two blocks before the first one that is
//! missing, so sending begins there, line by line; what is there already is answered as repeated.
//! Behind that everything is new, and each append depends on the one before it.

mod plan;
mod send;

use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::mpsc;

use super::failure::{Exit, Failure};
use super::groups::{Groups, Pointer};
use super::input::{InputError, Lines, Progress};
use super::output::{Output, Unit, count, duration, grouped, rate};
use super::target::{Make, Target, TargetArgs};
use crate::model::RecordedEvent;
use plan::{Block, Planned};
use send::{Sender, Tally};

/// Append events from a file with one JSON object a line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line is {\"stream\": .., \"type\": .., \"data\": ..} and can have \"time\", \"id\", \"tags\",
\"metadata\" and \"content_type\". Data and metadata are kept as the text they were. The file
can be compressed with gzip or zstd.

The order of lines is the order of the log. The n-th line of a stream becomes its revision
n - 1, so a stream must be new, or hold the beginning of its lines. A bad line stops the
import with everything before it done; correct it and run the same command again: it goes
on where it stopped, and no event is doubled, also after a crash. Memory: about 20 bytes
for each stream of the input.

Examples:
  annal import events.ndjson.zst
  annal import git.ndjson --atomic-by /metadata/commit   a commit's lines all or none
  zcat events.ndjson.gz | annal import -
  annal import events.ndjson --data ./annal-data         into a folder, no server running")]
pub(super) struct Args {
    /// The file; - is the standard input
    file: PathBuf,
    /// Append adjacent lines that have the same value at this JSON pointer together, or not at all
    #[arg(long, value_name = "POINTER")]
    atomic_by: Option<Pointer>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Imports, and says how much was new.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let lines = Lines::open(&args.file)?;
    let progress = lines.progress();
    let target = Target::open(&args.target, Make::Yes).await?;
    let bar = output.progress("import", progress.len_bytes, Unit::Bytes);
    let started = Instant::now();
    let together = args.atomic_by.is_some();
    let (blocks, inbox) = mpsc::channel(1);
    let planner =
        std::thread::spawn(move || plan::run(Groups::new(lines, args.atomic_by), &blocks));
    let mut import = Import {
        sender: Sender::new(&target, together),
        inbox,
        shown: Shown {
            bar,
            progress,
            started,
            skipped: 0,
        },
    };
    let outcome = import.run().await;
    let settled = import.sender.settle().await;
    let skipped = import.shown.skipped;
    let tally = import.sender.tally();
    import.shown.bar.finish_and_clear();
    drop(import);
    // The planner ends with its input, or when nobody takes its blocks.
    let _panicked = planner.join();
    let done = outcome.and(settled);
    target.close().await?;
    report(done, tally, skipped, started, output)
}

fn report(
    done: Result<(), Failure>,
    tally: Tally,
    skipped: u64,
    started: Instant,
    output: Output,
) -> Result<(), Failure> {
    let took = started.elapsed();
    let there = skipped + tally.repeated;
    if let Err(failure) = done {
        let before = format!(
            "{} of this input are in the store; correct the cause and run it again to go on",
            count(tally.appended + there, "event"),
        );
        return Err(match failure.exit() {
            Exit::Conflict => failure,
            _ => failure.advise(before),
        });
    }
    let text = format!(
        "imported {} in {}: {} a second{}",
        count(tally.appended, "event"),
        duration(took),
        grouped(rate(tally.appended, took)),
        match there {
            0 => String::new(),
            _ => format!("; {} there already", count(there, "event")),
        },
    );
    let json = json!({
        "imported": tally.appended,
        "already_there": there,
        "appends": tally.appends,
        "seconds": took.as_secs_f64(),
        "events_per_second": rate(tally.appended, took),
    });
    output.result(&text, &json)
}

/// What a run shows of itself.
struct Shown {
    bar: ProgressBar,
    progress: Progress,
    started: Instant,
    skipped: u64,
}

impl Shown {
    fn update(&self, done: u64) {
        self.bar.set_position(self.progress.consumed_bytes());
        let rate = grouped(rate(done, self.started.elapsed()));
        self.bar
            .set_message(format!("{} events, {rate} a second", grouped(done)));
    }
}

struct Import<'t> {
    sender: Sender<'t>,
    inbox: mpsc::Receiver<Result<Block, InputError>>,
    shown: Shown,
}

impl Import<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        // The last two blocks that were skipped; gaps can be in them.
        let mut recent: [Option<Block>; 2] = [None, None];
        let mut ended = Ok(());
        while let Some(block) = self.inbox.recv().await {
            let block = match block {
                Ok(block) => block,
                Err(error) => {
                    ended = Err(Failure::from(error));
                    break;
                }
            };
            let last = block
                .last()
                .ok_or_else(|| Failure::usage("a block is never empty"))?;
            if self.is_there(last).await? {
                self.shown.skipped += block.events();
                self.shown.update(self.shown.skipped);
                let [_, newer] = recent;
                recent = [newer, Some(block)];
                continue;
            }
            self.fill(recent).await?;
            self.send_one_by_one(block).await?;
            self.sender.settle().await?;
            return self.send_rest().await;
        }
        self.fill(recent).await?;
        ended
    }

    /// Sends what was skipped last once more, in case that there are gaps in it.
    async fn fill(&mut self, recent: [Option<Block>; 2]) -> Result<(), Failure> {
        for block in recent.into_iter().flatten() {
            self.shown.skipped -= block.events();
            self.send_one_by_one(block).await?;
        }
        Ok(())
    }

    async fn send_one_by_one(&mut self, block: Block) -> Result<(), Failure> {
        for planned in block.into_groups() {
            self.sender.add(planned).await?;
            self.sender.flush().await?;
        }
        self.shown
            .update(self.shown.skipped + self.sender.tally().events());
        Ok(())
    }

    async fn send_rest(&mut self) -> Result<(), Failure> {
        self.sender.chain();
        while let Some(block) = self.inbox.recv().await {
            // A bad line comes behind everything before it: send that first.
            let block = match block {
                Ok(block) => block,
                Err(error) => {
                    self.sender.flush().await?;
                    return Err(error.into());
                }
            };
            for planned in block.into_groups() {
                self.sender.add(planned).await?;
            }
            self.shown
                .update(self.shown.skipped + self.sender.tally().events());
        }
        self.sender.flush().await
    }

    /// Whether the last event of a group is in the store at its place. Another event there is a
    /// conflict.
    async fn is_there(&self, last: &Planned) -> Result<bool, Failure> {
        let Some((stream, revision, event)) = last.events.last() else {
            return Ok(false);
        };
        let found = self.sender.target().event(stream, *revision).await?;
        let Some(found) = found else { return Ok(false) };
        if found.id == event.id && same_content(&found, event) {
            return Ok(true);
        }
        let line = last.last_line;
        let message = format!(
            "line {line} is for revision {revision} of {stream}, which holds another event \
             (position {})",
            found.position
        );
        Err(Failure::new(Exit::Conflict, message).advise(send::CONFLICT_ADVICE))
    }
}

fn same_content(found: &RecordedEvent, event: &crate::model::NewEvent) -> bool {
    found.event_type == event.event_type
        && found.data == event.data
        && found.metadata == event.metadata
        && event.created.is_none_or(|created| created == found.created)
}
