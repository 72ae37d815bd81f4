//! The `annal` binary: the command line of the event store.

use std::process::ExitCode;

fn main() -> ExitCode {
    annal::cli::run(std::env::args_os())
}
