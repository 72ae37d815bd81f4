//! Are changes noticed? Compiles all changes that cargo-mutants would make into one program, and
//! switches on one after the other, for the tests that pass by it: minutes in place of hours.
//!
//!     cargo mutants --list --json ... > CHANGES
//!     mutants CHANGES PACKAGE WHOLE OUT FILTER...
//!
//! PACKAGE is a copy of the lower layers, which is changed; FILTER says which tests of its library
//! count. What they do not notice is tried with tests of WHOLE, a copy of everything. In OUT there
//! will be lists, each line a change: `caught`, `timeout` (an endless loop), `above` (the whole has
//! noticed it), `missed`, and `left_out`: what is for cargo-mutants itself, for it did not compile.
//! With MUTANTS_LEFT_OUT=only, nothing is run, and there will be `left_out` alone.

mod run;
mod weave;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The tests of the whole store that are tried last: lives, and repairs.
const ABOVE: [(&str, &str); 2] = [("simulation", "no_life"), ("repair", "")];

/// One change to the source.
pub struct Change {
    pub number: u32,
    pub name: String,
    pub genre: String,
    pub file: String,
    pub start: (usize, usize),
    pub replacement: String,
}

fn changes(path: &Path) -> Vec<Change> {
    let list: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let text = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let change = |(index, change): (u32, &Value)| Change {
        number: index + 1,
        name: text(change, "name"),
        genre: text(change, "genre"),
        file: text(change, "file"),
        start: (
            number(&change["span"]["start"]["line"]),
            number(&change["span"]["start"]["column"]),
        ),
        replacement: text(change, "replacement"),
    };
    (0..).zip(list.as_array().unwrap()).map(change).collect()
}

/// The files that have changes, as they were.
struct Source {
    root: PathBuf,
    files: BTreeMap<String, String>,
}

impl Source {
    fn read(root: &Path, changes: &[Change]) -> Self {
        let files: BTreeSet<&String> = changes.iter().map(|change| &change.file).collect();
        let read = |file: &&String| fs::read_to_string(root.join(file)).unwrap();
        Self {
            root: root.to_owned(),
            files: files
                .iter()
                .map(|file| (String::clone(file), read(file)))
                .collect(),
        }
    }

    /// Puts changes into the files; gives those that are in them.
    fn weave(&self, changes: &[Change], left_out: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for (file, text) in &self.files {
            let wanted =
                |change: &&Change| change.file == *file && !left_out.contains(&change.number);
            let changes: Vec<&Change> = changes.iter().filter(wanted).collect();
            let (text, woven) = weave::weave(Path::new(file), text, &changes);
            fs::write(self.root.join(file), text).unwrap();
            all.extend(woven);
        }
        all
    }
}

/// Builds tests, and gives the program; else, the changes that do not compile.
fn build(root: &Path, which: &[&str]) -> Result<PathBuf, BTreeSet<u32>> {
    let output = Command::new("cargo")
        .args(["test", "--no-run", "--message-format=json"])
        .args(which)
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .current_dir(root)
        .output()
        .unwrap();
    let (mut program, mut wrong) = (None, BTreeSet::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if message["profile"]["test"] == true {
            program = message["executable"]
                .as_str()
                .map(PathBuf::from)
                .or(program);
        }
        if message["message"]["level"] != "error" {
            continue;
        }
        let spans = message["message"]["spans"].as_array().unwrap();
        for span in spans.iter().filter(|span| span["is_primary"] == true) {
            let file = root.join(span["file_name"].as_str().unwrap());
            let text = fs::read_to_string(file).unwrap_or_default();
            let at = usize::try_from(span["byte_start"].as_u64().unwrap()).unwrap();
            wrong.extend(numbers_at(&text, at));
        }
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    match program {
        Some(program) if output.status.success() => Ok(program),
        _ if wrong.is_empty() => panic!("it does not build: {errors}"),
        _ => Err(wrong),
    }
}

/// The changes of the switch that an error at a byte is about: the one around it or in front of it
/// in its line, or else behind it in its line, or else the last one in front of it.
fn numbers_at(text: &str, at: usize) -> BTreeSet<u32> {
    const CALL: &str = "crate::mt::";
    let line = text.get(..at).and_then(|before| before.rfind('\n'));
    let line = line.map_or(0, |end| end + 1);
    let line_end = text.get(at..).and_then(|rest| rest.find('\n'));
    let line_end = line_end.map_or(text.len(), |len| at + len);
    let before = (at + CALL.len()).min(line_end);
    let last = |from: usize, to: usize| Some(from + text.get(from..to)?.rfind(CALL)?);
    let next = || Some(at + text.get(at..line_end)?.find(CALL)?);
    let call = last(line, before).or_else(next).or_else(|| last(0, at));
    let Some(call) = call else {
        return BTreeSet::new();
    };
    let arguments = text.get(call..).unwrap_or_default().split_once('(');
    let list = arguments.and_then(|(_, list)| list.split([')', ']']).next());
    let numbers = list.unwrap_or_default().trim_start_matches('[').split(',');
    numbers
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, root, whole, out, filters @ ..] = &arguments[..] else {
        panic!("mutants CHANGES PACKAGE WHOLE OUT FILTER...");
    };
    let (root, whole, out) = (Path::new(root), Path::new(whole), Path::new(out));
    let changes = changes(Path::new(list));
    let source = Source::read(root, &changes);
    put_switch(root);
    let mut left_out = BTreeSet::new();
    let (program, woven) = loop {
        let woven = source.weave(&changes, &left_out);
        eprintln!("{} changes, {} in one program", changes.len(), woven.len());
        match build(root, &["--lib"]) {
            Ok(program) => break (program, woven),
            Err(wrong) => left_out.extend(wrong),
        }
    };
    fs::create_dir_all(out).unwrap();
    let name = |change: &Change| change.name.clone();
    let others = changes
        .iter()
        .filter(|one| !woven.contains(&one.number))
        .map(name);
    fs::write(out.join("left_out"), others.collect::<Vec<_>>().join("\n")).unwrap();
    if std::env::var("MUTANTS_LEFT_OUT").is_ok_and(|which| which == "only") {
        return;
    }
    let woven = changes.iter().filter(|one| woven.contains(&one.number));
    let woven: Vec<&Change> = woven.collect();
    run::run(&program, root, out, filters, &woven);
    for file in source.files.keys() {
        fs::copy(root.join(file), whole.join(file)).unwrap();
    }
    put_switch(whole);
    let programs = ABOVE.map(|(test, filter)| {
        let which = ["--no-default-features", "--test", test];
        let program = build(whole, &which).expect("it was built for the lower layers");
        (program, filter)
    });
    run::above(&programs, whole, out, &woven);
}

/// Puts the switch into a copy of the source.
fn put_switch(root: &Path) {
    fs::write(root.join("src/mt.rs"), include_str!("switch.rs")).unwrap();
    let library = root.join("src/lib.rs");
    let text = fs::read_to_string(&library).unwrap();
    fs::write(&library, text + "\nmod mt;\n").unwrap();
}
