//! `Delete` and `Tombstone`: a stream ends, and may begin again or not.

use tokio::time::timeout;
use tonic::Status;

use super::proposed::writable;
use crate::access::Principal;
use crate::grpc::auth::Wish;
use crate::grpc::convert::{expected_revision, told};
use crate::grpc::wire::event_store::client::Empty;
use crate::grpc::wire::event_store::client::streams::delete_req::Options;
use crate::grpc::wire::event_store::client::streams::delete_req::options::ExpectedStreamRevision;
use crate::grpc::wire::event_store::client::streams::{
    Position as WirePosition, delete_resp, tombstone_resp,
};
use crate::grpc::{Shared, status};
use crate::model::{Append, Ending, ExpectedRevision, Position};

/// Ends a stream; the position of the event that says so.
pub(super) async fn end(
    shared: &Shared,
    caller: &Principal,
    options: Option<Options>,
    ending: Ending,
) -> Result<Option<Position>, Status> {
    let missing = || status::invalid("the options are missing");
    let options = options.ok_or_else(missing)?;
    let expected = expected(&options)?;
    let stream = writable(options.stream_identifier).map_err(|refused| refused.status())?;
    // Metadata ends with what it describes.
    if stream.described().is_some() {
        return Err(status::access_denied());
    }
    shared.allow(caller, Wish::Delete(stream.clone())).await?;
    let append = match ending {
        Ending::Deleted => Append::delete(stream, expected),
        Ending::Tombstoned => Append::tombstone(stream, expected),
    };
    let answered = timeout(shared.options.write_within, shared.submit(append)).await;
    let done = answered.map_err(|_| status::write_timeout())?;
    let receipt = done
        .map_err(|_| status::not_ready())?
        .map_err(|error| status::of_append(&error))?;
    Ok(Some(receipt.last.unwrap_or(receipt.first)))
}

fn expected(options: &Options) -> Result<ExpectedRevision, Status> {
    match &options.expected_stream_revision {
        Some(ExpectedStreamRevision::Revision(revision)) => expected_revision(*revision),
        Some(ExpectedStreamRevision::NoStream(_)) => Ok(ExpectedRevision::NoStream),
        Some(ExpectedStreamRevision::Any(_)) => Ok(ExpectedRevision::Any),
        Some(ExpectedStreamRevision::StreamExists(_)) => Ok(ExpectedRevision::StreamExists),
        None => Err(status::invalid("the expected revision is missing")),
    }
}

fn position(position: Position) -> WirePosition {
    let told = told(position);
    WirePosition {
        commit_position: told,
        prepare_position: told,
    }
}

pub(super) fn deleted(at: Option<Position>) -> delete_resp::PositionOption {
    match at {
        Some(at) => delete_resp::PositionOption::Position(position(at)),
        None => delete_resp::PositionOption::NoPosition(Empty {}),
    }
}

pub(super) fn tombstoned(at: Option<Position>) -> tombstone_resp::PositionOption {
    match at {
        Some(at) => tombstone_resp::PositionOption::Position(position(at)),
        None => tombstone_resp::PositionOption::NoPosition(Empty {}),
    }
}
