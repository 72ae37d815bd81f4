//! The HTTP side of the same port: whether the server lives, what it is, and what it measures.
//!
//! Texts and keys are those of EventStoreDB's HTTP interface, where tools and clients read them.

mod asked;
mod cluster;
mod stats;
mod subscriptions;

use axum::Router;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::features::SERVER_VERSION;

/// The routes.
pub(super) fn routes(shared: &Shared) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/health/live", get(live))
        .route("/ping", get(ping))
        .route("/metrics", get(stats::metrics))
        .route("/stats", get(stats::stats))
        .merge(cluster::routes())
        .merge(subscriptions::routes())
        .with_state(shared.clone())
}

async fn home() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><title>Annal</title><h1>Annal ",
        env!("CARGO_PKG_VERSION"),
        "</h1><p>An event store. <a href=\"/info\">info</a>, <a href=\"/stats\">stats</a>, ",
        "<a href=\"/metrics\">metrics</a>.</p>\n",
    ))
}

#[derive(Debug, Deserialize)]
struct Live {
    /// The status that tells that the server lives.
    #[serde(rename = "liveCode")]
    code: Option<u16>,
}

async fn live(Query(Live { code }): Query<Live>) -> StatusCode {
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    match code {
        Some(code) if code.is_success() => code,
        _ => StatusCode::NO_CONTENT,
    }
}

async fn ping(headers: HeaderMap) -> Response {
    const TEXT: &str = "Ping request successfully handled";
    let accept = headers.get(header::ACCEPT);
    let wants_json = accept.is_some_and(|accept| accept.as_bytes().ends_with(b"json"));
    match wants_json {
        true => axum::Json(json!({ "text": TEXT })).into_response(),
        false => TEXT.into_response(),
    }
}
