//! The examples do what they say.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "its `main` is the test")]
#[path = "../examples/embedded.rs"]
mod embedded;
#[allow(dead_code, reason = "a test calls what its `main` calls")]
#[path = "../examples/orders/main.rs"]
mod orders;

use annal::{Store, StoreOptions};
use orders::commands::Orders;
use orders::order::Command;
use uuid::Uuid;

#[test]
fn the_embedded_store_appends_reads_and_follows() {
    embedded::main().unwrap();
}

#[test]
fn the_projection_goes_on_from_its_checkpoint_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(orders::run(folder.path()).unwrap(), (0, 1));
    assert_eq!(orders::run(folder.path()).unwrap(), (1, 2));

    // What is written while nobody projects is caught up with.
    let store = Store::open(folder.path().join("events"), StoreOptions::default()).unwrap();
    let commands = Orders::new(&store);
    let place = Command::place("Ada");
    commands.handle(Uuid::new_v4(), &place).unwrap();
    store.close().unwrap();
    let (_, after) = orders::run(folder.path()).unwrap();
    assert_eq!(after, 4);
}
