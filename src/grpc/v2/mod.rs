//! `StreamsService`, the second version's: appends to many streams that happen as a whole.
//!
//! `record.rs` makes events of records; `session.rs` and `records.rs` are the two calls, and
//! `transaction.rs` is what they share; `refused.rs` makes every status, with its details.

mod record;
mod records;
mod refused;
mod session;
mod transaction;

use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::wire::kurrentdb::protocol::v2::streams::{
    AppendRecordsRequest, AppendRecordsResponse, AppendRequest, AppendSessionResponse,
    streams_service_server,
};

/// The service.
#[derive(Debug)]
pub(super) struct StreamsV2 {
    pub(super) shared: Shared,
}

#[tonic::async_trait]
impl streams_service_server::StreamsService for StreamsV2 {
    async fn append_session(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<AppendSessionResponse>, Status> {
        let caller = self.shared.caller(&request).await?;
        let shared = self.shared.of_connection(&request);
        let done = session::append(&shared, &caller, request.into_inner()).await;
        done.map(Response::new).map_err(|refused| refused.status())
    }

    async fn append_records(
        &self,
        request: Request<AppendRecordsRequest>,
    ) -> Result<Response<AppendRecordsResponse>, Status> {
        let caller = self.shared.caller(&request).await?;
        let shared = self.shared.of_connection(&request);
        let done = records::append(&shared, &caller, request.into_inner()).await;
        done.map(Response::new).map_err(|refused| refused.status())
    }
}
