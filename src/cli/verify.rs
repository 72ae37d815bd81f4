//! `annal verify`: every file in a folder is read and checked.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::failure::{Exit, Failure};
use super::output::{Output, Unit, bytes, count};
use crate::engine::{self, LogVerification, LostRange};

/// Read and check every file of a store
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes nothing, and says what each damage means. The store must not be open for writing.
Exit code 5 says that something is damaged.

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
    let damaged = damaged_json(&verified);
    let json = json!({
        "whole": verified.is_whole(),
        "events": verified.end.0,
        "checked_bytes": verified.checked_bytes,
        "files": verified.files.len(),
        "refused": verified.refused.as_ref().map(ToString::to_string),
        "damaged": damaged,
        "lost_events": verified.lost_events(),
        "lost": lost_json(&verified.lost),
        "unknown_files": verified.unknown_files,
        "kept_files": verified.kept_files,
    });
    let text = format!(
        "{}, {} in {}\n{verified}",
        if verified.is_whole() {
            "everything is whole"
        } else {
            "there is damage"
        },
        count(verified.end.0, "event"),
        bytes(verified.checked_bytes),
    );
    output.result(&text, &json)?;
    match verified.is_whole() {
        true => Ok(()),
        false => Err(failure(&args.data, &verified)),
    }
}

/// The damaged files, for programs.
pub(super) fn damaged_json(verified: &LogVerification) -> Vec<Value> {
    let damaged = verified.files.iter();
    let damaged = damaged.filter_map(|file| file.damage.as_ref().map(|damage| (file, damage)));
    let json = damaged.map(|(file, damage)| {
        json!({
            "file": file.file,
            "what": file.role.words(),
            "first_position": file.first.0,
            "events": file.events,
            "damage": damage.to_string(),
            "meaning": file.role.meaning(),
        })
    });
    json.collect()
}

/// The lost events, for programs.
pub(super) fn lost_json(lost: &[LostRange]) -> Vec<Value> {
    let json = lost.iter().map(|lost| {
        json!({
            "first_position": lost.first.0,
            "end_position": lost.end.0,
            "damage": lost.damage.to_string(),
            "streams": lost.streams,
        })
    });
    json.collect()
}

/// What a damaged store needs.
fn failure(data: &Path, verified: &LogVerification) -> Failure {
    let damaged = verified.files.iter();
    let damaged = damaged.filter(|file| file.damage.is_some()).count();
    let files = count(u64::try_from(damaged).unwrap_or(u64::MAX), "damaged file");
    let failure = Failure::new(Exit::Damaged, files);
    let data = data.display();
    match engine::repair::is_needed(verified) {
        false => failure.advise(format!(
            "nothing is lost: annal serve --data {data} makes again what is damaged"
        )),
        true => failure.advise(format!(
            "keep a copy of the folder before anything else. Then restore a backup; or\n       \
             annal serve --read-only --data {data} reads what is whole, and\n       \
             annal repair {data} says what a repair would lose"
        )),
    }
}
