//! What one has to know about a run: the machine, the versions, how it was measured.

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::options::Options;

/// Facts by name.
pub type Facts = Map<String, Value>;

fn first_line(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// The machine, and the options of the run.
pub fn gather(options: &Options, not_run: &[String]) -> Facts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = first_line(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let memory_kib: u64 = memory.trim_end_matches(" kB").trim().parse().unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut facts = Facts::new();
    let mut fact = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    fact(
        "date",
        json!(output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
    );
    fact(
        "processor",
        json!(first_line(&read("/proc/cpuinfo"), "model name")),
    );
    fact("cores", json!(cores));
    fact(
        "memory_gib",
        json!((memory_kib as f64 / 1_048_576.0).round()),
    );
    fact("kernel", json!(output("uname", &["-sr"])));
    fact("file_system", json!(file_system(&options.folder)));
    fact("rounds", json!(options.rounds));
    fact("seconds", json!(options.seconds));
    fact("events", json!(options.events));
    fact("not_run", json!(not_run));
    facts
}

/// The kind of file system that a folder is in.
pub fn file_system(folder: &Path) -> String {
    output(
        "stat",
        &["--file-system", "--format=%T", &folder.to_string_lossy()],
    )
}

/// What a program says of its version.
pub fn version(program: &Path, argument: &str) -> String {
    let text = output(&program.to_string_lossy(), &[argument]);
    let line = text.lines().next().unwrap_or_default();
    // Behind these, it tells how it was built.
    line.split(['(', '['])
        .next()
        .unwrap_or_default()
        .split(" sha=")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}
