//! The services for whoever runs the server: users, projections, operations, statistics.
//!
//! Each call first asks whether the caller may make it, and says nothing else before.

pub(super) mod monitoring;
pub(super) mod operations;
pub(super) mod projections;
pub(super) mod users;

use tonic::service::Routes;

use super::Shared;
use super::wire::event_store::client::monitoring::monitoring_server::MonitoringServer;
use super::wire::event_store::client::operations::operations_server::OperationsServer;
use super::wire::event_store::client::projections::projections_server::ProjectionsServer;
use super::wire::event_store::client::users::users_server::UsersServer;

/// Adds all of them.
pub(super) fn add(routes: Routes, shared: &Shared) -> Routes {
    let shared = || shared.clone();
    routes
        .add_service(MonitoringServer::new(monitoring::Monitoring {
            shared: shared(),
        }))
        .add_service(OperationsServer::new(operations::Operations {
            shared: shared(),
        }))
        .add_service(ProjectionsServer::new(projections::Projections::new(
            shared(),
        )))
        .add_service(UsersServer::new(users::Users { shared: shared() }))
}
