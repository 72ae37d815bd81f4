//! `annal append`: one event to one stream.

use std::io::{IsTerminal, Read};

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::failure::Failure;
use super::output::{Output, faint, strong};
use super::target::{Make, Target, TargetArgs};
use super::values;
use crate::format::record::PAYLOAD_LEN_BYTES_MAX;
use crate::model::{
    Append, ContentType, EventType, ExpectedRevision, NewEvent, StreamName, Tag, Timestamp,
};

/// Append an event to a stream
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The event's data is the last argument; without it, or with -, it is what comes on the
standard input. Appending again with the same --id changes nothing.

Examples:
  annal append order-1 --type Placed '{\"total\": 12}'
  annal append order-1 --type Shipped '{}' --expect 0 --tag carrier:north
  curl -s https://example.com/x.json | annal append pages --type Fetched
  annal append order-1 --type Signed --content-type application/pdf < order.pdf")]
pub(super) struct Args {
    /// The stream; its category is what stands before the first dash
    #[arg(value_parser = values::stream)]
    stream: StreamName,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE", value_parser = values::event_type)]
    event_type: EventType,
    /// The event's data
    #[arg(value_name = "DATA")]
    body: Option<String>,
    /// Facts about the event, as JSON
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Where the stream must end: any, none, exists, or the revision of its last event
    #[arg(long, value_name = "EXPECTED", default_value = "any", value_parser = values::expected)]
    expect: ExpectedRevision,
    /// The event's id; without it, a new one
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// A label of the event; can be given several times
    #[arg(long, value_parser = values::tag)]
    tag: Vec<Tag>,
    /// What the data is
    #[arg(long, value_name = "MEDIA_TYPE", default_value = "application/json")]
    content_type: String,
    /// When it happened, such as 2026-01-31T23:59:59Z; without it, now
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Appends, and says where the event is.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    args.target.check()?;
    let content_type = ContentType::new(args.content_type).map_err(Failure::usage)?;
    let data = match args.body.as_deref() {
        None | Some("-") => from_stdin(&content_type)?,
        Some(body) => Bytes::copy_from_slice(body.as_bytes()),
    };
    if data.is_empty() && content_type == ContentType::Json {
        return Err(no_data());
    }
    if content_type == ContentType::Json {
        check_json("the data", &data)?;
    }
    let metadata = Bytes::from(args.metadata.unwrap_or_default());
    if !metadata.is_empty() {
        check_json("--metadata", &metadata)?;
    }
    let event = NewEvent {
        id: args.id.unwrap_or_else(Uuid::new_v4),
        event_type: args.event_type,
        content_type,
        data,
        metadata,
        tags: args.tag,
        created: args.time,
    };
    let id = event.id;
    let target = Target::open(&args.target, Make::Yes).await?;
    let append = Append::to(args.stream.clone(), args.expect, [event]);
    let receipt = target.append(append).await?;
    target.close().await?;
    let revision = receipt
        .revisions
        .first()
        .map_or(0, |(_, revision)| revision.0);
    let place = strong(format!("{}@{revision}", args.stream));
    let note = match receipt.repeated {
        true => "was there already",
        false => "appended",
    };
    let text = format!("{place}  position {}  {}", receipt.first, faint(note));
    let json = json!({
        "stream": args.stream.as_str(),
        "revision": revision,
        "position": receipt.first.0,
        "id": id.to_string(),
        "repeated": receipt.repeated,
    });
    output.result(&text, &json)
}

/// Everything on the standard input; of JSON without the line end behind it.
fn from_stdin(content_type: &ContentType) -> Result<Bytes, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(no_data());
    }
    let max = u64::try_from(PAYLOAD_LEN_BYTES_MAX).unwrap_or(u64::MAX);
    let mut data = Vec::new();
    input.take(max + 1).read_to_end(&mut data)?;
    if data.len() > PAYLOAD_LEN_BYTES_MAX {
        let message = format!("the data has more than the {max} bytes an event may have");
        return Err(Failure::usage(message));
    }
    if *content_type == ContentType::Json {
        data.truncate(data.trim_ascii_end().len());
    }
    Ok(data.into())
}

fn no_data() -> Failure {
    Failure::usage("there is no data")
        .advise("give it as the last argument, as in: annal append order-1 --type Placed '{}'")
}

fn check_json(what: &str, text: &[u8]) -> Result<(), Failure> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(
            Failure::usage(format!("{what} is not JSON: {error}")).advise(
                "quote it for the shell: '{\"total\": 12}'; for other data give its --content-type",
            ),
        ),
    }
}
