//! An order system after CQRS, on an embedded store.
//!
//! * `order.rs`: the aggregate. It is rebuilt from its stream and decides; it knows no store.
//! * `commands.rs`: the command side. It loads, decides, appends with the expected version, and
//!   decides again when somebody else was faster.
//! * `overview.rs`: the query side. A projection follows the store and keeps its read model and its
//!   checkpoint in one SQLite transaction, so it goes on after a restart where it stopped, and no
//!   event is counted twice. A query can wait for what a command wrote.
//!
//! Run it twice with the same folder: `cargo run --example orders -- my-orders`.

pub(crate) mod commands;
pub(crate) mod order;
mod overview;

use std::path::Path;
use std::time::Duration;

use annal::{Store, StoreOptions};
use uuid::Uuid;

use commands::Orders;
use order::Command;
use overview::Overview;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    if let Some(folder) = std::env::args_os().nth(1) {
        return run(Path::new(&folder)).map(drop);
    }
    let folder = std::env::temp_dir().join(format!("annal-orders-{}", std::process::id()));
    run(&folder)?;
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Fills one order and ships it. Returns how many orders the read model had at the start and has at
/// the end.
pub(crate) fn run(folder: &Path) -> Result<(u64, u64), Failure> {
    std::fs::create_dir_all(folder)?;
    let store = Store::open(folder.join("events"), StoreOptions::default())?;
    let overview = Overview::open(&store, &folder.join("overview.sqlite"))?;
    let before = overview.orders()?;
    println!("the read model starts with {before} orders");

    let orders = Orders::new(&store);
    let order = Uuid::new_v4();
    orders.handle(order, &Command::place("Ada"))?;
    std::thread::scope(|scope| {
        // Two hands fill the same order at the same time. Each append states the version it was
        // decided on, so none overwrites the other.
        let hands = [("tea", 3), ("biscuits", 5)].map(|(article, cents)| {
            let orders = &orders;
            scope.spawn(move || {
                let add = Command::add_item(article, cents);
                (0..10).try_for_each(|_| orders.handle(order, &add).map(drop))
            })
        });
        let mut hands = hands.into_iter();
        hands.try_for_each(|hand| hand.join().expect("no hand panics"))
    })?;
    let refused = orders.handle(order, &Command::place("Grace"));
    let refused = refused.expect_err("an order is placed once");
    println!("placing it again: {refused}");
    let written = orders.handle(order, &Command::Ship)?;

    // Read your own writes: wait until the projection has seen what the command wrote.
    overview.wait_for(written, Duration::from_secs(30))?;
    let row = overview.order(order)?;
    let (items, cents, shipped) = row.ok_or("the order is not in the read model")?;
    println!("order {order}: {items} items, {cents} cents, shipped: {shipped}");
    assert_eq!((items, cents, shipped), (20, 80, true), "nothing was lost");
    let after = overview.orders()?;
    println!("the read model ends with {after} orders");

    overview.stop()?;
    store.close()?;
    Ok((before, after))
}
