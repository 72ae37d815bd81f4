//! Every guarantee is held by tests: each claim of `docs/guarantees.md` names some, and they are
//! there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../docs/guarantees.md");
/// No test holds these; they say where they may stand.
const MARKS: [(&str, &str); 2] = [("assumed", "The fault model"), ("not promised", "")];
/// How many claims there are at least: a document of which a part is not seen is no document.
const CLAIMS_MIN: usize = 70;

/// A claim, the heading it stands under, and what it names.
struct Claim {
    heading: String,
    text: String,
    names: Vec<String>,
}

/// The bullets of the document; what stands in the last brackets of each is what it names.
fn claims() -> Vec<Claim> {
    let mut claims = Vec::<Claim>::new();
    let mut heading = String::new();
    let mut open = false;
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        }
        if let Some(text) = line.strip_prefix("* ") {
            claims.push(Claim {
                heading: heading.clone(),
                text: text.to_owned(),
                names: Vec::new(),
            });
            open = true;
        } else if open && line.starts_with("  ") {
            let last = claims.last_mut().unwrap();
            last.text.push(' ');
            last.text.push_str(line.trim());
        } else {
            open = false;
            // What is no claim only leads to claims, or tells how to read them.
            let is_prose = !line.is_empty() && !line.starts_with('#');
            assert!(
                !is_prose || heading.is_empty() || line.ends_with(':'),
                "{line}"
            );
        }
    }
    for claim in &mut claims {
        let text = claim.text.strip_suffix("]`");
        let text = text.unwrap_or_else(|| panic!("it names no test: {}", claim.text));
        let (said, names) = text.rsplit_once("`[").unwrap();
        assert!(said.trim().ends_with(['.', '!']), "{said}");
        claim.names = names.split(", ").map(str::to_owned).collect();
    }
    claims
}

fn file_of(place: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut candidates = vec![format!("tests/{place}.rs"), format!("src/{place}.rs")];
    if let Some((layer, rest)) = place.split_once('/') {
        candidates.push(format!("src/{layer}/tests/{rest}.rs"));
    }
    let mut paths = candidates.into_iter().map(|path| root.join(path));
    paths.find(|path| path.is_file())
}

/// Whether a file has a test of this name: the function, and the attribute in front of it.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let plain = [format!("fn {name}("), format!("async fn {name}(")];
    let at = lines
        .iter()
        .position(|line| plain.iter().any(|start| line.starts_with(start)));
    at.is_some_and(|at| {
        let before = lines[..at].iter().rev();
        let mut attributes = before.take_while(|line| !line.is_empty() && **line != "}");
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_claim_names_tests_that_exist() {
    let claims = claims();
    assert!(claims.len() >= CLAIMS_MIN, "{}", claims.len());
    for claim in &claims {
        assert!(!claim.names.is_empty(), "{}", claim.text);
        for name in &claim.names {
            if let Some((_, place)) = MARKS.iter().find(|(mark, _)| mark == name) {
                assert!(claim.heading.contains(place), "{}", claim.text);
                continue;
            }
            let (place, test) = name
                .split_once("::")
                .unwrap_or_else(|| panic!("{name} is no test: {}", claim.text));
            let file = file_of(place).unwrap_or_else(|| panic!("there is no {place}"));
            let source = fs::read_to_string(&file).unwrap();
            assert!(
                has_test(&source, test),
                "{name} is not in {}",
                file.display()
            );
        }
    }
}

#[test]
fn a_test_that_is_only_named_is_missed() {
    let source = "#[test]\nfn one() {}\n\nfn two() {}\n\n#[tokio::test]\nasync fn three() {}\n";
    assert!(has_test(source, "one"));
    assert!(!has_test(source, "two"), "it is not run");
    assert!(has_test(source, "three"));
    assert!(!has_test(source, "on"), "it is another one");
    assert!(file_of("no_such_file").is_none());
    assert!(file_of("log/crash").is_some());
}
