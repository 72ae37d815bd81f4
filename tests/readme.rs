//! The README is true: every promise has tests, every link leads to a file, and the commands of the
//! tour do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");

/// Each promise by its first words, and the tests that hold it.
const PROMISES: &[(&str, &[(&str, &str)])] = &[
    (
        "An acknowledged append is on stable storage",
        &[
            (
                "tests/append.rs",
                "an_acknowledged_append_survives_a_power_cut",
            ),
            (
                "tests/append.rs",
                "nothing_is_seen_before_its_sync_returned",
            ),
            (
                "src/log/tests/crash.rs",
                "a_power_cut_at_any_change_loses_nothing_that_was_acknowledged",
            ),
        ],
    ),
    (
        "An append is atomic",
        &[
            (
                "tests/append.rs",
                "an_append_over_many_streams_happens_whole_or_not_at_all",
            ),
            ("tests/append.rs", "a_refused_append_leaves_no_trace"),
        ],
    ),
    (
        "There is one order",
        &[
            (
                "tests/append.rs",
                "the_first_event_of_a_store_is_position_0",
            ),
            (
                "tests/simulation.rs",
                "no_life_loses_doubles_reorders_or_invents_anything",
            ),
        ],
    ),
    (
        "Expected versions are linearizable",
        &[(
            "tests/append.rs",
            "of_many_writers_with_one_expectation_exactly_one_wins",
        )],
    ),
    (
        "Retries are safe",
        &[
            (
                "tests/append.rs",
                "a_retry_is_answered_as_the_first_time_also_after_a_restart",
            ),
            (
                "tests/append.rs",
                "a_named_request_returns_its_first_receipt_also_after_a_restart",
            ),
        ],
    ),
    (
        "Subscriptions lose nothing and repeat nothing",
        &[
            (
                "tests/subscription.rs",
                "nothing_is_lost_or_doubled_between_catching_up_and_live",
            ),
            (
                "tests/subscription.rs",
                "a_slow_reader_is_told_that_it_fell_behind_and_loses_nothing",
            ),
            (
                "tests/client.rs",
                "a_subscription_loses_and_doubles_nothing_whenever_the_connection_is_cut",
            ),
        ],
    ),
    (
        "Damage is never served and never silently cut",
        &[
            (
                "src/log/tests/damage.rs",
                "no_flipped_bit_gives_wrong_events_or_loses_one_in_silence",
            ),
            (
                "tests/golden.rs",
                "what_is_damaged_or_newer_is_refused_and_not_touched",
            ),
            (
                "tests/golden.rs",
                "what_is_damaged_in_front_of_the_checkpoint_is_refused_when_it_is_read",
            ),
        ],
    ),
    (
        "The log is the only truth",
        &[(
            "src/index/tests/model.rs",
            "every_answer_is_that_of_the_log_or_is_refused",
        )],
    ),
    (
        "Who may do what is asked at every call",
        &[
            (
                "tests/access_model.rs",
                "what_is_allowed_is_what_the_naive_judge_allows",
            ),
            (
                "tests/users.rs",
                "each_request_is_for_those_who_may_and_no_kind_is_left_out",
            ),
            ("tests/users.rs", "what_runs_already_follows_a_changed_rule"),
        ],
    ),
    (
        "Memory, files and threads are bounded by options",
        &[
            (
                "tests/bounds.rs",
                "opening_reads_the_same_little_of_a_small_and_of_a_large_log",
            ),
            (
                "tests/server_bounds.rs",
                "what_there_may_be_too_much_of_is_limited",
            ),
            (
                "tests/server_bounds.rs",
                "who_reads_nothing_costs_little_and_hinders_nobody",
            ),
        ],
    ),
];

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_promise_is_held_by_tests_that_exist() {
    let promised: Vec<&str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("* **")?.split("**").next())
        .map(|promise| promise.trim_end_matches('.'))
        .collect();
    let held: Vec<&str> = PROMISES.iter().map(|(promise, _)| *promise).collect();
    assert_eq!(promised, held);
    for (path, name) in PROMISES.iter().flat_map(|(_, tests)| *tests) {
        let text = file(path);
        let function = format!("fn {name}(");
        let above = text.split_once(&function).map(|(above, _)| above);
        let above = above.unwrap_or_else(|| panic!("{path} has no `{name}`"));
        let mark = above.rsplit("#[").next().unwrap();
        assert!(
            mark.starts_with("test]") || mark.starts_with("tokio::test"),
            "{path}: `{name}` is no test"
        );
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let links: Vec<&str> = README
        .split("](")
        .skip(1)
        .map(|behind| behind.split(')').next().unwrap())
        .collect();
    assert!(links.len() > 4, "{links:?}");
    for link in links {
        assert!(!file(link).is_empty(), "{link}");
    }
}

/// The lines of the README's shell blocks, without what explains them.
#[cfg(feature = "cli")]
fn commands() -> Vec<String> {
    let blocks = README.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines
        .map(|line| line.split(" # ").next().unwrap().trim().to_owned())
        .collect()
}

#[cfg(feature = "cli")]
mod tour {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A command line for the shell, where `annal` is the binary of this build.
    fn shell(line: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_annal"));
        let mut path = binary.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        // The shell becomes the command, so that ending it ends the command.
        command
            .args(["-c", &format!("exec {line}")])
            .env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// What is ended with the test, however that goes.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _gone = self.0.kill();
            let _status = self.0.wait();
        }
    }

    /// A server that listens on free ports, with what it says of itself.
    fn serve(line: &str, folder: &Path, data: &str) -> (Running, serde_json::Value) {
        let mut server = shell(&format!("{line} --json"));
        server.current_dir(folder);
        server.env("ANNAL_DATA", data);
        server.env("ANNAL_TCP", "127.0.0.1:0");
        server.env("ANNAL_HTTP", "127.0.0.1:0");
        let mut server = Running(server.spawn().unwrap());
        let mut hello = String::new();
        let mut out = BufReader::new(server.0.stdout.take().unwrap());
        out.read_line(&mut hello).unwrap();
        (server, serde_json::from_str(&hello).unwrap())
    }

    #[test]
    fn the_commands_of_the_tour_do_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let commands = commands();
        let of_annal = commands.iter().filter(|line| line.starts_with("annal "));
        let (serves, others): (Vec<_>, Vec<_>) =
            of_annal.partition(|line| line.starts_with("annal serve"));
        assert_eq!((serves.len(), others.len()), (2, 7), "{commands:?}");

        let (_open, hello) = serve(serves[0], folder.path(), "open");
        let address = hello["server"].as_str().unwrap();
        let mut said = Vec::new();
        for line in others {
            // A tail without an end is one from the start to what is there.
            let line = line.replace("annal tail --all", "annal tail --all --from start --once");
            let mut command = shell(&line);
            command.current_dir(folder.path());
            let output = command.env("ANNAL_SERVER", address).output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {complaint}");
            said.push(String::from_utf8(output.stdout).unwrap());
        }
        assert!(said[3].contains("OrderPlaced") && said[3].contains("OrderShipped"));
        assert!(said[4].contains("order-1"));

        // The certificate was made by one of the commands above.
        let (_guarded, hello) = serve(serves[1], folder.path(), "guarded");
        let address = hello["server"].as_str().unwrap();
        assert!(address.starts_with("annals://"), "{hello}");
    }

    #[test]
    fn the_other_commands_exist() {
        let commands = commands();
        let others = commands.iter().filter(|line| !line.starts_with("annal "));
        let known = [
            "cargo run --release -- demo",
            "tests/all.sh",
            "cargo install --path .",
            "cargo run --example embedded",
            "cargo run --example orders -- my-orders",
        ];
        assert_eq!(others.collect::<Vec<_>>(), known);
        assert!(!file("tests/all.sh").is_empty());
        assert!(!file("examples/embedded.rs").is_empty());
        assert!(!file("examples/orders/main.rs").is_empty());
        let verbs = ["demo", "bench", "export", "import"];
        for verb in verbs {
            let help = shell(&format!("annal {verb} --help")).output().unwrap();
            assert!(help.status.success(), "{verb}");
        }
    }
}
