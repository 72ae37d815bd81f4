//! `Streams`: reading and following, appending, deleting.
//!
//! `asked.rs` makes a checked question of what a client sends. `read.rs` answers with what is
//! there, `follow.rs` goes on with what is committed, and both hand their messages to
//! `replies.rs`, in chunks that `sight.rs` has looked through; `state.rs` answers for streams that
//! show state. `append.rs`, `batch.rs` and `end.rs` change streams; `proposed.rs` and `refused.rs`
//! are what they share.
//!
//! What always holds: a slow client holds a few chunks and stops its reader. A subscription begins
//! with its confirmation and never ends with `OK`.

mod append;
mod asked;
mod batch;
mod end;
mod follow;
mod proposed;
mod read;
mod refused;
mod replies;
mod sight;
mod state;

use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::wire::event_store::client::streams::{
    AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq,
    ReadResp, TombstoneReq, TombstoneResp, streams_server,
};
use crate::model::Ending;
pub(super) use asked::filter;
use asked::{Asked, What};
pub(super) use proposed::is_made;
use replies::Replies;

/// The service.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) shared: Shared,
}

#[tonic::async_trait]
impl streams_server::Streams for Streams {
    type ReadStream = Replies<ReadResp>;
    type BatchAppendStream = Replies<BatchAppendResp>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        let arrived_at = self.shared.store.committed();
        let caller = self.shared.caller(&request).await?;
        let Asked { what, showing } = Asked::of(request.into_inner())?;
        self.shared.allow(&caller, what.wish()).await?;
        if let Some(of) = what.state() {
            let replies = state::begin(&self.shared, caller, of, what, showing).await?;
            return Ok(Response::new(replies));
        }
        let replies = match what {
            What::Read(read) => read::begin(&self.shared, caller, read, showing).await?,
            What::Follow(follow) => {
                let follow = follow.arrived_at(arrived_at);
                follow::begin(&self.shared, caller, follow, showing).await?
            }
        };
        Ok(Response::new(replies))
    }

    async fn append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<Response<AppendResp>, Status> {
        let caller = self.shared.caller(&request).await?;
        let shared = self.shared.of_connection(&request);
        let appended = append::append(&shared, &caller, request.into_inner()).await?;
        Ok(Response::new(appended))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        let caller = self.shared.caller(&request).await?;
        let shared = self.shared.of_connection(&request);
        let replies = batch::begin(&shared, caller, request.into_inner());
        Ok(Response::new(replies))
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        let caller = self.shared.caller(&request).await?;
        let shared = self.shared.of_connection(&request);
        let options = request.into_inner().options;
        let position = end::end(&shared, &caller, options, Ending::Deleted).await?;
        let position_option = Some(end::deleted(position));
        Ok(Response::new(DeleteResp { position_option }))
    }

    async fn tombstone(
        &self,
        request: Request<TombstoneReq>,
    ) -> Result<Response<TombstoneResp>, Status> {
        let caller = self.shared.caller(&request).await?;
        let shared = self.shared.of_connection(&request);
        let options = request.into_inner().options;
        let position = end::end(&shared, &caller, options, Ending::Tombstoned).await?;
        let position_option = Some(end::tombstoned(position));
        Ok(Response::new(TombstoneResp { position_option }))
    }
}
