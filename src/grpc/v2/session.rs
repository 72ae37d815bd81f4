//! `AppendSession`: one message for each stream, all of it appended when the client has sent all.

use std::collections::HashSet;

use tonic::Streaming;

use super::record::stream;
use super::refused::{Refused, invalid};
use super::transaction::{Transaction, allow, expected};
use crate::access::Principal;
use crate::grpc::Shared;
use crate::grpc::auth::Wish;
use crate::grpc::convert::{signed, told};
use crate::grpc::wire::kurrentdb::protocol::v2::streams::{
    AppendRequest, AppendResponse, AppendSessionResponse,
};
use crate::model::{ExpectedRevision, Revision, StreamName};

/// Makes the append of a session.
pub(super) async fn append(
    shared: &Shared,
    caller: &Principal,
    mut requests: Streaming<AppendRequest>,
) -> Result<AppendSessionResponse, Refused> {
    let mut transaction = Transaction::default();
    let mut named = HashSet::new();
    while let Some(request) = shared.owed(&mut requests).await? {
        let AppendRequest {
            stream: name,
            records,
            expected_revision,
        } = request;
        let stream = stream(name)?;
        if !named.insert(stream.to_lowercase()) {
            return Err(Refused::AlreadyInSession(stream.to_string()));
        }
        if records.is_empty() {
            return Err(invalid("records", "a request has at least one record"));
        }
        let none = || invalid("expected_revision", "there is no such revision");
        let expected = match expected_revision {
            None => ExpectedRevision::Any,
            Some(number) => expected(number).ok_or_else(none)?,
        };
        allow(shared, caller, Wish::Write(stream.clone()), "append").await?;
        for record in records {
            transaction.add(shared, &stream, record)?;
        }
        transaction.expect(stream, expected);
    }
    if named.is_empty() {
        return Err(Refused::NoRequests);
    }
    let receipt = transaction.commit(shared).await?;
    let response = |(stream, revision): (StreamName, Revision)| AppendResponse {
        stream: stream.to_string(),
        stream_revision: signed(revision.0),
        position: None,
    };
    Ok(AppendSessionResponse {
        output: receipt.revisions.into_iter().map(response).collect(),
        position: signed(receipt.last.map_or(0, told)),
    })
}
