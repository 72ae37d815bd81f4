//! The figures that are read by name: EventStoreDB's names where it has them.

use super::Metrics;
use crate::grpc::Shared;
use crate::grpc::features::SERVER_VERSION;
use crate::model::Timestamp;

impl Shared {
    /// What the server is and does now, each figure by its name.
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
        figures.extend(last_commit.map(|last| ("annal-lastCommit", last.to_string())));
        figures
    }
}
