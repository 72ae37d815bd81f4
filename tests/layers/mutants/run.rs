//! Switches on one change after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::Change;

/// A test that takes less is run together with others, in seconds.
const QUICK_S: f64 = 0.2;
/// What the tests of one process may take of a processor, and of the time of the day, in seconds:
/// a change that makes an endless loop is noticed too.
const CPU_S_MAX: u32 = 60;
const WALL_S_MAX: u32 = 240;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Endless,
}

struct Test {
    name: String,
    takes_s: f64,
    reaches: BTreeSet<u32>,
}

struct Program<'a> {
    path: &'a Path,
    root: &'a Path,
}

impl Program<'_> {
    fn list(&self, filters: &[String]) -> Vec<String> {
        let output = Command::new(self.path)
            .args(["--list", "--format=terse"])
            .args(filters)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        names.map(str::to_owned).collect()
    }

    fn run(&self, tests: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let script = format!("ulimit -t {CPU_S_MAX}; exec timeout -k 5 {WALL_S_MAX} \"$@\"");
        let status = Command::new("bash")
            .args(["-c", &script, "bash"])
            .arg(self.path)
            .args(["--exact", "--test-threads=1"])
            .args(tests)
            .envs(environment.iter().copied())
            .current_dir(self.root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        match status.code() {
            Some(0) => Outcome::Passed,
            // As `timeout` says it, and the shell of a signal for too much of a processor.
            Some(124 | 137 | 152) => Outcome::Endless,
            Some(_) | None => Outcome::Failed,
        }
    }

    /// Runs a test by itself without any change.
    fn look(&self, name: String, reached: &Path) -> Test {
        let begun = Instant::now();
        let reached_text = reached.to_str().unwrap();
        let outcome = self.run(&[&name], &[("MUTANT_REACHED", reached_text)]);
        assert_eq!(outcome, Outcome::Passed, "{name}");
        let takes_s = begun.elapsed().as_secs_f64();
        let numbers = fs::read_to_string(reached).unwrap_or_default();
        let reaches = numbers.lines().map(|line| line.parse().unwrap()).collect();
        let _ = fs::remove_file(reached);
        Test {
            name,
            takes_s,
            reaches,
        }
    }

    fn notice(&self, change: &Change, tests: &[Test]) -> Outcome {
        let number = change.number.to_string();
        let on = [("MUTANT", &*number)];
        let reaching = tests
            .iter()
            .filter(|test| test.reaches.contains(&change.number));
        let (quick, slow): (Vec<&Test>, Vec<&Test>) =
            reaching.partition(|test| test.takes_s < QUICK_S);
        let quick: Vec<&str> = quick.iter().map(|test| &*test.name).collect();
        if !quick.is_empty() {
            let outcome = self.run(&quick, &on);
            if outcome != Outcome::Passed {
                return outcome;
            }
        }
        let outcomes = slow.iter().map(|test| self.run(&[&test.name], &on));
        let mut others = outcomes.filter(|outcome| *outcome != Outcome::Passed);
        others.next().unwrap_or(Outcome::Passed)
    }
}

/// Works on a list, two items at a time.
fn each<T: Sync>(items: &[T], work: impl Fn(usize, &T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    work(at, item);
                }
            });
        }
    });
}

pub fn run(path: &Path, root: &Path, out: &Path, filters: &[String], changes: &[&Change]) {
    let program = Program { path, root };
    let names = program.list(filters);
    let tests = Mutex::new(Vec::new());
    each(&names, |at, name| {
        let test = program.look(name.clone(), &out.join(format!("reached-{at}")));
        tests.lock().unwrap().push(test);
    });
    let mut tests = tests.into_inner().unwrap();
    tests.sort_by(|one, other| one.takes_s.total_cmp(&other.takes_s));
    for test in &tests {
        eprintln!("{:8.2} s {}", test.takes_s, test.name);
    }
    let files: BTreeMap<&str, Mutex<File>> = ["caught", "missed", "timeout"]
        .map(|name| (name, Mutex::new(File::create(out.join(name)).unwrap())))
        .into();
    each(changes, |_, change| {
        let list = match program.notice(change, &tests) {
            Outcome::Failed => "caught",
            Outcome::Passed => "missed",
            Outcome::Endless => "timeout",
        };
        writeln!(files[list].lock().unwrap(), "{}", change.name).unwrap();
    });
}
