//! `/metrics` and `/stats`: what the server measures, for Prometheus and as JSON.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Shared;

/// What Prometheus calls the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        shared.metrics.text(),
    )
}
