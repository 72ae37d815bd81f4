//! The rules: pure functions from a source file to what is wrong with it, each with a test that
//! shows it both refusing and accepting.

use super::LAYERS;
use super::source::{Source, occurrences};

type Rule = fn(&Source) -> Vec<String>;

/// What every Rust file must obey.
pub(crate) const RUST: &[Rule] = &[
    layers,
    relative_paths,
    homes,
    size,
    ascii,
    unfinished_words,
    module_doc,
    ignored_tests,
];

/// What every file of the repository must obey.
pub(crate) const EVERY_FILE: &[Rule] = &[machine_paths];

/// A layer imports only the layers that its row of the table names.
pub(crate) fn layers(source: &Source) -> Vec<String> {
    let Some(layer) = source.layer() else {
        return Vec::new();
    };
    let Some((_, row)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![source.finding(1, &format!("the layer table has no `{layer}`"))];
    };
    let allowed = |name: &str| name == layer || *row == ["*"] || row.contains(&name);
    let imports = occurrences(&source.code, "crate::");
    imports
        .filter_map(|(line, behind)| {
            let end = behind.find(|c: char| !c.is_alphanumeric() && c != '_');
            match &behind[..end.unwrap_or(behind.len())] {
                "" => Some(source.finding(line, "name one layer behind `crate::`")),
                name if allowed(name) => None,
                name => Some(source.finding(line, &format!("`{layer}` may not import `{name}`"))),
            }
        })
        .collect()
}

/// Nobody leaves a layer by going up: `super::super::` is refused, and `super::` in the root of a
/// layer, outside of its inline modules.
pub(crate) fn relative_paths(source: &Source) -> Vec<String> {
    let Some(layer) = source.layer() else {
        return Vec::new();
    };
    let is_root = [format!("src/{layer}.rs"), format!("src/{layer}/mod.rs")].contains(&source.path);
    let own = match source.code.find("\nmod tests {") {
        Some(end) if is_root => &source.code[..end],
        None if is_root => &source.code,
        _ => "",
    };
    let out_of_root = occurrences(own, "super::");
    let chains = occurrences(&source.code, "super::super::");
    out_of_root
        .chain(chains)
        .map(|(line, _)| source.finding(line, "write the path from `crate::`"))
        .collect()
}

/// What is named only in its home, and where that is.
struct Home {
    names: &'static [&'static str],
    within: &'static [&'static str],
    homes: &'static [&'static str],
}

const HOMES: &[Home] = &[
    Home {
        names: &["unsafe"],
        within: &[""],
        homes: &["src/disk/os.rs"],
    },
    Home {
        names: &["std::fs", "tokio::fs", "rustix::fs"],
        within: &["src/"],
        homes: &["src/disk/os.rs", "src/disk/os/", "src/tls/", "src/cli/"],
    },
    Home {
        names: &["std::net", "tokio::net", "rustix::net"],
        within: &["src/"],
        homes: &["src/server/", "src/client/", "src/grpc/", "src/cli/"],
    },
    Home {
        names: &[
            "parking_lot",
            "std::sync::atomic",
            "std::thread",
            "std::time::Instant",
        ],
        within: &["src/log/", "src/index/", "src/engine/", "src/subscription/"],
        // Nothing is decided by a counter.
        homes: &["src/engine/stats.rs", "src/log/tests/", "src/index/tests/"],
    },
    Home {
        names: &["bincode"],
        within: &[""],
        homes: &["src/protocol/body.rs"],
    },
    Home {
        names: &["feature ="],
        within: &["src/"],
        homes: &["src/lib.rs"],
    },
];

/// Unsafe code, files, sockets, features and the wire's encoder are named in one place each, also
/// within a group such as `use std::{fs, io}`.
pub(crate) fn homes(source: &Source) -> Vec<String> {
    let grouped = |name: &str| {
        let (root, module) = name.rsplit_once("::")?;
        let opening = format!("{root}::{{");
        let mut groups = occurrences(&source.code, &opening);
        groups.find_map(|(line, behind)| {
            let group = behind.split(';').next()?;
            occurrences(group, module).next().map(|_| line)
        })
    };
    let away = |home: &&Home| {
        let at_home = |path: &&str| source.path.starts_with(path);
        home.within.iter().any(at_home) && !home.homes.iter().any(at_home)
    };
    let mut findings = Vec::new();
    for home in HOMES.iter().filter(away) {
        for name in home.names {
            let lines = occurrences(&source.code, name).map(|(line, _)| line);
            let what = format!("`{name}` belongs to {}", home.homes.join(", "));
            findings.extend(lines.chain(grouped(name)).map(|l| source.finding(l, &what)));
        }
    }
    findings
}

const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

/// No file over 800 lines, no line over 100 characters, in comments and strings too.
pub(crate) fn size(source: &Source) -> Vec<String> {
    let long = source.text.lines().enumerate().filter_map(|(at, line)| {
        let chars = line.chars().count();
        (chars > LINE_CHARS_MAX).then(|| source.finding(at + 1, &format!("{chars} characters")))
    });
    let lines = source.text.lines().count();
    let high = (lines > FILE_LINES_MAX).then(|| source.finding(lines, "split this file"));
    long.chain(high).collect()
}

/// Rust files are ASCII: what looks like a quote is one.
pub(crate) fn ascii(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.is_ascii())
        .map(|(at, _)| source.finding(at + 1, "not ASCII; write \\u{..}"))
        .collect()
}

const UNFINISHED: &[&str] = &[
    concat!("to", "do!"),
    concat!("un", "implemented!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("for ", "now"),
    concat!("For ", "now"),
    concat!("place", "holder"),
];

/// What stands here is finished, or it does not stand here.
pub(crate) fn unfinished_words(source: &Source) -> Vec<String> {
    let found = |word: &'static &str| {
        occurrences(&source.text, word)
            .map(move |(line, _)| source.finding(line, &format!("`{word}`: finish it")))
    };
    UNFINISHED.iter().flat_map(found).collect()
}

/// A file says first what it is for.
pub(crate) fn module_doc(source: &Source) -> Vec<String> {
    match source.text.starts_with("//! ") {
        true => Vec::new(),
        false => vec![source.finding(1, "begin with `//!`: what the file is for")],
    }
}

/// A test runs, or it does not exist.
pub(crate) fn ignored_tests(source: &Source) -> Vec<String> {
    occurrences(&source.code, "#[ignore")
        .map(|(line, _)| source.finding(line, "a test runs or does not exist"))
        .collect()
}

const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk"),
    concat!("/ro", "ot"),
    concat!("/ho", "me/"),
];

/// Nothing names a folder of the machine it was written on.
pub(crate) fn machine_paths(source: &Source) -> Vec<String> {
    let absolute = |path: &&str, line: &str| {
        line.match_indices(*path).any(|(at, _)| {
            let joins = |c: char| c.is_alphanumeric() || "._-~/$}*".contains(c);
            let longer = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            let goes_on = !path.ends_with('/') && line[at + path.len()..].starts_with(longer);
            !line[..at].ends_with(joins) && !goes_on
        })
    };
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| MACHINE_PATHS.iter().any(|path| absolute(path, line)))
        .map(|(at, _)| source.finding(at + 1, "a path of somebody's machine"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rule: Rule, path: &str, texts: &[&str]) {
        for text in texts {
            assert_ne!(rule(&Source::new(path, text)).len(), 0, "{path}: {text:?}");
        }
    }

    fn accepted(rule: Rule, path: &str, texts: &[&str]) {
        for text in texts {
            let findings = rule(&Source::new(path, text));
            assert!(findings.is_empty(), "{text:?}: {findings:?}");
        }
    }

    #[test]
    fn a_layer_imports_only_its_row() {
        let up = ["use crate::engine::Store;", "fn f(_: &crate::server::S) {}"];
        refused(layers, "src/log/reader.rs", &up);
        let whole = [
            "use crate::{disk, model};",
            "use crate::*;",
            "use crate::Store;",
        ];
        refused(layers, "src/log/reader.rs", &whole);
        refused(
            layers,
            "src/attic/mod.rs",
            &["//! A layer that the table lacks."],
        );
        let down = ["use crate::disk::Disk;", "pub(in crate::log) fn f() {}"];
        accepted(layers, "src/log/reader.rs", &down);
        accepted(
            layers,
            "src/log/mod.rs",
            &["/// See [`crate::engine`].", "my_crate::engine"],
        );
        accepted(layers, "src/cli/serve.rs", &["use crate::Store;"]);
        accepted(layers, "src/lib.rs", &["pub use crate::engine::Store;"]);
    }

    #[test]
    fn nobody_leaves_a_layer_by_going_up() {
        refused(
            relative_paths,
            "src/log/reader.rs",
            &["use super::super::engine::Store;"],
        );
        refused(
            relative_paths,
            "src/log/mod.rs",
            &["use super::engine::Store;\nmod tests {\n}"],
        );
        accepted(relative_paths, "src/log/reader.rs", &["use super::Log;"]);
        accepted(
            relative_paths,
            "src/log/mod.rs",
            &["mod a;\nmod tests {\n use super::*;\n}"],
        );
    }

    #[test]
    fn what_has_a_home_is_named_only_there() {
        refused(
            homes,
            "src/engine/mod.rs",
            &["unsafe { f() }", "use std::fs;", "std::net::X"],
        );
        refused(
            homes,
            "src/engine/mod.rs",
            &["use std::{fs, io};", "use std::{io,\n net};"],
        );
        refused(
            homes,
            "src/server/mod.rs",
            &["std::fs::read(x)", "#[cfg(feature = \"cli\")]"],
        );
        refused(
            homes,
            "src/engine/mod.rs",
            &[
                "use parking_lot::Mutex;",
                "use std::time::{Duration, Instant};",
            ],
        );
        refused(homes, "tests/x.rs", &["unsafe impl Send for X {}"]);
        refused(homes, "tests/x.rs", &["use bincode::Options;"]);
        accepted(
            homes,
            "src/engine/mod.rs",
            &["// unsafe, std::fs", "unsafe_code", "std::fmt"],
        );
        accepted(homes, "src/server/mod.rs", &["use parking_lot::Mutex;"]);
        accepted(homes, "src/disk/os.rs", &["unsafe { f() }", "use std::fs;"]);
        accepted(
            homes,
            "src/server/mod.rs",
            &["use std::{io, mem};", "use tokio::net::X;"],
        );
        accepted(homes, "src/protocol/body.rs", &["use bincode::Options;"]);
        accepted(
            homes,
            "tests/x.rs",
            &["std::fs::read(x)", "#![cfg(feature = \"cli\")]"],
        );
    }

    #[test]
    fn files_and_lines_end_somewhere() {
        refused(size, "src/x.rs", &[&"x".repeat(101), &"x\n".repeat(801)]);
        accepted(size, "src/x.rs", &[&"x".repeat(100), &"x\n".repeat(800)]);
    }

    #[test]
    fn rust_files_are_ascii() {
        refused(ascii, "src/x.rs", &["// caf\u{e9}"]);
        accepted(ascii, "src/x.rs", &["// cafe"]);
    }

    #[test]
    fn unfinished_work_is_refused() {
        for word in UNFINISHED {
            refused(unfinished_words, "src/x.rs", &[&format!("// {word} later")]);
        }
        accepted(
            unfinished_words,
            "src/x.rs",
            &["method, for nowhere, todos"],
        );
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        refused(module_doc, "src/x.rs", &["", "use x;", "// x", "//!"]);
        accepted(module_doc, "src/x.rs", &["//! What it is for."]);
    }

    #[test]
    fn tests_are_not_put_aside() {
        refused(
            ignored_tests,
            "tests/x.rs",
            &["#[ignore]", "#[ignore = \"slow\"]"],
        );
        accepted(ignored_tests, "tests/x.rs", &["#[test]", "// #[ignore]"]);
    }

    #[test]
    fn no_file_names_a_folder_of_somebodys_machine() {
        for path in MACHINE_PATHS {
            let quoted = format!("cd \"{}/x\"", path.trim_end_matches('/'));
            refused(machine_paths, "README.md", &[&quoted]);
        }
        let others = [
            "a/work",
            "/workers",
            "~/work",
            "the /rooted tree",
            "/homepage",
        ];
        accepted(machine_paths, "README.md", &others);
    }
}
