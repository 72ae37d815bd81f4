//! `/metrics` and `/stats`: what the server measures, for Prometheus and as JSON.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value};

use super::Shared;
use super::asked::{Asked, Refused, admit};
use crate::access::Call;

/// What Prometheus calls the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(
    State(shared): State<Shared>,
    who: Asked,
) -> Result<impl IntoResponse, Refused> {
    admit(&shared, &who, Call::Statistics).await?;
    let metrics = shared.metrics.clone();
    let text = shared.blocking(move || metrics.text()).await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}

/// A tree: the part of a name in front of the first hyphen is a branch.
pub(super) async fn stats(
    State(shared): State<Shared>,
    who: Asked,
) -> Result<Json<Value>, Refused> {
    admit(&shared, &who, Call::Statistics).await?;
    let mut tree: Map<String, Value> = Map::new();
    let asked = shared.clone();
    for (name, figure) in shared.blocking(move || asked.figures()).await? {
        let (branch, leaf) = name.split_once('-').unwrap_or(("annal", name));
        let figure = match figure.parse::<u64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(figure),
        };
        let branch = tree
            .entry(branch)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(branch) = branch {
            branch.insert(leaf.to_owned(), figure);
        }
    }
    Ok(Json(Value::Object(tree)))
}
