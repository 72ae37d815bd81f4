//! `PersistentSubscriptions`: consumer groups as clients manage and join them.
//!
//! Thin on purpose: `asked.rs` and `told.rs` say in the words of one side what the other means,
//! `consume.rs` is a member, and what happens between them happens in the groups.

mod asked;
mod consume;
mod failure;
mod told;

pub(super) use asked::Target;
pub(super) use told::info as told_info;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::auth::Wish;
use super::wire::event_store::client::persistent_subscriptions as wire;
use super::wire::event_store::client::{Empty, StreamIdentifier};
use super::{Shared, status};
use crate::access::Call;
use crate::subscription::{GroupError, GroupInfo, GroupName, GroupSource, Groups};
use wire::persistent_subscriptions_server::{self, PersistentSubscriptionsServer};

/// How often, and how long apart, a new group is looked at until it is where it should be.
const SETTLE_LOOKS_MAX: usize = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(2);

/// What is done with a group, or why not.
type Done<T> = Result<T, GroupError>;

/// The service.
#[derive(Debug)]
struct PersistentSubscriptions {
    shared: Shared,
}

/// Adds it.
pub(super) fn add(routes: Routes, shared: &Shared) -> Routes {
    let shared = shared.clone();
    let service = PersistentSubscriptionsServer::new(PersistentSubscriptions { shared });
    routes.add_service(service)
}

impl Shared {
    /// Does something with the groups, on a thread that may wait.
    pub(super) async fn with_groups<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Groups) -> Result<T, GroupError> + Send + 'static,
    ) -> Result<Result<T, GroupError>, Status> {
        let (store, kept) = (self.store.clone(), Arc::clone(&self.groups));
        self.blocking(move || {
            // Somebody keeps them, so that they go on between calls.
            let groups = match &mut *kept.lock() {
                Some(groups) => groups.clone(),
                none => none.insert(store.groups()?).clone(),
            };
            work(&groups)
        })
        .await
    }

    /// Lets go of the groups, which then write down how far they are.
    pub(super) async fn leave_groups(&self) {
        let kept = Arc::clone(&self.groups);
        let left = self.blocking(move || drop(kept.lock().take()));
        // It fails only with the runtime, which takes them along.
        let _left = left.await;
    }

    /// Does something with one group.
    pub(super) async fn with_group<T: Send + 'static>(
        &self,
        target: Target,
        work: impl FnOnce(&Groups, GroupSource, GroupName) -> Done<T> + Send + 'static,
    ) -> Result<T, Status> {
        let stream = target.source.as_str().to_owned();
        let group = target.name.as_str().to_owned();
        let done = self.with_groups(move |groups| work(groups, target.source, target.name));
        done.await?
            .map_err(|error| failure::of_group(&error, &stream, &group))
    }

    /// How all groups are, or those of one stream or of the whole log.
    pub(super) async fn group_infos(
        &self,
        source: Option<GroupSource>,
    ) -> Result<Vec<GroupInfo>, Status> {
        let name = source.as_ref().map(|source| source.as_str().to_owned());
        let found = self.with_groups(move |groups| match &source {
            Some(source) => groups.list_of(source),
            None => groups.list(),
        });
        let found = found
            .await?
            .map_err(|error| failure::of_group(&error, "", ""))?;
        match name {
            Some(name) if found.is_empty() => Err(failure::not_found(&name, "")),
            _ => Ok(found),
        }
    }

    /// Drops all members of all groups and begins anew.
    pub(super) async fn restart_groups(&self) -> Result<(), Status> {
        let restarted = self.with_groups(Groups::restart).await?;
        restarted.map_err(|error| failure::of_group(&error, "", ""))
    }
}

/// Waits a moment for a group to find out where it is: clients look at it right after they made it,
/// and expect one that has nothing to read to be live.
#[expect(
    clippy::disallowed_methods,
    reason = "a group tells nobody that it has found out where it is"
)]
fn settle(groups: &Groups, source: &GroupSource, name: &GroupName) -> Done<()> {
    for _ in 0..SETTLE_LOOKS_MAX {
        let status = groups.info(source, name)?.status;
        if status.is_live || (status.is_ready && !status.is_reading) {
            break;
        }
        std::thread::sleep(SETTLE_PAUSE);
    }
    Ok(())
}

#[tonic::async_trait]
impl persistent_subscriptions_server::PersistentSubscriptions for PersistentSubscriptions {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<wire::ReadResp, Status>> + Send>>;

    async fn create(
        &self,
        request: Request<wire::CreateReq>,
    ) -> Result<Response<wire::CreateResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageGroups, |asked| asked.options)
            .await?;
        let asked = asked::group(options)?;
        self.shared
            .with_group(asked.target, move |groups, source, name| {
                groups.create(source.clone(), name.clone(), asked.settings, asked.start)?;
                settle(groups, &source, &name)
            })
            .await?;
        Ok(Response::new(wire::CreateResp {}))
    }

    async fn update(
        &self,
        request: Request<wire::UpdateReq>,
    ) -> Result<Response<wire::UpdateResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageGroups, |asked| asked.options)
            .await?;
        let asked = asked::group(options)?;
        self.shared
            .with_group(asked.target, move |groups, source, name| {
                groups.update(&source, &name, asked.settings, asked.start)?;
                settle(groups, &source, &name)
            })
            .await?;
        Ok(Response::new(wire::UpdateResp {}))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteReq>,
    ) -> Result<Response<wire::DeleteResp>, Status> {
        use wire::delete_req::options::StreamOption;
        let options = self
            .shared
            .asked(request, Call::ManageGroups, |asked| asked.options)
            .await?;
        let stream = options.stream_option.map(|option| match option {
            StreamOption::StreamIdentifier(stream) => Some(stream),
            StreamOption::All(Empty {}) => None,
        });
        let target = asked::target(stream, options.group_name)?;
        self.shared
            .with_group(target, |groups, source, name| groups.delete(&source, &name))
            .await?;
        Ok(Response::new(wire::DeleteResp {}))
    }

    async fn read(
        &self,
        request: Request<Streaming<wire::ReadReq>>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let events = consume::begin(&self.shared, request).await?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_info(
        &self,
        request: Request<wire::GetInfoReq>,
    ) -> Result<Response<wire::GetInfoResp>, Status> {
        use wire::get_info_req::options::StreamOption;
        let options = self
            .shared
            .asked(request, Call::InspectGroups, |asked| asked.options)
            .await?;
        let stream = options.stream_option.map(|option| match option {
            StreamOption::StreamIdentifier(stream) => Some(stream),
            StreamOption::All(Empty {}) => None,
        });
        let target = asked::target(stream, options.group_name)?;
        let info = self
            .shared
            .with_group(target, |groups, source, name| groups.info(&source, &name))
            .await?;
        Ok(Response::new(wire::GetInfoResp {
            subscription_info: Some(told::info(info)),
        }))
    }

    async fn replay_parked(
        &self,
        request: Request<wire::ReplayParkedReq>,
    ) -> Result<Response<wire::ReplayParkedResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageGroups, |asked| asked.options)
            .await?;
        let (target, stop_at) = asked::parked(options)?;
        self.shared
            .with_group(target, move |groups, source, name| {
                groups.replay_parked(&source, &name, stop_at)
            })
            .await?;
        Ok(Response::new(wire::ReplayParkedResp {}))
    }

    async fn truncate_parked(
        &self,
        request: Request<wire::TruncateParkedReq>,
    ) -> Result<Response<wire::TruncateParkedResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::ManageGroups, |asked| asked.options)
            .await?;
        let (target, stop_at) = asked::parked(options)?;
        self.shared
            .with_group(target, move |groups, source, name| {
                groups.truncate_parked(&source, &name, stop_at)
            })
            .await?;
        Ok(Response::new(wire::TruncateParkedResp {}))
    }

    async fn list(
        &self,
        request: Request<wire::ListReq>,
    ) -> Result<Response<wire::ListResp>, Status> {
        let options = self
            .shared
            .asked(request, Call::InspectGroups, |asked| asked.options)
            .await?;
        let found = self.shared.group_infos(asked::listed(options)?).await?;
        Ok(Response::new(wire::ListResp {
            subscriptions: found.into_iter().map(told::info).collect(),
        }))
    }

    async fn restart_subsystem(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.shared
            .admit(&request, Wish::Call(Call::ManageGroups))
            .await?;
        self.shared.restart_groups().await?;
        Ok(Response::new(Empty {}))
    }
}

/// A stream that a client may name or not: the outer level says whether it named anything, the
/// inner one whether a stream or the whole log.
type Named = Option<Option<StreamIdentifier>>;
