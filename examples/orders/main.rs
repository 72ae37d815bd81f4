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

mod commands;
mod order;
mod overview;

use std::path::PathBuf;
use std::time::Duration;

use annal::{Store, StoreOptions};
use uuid::Uuid;

use commands::Orders;
use order::Command;
use overview::Overview;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let named = std::env::args().nth(1).map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("annal-orders-{}", std::process::id()))
    });
    std::fs::create_dir_all(&folder)?;
    let store = Store::open(folder.join("events"), StoreOptions::default())?;
    let overview = Overview::open(&store, &folder.join("overview.sqlite"))?;
    println!("the read model starts with {} orders", overview.orders()?);

    let orders = Orders::new(&store);
    let order = Uuid::new_v4();
    orders.handle(order, &Command::Place { customer: "Ada".into() })?;
    std::thread::scope(|scope| {
        // Two hands fill the same order at the same time. Each append states the version it was
        // decided on, so none overwrites the other.
        let hands = [("tea", 3), ("biscuits", 5)].map(|(article, cents)| {
            let orders = &orders;
            scope.spawn(move || {
                (0..10).try_for_each(|_| {
                    let command = Command::AddItem { article: article.into(), cents };
                    orders.handle(order, &command).map(drop)
                })
            })
        });
        hands.into_iter().try_for_each(|hand| hand.join().expect("no hand panics"))
    })?;
    let refused = orders.handle(order, &Command::Place { customer: "Grace".into() });
    println!("placing it again: {}", refused.expect_err("an order is placed once"));
    let written = orders.handle(order, &Command::Ship)?;

    // Read your own writes: wait until the projection has seen what the command wrote.
    overview.wait_for(written, Duration::from_secs(5))?;
    let (items, cents, shipped) = overview.order(order)?.ok_or("the order is in the read model")?;
    println!("order {order}: {items} items, {cents} cents, shipped: {shipped}");
    println!("the read model ends with {} orders", overview.orders()?);

    overview.stop()?;
    store.close()?;
    match named {
        Some(_) => Ok(()),
        None => Ok(std::fs::remove_dir_all(folder)?),
    }
}
