//! Switches on one change after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Change;

/// How long the tests take that are run first, in one process, in seconds; those that are run next
/// may take twice as long together, and so on up to a limit.
const FIRST_S: f64 = 0.25;
const TOGETHER_S_MAX: f64 = 10.0;
/// What the tests of one process may take of a processor, in seconds, beside four times what they
/// take without a change, and what they may take of the time of the day: a change that makes an
/// endless loop is noticed too.
const CPU_S_MAX: f64 = 5.0;
const WALL_S_MAX: u32 = 400;
/// Nobody knows yet how long a test takes, in seconds.
const UNKNOWN_S: f64 = 100.0;

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

    /// What became of tests, and how much of a processor they took, in seconds.
    fn run(&self, tests: &[&str], takes_s: f64, environment: &[(&str, &str)]) -> (Outcome, f64) {
        let cpu_s_max = (CPU_S_MAX + 4.0 * takes_s).ceil();
        let script = format!(
            "ulimit -t {cpu_s_max}
            TIMEFORMAT=%U
            time timeout -k 5 {WALL_S_MAX} \"$@\" 2>/dev/null"
        );
        let output = Command::new("bash")
            .args(["-c", &script, "bash"])
            .arg(self.path)
            .args(["--exact", "--test-threads=1"])
            .args(tests)
            .envs(environment.iter().copied())
            .current_dir(self.root)
            .output()
            .unwrap();
        let outcome = match output.status.code() {
            Some(0) => Outcome::Passed,
            // As `timeout` says it, and the shell of a signal for too much of a processor.
            Some(124 | 137 | 152) => Outcome::Endless,
            Some(_) | None => Outcome::Failed,
        };
        let took_s = String::from_utf8_lossy(&output.stderr);
        let took_s = took_s
            .lines()
            .next_back()
            .and_then(|line| line.parse().ok());
        (outcome, took_s.unwrap_or(UNKNOWN_S))
    }

    /// Runs tests without any change: how much of a processor they take, and what they pass by.
    fn look(&self, names: &[&str], reached: &Path) -> (f64, BTreeSet<u32>) {
        let reached_at = [("MUTANT_REACHED", reached.to_str().unwrap())];
        let (outcome, takes_s) = self.run(names, UNKNOWN_S, &reached_at);
        assert_eq!(outcome, Outcome::Passed, "{names:?}");
        let numbers = fs::read_to_string(reached).unwrap_or_default();
        let _ = fs::remove_file(reached);
        let reaches = numbers.lines().map(|line| line.parse().unwrap());
        (takes_s, reaches.collect())
    }

    fn notice(&self, change: &Change, tests: &[Test]) -> Outcome {
        let number = change.number.to_string();
        let on = [("MUTANT", &*number)];
        let reaching = |test: &&Test| test.reaches.contains(&change.number);
        let mut together = Vec::new();
        let (mut takes_s, mut takes_s_max) = (0.0, FIRST_S);
        let mut reaching = tests.iter().filter(reaching).peekable();
        while let Some(test) = reaching.next() {
            together.push(&*test.name);
            takes_s += test.takes_s;
            let is_enough = |next: &&Test| takes_s + next.takes_s > takes_s_max;
            if reaching.peek().is_none_or(is_enough) {
                let (outcome, _) = self.run(&together, takes_s, &on);
                if outcome != Outcome::Passed {
                    return outcome;
                }
                together.clear();
                (takes_s, takes_s_max) = (0.0, TOGETHER_S_MAX.min(2.0 * takes_s_max));
            }
        }
        Outcome::Passed
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
        let (takes_s, reaches) = program.look(&[name], &out.join(format!("reached-{at}")));
        tests.lock().unwrap().push(Test {
            name: name.clone(),
            takes_s,
            reaches,
        });
    });
    let mut tests = tests.into_inner().unwrap();
    tests.sort_by(|one, other| one.takes_s.total_cmp(&other.takes_s));
    for test in &tests {
        eprintln!("{:8.2} s {}", test.takes_s, test.name);
    }
    let lists = Lists::create(out, ["caught", "missed", "timeout"]);
    each(changes, |_, change| {
        let list = match program.notice(change, &tests) {
            Outcome::Failed => "caught",
            Outcome::Passed => "missed",
            Outcome::Endless => "timeout",
        };
        lists.add(list, change);
    });
}

/// Tests of the whole store, run in one process.
struct Whole<'a> {
    program: Program<'a>,
    names: Vec<String>,
    takes_s: f64,
    reaches: BTreeSet<u32>,
}

impl<'a> Whole<'a> {
    fn look(path: &'a Path, root: &'a Path, filter: &str, reached: &Path) -> Self {
        let program = Program { path, root };
        let names = program.list(&[filter.to_owned()]);
        let (takes_s, reaches) =
            program.look(&Vec::from_iter(names.iter().map(|it| &**it)), reached);
        Self {
            program,
            names,
            takes_s,
            reaches,
        }
    }

    fn notices(&self, change: &Change) -> bool {
        let number = change.number.to_string();
        let names: Vec<&str> = self.names.iter().map(|name| &**name).collect();
        let run = || {
            self.program
                .run(&names, self.takes_s, &[("MUTANT", &number)])
        };
        self.reaches.contains(&change.number) && run().0 != Outcome::Passed
    }
}

/// Tries what no test of the lower layers has noticed with tests of the whole store: programs, and
/// which tests of each. What these notice goes from `missed` to `above`.
pub fn above(programs: &[(PathBuf, &str)], root: &Path, out: &Path, changes: &[&Change]) {
    let reached = out.join("reached");
    let wholes: Vec<Whole<'_>> = programs
        .iter()
        .map(|(path, filter)| Whole::look(path, root, filter, &reached))
        .collect();
    let missed = fs::read_to_string(out.join("missed")).unwrap();
    let missed: BTreeSet<&str> = missed.lines().collect();
    let is_missed = |change: &&&Change| missed.contains(&*change.name);
    let missed: Vec<&&Change> = changes.iter().filter(is_missed).collect();
    let lists = Lists::create(out, ["above", "missed"]);
    each(&missed, |_, change| {
        match wholes.iter().any(|whole| whole.notices(change)) {
            true => lists.add("above", change),
            false => lists.add("missed", change),
        }
    });
}

/// Lists of changes, a file each.
struct Lists(BTreeMap<&'static str, Mutex<File>>);

impl Lists {
    fn create<const N: usize>(folder: &Path, names: [&'static str; N]) -> Self {
        let create = |name| (name, Mutex::new(File::create(folder.join(name)).unwrap()));
        Self(names.map(create).into())
    }

    fn add(&self, name: &str, change: &Change) {
        writeln!(self.0[name].lock().unwrap(), "{}", change.name).unwrap();
    }
}
