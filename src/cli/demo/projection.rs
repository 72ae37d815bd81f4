//! The read model of the demo: what the history says, as of the events seen so far.

use std::collections::{HashMap, HashSet};

use console::{measure_text_width, style, truncate_str};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::output::{faint, grouped, pad, strong};
use crate::model::RecordedEvent;

/// What the events say so far. Built from nothing but events.
#[derive(Debug, Default)]
pub(super) struct Projection {
    commits: u64,
    events: u64,
    /// Files that are there, by hash of the name.
    alive: HashSet<String>,
    /// Changes of files, by the folder they are in.
    folders: HashMap<String, u64>,
    /// Commits, by author.
    authors: HashMap<String, u64>,
    latest: Option<(String, String)>,
}

/// What of a commit's data is used.
#[derive(Deserialize)]
struct CommitData {
    author: String,
    subject: String,
}

const ROWS: usize = 6;
const COLUMNS: usize = 80;
const NAME_WIDTH: usize = 26;
const NUMBER_WIDTH: usize = 10;

impl Projection {
    /// Takes one event into account.
    pub(super) fn apply(&mut self, event: &RecordedEvent) {
        self.events += 1;
        let path = event.stream.split_once('/').map(|(_, path)| path);
        match (&*event.event_type, path) {
            ("CommitRecorded", _) => {
                self.commits += 1;
                if let Ok(data) = serde_json::from_slice::<CommitData>(&event.data) {
                    *self.authors.entry(data.author).or_default() += 1;
                    let created = event.created.to_string();
                    let day = created.get(..10).unwrap_or_default().to_owned();
                    self.latest = Some((day, data.subject));
                }
            }
            (kind, Some(path)) => {
                let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
                let mut parts = folder.split('/');
                let folder = match (parts.next(), parts.next()) {
                    (Some(top), Some(next)) => format!("{top}/{next}"),
                    _ => folder.to_owned(),
                };
                *self.folders.entry(folder).or_default() += 1;
                match kind {
                    "FileDeleted" => self.alive.remove(path),
                    _ => self.alive.insert(path.to_owned()),
                };
            }
            (_, None) => {}
        }
    }

    /// The read model as lines of at most 80 columns.
    pub(super) fn draw(&self, told: u64, commits: u64) -> Vec<String> {
        let mut lines = vec![format!(
            "  {} {} of {} appended",
            bar(told, commits, 24),
            grouped(told),
            grouped(commits)
        )];
        let mut row = |name: &str, value: &str| {
            lines.push(format!("  {}{value}", faint(pad(name, 14))));
        };
        row("events seen", &grouped(self.events));
        row("commits", &grouped(self.commits));
        row(
            "files alive",
            &grouped(u64::try_from(self.alive.len()).unwrap_or(u64::MAX)),
        );
        let (day, subject) = self.latest.clone().unwrap_or_default();
        let room = COLUMNS - 16 - 12;
        row(
            "latest",
            &format!("{day}  {}", truncate_str(&subject, room, "..")),
        );
        lines.push(String::new());
        lines.push(format!("  {}", strong("changes of files, by folder")));
        lines.extend(ranking(&self.folders));
        lines.push(String::new());
        lines.push(format!("  {}", strong("commits, by author")));
        lines.extend(ranking(&self.authors));
        lines
    }

    /// The same for programs.
    pub(super) fn as_json(&self) -> Value {
        let ranked = |counts| {
            let first = first(counts).into_iter();
            first
                .map(|(name, count)| json!({ "name": name, "count": count }))
                .collect::<Vec<_>>()
        };
        json!({
            "events": self.events,
            "commits": self.commits,
            "files_alive": self.alive.len(),
            "folders": ranked(&self.folders),
            "authors": ranked(&self.authors),
        })
    }
}

/// The largest counts; equal ones by name.
fn first(counts: &HashMap<String, u64>) -> Vec<(&str, u64)> {
    let mut all: Vec<(&str, u64)> = counts
        .iter()
        .map(|(name, count)| (&**name, *count))
        .collect();
    all.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    all.truncate(ROWS);
    all
}

fn ranking(counts: &HashMap<String, u64>) -> Vec<String> {
    let first = first(counts);
    let largest = first.first().map_or(1, |(_, count)| *count);
    let width = COLUMNS - 4 - NAME_WIDTH - NUMBER_WIDTH - 2;
    let mut lines: Vec<String> = Vec::with_capacity(ROWS);
    for (name, count) in first {
        let name = truncate_str(name, NAME_WIDTH - 1, "..");
        debug_assert!(measure_text_width(&name) < NAME_WIDTH);
        let number = grouped(count);
        let filled = "#".repeat(share(count, largest, width));
        lines.push(format!(
            "    {}{number:>NUMBER_WIDTH$}  {}",
            pad(&name, NAME_WIDTH),
            style(filled).cyan()
        ));
    }
    lines
}

fn bar(done: u64, of: u64, width: usize) -> String {
    let filled = share(done, of, width);
    format!("[{}{}]", "=".repeat(filled), " ".repeat(width - filled))
}

/// How much of a width a part is; at most all of it.
fn share(part: u64, of: u64, width: usize) -> usize {
    let width_max = u64::try_from(width).unwrap_or(0);
    let filled = part.min(of).saturating_mul(width_max) / of.max(1);
    usize::try_from(filled).unwrap_or(width).min(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, EventType, Position, Revision, StreamName, Timestamp};
    use bytes::Bytes;
    use uuid::Uuid;

    fn event(stream: &str, event_type: &str, data: &str) -> RecordedEvent {
        RecordedEvent {
            position: Position::START,
            stream: StreamName::new(stream.to_owned()).unwrap(),
            revision: Revision::START,
            id: Uuid::nil(),
            event_type: EventType::new(event_type.to_owned()).unwrap(),
            content_type: ContentType::Json,
            created: Timestamp::from_micros(0),
            tags: Vec::new(),
            metadata: Bytes::new(),
            data: Bytes::copy_from_slice(data.as_bytes()),
        }
    }

    #[test]
    fn the_projection_knows_what_the_events_say() {
        let mut projection = Projection::default();
        let commit = r#"{"author":"Ann","subject":"One","commit":"a","files":2}"#;
        for (stream, kind, data) in [
            ("repo-x", "CommitRecorded", commit),
            ("file-x/src/a/b/c.rs", "FileAdded", "{}"),
            ("file-x/readme", "FileAdded", "{}"),
            ("file-x/readme", "FileDeleted", "{}"),
        ] {
            projection.apply(&event(stream, kind, data));
        }
        let json = projection.as_json();
        assert_eq!(
            (&json["events"], &json["files_alive"]),
            (&json!(4), &json!(1))
        );
        assert_eq!(json["folders"][0], json!({ "name": ".", "count": 2 }));
        assert_eq!(json["folders"][1], json!({ "name": "src/a", "count": 1 }));
    }

    #[test]
    fn the_picture_stays_within_eighty_columns_and_a_screen() {
        let mut projection = Projection::default();
        for number in 0..50 {
            let folder = "long-name/".repeat(number % 9);
            let stream = format!("file-x/{folder}{number}");
            projection.apply(&event(&stream, "FileAdded", "{}"));
            let subject = "\u{65e5}".repeat(number);
            let data = json!({ "author": subject, "subject": subject });
            projection.apply(&event("repo-x", "CommitRecorded", &data.to_string()));
        }
        let lines = projection.draw(50, 100);
        assert!(lines.len() <= 20);
        for line in lines {
            assert!(measure_text_width(&line) <= COLUMNS, "{line}");
        }
    }
}
