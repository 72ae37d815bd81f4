//! The command line: the binary `annal`, one file a verb, and the text formats it reads and writes.
//!
//! The walk of a command: `run` finds the configuration, parses the line with it, and calls the
//! verb; a verb opens its `target.rs` (a server or a folder), does its work through it, and speaks
//! through `output.rs`. Whatever fails becomes a `failure.rs` with an exit code.

mod append;
mod bench;
mod cert;
mod config;
mod demo;
mod descriptors;
mod export;
mod failure;
mod git;
mod group;
pub mod groups;
mod import;
pub mod input;
pub mod ndjson;
mod output;
mod read;
mod repair;
mod scavenge;
mod secure;
mod select;
mod serve;
mod sink;
mod status;
mod stream;
mod tail;
mod target;
mod user;
mod values;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::{EXIT_CODES, Failure};
use output::Output;

/// An event store: append events to streams, read them, follow them.
#[derive(Debug, Parser)]
#[command(
    name = "annal",
    version,
    after_help = EXAMPLES
)]
struct Cli {
    /// Write results as lines of JSON, and errors as one line of JSON on the standard error
    #[arg(long, global = true)]
    json: bool,
    /// Read settings from a TOML file: the flags that show an [env: ..] name, by their long names
    #[arg(long, global = true, value_name = "FILE", env = config::FILE_VARIABLE)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  annal serve                                         start a server in ./annal-data
  annal append order-1 --type Placed '{\"total\": 12}'  append an event to a stream
  annal read order-1                                  read the stream
  annal tail --all                                    follow everything, live
  annal demo                                          see it work on a git history";

const SETTINGS: &str = "\
Settings: a flag wins over the environment, that over the file named by --config, and that
over the default. The file holds the long names of flags: for all verbs at its top level,
for one verb in its table.
  server = \"annal://127.0.0.1:2112\"
  [serve]
  data = \"events\"";

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Args),
    Append(append::Args),
    Read(read::Args),
    Tail(tail::Args),
    #[command(subcommand)]
    Stream(stream::Verb),
    Import(import::Args),
    Export(export::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Scavenge(scavenge::Args),
    Status(status::Args),
    #[command(subcommand)]
    Group(group::Verb),
    #[command(subcommand)]
    User(user::Verb),
    #[command(subcommand)]
    Cert(cert::Verb),
    Bench(bench::Args),
    Demo(demo::Args),
}

/// Does what the command line says, and returns the exit code. Prints its own errors.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    match parse(&arguments).and_then(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(wants_json);
            ExitCode::from(failure.exit().code())
        }
    }
}

/// All verbs and flags.
fn command() -> clap::Command {
    Cli::command().after_long_help(format!("{EXAMPLES}\n\n{SETTINGS}\n\n{EXIT_CODES}"))
}

/// Parses the line with the configuration's values as defaults. Help and mistakes end the process
/// here, as `clap` prints them: with the codes 0 and 2.
fn parse(arguments: &[OsString]) -> Result<Cli, Failure> {
    let mut command = command();
    if let Some(file) = config::file(arguments) {
        command = config::apply(command, &file)?;
    }
    let matches = command.get_matches_from(arguments);
    Cli::from_arg_matches(&matches).map_err(Failure::usage)
}

fn start(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(
            std::thread::available_parallelism()
                .map_or(2, usize::from)
                .max(2),
        )
        .enable_all()
        .build()?;
    let output = Output::new(cli.json);
    let done = runtime.block_on(async {
        match cli.verb {
            Verb::Serve(args) => serve::run(args, output).await,
            Verb::Append(args) => append::run(args, output).await,
            Verb::Read(args) => read::run(args, output).await,
            Verb::Tail(args) => tail::run(args, output).await,
            Verb::Stream(verb) => stream::run(verb, output).await,
            Verb::Import(args) => import::run(args, output).await,
            Verb::Export(args) => export::run(args, output).await,
            Verb::Verify(args) => verify::run(args, output).await,
            Verb::Repair(args) => repair::run(args, output).await,
            Verb::Scavenge(args) => scavenge::run(args, output).await,
            Verb::Status(args) => status::run(args, output).await,
            Verb::Group(verb) => group::run(verb, output).await,
            Verb::User(verb) => user::run(verb, output).await,
            Verb::Cert(verb) => cert::run(verb, output),
            Verb::Bench(args) => bench::run(args, output).await,
            Verb::Demo(args) => demo::run(args, output).await,
        }
    });
    // A read of the standard input that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use failure::Exit;

    fn each_verb(command: &clap::Command, check: &mut impl FnMut(&clap::Command)) {
        for verb in command
            .get_subcommands()
            .filter(|verb| verb.get_name() != "help")
        {
            check(verb);
            each_verb(verb, check);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_help_text_has_examples_and_says_what_the_codes_mean() {
        let help = command().render_long_help().to_string();
        assert!(help.contains(EXIT_CODES) && help.contains("Examples:"));
        each_verb(&command(), &mut |verb| {
            let examples = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let shown = examples.contains("Examples:\n  annal ");
            assert!(
                shown || verb.has_subcommands(),
                "{} has no example",
                verb.get_name()
            );
            assert!(
                verb.get_about().is_some(),
                "{} says nothing",
                verb.get_name()
            );
        });
    }

    #[test]
    fn usage_mistakes_are_exit_code_2() {
        for line in [
            &["annal", "read"][..],
            &["annal", "read", "a", "--all"],
            &["annal", "append", "a"],
            &["annal", "append", "a", "--type", "T", "--expect", "some"],
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line:?}");
        }
    }
}
