//! The figures that are read by name: EventStoreDB's names where it has them.

use super::Metrics;
use crate::grpc::Shared;
use crate::grpc::features::SERVER_VERSION;
use crate::model::Timestamp;

impl Shared {
    /// What the server is and does now, each figure by its name. May ask the disk.
    pub(in crate::grpc) fn figures(&self) -> Vec<(&'static str, String)> {
        let Metrics(measured) = &self.metrics;
        let up_us = self.store.now_us().saturating_sub(measured.started_us);
        let started = Timestamp::from_micros(measured.started_us);
        let last_commit = self.store.committed_us().map(Timestamp::from_micros);
        let mut figures = vec![
            ("proc-id", std::process::id().to_string()),
            ("proc-startTime", started.to_string()),
            ("proc-upTimeSeconds", (up_us / 1_000_000).to_string()),
            ("es-version", SERVER_VERSION.to_owned()),
            ("annal-version", env!("CARGO_PKG_VERSION").to_owned()),
            ("annal-end", self.store.committed().to_string()),
            ("annal-connections", measured.connections.get().to_string()),
            ("annal-callsRunning", measured.running.get().to_string()),
        ];
        let stats = self.store.stats();
        let rates = [
            ("annal-appends", stats.appends),
            ("annal-appendsRefused", stats.appends_refused),
            ("annal-events", stats.events),
            ("annal-writtenBytes", stats.written_bytes),
            ("annal-syncs", stats.sync_us.count()),
            ("annal-readEvents", stats.read_events),
            ("annal-readBytes", stats.read_bytes),
            ("annal-segments", stats.segments),
            ("annal-indexTables", stats.tables),
            ("annal-indexMemoryBytes", stats.index_memory_bytes),
        ];
        figures.extend(rates.map(|(name, figure)| (name, figure.to_string())));
        let sizes = [
            ("annal-diskBytes", stats.disk_bytes),
            ("proc-mem", stats.resident_bytes),
        ];
        let sizes = sizes.into_iter();
        figures.extend(sizes.filter_map(|(name, size)| Some((name, size?.to_string()))));
        figures.extend(last_commit.map(|last| ("annal-lastCommit", last.to_string())));
        figures
    }
}
