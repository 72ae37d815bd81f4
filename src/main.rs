//! The `annal` binary: the command line of the event store.

fn main() {}
