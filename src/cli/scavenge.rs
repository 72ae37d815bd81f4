//! `annal scavenge`: gives back the space of events that nobody can read any more.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::failure::{Exit, Failure};
use super::output::{Output, Unit, bytes, count};
use crate::engine::{ScavengeError, ScavengeOptions, ScavengeStatus, Store, StoreOptions};

/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Give back the space of events that nobody can read any more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events of deleted streams, and what $maxCount, $maxAge and $tb hide, are removed for good; the
last event of a stream stays. The store must not be in use. What is interrupted goes on the
next time.

Examples:
  annal scavenge
  annal scavenge --data /var/lib/annal --rate 20000000")]
pub(super) struct Args {
    /// The store's folder
    #[arg(long, value_name = "DIR", default_value = "./annal-data")]
    data: PathBuf,
    /// Read and write at most so many bytes in a second
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
    /// Begin with this segment, by its number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from_segment: u32,
}

/// Scavenges, and says what was given back.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let options = StoreOptions {
        create: false,
        ..StoreOptions::default()
    };
    let store = Store::open(&args.data, options)?;
    let scavenge = ScavengeOptions {
        bytes_per_second: args.rate,
        start_from_segment: args.from_segment,
        ..ScavengeOptions::default()
    };
    let handle = store.scavenge(scavenge).map_err(|error| match error {
        ScavengeError::Append(error) => Failure::from(error),
        ScavengeError::Storage(error) => Failure::from(error),
        running @ ScavengeError::Running(_) => Failure::new(Exit::Failure, running),
    })?;
    let bar = output.progress("scavenge", None, Unit::Bytes);
    let done = loop {
        let info = handle.progress();
        if info.status != ScavengeStatus::Running {
            break info;
        }
        bar.set_position(info.freed_bytes);
        bar.set_message(bytes(info.freed_bytes));
        tokio::time::sleep(SHOWN_EVERY).await;
    };
    bar.finish_and_clear();
    store.close()?;
    if let Some(error) = &done.error {
        return Err(Failure::new(Exit::Failure, error)
            .during("some segments stay as they were")
            .advise("annal verify tells what is damaged"));
    }
    let json = json!({
        "id": done.id.to_string(),
        "removed_events": done.removed_events,
        "freed_bytes": done.freed_bytes,
        "rewritten_segments": done.rewritten_segments,
    });
    let text = format!(
        "{} removed, {} given back",
        count(done.removed_events, "event"),
        bytes(done.freed_bytes),
    );
    output.result(&text, &json)
}
