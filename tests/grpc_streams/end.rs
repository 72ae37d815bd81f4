//! Deleting and tombstoning.

use tonic::{Code, Status};

use crate::grpc_client::append::{ANY, EXISTS, NO_STREAM, exactly};
use crate::grpc_client::read::{of_all, of_stream, value};
use crate::grpc_client::v1::streams::append_req::options::ExpectedStreamRevision as Expected;
use crate::grpc_client::v1::streams::read_resp::Content;
use crate::grpc_client::{Served, trailer};

/// What a call that ends a stream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Done,
    /// The number at the end of the text.
    Wrong(i64),
    Gone,
}
use Told::{Done, Gone, Wrong};

async fn states(served: &Served) {
    served.set_metadata("metadata", "{}").await;
    for stream in ["live", "deleted", "tombstoned"] {
        served.fill(stream, 3).await;
    }
    served.delete("deleted", ANY).await.unwrap();
    served.tombstone("tombstoned", ANY).await.unwrap();
}

fn told(found: Result<u64, Status>, stream: &str, expected: i64) -> Told {
    let Err(status) = found else {
        return Done;
    };
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.details().is_empty());
    assert_eq!(trailer(&status, "stream-name"), Some(stream));
    match trailer(&status, "exception") {
        Some("stream-deleted") => {
            assert_eq!(
                status.message(),
                format!("Event stream '{stream}' is deleted.")
            );
            Gone
        }
        Some("wrong-expected-version") => {
            let actual = trailer(&status, "actual-version").unwrap();
            let text = format!(
                "Delete failed due to WrongExpectedVersion. Stream: {stream}, \
                 Expected version: {expected}, Actual version: {actual}"
            );
            assert_eq!(status.message(), text);
            let number = expected.to_string();
            assert_eq!(trailer(&status, "expected-version"), Some(&*number));
            Wrong(actual.parse().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// Columns: absent, only metadata, live at 2, deleted at 2, tombstoned.
type Row = (Expected, i64, [Told; 5]);

const STREAMS: [&str; 5] = ["absent", "metadata", "live", "deleted", "tombstoned"];

#[tokio::test]
async fn a_deletion_is_judged_by_the_expectation() {
    let table: [Row; 5] = [
        (ANY, -2, [Wrong(-1), Done, Done, Done, Gone]),
        (NO_STREAM, -1, [Wrong(-1), Done, Wrong(2), Done, Gone]),
        (EXISTS, -4, [Wrong(-1), Done, Done, Gone, Gone]),
        (exactly(2), 2, [Wrong(-1), Wrong(-1), Done, Done, Gone]),
        (
            exactly(1),
            1,
            [Wrong(-1), Wrong(-1), Wrong(2), Wrong(2), Gone],
        ),
    ];
    for (expected, number, row) in table {
        let served = Served::start().await;
        states(&served).await;
        for (stream, answer) in STREAMS.into_iter().zip(row) {
            let found = served.delete(stream, expected).await;
            assert_eq!(told(found, stream, number), answer, "{stream} {expected:?}");
        }
    }
}

#[tokio::test]
async fn a_tombstone_is_judged_by_the_expectation() {
    let table: [Row; 5] = [
        (ANY, -2, [Done, Done, Done, Done, Gone]),
        (NO_STREAM, -1, [Done, Done, Wrong(2), Done, Gone]),
        (EXISTS, -4, [Wrong(-1), Done, Done, Gone, Gone]),
        (exactly(2), 2, [Wrong(-1), Wrong(-1), Done, Done, Gone]),
        (
            exactly(1),
            1,
            [Wrong(-1), Wrong(-1), Wrong(2), Wrong(2), Gone],
        ),
    ];
    for (expected, number, row) in table {
        let served = Served::start().await;
        states(&served).await;
        for (stream, answer) in STREAMS.into_iter().zip(row) {
            let found = served.tombstone(stream, expected).await;
            assert_eq!(told(found, stream, number), answer, "{stream} {expected:?}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_stream_is_an_event_that_all_can_see() {
    let served = Served::start().await;
    served.fill("a", 2).await;
    let deleted = served.delete("a", exactly(1)).await.unwrap();
    let missing = served.read(of_stream("a")).await.unwrap();
    assert!(
        matches!(missing[..], [Content::StreamNotFound(_)]),
        "{missing:?}"
    );
    let all = served.read_events(of_all()).await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(value(&all[2], "type"), "$metadata");
    assert_eq!(all[2].commit_position, deleted);
    assert_eq!(all[2].data, r#"{"$tb":9223372036854775807}"#);
    let tombstoned = served.tombstone("a", ANY).await.unwrap();
    let all = served.read_events(of_all()).await.unwrap();
    assert_eq!(value(&all[3], "type"), "$streamDeleted");
    assert_eq!(all[3].commit_position, tombstoned);
    assert_eq!(all[3].stream_revision, i64::MAX.unsigned_abs());
    // Its metadata is gone with it.
    for stream in ["a", "$$a"] {
        let status = served.read(of_stream(stream)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(trailer(&status, "exception"), Some("stream-deleted"));
        assert_eq!(
            status.message(),
            format!("Event stream '{stream}' is deleted.")
        );
    }
}

#[tokio::test]
async fn metadata_and_all_events_do_not_end_by_themselves() {
    let served = Served::start().await;
    served.set_metadata("a", "{}").await;
    for stream in ["$$a", "$all", "$ce-a"] {
        for status in [
            served.delete(stream, ANY).await.unwrap_err(),
            served.tombstone(stream, ANY).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::PermissionDenied, "{stream}");
            assert_eq!(trailer(&status, "exception"), Some("access-denied"));
        }
    }
}

#[tokio::test]
async fn a_name_that_no_trailer_can_hold_is_no_other_error() {
    let served = Served::start().await;
    let name = "stra\u{df}e-\u{1f600}";
    served.fill(name, 1).await;
    served.tombstone(name, ANY).await.unwrap();
    let status = served.read(of_stream(name)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        format!("Event stream '{name}' is deleted.")
    );
    assert_eq!(
        trailer(&status, "stream-name"),
        Some("stra%C3%9Fe-%F0%9F%98%80")
    );
}
