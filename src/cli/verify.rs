//! `annal verify`: everything in a folder is read and checked.

use std::path::PathBuf;

use serde_json::json;
use tokio::task::block_in_place;

use super::failure::{Exit, Failure};
use super::output::{Output, Unit, bytes, count};
use crate::engine;

/// Read and check every byte of a store's log
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes nothing. The store must not be in use. Exit code 5 says that something is damaged.

Examples:
  annal verify
  annal verify --data /var/lib/annal --json")]
pub(super) struct Args {
    /// The store's folder
    #[arg(long, value_name = "DIR", default_value = "./annal-data")]
    data: PathBuf,
}

/// Checks, and says what was found, file by file where something is wrong.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let bar = output.progress("verify", Some(0), Unit::Bytes);
    let verified = block_in_place(|| {
        engine::verify(&args.data, &mut |progress| {
            bar.set_length(progress.of_bytes);
            bar.set_position(progress.done_bytes);
            bar.set_message(bytes(progress.done_bytes));
        })
    })?;
    bar.finish_and_clear();
    let damaged: Vec<_> = verified
        .files
        .iter()
        .filter(|file| file.damage.is_some())
        .collect();
    let json = json!({
        "whole": damaged.is_empty(),
        "events": verified.end.0,
        "checked_bytes": verified.checked_bytes,
        "files": verified.files.len(),
        "damaged": damaged.iter().map(|file| json!({
            "file": file.file,
            "first_position": file.first.0,
            "events": file.events,
            "damage": file.damage.as_ref().map(ToString::to_string),
        })).collect::<Vec<_>>(),
        "unknown_files": verified.unknown_files,
    });
    let mut text = format!(
        "{}, {} in {}",
        if damaged.is_empty() {
            "everything is whole"
        } else {
            "there is damage"
        },
        count(verified.end.0, "event"),
        bytes(verified.checked_bytes),
    );
    for file in &damaged {
        text.push_str(&format!("\n  {file}"));
    }
    for file in &verified.unknown_files {
        text.push_str(&format!("\n  {file} does not belong to the store"));
    }
    output.result(&text, &json)?;
    match damaged.len() {
        0 => Ok(()),
        files => {
            let files = count(u64::try_from(files).unwrap_or(u64::MAX), "file");
            Err(Failure::new(Exit::Damaged, format!("{files} damaged"))
                .advise("keep a copy of the folder before anything else, then restore a backup"))
        }
    }
}
