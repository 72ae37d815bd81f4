//! The `annal` binary: the command line of the event store.

use std::process::ExitCode;

/// Every request takes memory on one thread and gives it back on another, which the system's
/// allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    annal::cli::run(std::env::args_os())
}
