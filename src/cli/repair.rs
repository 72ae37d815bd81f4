//! `annal repair`: says what taking out the damage would lose, and does it with consent.

use std::path::PathBuf;

use serde_json::json;
use tokio::task::block_in_place;

use super::failure::{Exit, Failure};
use super::output::{Output, count};
use super::verify::{damaged_json, lost_json};
use crate::engine::repair;

/// Take damaged events out of a store, so that it opens again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A backup is the better way back. Without --yes-lose-data this only says what would be lost,
and changes nothing; exit code 5 says that there is something to repair. With it, every whole
event stays at its position, damaged files are kept under names that begin with \"damaged-\",
and a report of what is lost is written beside them, as text and as JSON.

Examples:
  annal repair /var/lib/annal
  annal repair /var/lib/annal --yes-lose-data")]
pub(super) struct Args {
    /// The store's folder; no server may have it open
    #[arg(value_name = "DIR", default_value = "./annal-data")]
    folder: PathBuf,
    /// Lose the events that are damaged, and keep the others
    #[arg(long)]
    yes_lose_data: bool,
}

/// Looks, and acts if it is told to.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let found = block_in_place(|| repair::examine(&args.folder))?;
    if !repair::is_needed(&found) {
        let json = json!({ "needed": false, "repaired": false, "lost_events": 0 });
        return output.result("there is nothing to repair", &json);
    }
    let folder = args.folder.display();
    if !args.yes_lose_data {
        let json = json!({
            "needed": true,
            "repaired": false,
            "lost_events": found.lost_events(),
            "lost": lost_json(&found.lost),
            "damaged": damaged_json(&found),
        });
        let lost = count(found.lost_events(), "acknowledged event");
        let text = format!("a repair would lose {lost}; nothing was changed\n{found}");
        output.result(&text, &json)?;
        return Err(
            Failure::new(Exit::Damaged, "the store needs a repair").advise(format!(
                "copy the folder first, and restore a backup if there is one;\n       \
             annal repair {folder} --yes-lose-data gives up what is damaged"
            )),
        );
    }
    let repaired = block_in_place(|| repair::repair_with_loss(&args.folder))?;
    let Some(repaired) = repaired else {
        return output.say("there is nothing to repair");
    };
    let json = json!({
        "needed": true,
        "repaired": true,
        "lost_events": repaired.lost_events(),
        "lost": lost_json(&repaired.lost),
        "end_position": repaired.end.0,
        "kept_files": repaired.kept_files,
        "report": repaired.report_file,
        "lineage_changed": repaired.lineage.is_some(),
    });
    output.result(&repaired.to_string(), &json)
}
