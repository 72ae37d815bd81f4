//! `Projections`: the five system projections, which are read from the index and always complete.
//!
//! There is nothing to compute for them, so they have no state and no result, and resetting one
//! changes nothing. Projections that users write in JavaScript are refused, and said to be.

use std::collections::BTreeSet;
use std::pin::Pin;

use parking_lot::Mutex;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use crate::access::Call;
use crate::engine::ProjectionState;
use crate::grpc::auth::Wish;
use crate::grpc::wire::event_store::client::Empty;
use crate::grpc::wire::event_store::client::projections as wire;
use crate::grpc::{Shared, convert, status};
use crate::model::{Position, Projection};
use wire::projections_server;
use wire::statistics_resp::Details;

/// The service.
#[derive(Debug)]
pub(in crate::grpc) struct Projections {
    shared: Shared,
    /// Those that were stopped without regard to where they were, as clients see it.
    aborted: Mutex<BTreeSet<Projection>>,
}

impl Projections {
    pub(in crate::grpc) fn new(shared: Shared) -> Self {
        Self {
            shared,
            aborted: Mutex::default(),
        }
    }

    async fn admit<T>(&self, request: &Request<T>, call: Call) -> Result<(), Status> {
        self.shared.admit(request, Wish::Call(call)).await?;
        Ok(())
    }

    /// Lets a projection run, or stops it.
    async fn run(&self, projection: Projection, runs: bool) -> Result<(), Status> {
        let store = self.shared.store.clone();
        let changed = self
            .shared
            .blocking(move || store.set_system_projection(projection, runs));
        changed.await?.map_err(|error| status::of_append(&error))
    }

    fn details(&self, state: ProjectionState, end: Position) -> Details {
        let status = match state.is_running {
            true => "Running",
            false if self.aborted.lock().contains(&state.projection) => "Aborted",
            false => "Stopped",
        };
        let told = convert::told_end(state.position);
        let position = format!("C:{told}/P:{told}");
        let name = state.projection.name().to_owned();
        Details {
            effective_name: name.clone(),
            name,
            status: status.to_owned(),
            mode: "Continuous".to_owned(),
            last_checkpoint: position.clone(),
            position,
            progress: progress(state.position, end),
            ..Details::default()
        }
    }
}

/// How much of the log is done, in percent.
fn progress(position: Position, end: Position) -> f32 {
    let percent = u128::from(position.0) * 100;
    let percent = percent.checked_div(end.0.into()).unwrap_or(100).min(100);
    u8::try_from(percent).map_or(100.0, f32::from)
}

fn find(name: &str) -> Result<Projection, Status> {
    let not_found = || Status::not_found(format!("Projection '{name}' not found"));
    Projection::of_name(name).ok_or_else(not_found)
}

/// What nobody can do to a system projection.
fn refused(name: &str, what: &str) -> Result<Status, Status> {
    find(name)?;
    Ok(Status::failed_precondition(format!(
        "'{name}' is a system projection and cannot be {what}"
    )))
}

fn empty_object() -> Value {
    Value {
        kind: Some(Kind::StructValue(Struct::default())),
    }
}

#[tonic::async_trait]
impl projections_server::Projections for Projections {
    type StatisticsStream =
        Pin<Box<dyn Stream<Item = Result<wire::StatisticsResp, Status>> + Send>>;

    async fn create(
        &self,
        request: Request<wire::CreateReq>,
    ) -> Result<Response<wire::CreateResp>, Status> {
        use wire::create_req::options::Mode;
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        let name = match &options.mode {
            Some(Mode::Continuous(continuous)) => &*continuous.name,
            Some(Mode::Transient(transient)) => &*transient.name,
            Some(Mode::OneTime(Empty {})) | None => "",
        };
        if Projection::of_name(name).is_some() {
            let text = format!("Projection '{name}' exists");
            return Err(Status::new(Code::AlreadyExists, text));
        }
        Err(Status::unimplemented(
            "this server runs no projections that users write in JavaScript; it has the system \
             projections, and consumers can project what they read or follow",
        ))
    }

    async fn update(
        &self,
        request: Request<wire::UpdateReq>,
    ) -> Result<Response<wire::UpdateResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        Err(refused(&options.name, "changed")?)
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteReq>,
    ) -> Result<Response<wire::DeleteResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::DeleteProjections, |asked| asked.options)
            .await?;
        Err(refused(&options.name, "deleted")?)
    }

    async fn statistics(
        &self,
        request: Request<wire::StatisticsReq>,
    ) -> Result<Response<Self::StatisticsStream>, Status> {
        use wire::statistics_req::options::Mode;
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        let wanted = match options.mode {
            Some(Mode::Name(name)) => vec![find(&name)?],
            Some(Mode::All(Empty {}) | Mode::Continuous(Empty {})) => Projection::ALL.to_vec(),
            Some(Mode::Transient(Empty {}) | Mode::OneTime(Empty {})) => Vec::new(),
            None => {
                return Err(status::invalid(
                    "it is not said which projections are meant",
                ));
            }
        };
        let store = &self.shared.store;
        let (states, end) = (store.system_projections(), store.committed());
        let states = states
            .into_iter()
            .filter(|state| wanted.contains(&state.projection));
        let told: Vec<_> = states
            .map(|state| {
                Ok(wire::StatisticsResp {
                    details: Some(self.details(state, end)),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(told))))
    }

    async fn disable(
        &self,
        request: Request<wire::DisableReq>,
    ) -> Result<Response<wire::DisableResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        let projection = find(&options.name)?;
        match options.write_checkpoint {
            true => self.aborted.lock().remove(&projection),
            false => self.aborted.lock().insert(projection),
        };
        self.run(projection, false).await?;
        Ok(Response::new(wire::DisableResp {}))
    }

    async fn enable(
        &self,
        request: Request<wire::EnableReq>,
    ) -> Result<Response<wire::EnableResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        self.run(find(&options.name)?, true).await?;
        Ok(Response::new(wire::EnableResp {}))
    }

    async fn reset(
        &self,
        request: Request<wire::ResetReq>,
    ) -> Result<Response<wire::ResetResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        find(&options.name)?;
        Ok(Response::new(wire::ResetResp {}))
    }

    async fn state(
        &self,
        request: Request<wire::StateReq>,
    ) -> Result<Response<wire::StateResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        find(&options.name)?;
        Ok(Response::new(wire::StateResp {
            state: Some(empty_object()),
        }))
    }

    async fn result(
        &self,
        request: Request<wire::ResultReq>,
    ) -> Result<Response<wire::ResultResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageProjections, |asked| asked.options)
            .await?;
        find(&options.name)?;
        Ok(Response::new(wire::ResultResp {
            result: Some(empty_object()),
        }))
    }

    async fn restart_subsystem(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.admit(&request, Call::DeleteProjections).await?;
        Ok(Response::new(Empty {}))
    }
}
