//! What the front measures: calls by method and outcome, connections, and how the store is.
//!
//! Counting costs a call nothing but a few atomics; everything of the store is a snapshot that is
//! taken when somebody asks. Labels come from methods that exist, so that their number is bounded.

mod calls;
mod collect;
mod figures;

pub(super) use calls::count;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::Store;
use crate::subscription::Groups;
use collect::StoreCollector;

/// Bounds of the buckets of a time, in seconds.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

type MethodLabel = [(&'static str, String); 1];
type CallLabels = [(&'static str, String); 2];

/// Everything that is measured. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Metrics(Arc<Measured>);

#[derive(Debug)]
struct Measured {
    registry: Registry,
    ended: Family<CallLabels, Counter>,
    running: Gauge,
    answered: Family<MethodLabel, Histogram, fn() -> Histogram>,
    connections: Gauge,
    /// When the front was made, in microseconds since 1970.
    started_us: i64,
}

impl Metrics {
    pub(super) fn new(store: &Store, groups: &Arc<Mutex<Option<Groups>>>) -> Self {
        let mut registry = Registry::with_prefix("annal");
        let ended = Family::<CallLabels, Counter>::default();
        let answered =
            Family::<MethodLabel, Histogram, fn() -> Histogram>::new_with_constructor(|| {
                Histogram::new(SECONDS)
            });
        let (running, connections) = (Gauge::default(), Gauge::default());
        registry.register(
            "calls",
            "Calls that ended, by method and status",
            ended.clone(),
        );
        registry.register("calls_running", "Calls that are running", running.clone());
        registry.register_with_unit(
            "calls_answered",
            "Until the answer began",
            Unit::Seconds,
            answered.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        let (store_of, groups) = (store.clone(), Arc::clone(groups));
        registry.register_collector(Box::new(StoreCollector {
            store: store_of,
            groups,
        }));
        Self(Arc::new(Measured {
            registry,
            ended,
            running,
            answered,
            connections,
            started_us: store.now_us(),
        }))
    }

    /// Everything, as Prometheus reads it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // A `String` takes everything.
        let _taken = encode(&mut text, &self.0.registry);
        text
    }

    /// Counts a connection for as long as the answer lives.
    pub(super) fn connected(&self) -> impl Drop + Send + use<> {
        self.0.connections.inc();
        Held(self.0.connections.clone())
    }

    /// How many calls are running.
    pub(super) fn running(&self) -> usize {
        usize::try_from(self.0.running.get()).unwrap_or(0)
    }

    fn began(&self) -> Held {
        self.0.running.inc();
        Held(self.0.running.clone())
    }

    fn answered(&self, method: &str, within: Duration) {
        let labels = [("method", method.to_owned())];
        let seconds = within.as_secs_f64();
        self.0.answered.get_or_create(&labels).observe(seconds);
    }

    fn ended(&self, method: &str, status: String) {
        let labels = [("method", method.to_owned()), ("status", status)];
        self.0.ended.get_or_create(&labels).inc();
    }
}

/// Something that is counted as long as it is there.
#[derive(Debug)]
struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
