//! The bugs that are put in on purpose still fit the source, and the table of them is of them.
//! `tests/seeded_bugs/run.sh` puts them in; see `docs/seeded-bugs.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fs;
use std::path::Path;

/// How many are found at least.
const BUGS: usize = 25;

struct Patch {
    name: String,
    text: String,
}

impl Patch {
    fn field(&self, name: &str) -> &str {
        let lines = self.text.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next();
        value.unwrap_or_else(|| panic!("{} does not say its {name}", self.name))
    }
}

fn patches(root: &Path) -> Vec<Patch> {
    let mut patches = Vec::new();
    for entry in fs::read_dir(root.join("tests/seeded_bugs")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "patch")
        {
            patches.push(Patch {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
    patches.sort_by(|one, other| one.name.cmp(&other.name));
    patches
}

/// What the source has where a hunk is to be put: what it keeps and what it takes.
fn before(hunk: &str) -> String {
    let lines = hunk.lines().skip(1);
    let kept = lines.filter_map(|line| match line.as_bytes().first() {
        Some(b' ' | b'-') => Some(&line[1..]),
        _ => None,
    });
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_seeded_bug_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patches = patches(root);
    assert!(patches.len() >= BUGS, "{} bugs are left", patches.len());
    for patch in &patches {
        let mut file = None;
        for part in patch.text.split("\n--- a/").skip(1) {
            let (path, hunks) = part.split_once('\n').unwrap();
            let source = fs::read_to_string(root.join(path)).unwrap();
            for hunk in hunks.split("\n@@ ").skip(1) {
                let before = before(hunk);
                assert!(
                    source.contains(&before),
                    "tests/seeded_bugs/{}.patch does not fit {path} any more; put the same bug \
                     into the source as it is now, and write `git diff -U2` behind the first two \
                     lines of the patch. It looks for:\n{before}",
                    patch.name
                );
            }
            file = Some(path);
        }
        assert!(file.is_some(), "{} changes nothing", patch.name);
    }
}

#[test]
fn every_seeded_bug_has_a_row_that_says_it_was_found_and_nothing_else_has_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/seeded-bugs.md")).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("| --- "))
        .skip(1)
        .collect();
    let patches = patches(root);
    assert!(patches.len() >= BUGS, "{} bugs are left", patches.len());
    for patch in &patches {
        let (bug, suite) = (patch.field("bug"), patch.field("suite"));
        let begins = format!("| {} | {bug} | `{suite}` | ", patch.name);
        let of_it: Vec<&&str> = rows.iter().filter(|row| row.starts_with(&begins)).collect();
        let [row] = of_it[..] else {
            panic!("{} rows begin with: {begins}", of_it.len());
        };
        assert!(!row.contains("not found"), "{row}");
    }
    assert_eq!(rows.len(), patches.len(), "a row without a bug");
}
