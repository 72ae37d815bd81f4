//! How the store and its consumer groups are, when somebody asks.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::engine::{Histogram, Store, StoreStats};
use crate::subscription::{GroupInfo, Groups};

/// Takes a snapshot at each question.
#[derive(Debug)]
pub(super) struct StoreCollector {
    pub(super) store: Store,
    pub(super) groups: Arc<Mutex<Option<Groups>>>,
}

impl Collector for StoreCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut told = Told(encoder);
        // Taken once: it may ask the disk.
        let stats = self.store.stats();
        self.appends(&stats, &mut told)?;
        told.reads(&stats)?;
        told.size(&stats)?;
        self.subscriptions(&mut told)?;
        let groups = self.groups.lock().clone();
        // A store that fails says so elsewhere.
        let groups = groups.and_then(|groups| groups.list().ok());
        told.groups(&groups.unwrap_or_default())
    }
}

impl StoreCollector {
    fn appends(&self, stats: &StoreStats, told: &mut Told<'_>) -> Result<(), fmt::Error> {
        let end = self.store.committed().0;
        told.gauge(
            "store_end",
            "The position behind the last committed event",
            end,
        )?;
        told.counter("appends", "Appends that were acknowledged", stats.appends)?;
        told.counter(
            "appends_refused",
            "Appends that were refused",
            stats.appends_refused,
        )?;
        told.counter("events", "Events that were committed", stats.events)?;
        told.counter(
            "written_bytes",
            "Bytes written to the log",
            stats.written_bytes,
        )?;
        let help = "How long a commit took to be written and synced";
        told.histogram("sync", help, Some(&Unit::Seconds), &stats.sync_us, 1e6)?;
        let help = "Appends that shared a commit";
        told.histogram("batch_appends", help, None, &stats.appends_per_sync, 1.0)
    }

    fn subscriptions(&self, told: &mut Told<'_>) -> Result<(), fmt::Error> {
        // A store that fails says so elsewhere.
        let stats = self.store.subscription_stats().unwrap_or_default();
        let help = "Subscriptions: of clients, of groups, and of the program itself";
        told.gauge("subscriptions", help, stats.count)?;
        let help = "Subscriptions that have something to deliver";
        told.gauge("subscriptions_behind", help, stats.behind_count)?;
        let help = "Events that the slowest subscription has not looked at";
        told.gauge("subscription_lag_events_max", help, stats.lag_events_max)?;
        let help = "The age of the first event that the slowest subscription has not looked at";
        told.gauge("subscription_lag_microseconds_max", help, stats.lag_us_max)
    }
}

/// What is told of a group, by its name and what it means.
type OfGroup = (&'static str, &'static str, fn(&GroupInfo) -> Option<u64>);

const OF_GROUP: &[OfGroup] = &[
    ("group_members", "Members of a group", |info| {
        u64::try_from(info.members.len()).ok()
    }),
    ("group_live", "Whether a group is live", |info| {
        Some(u64::from(info.status.is_live))
    }),
    ("group_in_flight", "Events at members of a group", |info| {
        u64::try_from(info.in_flight_count).ok()
    }),
    ("group_parked", "Events that a group has parked", |info| {
        Some(info.parked_count)
    }),
    (
        "group_delivered",
        "Events that a group has delivered",
        |info| Some(info.total_count),
    ),
    (
        "group_lag_events",
        "Events that a group has not handled",
        |info| info.lag_count,
    ),
    (
        "group_lag_microseconds",
        "The age of the oldest event that a group has read and not handled",
        |info| Some(info.lag_us),
    ),
];

/// What has been told so far.
struct Told<'a>(DescriptorEncoder<'a>);

impl Told<'_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeGaugeValue,
    ) -> Result<(), fmt::Error> {
        let of = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(of)
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> Result<(), fmt::Error> {
        let of = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(of)
    }

    /// `parts`: into how many parts a unit of what was measured is divided for the unit told.
    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        measured: &Histogram,
        parts: f64,
    ) -> Result<(), fmt::Error> {
        let bounds = measured.bounds.iter().map(|bound| wide(*bound) / parts);
        let bounds = bounds.chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(measured.counts.iter().copied()).collect();
        let (sum, count) = (wide(measured.sum) / parts, measured.count());
        let kind = MetricType::Histogram;
        let mut of = self.0.encode_descriptor(name, help, unit, kind)?;
        of.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn reads(&mut self, stats: &StoreStats) -> Result<(), fmt::Error> {
        self.counter("read_events", "Events given to readers", stats.read_events)?;
        self.counter("read_bytes", "Bytes of these events", stats.read_bytes)?;
        let help = "Blocks of the log found in memory";
        self.counter("block_cache_hits", help, stats.block_cache_hits)?;
        let help = "Blocks of the log read from the disk";
        self.counter("block_cache_misses", help, stats.block_cache_misses)?;
        let help = "Pages of the index found in memory";
        self.counter("page_cache_hits", help, stats.page_cache_hits)?;
        let help = "Pages of the index read from the disk";
        self.counter("page_cache_misses", help, stats.page_cache_misses)
    }

    fn size(&mut self, stats: &StoreStats) -> Result<(), fmt::Error> {
        let help = "Memory that the newest part of the index takes";
        self.gauge("index_memory_bytes", help, stats.index_memory_bytes)?;
        let help = "Memory that pages of the index take";
        self.gauge("page_cache_bytes", help, stats.page_cache_bytes)?;
        self.gauge("index_tables", "Tables of the index", stats.tables)?;
        self.gauge("segments", "Segments of the log", stats.segments)?;
        if let Some(bytes) = stats.disk_bytes {
            self.gauge("disk_bytes", "The length of all files", bytes)?;
        }
        if let Some(bytes) = stats.resident_bytes {
            self.gauge("resident_bytes", "Memory of the process", bytes)?;
        }
        Ok(())
    }

    fn groups(&mut self, groups: &[GroupInfo]) -> Result<(), fmt::Error> {
        if groups.is_empty() {
            return Ok(());
        }
        for (name, help, value) in OF_GROUP {
            let kind = MetricType::Gauge;
            let mut of = self.0.encode_descriptor(name, help, None, kind)?;
            for info in groups {
                let Some(value) = value(info) else { continue };
                let labels = [
                    ("stream", info.source.as_str()),
                    ("group", info.name.as_str()),
                ];
                ConstGauge::new(value).encode(of.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// A number as the format has it; what is beyond its precision does not matter there.
fn wide(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
