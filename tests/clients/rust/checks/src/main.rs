//! Runs the checks of one Rust client against one server; results are lines of JSON, of the same
//! form as those of ../../python and ../../node.
//!
//! ```text
//! checks --client kurrentdb --port 2113 [--ca FILE] [--only PREFIX] --out FILE
//! ```
//!
//! The two clients offer nearly the same, so every check is written once, in `shared`, and compiled
//! for each.
#![allow(
    clippy::duplicate_mod,
    reason = "the checks are compiled for each client"
)]

mod eventstore;
mod harness;
mod kurrentdb;

use harness::{Arguments, Failure, Report};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::from_environment()?;
    let report = Report::open(&arguments)?;
    match arguments.client.as_str() {
        "kurrentdb" => kurrentdb::run_all(&arguments, report).await,
        "eventstore" => eventstore::run_all(&arguments, report).await,
        other => Err(format!("there are no checks for {other}").into()),
    }
}
