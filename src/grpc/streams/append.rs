//! `Append`: one append, its events one message each; when the client has sent all, it is made.

use tonic::{Status, Streaming};

use super::proposed::{Proposed, Written, last_revision, writable};
use super::refused::Refused;
use crate::access::Principal;
use crate::engine::AppendError;
use crate::grpc::convert::{expected_revision, told};
use crate::grpc::wire::event_store::client::Empty;
use crate::grpc::wire::event_store::client::streams::append_req::options::ExpectedStreamRevision;
use crate::grpc::wire::event_store::client::streams::append_req::{Content, Options};
use crate::grpc::wire::event_store::client::streams::append_resp::wrong_expected_version::{
    CurrentRevisionOption as Current, CurrentRevisionOption2060 as Current2060,
    ExpectedRevisionOption as Expected, ExpectedRevisionOption2060 as Expected2060,
};
use crate::grpc::wire::event_store::client::streams::append_resp::{
    Result as Answer, Success, WrongExpectedVersion, success,
};
use crate::grpc::wire::event_store::client::streams::{AppendReq, AppendResp, Position};
use crate::grpc::{Shared, status};
use crate::model::{ExpectedRevision, StreamHead};

/// Makes an append. That the stream is not where it was expected is an answer, not an error.
pub(super) async fn append(
    shared: &Shared,
    caller: &Principal,
    mut requests: Streaming<AppendReq>,
) -> Result<AppendResp, Status> {
    let written = async {
        let first = shared.owed(&mut requests).await?;
        let first = first.and_then(|request| request.content);
        let Some(Content::Options(options)) = first else {
            return Err(Refused::Invalid(
                "an append begins with its options".to_owned(),
            ));
        };
        let expected = expected(&options)?;
        let stream = writable(options.stream_identifier)?;
        let mut proposed = Proposed::begin(shared, caller, stream, expected).await?;
        while let Some(request) = shared.owed(&mut requests).await? {
            match request.content {
                Some(Content::ProposedMessage(message)) => proposed.take(shared, message)?,
                Some(Content::Options(_)) | None => {
                    return Err(Refused::Invalid(
                        "behind the options come events".to_owned(),
                    ));
                }
            }
        }
        let submitted = proposed.submit(shared);
        submitted.outcome(shared.options.write_within).await
    };
    let result = match written.await {
        Ok(written) => Answer::Success(success(written)),
        Err(Refused::Failed(AppendError::WrongExpectedRevision {
            expected, found, ..
        })) => Answer::WrongExpectedVersion(wrong_expected_version(expected, found)),
        Err(refused) => return Err(refused.status()),
    };
    Ok(AppendResp {
        result: Some(result),
    })
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

fn success(written: Written) -> Success {
    Success {
        current_revision_option: Some(match written.revision {
            Some(revision) => success::CurrentRevisionOption::CurrentRevision(revision.0),
            None => success::CurrentRevisionOption::NoStream(Empty {}),
        }),
        position_option: Some(match written.position.map(told) {
            Some(told) => success::PositionOption::Position(Position {
                commit_position: told,
                prepare_position: told,
            }),
            None => success::PositionOption::NoPosition(Empty {}),
        }),
    }
}

fn wrong_expected_version(expected: ExpectedRevision, found: StreamHead) -> WrongExpectedVersion {
    let (current, current_2060) = match last_revision(found) {
        Some(last) => (
            Current::CurrentRevision(last.0),
            Current2060::CurrentRevision2060(last.0),
        ),
        None => (
            Current::CurrentNoStream(Empty {}),
            Current2060::NoStream2060(Empty {}),
        ),
    };
    let (expected, expected_2060) = match expected {
        ExpectedRevision::Exactly(revision) => (
            Expected::ExpectedRevision(revision.0),
            Expected2060::ExpectedRevision2060(revision.0),
        ),
        ExpectedRevision::NoStream => (
            Expected::ExpectedNoStream(Empty {}),
            Expected2060::ExpectedRevision2060(u64::MAX),
        ),
        ExpectedRevision::Any => (
            Expected::ExpectedAny(Empty {}),
            Expected2060::Any2060(Empty {}),
        ),
        ExpectedRevision::StreamExists => (
            Expected::ExpectedStreamExists(Empty {}),
            Expected2060::StreamExists2060(Empty {}),
        ),
    };
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(current_2060),
        expected_revision_option_20_6_0: Some(expected_2060),
        current_revision_option: Some(current),
        expected_revision_option: Some(expected),
    }
}
