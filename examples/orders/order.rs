//! The aggregate: what an order is, what may be done to it, and what then has happened.

use serde::{Deserialize, Serialize};

/// What has happened to an order. These are the events, by the names they have in the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(crate) enum Event {
    OrderPlaced { customer: String },
    ItemAdded { article: String, cents: u64 },
    OrderShipped { cents: u64 },
}

/// What somebody wants to happen.
#[derive(Debug)]
pub(crate) enum Command {
    Place { customer: String },
    AddItem { article: String, cents: u64 },
    Ship,
}

impl Command {
    pub(crate) fn place(customer: &str) -> Self {
        let customer = customer.to_owned();
        Self::Place { customer }
    }

    pub(crate) fn add_item(article: &str, cents: u64) -> Self {
        let article = article.to_owned();
        Self::AddItem { article, cents }
    }
}

/// What is known of an order after its events: no more than its decisions need.
#[derive(Debug, Default)]
pub(crate) struct Order {
    placed: bool,
    shipped: bool,
    items: u64,
    cents: u64,
}

impl Order {
    /// Takes in one event, in the order of the stream.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::OrderPlaced { .. } => self.placed = true,
            Event::ItemAdded { cents, .. } => {
                self.items += 1;
                self.cents += cents;
            }
            Event::OrderShipped { .. } => self.shipped = true,
        }
    }

    /// Decides what happens if this is wanted now, or why nothing does.
    pub(crate) fn decide(&self, command: &Command) -> Result<Vec<Event>, &'static str> {
        match command {
            Command::Place { .. } if self.placed => Err("the order is placed already"),
            Command::Place { customer } => Ok(vec![Event::OrderPlaced {
                customer: customer.clone(),
            }]),
            _ if !self.placed => Err("there is no such order"),
            _ if self.shipped => Err("the order is on its way"),
            Command::AddItem { article, cents } => Ok(vec![Event::ItemAdded {
                article: article.clone(),
                cents: *cents,
            }]),
            Command::Ship if self.items == 0 => Err("the order is empty"),
            Command::Ship => Ok(vec![Event::OrderShipped { cents: self.cents }]),
        }
    }
}
