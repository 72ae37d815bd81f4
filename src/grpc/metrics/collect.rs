//! How the store is, when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::engine::Store;

/// Takes a snapshot of a store at each question.
#[derive(Debug)]
pub(super) struct StoreCollector {
    store: Store,
}

impl StoreCollector {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let end = ConstGauge::new(self.store.committed().0);
        let help = "The position behind the last committed event";
        let of = encoder.encode_descriptor("store_end", help, None, ConstGauge::<u64>::TYPE)?;
        end.encode(of)
    }
}
