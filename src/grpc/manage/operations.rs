//! `Operations`: what whoever runs the server asks of it.
//!
//! A single node has nobody to hand over to: resigning and priorities are heard and change nothing.

use tonic::{Request, Response, Status};

use crate::access::{Call, Principal};
use crate::grpc::Shared;
use crate::grpc::auth::Wish;
use crate::grpc::wire::event_store::client::Empty;
use crate::grpc::wire::event_store::client::operations as wire;
use wire::operations_server;

/// The service.
#[derive(Debug)]
pub(in crate::grpc) struct Operations {
    pub(in crate::grpc) shared: Shared,
}

impl Operations {
    async fn admit<T>(&self, request: &Request<T>, call: Call) -> Result<Principal, Status> {
        self.shared.admit(request, Wish::Call(call)).await
    }
}

#[tonic::async_trait]
impl operations_server::Operations for Operations {
    async fn start_scavenge(
        &self,
        request: Request<wire::StartScavengeReq>,
    ) -> Result<Response<wire::ScavengeResp>, Status> {
        self.admit(&request, Call::Operate).await?;
        Err(Status::unimplemented("this server does not scavenge"))
    }

    async fn stop_scavenge(
        &self,
        request: Request<wire::StopScavengeReq>,
    ) -> Result<Response<wire::ScavengeResp>, Status> {
        self.admit(&request, Call::Operate).await?;
        Err(Status::unimplemented("this server does not scavenge"))
    }

    async fn shutdown(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        let principal = self.admit(&request, Call::Operate).await?;
        tracing::info!(by = principal.name(), "shutting down");
        self.shared.asked_to_stop.cancel();
        Ok(Response::new(Empty {}))
    }

    async fn merge_indexes(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.admit(&request, Call::Operate).await?;
        // The index is merged whenever there is something to merge.
        Ok(Response::new(Empty {}))
    }

    async fn resign_node(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.admit(&request, Call::Operate).await?;
        Ok(Response::new(Empty {}))
    }

    async fn set_node_priority(
        &self,
        request: Request<wire::SetNodePriorityReq>,
    ) -> Result<Response<Empty>, Status> {
        self.admit(&request, Call::Operate).await?;
        Ok(Response::new(Empty {}))
    }

    async fn restart_persistent_subscriptions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Empty>, Status> {
        self.admit(&request, Call::ManageGroups).await?;
        self.shared.restart_groups().await?;
        Ok(Response::new(Empty {}))
    }
}
