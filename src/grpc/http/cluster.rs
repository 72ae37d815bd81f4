//! `/info` and `/gossip`: what the node is, and who leads.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{SERVER_VERSION, Shared};
use crate::grpc::node::{Arrival, Endpoint};
use crate::model::Timestamp;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/info", get(info))
        .route("/gossip", get(gossip))
}

async fn info() -> Json<Value> {
    Json(json!({
        "dbVersion": SERVER_VERSION,
        "esVersion": SERVER_VERSION,
        "annalVersion": env!("CARGO_PKG_VERSION"),
        "state": "leader",
        "features": {
            "projections": true,
            "userManagement": true,
            "atomPub": false,
        },
        "authentication": {
            "type": "internal",
            "properties": {},
        },
    }))
}

/// Every key that the parsers of clients insist on; ports that do not exist are 0.
async fn gossip(
    State(shared): State<Shared>,
    arrival: Option<Extension<Arrival>>,
    headers: HeaderMap,
) -> Json<Value> {
    let arrival = arrival.map(|Extension(arrival)| arrival);
    let Endpoint { host, port } = Endpoint::of(arrival.as_ref(), Some(&headers));
    let end = shared.store.committed().0;
    Json(json!({
        "members": [{
            "instanceId": shared.store.id().0.to_string(),
            "timeStamp": Timestamp::from_micros(shared.store.now_us()).to_string(),
            "state": "Leader",
            "isAlive": true,
            "internalTcpIp": host,
            "internalTcpPort": 0,
            "internalSecureTcpPort": 0,
            "externalTcpIp": host,
            "externalTcpPort": 0,
            "externalSecureTcpPort": 0,
            "internalHttpEndPointIp": host,
            "internalHttpEndPointPort": port,
            "httpEndPointIp": host,
            "httpEndPointPort": port,
            "lastCommitPosition": end,
            "writerCheckpoint": end,
            "chaserCheckpoint": end,
            "epochPosition": 0,
            "epochNumber": 0,
            "epochId": Uuid::nil().to_string(),
            "nodePriority": 0,
            "isReadOnlyReplica": false,
            "esVersion": SERVER_VERSION,
        }],
        "serverIp": host,
        "serverPort": port,
    }))
}
