//! The HTTP side of the same port: whether the server lives, and what it is.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

/// The routes.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/health/live", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/ping",
            get(|| async { "Ping request successfully handled" }),
        )
}
