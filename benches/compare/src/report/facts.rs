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

/// The version in what a program says of itself; nothing if it is not there.
pub fn version(program: &Path, argument: &str) -> String {
    let text = output(&program.to_string_lossy(), &[argument]);
    of_words(text.split_whitespace())
}

fn of_words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let bare = |word: &'a str| word.trim_start_matches("v=").trim_start_matches('v');
    let mut numbers = words
        .map(bare)
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    numbers.next().unwrap_or_default().to_owned()
}

/// The version of a crate that the harness was built with.
pub fn of_crate(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let found = lock
        .split(&format!("name = \"{name}\"\nversion = \""))
        .nth(1);
    let version = found.and_then(|rest| rest.split('"').next());
    version.unwrap_or_default().to_owned()
}

/// The version of a package in a folder, by the name of what describes it there.
pub fn of_package(folder: &Path, name: &str) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let version = |file: String| {
        let rest = file.strip_prefix(name)?.strip_prefix('-')?;
        Some(rest.strip_suffix(".dist-info")?.to_owned())
    };
    names.filter_map(version).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                "15.18",
            ),
            ("Redis server v=7.0.15 sha=00000000:0 bits=64", "7.0.15"),
            ("nats-server: v2.15.1", "2.15.1"),
            ("annal 0.1.0", "0.1.0"),
            ("", ""),
        ] {
            assert_eq!(of_words(said.split_whitespace()), version);
        }
        assert_ne!(of_crate("fjall"), "");
    }
}
