//! `annal status`: what a server or a folder says of itself.

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::output::{Output, duration, faint, grouped};
use super::target::{Make, Target, TargetArgs};
use crate::model::Timestamp;

/// Show how a server or a store is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal status
  annal status --server annal://10.0.0.7:2112 --json
  annal status --data ./annal-data                 of a folder, no server running")]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
}

/// Asks, and prints what is known, one line each.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let target = Target::open(&args.target, Make::No).await?;
    let token = target.token().await?;
    let mut rows: Vec<(String, Value, String)> = Vec::new();
    let mut row = |name: &str, json: Value, text: String| rows.push((name.to_owned(), json, text));
    row("events", json!(token.end.0), grouped(token.end.0));
    row(
        "store",
        json!(token.store.0.to_string()),
        token.store.0.to_string(),
    );
    row(
        "lineage",
        json!(token.lineage.0.to_string()),
        token.lineage.0.to_string(),
    );
    match &target {
        Target::Server(client) => {
            let status = client.status().await?;
            let server = format!("{} {}", status.server, status.server_version);
            row("server", json!(server), server.clone());
            if let Some(last) = status.committed_us {
                let last = Timestamp::from_micros(last).to_string();
                row("last_commit", json!(last), last.clone());
            }
            row(
                "up_seconds",
                json!(status.up.as_secs_f64()),
                duration(status.up),
            );
            for (name, figure) in &status.figures {
                row(name, json!(figure), grouped(*figure));
            }
            for (name, text) in &status.texts {
                row(name, json!(text), text.clone());
            }
        }
        Target::Folder(store) => {
            let report = store.recovery().to_string();
            row("opened", json!(report), report.clone());
        }
    }
    target.close().await?;
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, _, text)| format!("{}{text}", faint(format!("{name:<24}"))))
        .collect();
    let json: Map<String, Value> = rows
        .into_iter()
        .map(|(name, json, _)| (name, json))
        .collect();
    output.result(&lines.join("\n"), &Value::Object(json))
}
