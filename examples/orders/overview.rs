//! The query side: a table of orders, kept by a projection that follows the store.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use annal::{BatchLimit, Notice, Position, RecordedEvent, Source, Store, SubscribeFrom, Token};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::Failure;
use super::commands::from_recorded;
use super::order::Event;

/// How long the projection listens before it looks whether it is to stop.
const LISTEN: Duration = Duration::from_millis(100);

/// The read model, and the thread that keeps it.
pub(crate) struct Overview {
    queries: Connection,
    progress: Arc<Progress>,
    projection: JoinHandle<Result<(), Failure>>,
}

/// How far the projection has come, for those who wait for it.
struct Progress {
    seen: Mutex<Position>,
    moved: Condvar,
    stop: AtomicBool,
}

impl Overview {
    /// Opens the read model, and goes on projecting where it stopped.
    pub(crate) fn open(store: &Store, file: &Path) -> Result<Self, Failure> {
        let mut tables = Connection::open(file)?;
        tables.pragma_update(None, "journal_mode", "wal")?;
        tables.execute_batch(
            "create table if not exists orders(
                id text primary key, items integer not null, cents integer not null,
                shipped integer not null);
             create table if not exists checkpoint(
                only integer primary key check (only = 1), next integer not null);",
        )?;
        let next: Option<u64> = tables
            .query_row("select next from checkpoint", [], |row| row.get(0))
            .optional()?;
        let next = next.map_or(Position::START, Position);
        let progress = Arc::new(Progress {
            seen: Mutex::new(next),
            moved: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let from = match next.0.checked_sub(1) {
            None => SubscribeFrom::Start,
            Some(last) => SubscribeFrom::After(Position(last)),
        };
        let mut subscription = store.subscribe(Source::Category("order".into()), from)?;
        let shared = Arc::clone(&progress);
        let projection = std::thread::spawn(move || {
            while !shared.stop.load(Ordering::Relaxed) {
                match subscription.next_timeout(BatchLimit::default(), LISTEN)? {
                    Some(Notice::Events(batch)) => {
                        let events = batch.events().collect::<Result<Vec<_>, _>>()?;
                        shared.advance(project(&mut tables, &events)?);
                    }
                    // Nothing for this read model in front of that position.
                    Some(Notice::Checkpoint(progress) | Notice::CaughtUp(progress)) => {
                        shared.advance(progress.position);
                    }
                    Some(_) | None => {}
                }
            }
            Ok(())
        });
        Ok(Self {
            queries: Connection::open(file)?,
            progress,
            projection,
        })
    }

    /// How many orders there are.
    pub(crate) fn orders(&self) -> Result<u64, Failure> {
        Ok(self
            .queries
            .query_row("select count(*) from orders", [], |row| row.get(0))?)
    }

    /// Items, cents and whether it is on its way, for one order.
    pub(crate) fn order(&self, order: Uuid) -> Result<Option<(u64, u64, bool)>, Failure> {
        let sql = "select items, cents, shipped from orders where id = ?";
        let row = self.queries.query_row(sql, [order.to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        Ok(row.optional()?)
    }

    /// Waits until the read model has taken in everything that the token covers.
    pub(crate) fn wait_for(&self, token: Token, patience: Duration) -> Result<(), Failure> {
        let seen = self
            .progress
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let behind = |seen: &mut Position| *seen < token.end;
        let waited = self
            .progress
            .moved
            .wait_timeout_while(seen, patience, behind);
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match *seen >= token.end {
            true => Ok(()),
            false => Err(format!("the read model is at {} of {}", *seen, token.end).into()),
        }
    }

    /// Stops projecting.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.projection
            .join()
            .map_err(|_| "the projection panicked")?
    }
}

impl Progress {
    fn advance(&self, seen: Position) {
        let mut furthest = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *furthest = seen.max(*furthest);
        self.moved.notify_all();
    }
}

/// Takes events into the read model, together with how far it then has come.
fn project(tables: &mut Connection, events: &[RecordedEvent]) -> Result<Position, Failure> {
    let mut next = Position::START;
    let transaction = tables.transaction()?;
    for event in events {
        let order = event.stream.strip_prefix("order-").unwrap_or_default();
        match from_recorded(event)? {
            Event::OrderPlaced { .. } => {
                transaction.execute("insert into orders values(?, 0, 0, 0)", [order])?
            }
            Event::ItemAdded { cents, .. } => transaction.execute(
                "update orders set items = items + 1, cents = cents + ? where id = ?",
                params![cents, order],
            )?,
            Event::OrderShipped { .. } => {
                transaction.execute("update orders set shipped = 1 where id = ?", [order])?
            }
        };
        next = event.position.next();
    }
    let sql = "insert into checkpoint values(1, ?) on conflict do update set next = excluded.next";
    transaction.execute(sql, [next.0])?;
    transaction.commit()?;
    Ok(next)
}
