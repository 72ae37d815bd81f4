//! The history of a git repository as events: one for each commit, one for each file it touched.
//!
//! The `git` program does the reading; a history is streamed and never held in memory.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::failure::{Exit, Failure};

/// A repository that git has found.
#[derive(Debug)]
pub(super) struct Repository {
    folder: PathBuf,
    /// The name of its folder.
    pub(super) name: String,
}

/// A commit and what it did to files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// The full hash.
    pub(super) hash: String,
    /// When it was committed, in seconds since 1970.
    pub(super) seconds: i64,
    /// Who wrote it.
    pub(super) author: String,
    /// The first line of its message.
    pub(super) subject: String,
    /// The files it touched, in git's order.
    pub(super) files: Vec<(Change, String)>,
}

/// What a commit did to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// It was not there before.
    Added,
    /// It has another content or mode.
    Modified,
    /// It is there no longer.
    Deleted,
}

impl Repository {
    /// The repository that a folder is in; none if it is in none, or there is no git.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let asked = git(folder)
            .args(["rev-parse", "--show-toplevel"])
            .output()
            .ok()?;
        let top = String::from_utf8(asked.stdout)
            .ok()
            .filter(|_| asked.status.success())?;
        let folder = PathBuf::from(top.trim_end_matches(['\n', '\r']));
        let name = folder.file_name()?.to_string_lossy().into_owned();
        // A repository without a commit has no history to tell.
        let head = git(&folder)
            .args(["rev-parse", "--verify", "--quiet", "HEAD"])
            .output()
            .ok()?;
        head.status.success().then_some(Self { folder, name })
    }

    /// How many of the last commits there are, up to a limit.
    pub(super) fn commits(&self, commits_max: u64) -> Option<u64> {
        let limit = format!("--max-count={commits_max}");
        let mut ask = git(&self.folder);
        ask.args(["rev-list", "--count", "--no-merges", &limit, "HEAD"]);
        let counted = ask.output().ok()?;
        String::from_utf8(counted.stdout).ok()?.trim().parse().ok()
    }

    /// The last commits that are not merges, from old to new.
    pub(super) fn history(&self, commits_max: u64) -> Result<History, Failure> {
        let mut log = git(&self.folder);
        log.args([
            "log",
            "--reverse",
            "--no-merges",
            "--raw",
            "--no-renames",
            "-z",
        ]);
        log.arg(format!("--max-count={commits_max}"));
        log.arg("--format=tformat:%x01%H%x00%ct%x00%an%x00%s");
        log.stdout(Stdio::piped());
        let failed = |error| Failure::new(Exit::Failure, format!("cannot run git: {error}"));
        let mut child = log.spawn().map_err(failed)?;
        let out = child.stdout.take().expect("its output was asked for");
        Ok(History {
            child,
            commits: Commits {
                words: BufReader::with_capacity(256 * 1024, out),
                ahead: None,
            },
        })
    }
}

/// Git in a folder, silent and independent of the language of its user.
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// The commits of a running `git log`.
#[derive(Debug)]
pub(super) struct History {
    child: Child,
    commits: Commits<BufReader<ChildStdout>>,
}

impl Iterator for History {
    type Item = std::io::Result<Commit>;

    fn next(&mut self) -> Option<Self::Item> {
        self.commits.next()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        // It has ended, or nobody wants the rest.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What starts a commit in the output; no hash, mode or path of git begins with it.
const COMMIT_MARK: u8 = 1;
/// The longest word that is read: paths and subjects are shorter by far.
const WORD_LEN_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the output of `git log -z --raw` in the format above: words that end with a zero byte.
#[derive(Debug)]
struct Commits<R> {
    words: R,
    /// The first word of the next commit.
    ahead: Option<String>,
}

impl<R: BufRead> Commits<R> {
    fn word(&mut self) -> std::io::Result<Option<String>> {
        let mut word = Vec::new();
        self.words
            .by_ref()
            .take(WORD_LEN_BYTES_MAX)
            .read_until(0, &mut word)?;
        if word.is_empty() {
            return Ok(None);
        }
        if word.last() == Some(&0) {
            word.pop();
        }
        Ok(Some(String::from_utf8_lossy(&word).into_owned()))
    }

    fn commit(&mut self) -> std::io::Result<Option<Commit>> {
        let first = match self.ahead.take() {
            Some(ahead) => Some(ahead),
            None => self.word()?,
        };
        let Some(first) = first else { return Ok(None) };
        let mut commit = Commit {
            hash: first.trim_start_matches(char::from(COMMIT_MARK)).to_owned(),
            seconds: self.word()?.and_then(|text| text.parse().ok()).unwrap_or(0),
            author: self.word()?.unwrap_or_default(),
            subject: self.word()?.unwrap_or_default(),
            files: Vec::new(),
        };
        while let Some(word) = self.word()? {
            if word.as_bytes().first() == Some(&COMMIT_MARK) {
                self.ahead = Some(word);
                break;
            }
            // `:old mode, new mode, old blob, new blob, letter`, and the path in the next word.
            let Some(change) = word.trim_start().strip_prefix(':').and_then(letter) else {
                continue;
            };
            let Some(path) = self.word()? else { break };
            commit.files.push((change, path));
        }
        Ok(Some(commit))
    }
}

fn letter(raw: &str) -> Option<Change> {
    match raw.rsplit(' ').next()?.chars().next()? {
        'A' => Some(Change::Added),
        'D' => Some(Change::Deleted),
        _ => Some(Change::Modified),
    }
}

impl<R: BufRead> Iterator for Commits<R> {
    type Item = std::io::Result<Commit>;

    fn next(&mut self) -> Option<Self::Item> {
        self.commit().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_git_becomes_commits() {
        let text = "\u{1}aa\x00100\x00Ann\x00First: two files\x00\
            \n:000000 100644 0000000 1234567 A\x00src/a b.rs\x00\
            :100644 000000 1234567 0000000 D\x00old\x00\
            \u{1}bb\x00200\x00Bob\x00\x00\
            \u{1}cc\x00300\x00C\x00Third\x00\n:100644 100755 1 1 T\x00run\x00";
        let commits = Commits {
            words: text.as_bytes(),
            ahead: None,
        };
        let commits: Vec<Commit> = commits.map(Result::unwrap).collect();
        let heads: Vec<_> = commits
            .iter()
            .map(|c| (&*c.hash, c.seconds, &*c.subject))
            .collect();
        assert_eq!(
            heads,
            [
                ("aa", 100, "First: two files"),
                ("bb", 200, ""),
                ("cc", 300, "Third")
            ]
        );
        let first = [
            (Change::Added, "src/a b.rs".into()),
            (Change::Deleted, "old".into()),
        ];
        assert_eq!(commits[0].files, first);
        assert!(commits[1].files.is_empty());
        assert_eq!(commits[2].files, [(Change::Modified, "run".into())]);
    }
}
