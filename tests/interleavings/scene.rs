//! A store with all of its threads, what was seen of it, and what must be true of that in the end.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::engine::{AppendError, Background, Store, StoreOptions};
use annal::model::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, Position, ReadFrom, Receipt,
    StreamName,
};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::mpsc::Sender;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::disk::SharedDisk;
use crate::stretches::Stretches;

/// How many orders a promise is tried in where nobody says how many.
const ORDERS: usize = 500;
/// More steps are taken by nobody who does not go round in circles.
const STEPS_MAX: usize = 1_000_000;
/// Debug builds need some.
const STACK_LEN_BYTES: usize = 512 * 1024;
/// So long it may take to be forgotten; no wait of this length ends by itself.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    let parsed = given.parse();
    Some(parsed.unwrap_or_else(|_| panic!("{name} is no number: {given}")))
}

/// Plays a scene in many orders.
pub(crate) fn in_many_orders(scene: fn()) {
    let given = number("ANNAL_ORDERS").and_then(|given| usize::try_from(given).ok());
    let seed = number("ANNAL_ORDERS_SEED").unwrap_or(0);
    let mut config = Config::new();
    config.stack_size = STACK_LEN_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let orders = Stretches::new(seed, given.unwrap_or(ORDERS));
    Runner::new(orders, config).run(scene);
}

/// Something that was known of an event, and the disk at that moment.
struct Known {
    position: Position,
    data: Vec<u8>,
    durable: MemoryDisk,
}

/// A store and what is known of it.
#[derive(Clone)]
pub(crate) struct Scene {
    disk: SharedDisk,
    store: Arc<Mutex<Option<Store>>>,
    known: Arc<Mutex<Vec<Known>>>,
}

fn open(disk: Arc<dyn annal::disk::Disk>, background: Background) -> Store {
    let mut options = StoreOptions::default();
    options.background = background;
    options.segment_size_bytes = 64 * 1024;
    options.recent_bytes = 16 * 1024;
    options.zero_fill = false;
    Store::open_on(disk, Arc::new(SimulatedHost::new(1)), options).unwrap()
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name.to_owned()).unwrap()
}

/// An append of so many events that can be told from all others.
pub(crate) fn events(name: &str, text: &str, count: usize) -> Append {
    let event = |number| {
        let kind = EventType::new("Happened".to_owned()).unwrap();
        NewEvent::binary(kind, format!("{name} {text} {number}").into_bytes())
    };
    Append::to(stream(name), ExpectedRevision::Any, (0..count).map(event))
}

impl Scene {
    pub(crate) fn new() -> Self {
        let disk = SharedDisk::default();
        let store = open(Arc::new(disk.clone()), Background::Threads);
        Self {
            disk,
            store: Arc::new(Mutex::new(Some(store))),
            known: Arc::default(),
        }
    }

    /// A handle of the store.
    pub(crate) fn store(&self) -> Store {
        self.store.lock().unwrap().clone().unwrap()
    }

    /// Remembers that an event was seen or acknowledged, and what of it would be left.
    pub(crate) fn knows(&self, position: Position, data: &[u8]) {
        let durable = self.disk.durable();
        let data = data.to_vec();
        self.known.lock().unwrap().push(Known {
            position,
            data,
            durable,
        });
    }

    /// The same of all events of an append.
    pub(crate) fn acknowledged(&self, append: &Append, receipt: &Receipt) {
        for (at, (_, event)) in (receipt.first.0..).zip(&append.events) {
            self.knows(Position(at), &event.data);
        }
    }

    /// The same of everything that can be read.
    pub(crate) fn read(&self, store: &Store) {
        for (position, data) in all(store) {
            self.knows(position, &data);
        }
    }

    /// Appends, and remembers the answer.
    pub(crate) fn append(&self, append: Append) -> Receipt {
        let receipt = self.store().append(append.clone()).unwrap();
        self.acknowledged(&append, &receipt);
        receipt
    }

    /// What remembers the answer to an append, and tells it.
    pub(crate) fn telling(
        &self,
        append: &Append,
        told: &Sender<Told>,
    ) -> impl FnOnce(Result<Receipt, AppendError>) + Send + use<> {
        let (asked, knows, told) = (append.clone(), self.clone(), told.clone());
        move |answer| {
            if let Ok(receipt) = &answer {
                knows.acknowledged(&asked, receipt);
            }
            told.send(Told(asked, answer)).unwrap();
        }
    }

    /// Closes the store, opens it again, and compares what is there with what was known: of the
    /// disks that were kept one is chosen.
    pub(crate) fn end(&self) -> Vec<(Position, Vec<u8>)> {
        self.close();
        let left = all(&open(Arc::new(self.disk.0.clone()), Background::Manual));
        for (number, (position, _)) in (0..).zip(&left) {
            assert_eq!(position.0, number, "positions have no gaps");
        }
        let known = std::mem::take(&mut *self.known.lock().unwrap());
        for one in &known {
            let found = usize::try_from(one.position.0)
                .ok()
                .and_then(|at| left.get(at));
            let data = found.map(|(_, data)| data);
            assert_eq!(data, Some(&one.data), "{} was known", one.position);
        }
        if !known.is_empty() {
            let one = &known[thread_rng().gen_range(0..known.len())];
            let durable = all(&open(Arc::new(one.durable.clone()), Background::Manual));
            let seen = (one.position, one.data.clone());
            assert!(durable.contains(&seen), "{} was not durable", one.position);
        }
        left
    }

    pub(crate) fn close(&self) {
        if let Some(store) = self.store.lock().unwrap().take() {
            store.close().unwrap();
        }
    }
}

/// A request and how it ended.
pub(crate) struct Told(pub(crate) Append, pub(crate) Result<Receipt, AppendError>);

/// Everything that can be read.
fn all(store: &Store) -> Vec<(Position, Vec<u8>)> {
    let events = store.read_all(ReadFrom::Start, Direction::Forwards, None);
    let events = events.unwrap().map(Result::unwrap);
    events
        .map(|event| (event.position, event.data.to_vec()))
        .collect()
}
