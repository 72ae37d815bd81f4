//! Appends to many streams, as the clients of the second version make them: whole or not at all,
//! and with errors that say what is wrong.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use grpc_client::append::{ANY, events};
use grpc_client::read::{of_all, of_stream, value};
use grpc_client::wire::google::rpc::{ErrorInfo, Status as Rich};
use grpc_client::wire::kurrentdb::protocol::v2::streams as v2;
use grpc_client::{Served, trailer};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Value};
use tokio_stream::iter;
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;
use v2::consistency_check::{StreamStateCheck, Type};
use v2::errors::consistency_violation::Type as ViolationType;
use v2::errors::{
    AppendConsistencyViolationErrorDetails, AppendRecordSizeExceededErrorDetails,
    AppendTransactionSizeExceededErrorDetails, StreamAlreadyInAppendSessionErrorDetails,
    StreamRevisionConflictErrorDetails, StreamTombstonedErrorDetails,
};
use v2::{AppendRecord, AppendRecordsRequest, AppendRequest, ConsistencyCheck, SchemaInfo};

fn client(served: &Served) -> v2::streams_service_client::StreamsServiceClient<Channel> {
    v2::streams_service_client::StreamsServiceClient::new(served.channel())
}

fn record(stream: &str) -> AppendRecord {
    AppendRecord {
        record_id: Some(Uuid::new_v4().to_string()),
        schema: Some(SchemaInfo {
            format: v2::SchemaFormat::Json.into(),
            name: "Counted".to_owned(),
            id: None,
        }),
        data: b"{}".to_vec().into(),
        stream: Some(stream.to_owned()),
        ..AppendRecord::default()
    }
}

fn request(stream: &str, expected: Option<i64>, count: usize) -> AppendRequest {
    AppendRequest {
        stream: stream.to_owned(),
        records: (0..count).map(|_| record(stream)).collect(),
        expected_revision: expected,
    }
}

fn check(stream: &str, state: i64) -> ConsistencyCheck {
    ConsistencyCheck {
        r#type: Some(Type::StreamState(StreamStateCheck {
            stream: stream.to_owned(),
            expected_state: state,
        })),
    }
}

async fn session(
    served: &Served,
    requests: Vec<AppendRequest>,
) -> Result<v2::AppendSessionResponse, Status> {
    let response = client(served).append_session(iter(requests)).await?;
    Ok(response.into_inner())
}

async fn records(
    served: &Served,
    records: Vec<AppendRecord>,
    checks: Vec<ConsistencyCheck>,
) -> Result<v2::AppendRecordsResponse, Status> {
    let request = AppendRecordsRequest { records, checks };
    Ok(client(served).append_records(request).await?.into_inner())
}

/// The reason of a rich status and its last detail; code and text inside are those outside.
fn details(status: &Status) -> (String, Option<Any>) {
    let rich = Rich::decode(status.details()).unwrap();
    assert_eq!(rich.code, i32::from(status.code()));
    assert_eq!(rich.message, status.message());
    assert_eq!(trailer(status, "exception"), None);
    let mut details = rich.details.into_iter();
    let info = details.next().unwrap();
    assert_eq!(info.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = ErrorInfo::decode(&*info.value).unwrap();
    (info.reason, details.next_back())
}

fn detail<T: Message + Default>(status: &Status, code: Code, reason: &str, name: &str) -> T {
    assert_eq!(status.code(), code, "{status:?}");
    let (found, last) = details(status);
    assert_eq!(found, reason);
    let last = last.unwrap();
    let package = "type.googleapis.com/kurrentdb.protocol.v2.streams.errors";
    assert_eq!(last.type_url, format!("{package}.{name}"));
    T::decode(&*last.value).unwrap()
}

#[tokio::test]
async fn a_session_appends_to_all_its_streams_at_once() {
    let served = Served::start().await;
    let mut first = request("order-1", Some(-1), 2);
    let properties = &mut first.records[0].properties;
    let number = Value {
        kind: Some(Kind::NumberValue(7.0)),
    };
    properties.insert("seven".to_owned(), number);
    let requests = vec![first, request("order-2", None, 1)];
    let done = session(&served, requests.clone()).await.unwrap();
    let told: Vec<_> = done
        .output
        .iter()
        .map(|one| (&*one.stream, one.stream_revision))
        .collect();
    assert_eq!(told, [("order-1", 1), ("order-2", 0)]);
    let all = served.read_events(of_all()).await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[2].commit_position, done.position.unsigned_abs());
    let metadata = r#"{"seven":7,"$schema.name":"Counted","$schema.format":"Json"}"#;
    assert_eq!(all[0].custom_metadata, metadata);
    assert_eq!(value(&all[0], "type"), "Counted");
    assert_eq!(value(&all[0], "content-type"), "application/json");
    // Sent again, it is answered as the first time, and nothing is written.
    assert_eq!(session(&served, requests).await.unwrap(), done);
    assert_eq!(served.read_events(of_all()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_session_that_fails_in_one_stream_changes_none() {
    let served = Served::start().await;
    served.fill("a", 3).await;
    let requests = vec![request("b", Some(-1), 1), request("a", Some(7), 1)];
    let status = session(&served, requests).await.unwrap_err();
    let conflict: StreamRevisionConflictErrorDetails = detail(
        &status,
        Code::FailedPrecondition,
        "STREAM_REVISION_CONFLICT",
        "StreamRevisionConflictErrorDetails",
    );
    assert_eq!(
        (
            &*conflict.stream,
            conflict.expected_revision,
            conflict.actual_revision
        ),
        ("a", 7, 2)
    );
    assert_eq!(served.read_events(of_all()).await.unwrap().len(), 3);
    let status = session(&served, vec![request("c", Some(-4), 1)])
        .await
        .unwrap_err();
    let (_, last) = details(&status);
    let conflict = StreamRevisionConflictErrorDetails::decode(&*last.unwrap().value).unwrap();
    assert_eq!(
        (conflict.expected_revision, conflict.actual_revision),
        (-4, -1)
    );
}

#[tokio::test]
async fn a_session_that_makes_no_sense_is_refused_in_words() {
    let served = Served::start().await;
    served.fill("gone", 1).await;
    served.tombstone("gone", ANY).await.unwrap();

    let none = session(&served, Vec::new()).await.unwrap_err();
    assert_eq!(none.code(), Code::FailedPrecondition);
    assert_eq!(
        details(&none),
        ("APPEND_SESSION_NO_REQUESTS".to_owned(), None)
    );

    let twice = vec![request("A", None, 1), request("a", None, 1)];
    let twice = session(&served, twice).await.unwrap_err();
    let already: StreamAlreadyInAppendSessionErrorDetails = detail(
        &twice,
        Code::Aborted,
        "STREAM_ALREADY_IN_APPEND_SESSION",
        "StreamAlreadyInAppendSessionErrorDetails",
    );
    assert_eq!(already.stream, "a");

    let gone = session(&served, vec![request("gone", None, 1)])
        .await
        .unwrap_err();
    let gone: StreamTombstonedErrorDetails = detail(
        &gone,
        Code::FailedPrecondition,
        "STREAM_TOMBSTONED",
        "StreamTombstonedErrorDetails",
    );
    assert_eq!(gone.stream, "gone");

    let mut nil = request("a", None, 1);
    nil.records[0].record_id = Some(Uuid::nil().to_string());
    for wrong in [
        request("a", None, 0),
        request("", None, 1),
        request("$$", None, 1),
        request("a", Some(-3), 1),
        nil,
    ] {
        let status = session(&served, vec![wrong]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(details(&status).0, "BAD_REQUEST");
    }
}

#[tokio::test]
async fn what_is_too_large_says_how_large() {
    let mut options = annal::StoreOptions::default();
    options.append_len_bytes_max = 100_000;
    options.event_len_bytes_max = 50_000;
    let served = Served::with(options, Default::default()).await;
    let mut large = request("a", None, 1);
    large.records[0].data = vec![0; 60_000].into();
    let id = large.records[0].record_id.clone().unwrap();
    let status = session(&served, vec![large]).await.unwrap_err();
    let found: AppendRecordSizeExceededErrorDetails = detail(
        &status,
        Code::InvalidArgument,
        "APPEND_RECORD_SIZE_EXCEEDED",
        "AppendRecordSizeExceededErrorDetails",
    );
    assert_eq!(
        (&*found.stream, found.record_id, found.max_size),
        ("a", id, 50_000)
    );
    assert!(found.size > 60_000);
    let mut many = request("a", None, 3);
    for record in &mut many.records {
        record.data = vec![0; 40_000].into();
    }
    let status = session(&served, vec![many]).await.unwrap_err();
    let found: AppendTransactionSizeExceededErrorDetails = detail(
        &status,
        Code::Aborted,
        "APPEND_TRANSACTION_SIZE_EXCEEDED",
        "AppendTransactionSizeExceededErrorDetails",
    );
    assert_eq!(found.max_size, 100_000);
}

/// A stream in each state that there is: live at 2, never there, deleted at 2, tombstoned.
async fn states(served: &Served) {
    for stream in ["live", "deleted", "tombstoned"] {
        served.fill(stream, 3).await;
    }
    served.delete("deleted", ANY).await.unwrap();
    served.tombstone("tombstoned", ANY).await.unwrap();
}

#[tokio::test]
async fn a_check_of_a_stream_that_is_not_written_must_hold() {
    let served = Served::start().await;
    states(&served).await;
    // For each check: what is found in each state, if it does not hold.
    let table: [(i64, [Option<i64>; 4]); 6] = [
        (2, [None, Some(-1), None, Some(-6)]),
        (1, [Some(2), Some(-1), Some(2), Some(-6)]),
        (-1, [Some(2), None, None, None]),
        (-4, [None, Some(-1), Some(-5), Some(-6)]),
        (-5, [Some(2), Some(-1), None, Some(-6)]),
        (-6, [Some(2), Some(-1), Some(2), None]),
    ];
    for (state, row) in table {
        let streams = ["live", "absent", "deleted", "tombstoned"];
        for (stream, violated) in streams.into_iter().zip(row) {
            let checks = vec![check(stream, state)];
            let done = records(&served, vec![record("written")], checks).await;
            let found = done.err().map(|status| violations(&status));
            let told = violated.map(|actual| vec![(0, stream.to_owned(), state, actual)]);
            assert_eq!(found, told, "{stream} checked for {state}");
        }
    }
}

/// Index, stream, expected and actual state of each violation.
fn violations(status: &Status) -> Vec<(i32, String, i64, i64)> {
    let found: AppendConsistencyViolationErrorDetails = detail(
        status,
        Code::FailedPrecondition,
        "APPEND_CONSISTENCY_VIOLATION",
        "AppendConsistencyViolationErrorDetails",
    );
    found
        .violations
        .into_iter()
        .map(|violation| {
            let Some(ViolationType::StreamState(state)) = violation.r#type else {
                panic!("{violation:?}");
            };
            let index = violation.check_index;
            (
                index,
                state.stream,
                state.expected_state,
                state.actual_state,
            )
        })
        .collect()
}

#[tokio::test]
async fn every_check_that_does_not_hold_is_named() {
    let served = Served::start().await;
    states(&served).await;
    let written = vec![record("live"), record("tombstoned"), record("new")];
    let checks = vec![check("live", 0), check("absent", -4), check("deleted", -5)];
    let status = records(&served, written, checks).await.unwrap_err();
    let told = [
        (0, "live".to_owned(), 0, 2),
        (1, "absent".to_owned(), -4, -1),
        (3, "tombstoned".to_owned(), -2, -6),
    ];
    assert_eq!(violations(&status), told);
    let missing = served.read(of_stream("new")).await.unwrap();
    assert_eq!(missing.len(), 1, "{missing:?}");
}

#[tokio::test]
async fn records_of_many_streams_keep_their_order() {
    let served = Served::start().await;
    let sent = vec![record("a"), record("b"), record("a")];
    let checks = vec![check("a", -1), check("c", -1)];
    let done = records(&served, sent.clone(), checks.clone())
        .await
        .unwrap();
    let revisions: Vec<_> = done
        .revisions
        .iter()
        .map(|one| (&*one.stream, one.revision))
        .collect();
    assert_eq!(revisions, [("a", 1), ("b", 0)]);
    let all = served.read_events(of_all()).await.unwrap();
    let names: Vec<_> = all
        .iter()
        .map(|event| event.stream_identifier.clone().unwrap().stream_name)
        .collect();
    assert_eq!(names, ["a", "b", "a"]);
    assert_eq!(done.position.unsigned_abs(), all[2].commit_position);
    assert_eq!(records(&served, sent, checks).await.unwrap(), done);
    // An absent state is revision 0 to those who leave zeros out.
    served.append("zero", ANY, events(1)).await.unwrap();
    let checks = vec![check("zero", 0)];
    records(&served, vec![record("zero")], checks)
        .await
        .unwrap();
    for (wrong, checks) in [
        (Vec::new(), Vec::new()),
        (vec![record("a")], vec![check("b", -2)]),
        (vec![record("a")], vec![check("b", 0), check("b", 1)]),
        (vec![record("a")], vec![ConsistencyCheck { r#type: None }]),
    ] {
        let status = records(&served, wrong, checks).await.unwrap_err();
        assert_eq!(details(&status).0, "BAD_REQUEST", "{status:?}");
    }
}

#[tokio::test]
async fn records_that_are_sent_again_are_known_whatever_became_of_checked_streams() {
    let served = Served::start().await;
    states(&served).await;
    let sent = vec![record("a"), record("b"), record("deleted")];
    let checks = vec![
        check("live", 2),
        check("absent", -1),
        check("other", -1),
        check("deleted", -5),
    ];
    served.fill("gone", 1).await;
    served.delete("gone", ANY).await.unwrap();
    let checks = [checks, vec![check("gone", -5)]].concat();
    let done = records(&served, sent.clone(), checks.clone())
        .await
        .unwrap();
    for stream in ["live", "absent", "gone"] {
        served.fill(stream, 1).await;
    }
    served.tombstone("other", ANY).await.unwrap();
    let len = served.read_events(of_all()).await.unwrap().len();
    let again = records(&served, sent, checks.clone()).await.unwrap();
    assert_eq!(again, done);
    // Other records are refused, and every check that does not hold is named.
    let new = vec![record("a"), record("deleted")];
    let status = records(&served, new, checks).await.unwrap_err();
    let told = [
        (0, "live".to_owned(), 2, 3),
        (1, "absent".to_owned(), -1, 0),
        (3, "deleted".to_owned(), -5, 3),
        (4, "gone".to_owned(), -5, 1),
    ];
    assert_eq!(violations(&status), told);
    assert_eq!(served.read_events(of_all()).await.unwrap().len(), len);
}
