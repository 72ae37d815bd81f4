//! `ServerFeatures`: which methods there are, and the version that stands for what they do.
//!
//! Clients ask this before anything else and without saying who they are; any other answer than the
//! list ends some of them. Names are in lower case.

use tonic::{Request, Response, Status};

use super::wire::event_store::client::Empty;
use super::wire::event_store::client::server_features::{
    SupportedMethod, SupportedMethods, server_features_server,
};

/// The version whose protocol this front speaks.
pub(super) const SERVER_VERSION: &str = "26.1.0";

/// A service: its full name, and its methods with what each can do.
type Service = (
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
);

/// Methods that know streams and `$all`.
const BOTH: &[&str] = &["stream", "all"];

const SERVICES: &[Service] = &[
    (
        "event_store.client.streams.streams",
        &[
            ("append", &[]),
            ("batchappend", &["deadline_duration"]),
            ("delete", &[]),
            ("tombstone", &[]),
            ("read", &["position", "events"]),
        ],
    ),
    (
        "kurrentdb.protocol.v2.streams.streamsservice",
        &[("appendsession", &[]), ("appendrecords", &[])],
    ),
    (
        "event_store.client.persistent_subscriptions.persistentsubscriptions",
        &[
            ("create", BOTH),
            ("update", BOTH),
            ("delete", BOTH),
            ("read", BOTH),
            ("getinfo", BOTH),
            ("replayparked", BOTH),
            ("truncateparked", BOTH),
            ("list", BOTH),
            ("restartsubsystem", BOTH),
        ],
    ),
    (
        "event_store.client.projections.projections",
        &[
            ("create", &["track_emitted_streams"]),
            ("update", &[]),
            ("delete", &[]),
            ("statistics", &[]),
            ("disable", &[]),
            ("enable", &[]),
            ("reset", &[]),
            ("state", &[]),
            ("result", &[]),
            ("restartsubsystem", &[]),
        ],
    ),
    (
        "event_store.client.operations.operations",
        &[
            ("startscavenge", &[]),
            ("stopscavenge", &[]),
            ("shutdown", &[]),
            ("mergeindexes", &[]),
            ("resignnode", &[]),
            ("setnodepriority", &[]),
            ("restartpersistentsubscriptions", &[]),
        ],
    ),
    (
        "event_store.client.users.users",
        &[
            ("create", &[]),
            ("update", &[]),
            ("delete", &[]),
            ("disable", &[]),
            ("enable", &[]),
            ("details", &[]),
            ("changepassword", &[]),
            ("resetpassword", &[]),
        ],
    ),
    ("event_store.client.gossip.gossip", &[("read", &[])]),
    (
        "event_store.client.monitoring.monitoring",
        &[("stats", &[])],
    ),
    (
        "event_store.client.server_features.serverfeatures",
        &[("getsupportedmethods", &[])],
    ),
];

/// The service.
#[derive(Debug)]
pub(super) struct Features;

#[tonic::async_trait]
impl server_features_server::ServerFeatures for Features {
    async fn get_supported_methods(
        &self,
        _request: Request<Empty>,
    ) -> Result<Response<SupportedMethods>, Status> {
        let methods = SERVICES.iter().flat_map(|(service, methods)| {
            methods.iter().map(|(method, features)| SupportedMethod {
                method_name: (*method).to_owned(),
                service_name: (*service).to_owned(),
                features: features.iter().map(|tag| (*tag).to_owned()).collect(),
            })
        });
        Ok(Response::new(SupportedMethods {
            methods: methods.collect(),
            event_store_server_version: SERVER_VERSION.to_owned(),
        }))
    }
}
