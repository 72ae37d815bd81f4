//! `Operations`: what whoever runs the server asks of it.
//!
//! A single node has nobody to hand over to: resigning and priorities are heard and change nothing.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::access::{Call, Principal};
use crate::engine::{ScavengeError, ScavengeOptions};
use crate::grpc::auth::Wish;
use crate::grpc::wire::event_store::client::Empty;
use crate::grpc::wire::event_store::client::operations as wire;
use crate::grpc::{Shared, status};
use wire::operations_server;
use wire::scavenge_resp::ScavengeResult;

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

fn answer(id: Uuid, result: ScavengeResult) -> Response<wire::ScavengeResp> {
    Response::new(wire::ScavengeResp {
        scavenge_id: id.to_string(),
        scavenge_result: result.into(),
    })
}

#[tonic::async_trait]
impl operations_server::Operations for Operations {
    async fn start_scavenge(
        &self,
        request: Request<wire::StartScavengeReq>,
    ) -> Result<Response<wire::ScavengeResp>, Status> {
        self.admit(&request, Call::Operate).await?;
        let asked = request.into_inner().options.unwrap_or_default();
        let Ok(first) = u32::try_from(asked.start_from_chunk) else {
            return Err(status::invalid("a scavenge cannot start before segment 0"));
        };
        let options = ScavengeOptions {
            start_from_segment: first,
            ..ScavengeOptions::default()
        };
        let store = self.shared.store.clone();
        let begun = self.shared.blocking(move || store.scavenge(options));
        match begun.await? {
            Ok(scavenge) => Ok(answer(scavenge.id(), ScavengeResult::Started)),
            Err(ScavengeError::Running(id)) => Ok(answer(id, ScavengeResult::InProgress)),
            Err(ScavengeError::Append(error)) => Err(status::of_append(&error)),
            Err(ScavengeError::Storage(error)) => Err(status::of_storage(&error)),
        }
    }

    async fn stop_scavenge(
        &self,
        request: Request<wire::StopScavengeReq>,
    ) -> Result<Response<wire::ScavengeResp>, Status> {
        self.admit(&request, Call::Operate).await?;
        let text = request.into_inner().options.unwrap_or_default().scavenge_id;
        let known = |id: &Uuid| {
            let mut all = self.shared.store.scavenges().into_iter();
            all.any(|scavenge| scavenge.id == *id)
        };
        let Some(id) = Uuid::try_parse(&text).ok().filter(known) else {
            return Err(status::scavenge_not_found(&text));
        };
        // One that has ended is as stopped as it can be.
        if let Some(scavenge) = self.shared.store.scavenge_handle(id) {
            scavenge.stop();
        }
        Ok(answer(id, ScavengeResult::Stopped))
    }

    async fn shutdown(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        let principal = self.admit(&request, Call::Operate).await?;
        tracing::info!(by = principal.name(), "shutting down");
        self.shared.asked_to_stop.cancel();
        Ok(Response::new(Empty {}))
    }

    async fn merge_indexes(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.admit(&request, Call::Operate).await?;
        let store = self.shared.store.clone();
        let merged = self.shared.blocking(move || store.merge_indexes());
        merged.await?.map_err(|error| status::of_storage(&error))?;
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
