//! `annal stream`: what streams there are, how they stand, and what is done to a whole stream.

use bytes::Bytes;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::output::{Output, count, faint, grouped, pad, strong};
use super::target::{Make, StreamState, Target, TargetArgs};
use super::values;
use crate::model::{
    Append, ExpectedRevision, Receipt, Revision, StreamHead, StreamMetadata, StreamName,
};

/// List, show, truncate or end streams
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Ls(Ls),
    Show(Show),
    Meta(Meta),
    Truncate(Truncate),
    Delete(End),
    #[command(about = "Close a stream for ever: nothing can be written to it again")]
    #[command(after_help = TOMBSTONE_HELP)]
    Tombstone(End),
}

const TOMBSTONE_HELP: &str = "\
The name can never be used again. To hide the events but keep the name, use delete.

Examples:
  annal stream tombstone order-1
  annal stream tombstone order-1 --expect 17";

/// List streams by the beginning of their names
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names come in the order of their bytes, with the number of events ever written. Deleted
and tombstoned streams are marked.

Examples:
  annal stream ls
  annal stream ls order- --max 20
  annal stream ls order- --after order-20 --json")]
pub(super) struct Ls {
    /// The beginning of the names
    #[arg(default_value = "")]
    prefix: String,
    /// Only names behind this one
    #[arg(long, value_name = "STREAM", value_parser = values::stream)]
    after: Option<StreamName>,
    /// How many streams at most
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Show where a stream begins and ends, and its metadata
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal stream show order-1
  annal stream show order-1 --json")]
pub(super) struct Show {
    /// The stream
    #[arg(value_parser = values::stream)]
    stream: StreamName,
    #[command(flatten)]
    target: TargetArgs,
}

/// Show or replace the metadata of a stream
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The store acts on $maxCount (show only so many of the last events), $maxAge (seconds) and
$tb (hide events before this revision), and keeps all other keys as they are.

Examples:
  annal stream meta order-1
  annal stream meta order-1 '{\"$maxCount\": 100, \"owner\": \"sales\"}'
  annal stream meta order-1 '{}' --expect 3            only if nobody was faster")]
pub(super) struct Meta {
    /// The stream
    #[arg(value_parser = values::stream)]
    stream: StreamName,
    /// The new metadata, a JSON object; without it, the present one is shown
    #[arg(value_name = "JSON")]
    replacement: Option<String>,
    /// Where the metadata must stand: any, none, exists, or its own revision
    #[arg(long, value_name = "EXPECTED", default_value = "any", value_parser = values::expected)]
    expect: ExpectedRevision,
    #[command(flatten)]
    target: TargetArgs,
}

/// Hide the events of a stream before a revision
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sets $tb in the stream's metadata and keeps its other keys.

Examples:
  annal stream truncate order-1 --before 100")]
pub(super) struct Truncate {
    /// The stream
    #[arg(value_parser = values::stream)]
    stream: StreamName,
    /// The first revision that is still shown
    #[arg(long, value_name = "REVISION")]
    before: u64,
    #[command(flatten)]
    target: TargetArgs,
}

/// Delete a stream: hide its events; it can be written again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Whoever writes to the stream again goes on with the revisions where they ended.

Examples:
  annal stream delete order-1
  annal stream delete order-1 --expect 17")]
pub(super) struct End {
    /// The stream
    #[arg(value_parser = values::stream)]
    stream: StreamName,
    /// Where the stream must end: any, none, exists, or the revision of its last event
    #[arg(long, value_name = "EXPECTED", default_value = "any", value_parser = values::expected)]
    expect: ExpectedRevision,
    #[command(flatten)]
    target: TargetArgs,
}

/// Does what was asked with streams.
pub(super) async fn run(verb: Verb, output: Output) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(args, output).await,
        Verb::Show(args) => show(args, output).await,
        Verb::Meta(args) => meta(args, output).await,
        Verb::Truncate(args) => truncate(args, output).await,
        Verb::Delete(args) => end(args, Append::delete, "deleted", output).await,
        Verb::Tombstone(args) => end(args, Append::tombstone, "closed for ever", output).await,
    }
}

/// Streams of one page of the list.
const PAGE: u32 = 1_000;

async fn ls(args: Ls, output: Output) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::No).await?;
    let mut left = args.max.unwrap_or(u64::MAX);
    let mut after = args.after;
    let mut width = 24;
    let mut streams = 0u64;
    while left > 0 {
        let page = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let listed = target.list(&args.prefix, after.as_ref(), page).await?;
        let longest = listed
            .iter()
            .map(|found| console::measure_text_width(&found.stream));
        width = longest.max().unwrap_or(0).clamp(width, 60);
        for found in &listed {
            let events = format!("{:>12}", grouped(found.events));
            let note = match found.head {
                StreamHead::Deleted(_) => "  deleted",
                StreamHead::Tombstoned => "  tombstoned",
                StreamHead::Absent | StreamHead::At(_) => "",
            };
            let text = format!("{}{events}{}", pad(&found.stream, width), faint(note));
            let json = json!({
                "stream": found.stream.as_str(),
                "events": found.events,
                "state": state_word(found.head),
                "last_revision": last_revision(found.head),
            });
            output.result(&text, &json)?;
        }
        let count = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        left = left.saturating_sub(count);
        streams += count;
        match listed.into_iter().next_back() {
            Some(last) => after = Some(last.stream),
            None => break,
        }
    }
    if output.is_terminal() {
        eprintln!("{}", faint(count(streams, "stream")).for_stderr());
    }
    target.close().await
}

fn state_word(head: StreamHead) -> &'static str {
    match head {
        StreamHead::Absent => "absent",
        StreamHead::At(_) => "open",
        StreamHead::Deleted(_) => "deleted",
        StreamHead::Tombstoned => "tombstoned",
    }
}

fn last_revision(head: StreamHead) -> Option<u64> {
    match head {
        StreamHead::At(revision) | StreamHead::Deleted(Some(revision)) => Some(revision.0),
        StreamHead::Absent | StreamHead::Deleted(None) | StreamHead::Tombstoned => None,
    }
}

async fn show(args: Show, output: Output) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::No).await?;
    let state = target.stream(&args.stream).await?;
    target.close().await?;
    if state.head == StreamHead::Absent && state.metadata.is_none() {
        return Err(no_stream(&args.stream));
    }
    let metadata = state
        .metadata
        .as_ref()
        .map(|(revision, json)| (revision.0, as_json(json)));
    let json = json!({
        "stream": args.stream.as_str(),
        "state": state_word(state.head),
        "events": state.events,
        "first_revision": state.first.map(|revision| revision.0),
        "last_revision": last_revision(state.head),
        "last_position": state.last_position.map(|position| position.0),
        "metadata": metadata.as_ref().map(|(_, json)| json),
        "metadata_revision": metadata.as_ref().map(|(revision, _)| revision),
    });
    output.result(&described(&args.stream, &state), &json)
}

fn described(stream: &StreamName, state: &StreamState) -> String {
    let mut text = format!("{}  {}\n", strong(stream), faint(state_word(state.head)));
    let mut row = |name: &str, value: String| {
        text.push_str(&format!("  {name:<18}{value}\n"));
    };
    row("events written", grouped(state.events));
    if let Some(last) = last_revision(state.head) {
        row("last revision", grouped(last));
    }
    if let Some(first) = state.first.filter(|first| *first != Revision::START) {
        row("first readable", grouped(first.0));
    }
    if let Some(position) = state.last_position {
        row("last position", grouped(position.0));
    }
    if let Some((_, json)) = &state.metadata {
        row("metadata", String::from_utf8_lossy(json).into_owned());
    }
    text.truncate(text.trim_end().len());
    text
}

async fn meta(args: Meta, output: Output) -> Result<(), Failure> {
    let Some(text) = args.replacement else {
        let target = Target::open(&args.target, Make::No).await?;
        let state = target.stream(&args.stream).await?;
        target.close().await?;
        let (text, json) = match &state.metadata {
            Some((revision, json)) => (
                String::from_utf8_lossy(json).into_owned(),
                json!({ "metadata": as_json(json), "metadata_revision": revision.0 }),
            ),
            None => (
                "{}".to_owned(),
                json!({ "metadata": null, "metadata_revision": null }),
            ),
        };
        return output.result(&text, &json);
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(_)) => {}
        Ok(_) => {
            return Err(Failure::usage(
                "metadata is a JSON object, as in '{\"$maxCount\": 5}'",
            ));
        }
        Err(error) => return Err(Failure::usage(format!("the metadata is not JSON: {error}"))),
    }
    let target = Target::open(&args.target, Make::No).await?;
    replace(&target, &args.stream, args.expect, text.into(), output).await?;
    target.close().await
}

async fn truncate(args: Truncate, output: Output) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::No).await?;
    let state = target.stream(&args.stream).await?;
    if matches!(state.head, StreamHead::Absent) {
        return Err(no_stream(&args.stream));
    }
    let (expected, present) = match state.metadata {
        Some((revision, json)) => (ExpectedRevision::Exactly(revision), json),
        None => (ExpectedRevision::NoStream, Bytes::new()),
    };
    let json = StreamMetadata::with_truncate_before(&present, Revision(args.before));
    replace(&target, &args.stream, expected, json, output).await?;
    target.close().await
}

/// Writes new metadata, and says where it is.
async fn replace(
    target: &Target,
    stream: &StreamName,
    expected: ExpectedRevision,
    json: Bytes,
    output: Output,
) -> Result<(), Failure> {
    let append = Append::metadata(stream, expected, json).map_err(Failure::usage)?;
    let receipt = target.append(append).await?;
    done(stream, "has new metadata", &receipt, output)
}

async fn end(
    args: End,
    ending: impl Fn(StreamName, ExpectedRevision) -> Append,
    word: &str,
    output: Output,
) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::No).await?;
    let receipt = target
        .append(ending(args.stream.clone(), args.expect))
        .await?;
    target.close().await?;
    done(&args.stream, word, &receipt, output)
}

fn done(stream: &StreamName, word: &str, receipt: &Receipt, output: Output) -> Result<(), Failure> {
    let text = format!(
        "{} {word}  {}",
        strong(stream),
        faint(format!("position {}", receipt.first))
    );
    let json = json!({
        "stream": stream.as_str(),
        "position": receipt.first.0,
        "revision": receipt.revisions.first().map(|(_, revision)| revision.0),
        "repeated": receipt.repeated,
    });
    output.result(&text, &json)
}

fn no_stream(stream: &StreamName) -> Failure {
    Failure::new(Exit::NotFound, format!("there is no stream {stream}"))
        .advise("annal stream ls PREFIX lists what there is")
}

/// Metadata as JSON; as a text where it is none.
fn as_json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}
