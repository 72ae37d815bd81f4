//! Commits as appends: those of a repository, or made-up ones.

use std::path::Path;

use serde_json::json;

use crate::cli::failure::{Exit, Failure};
use crate::cli::git::{self, Change, Commit, Repository};
use crate::cli::ndjson::DERIVED_ID_NAMESPACE;
use crate::model::{Append, EventType, NewEvent, StreamName, Timestamp};
use uuid::Uuid;

/// The commits that the demo tells.
pub(super) struct History {
    name: String,
    commits: u64,
    source: Source,
}

enum Source {
    Git(git::History),
    Generated(Generated),
}

/// Files of one commit beyond these are left out: an append has a limit, and a demo no patience.
const FILES_MAX: usize = 20_000;
/// How many commits are made up.
const GENERATED_COMMITS: u64 = 5_000;

impl History {
    /// The last commits of the repository that a folder is in. Without one: made-up ones.
    pub(super) fn open(folder: &Path, commits_max: u64) -> Result<Self, Failure> {
        if !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            return Err(Failure::new(Exit::NotFound, message));
        }
        let Some(repository) = Repository::find(folder) else {
            let commits = GENERATED_COMMITS.min(commits_max);
            let generated = Generated {
                commits,
                done: 0,
                random: 2_112,
                files: Vec::new(),
            };
            return Ok(Self {
                name: "made-up".to_owned(),
                commits,
                source: Source::Generated(generated),
            });
        };
        Ok(Self {
            commits: repository.commits(commits_max).unwrap_or(0),
            source: Source::Git(repository.history(commits_max)?),
            name: repository.name,
        })
    }

    /// The repository's name, which the names of the streams carry.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many commits there are to tell.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// Whether they are made up.
    pub(super) fn is_generated(&self) -> bool {
        matches!(self.source, Source::Generated(_))
    }

    /// The next commit and the number of its events. The ids of events come from commit and file,
    /// so telling a history twice changes nothing.
    pub(super) fn next_append(&mut self) -> Result<Option<(Append, u64)>, Failure> {
        let commit = match &mut self.source {
            Source::Git(history) => history.next().transpose()?,
            Source::Generated(generated) => generated.next(),
        };
        commit.map(|commit| self.append_of(&commit)).transpose()
    }

    fn append_of(&self, commit: &Commit) -> Result<(Append, u64), Failure> {
        let name = &self.name;
        let created = Timestamp::new(commit.seconds, 0, 0).ok();
        let files = commit.files.iter().take(FILES_MAX);
        let event = |kind: &str, place: &str, data: serde_json::Value| {
            let id = format!("{place}@{}", commit.hash);
            let event_type = EventType::new(kind.to_owned()).map_err(Failure::usage)?;
            let event = NewEvent::json(event_type, data.to_string());
            let event = event.with_id(Uuid::new_v5(&DERIVED_ID_NAMESPACE, id.as_bytes()));
            Ok::<_, Failure>(NewEvent { created, ..event })
        };
        let repository = StreamName::new(format!("repo-{name}")).map_err(Failure::usage)?;
        let recorded = json!({
            "commit": commit.hash,
            "author": commit.author,
            "subject": commit.subject,
            "files": commit.files.len(),
        });
        let mut append = Append::new().event(repository, event("CommitRecorded", "", recorded)?);
        let mut events = 1;
        for (change, path) in files {
            // A path that cannot be a name, such as one with control characters, is left out.
            let Ok(stream) = StreamName::new(format!("file-{name}/{path}")) else {
                continue;
            };
            let kind = match change {
                Change::Added => "FileAdded",
                Change::Modified => "FileModified",
                Change::Deleted => "FileDeleted",
            };
            let data = json!({ "commit": commit.hash });
            append = append.event(stream, event(kind, path, data)?);
            events += 1;
        }
        Ok((append, events))
    }
}

/// Commits out of nothing, the same ones each time.
struct Generated {
    commits: u64,
    done: u64,
    random: u64,
    files: Vec<String>,
}

impl Generated {
    fn below(&mut self, limit: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let limit = u64::try_from(limit.max(1)).unwrap_or(1);
        usize::try_from((self.random >> 33) % limit).unwrap_or(0)
    }

    fn pick(&mut self, from: &[&str]) -> String {
        let at = self.below(from.len());
        from.get(at).copied().unwrap_or_default().to_owned()
    }

    fn next(&mut self) -> Option<Commit> {
        if self.done == self.commits {
            return None;
        }
        self.done += 1;
        let mut files = Vec::new();
        for _ in 0..=self.below(5) {
            let known = self.below(self.files.len());
            let change = self.below(10);
            match self.files.get(known).cloned() {
                Some(path) if change > 2 => files.push((Change::Modified, path)),
                Some(path) if change == 0 => {
                    self.files.swap_remove(known);
                    files.push((Change::Deleted, path));
                }
                _ => {
                    let folder = self.pick(&["api", "billing", "catalog", "docs", "orders", "web"]);
                    let path = format!("{folder}/part-{}.txt", self.below(100_000));
                    self.files.push(path.clone());
                    files.push((Change::Added, path));
                }
            }
        }
        let verb = self.pick(&["Move", "Rename", "Simplify", "Speed up", "Test"]);
        let noun = self.pick(&["the checkout", "the search", "the invoices", "the login"]);
        Some(Commit {
            hash: format!("{:040x}", self.done),
            seconds: 1_600_000_000 + i64::try_from(self.done * 7_919).unwrap_or(0),
            author: self.pick(&["Ada", "Barbara", "Edsger", "Grace", "Leslie"]),
            subject: format!("{verb} {noun}"),
            files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_repository_there_is_a_history_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path(), 20).unwrap();
        assert!(history.is_generated());
        let mut appends = 0;
        while let Some((_, events)) = history.next_append().unwrap() {
            assert!(events >= 2);
            appends += 1;
        }
        assert_eq!((appends, history.commits()), (20, 20));
        assert!(History::open(Path::new("/no/such/folder"), 1).is_err());
    }
}
