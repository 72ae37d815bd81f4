//! What is answered to an append.

use tokio_stream::iter;
use tonic::Code;
use uuid::Uuid;

use crate::grpc_client::append::{
    ANY, Appended, EXISTS, NO_STREAM, entries, event, events, exactly, messages,
};
use crate::grpc_client::read::{of_all, of_stream, value};
use crate::grpc_client::v1::streams::AppendReq;
use crate::grpc_client::v1::streams::append_req::options::ExpectedStreamRevision as Expected;
use crate::grpc_client::{Served, trailer, v1};

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let served = Served::start().await;
    let appended = served
        .append("order-1", NO_STREAM, events(3))
        .await
        .unwrap();
    assert_eq!(appended, Appended::Success(Some(2), Some(3)));
    let read = served.read_events(of_stream("order-1")).await.unwrap();
    let revisions: Vec<u64> = read.iter().map(|event| event.stream_revision).collect();
    assert_eq!(revisions, [0, 1, 2]);
    assert_eq!(read[2].commit_position, appended.position());
    assert_eq!(value(&read[0], "type"), "Counted");
    assert_eq!(value(&read[0], "content-type"), "application/json");
    let ticks: u64 = value(&read[0], "created").parse().unwrap();
    let seconds = served.store.now_us().unsigned_abs() / 1_000_000;
    assert!((seconds - 60..=seconds + 60).contains(&(ticks / 10_000_000)));
    assert_eq!(served.read_events(of_all()).await.unwrap(), read);
}

#[tokio::test]
async fn ids_and_bytes_come_back_as_they_were() {
    let served = Served::start().await;
    let id = Uuid::new_v4();
    let (high, low) = id.as_u64_pair();
    let mut sent = event(id, "T");
    sent.id = Some(v1::Uuid {
        value: Some(v1::uuid::Value::Structured(v1::uuid::Structured {
            most_significant_bits: high.cast_signed(),
            least_significant_bits: low.cast_signed(),
        })),
    });
    sent.metadata = entries(&[
        ("type", "T"),
        ("content-type", "text/plain"),
        ("other", "x"),
    ]);
    sent.custom_metadata = b"\x00meta".to_vec().into();
    sent.data = b"\xff\x00".to_vec().into();
    served.append("a", ANY, vec![sent.clone()]).await.unwrap();
    let mut structured = of_stream("a");
    structured.uuid_option = Some(Default::default());
    for (options, wire_id) in [
        (
            of_stream("a"),
            Some(v1::uuid::Value::String(id.to_string())),
        ),
        (structured, sent.id.unwrap().value),
    ] {
        let read = served.read_events(options).await.unwrap();
        assert_eq!(read[0].id.as_ref().unwrap().value, wire_id);
        assert_eq!(value(&read[0], "content-type"), "application/octet-stream");
        assert_eq!(read[0].metadata.len(), 3);
        assert_eq!(&read[0].custom_metadata[..], b"\x00meta");
        assert_eq!(&read[0].data[..], b"\xff\x00");
    }
}

/// Streams in every state, named after it; "live" and "deleted" end at 2.
async fn states(served: &Served) -> Vec<v1::ProposedMessage> {
    let live = events(3);
    served
        .append("live", NO_STREAM, live.clone())
        .await
        .unwrap();
    served.set_metadata("metadata", "{}").await;
    for stream in ["deleted", "tombstoned"] {
        served.fill(stream, 3).await;
    }
    served.delete("deleted", ANY).await.unwrap();
    served.tombstone("tombstoned", ANY).await.unwrap();
    live
}

#[tokio::test]
async fn new_events_are_judged_by_the_expectation() {
    const OK: Result<Option<u64>, &str> = Ok(None);
    const GONE: Result<Option<u64>, &str> = Err("stream-deleted");
    const WRONG: Result<Option<u64>, &str> = Ok(Some(u64::MAX));
    // Columns: absent, only metadata, live at 2, deleted at 2, tombstoned.
    let table: [(Expected, [_; 5]); 6] = [
        (ANY, [OK, OK, OK, OK, GONE]),
        (NO_STREAM, [OK, OK, Ok(Some(2)), OK, GONE]),
        (EXISTS, [WRONG, OK, OK, GONE, GONE]),
        (exactly(2), [WRONG, WRONG, OK, OK, GONE]),
        (exactly(1), [WRONG, WRONG, Ok(Some(2)), Ok(Some(2)), GONE]),
        (exactly(3), [WRONG, WRONG, Ok(Some(2)), Ok(Some(2)), GONE]),
    ];
    for (expected, row) in table {
        let served = Served::start().await;
        states(&served).await;
        let streams = ["absent", "metadata", "live", "deleted", "tombstoned"];
        for (stream, told) in streams.into_iter().zip(row) {
            let found = served.append(stream, expected, events(1)).await;
            let revision = if matches!(stream, "live" | "deleted") {
                3
            } else {
                0
            };
            match (told, found) {
                (Ok(None), Ok(Appended::Success(Some(found), Some(_)))) => {
                    assert_eq!(found, revision);
                }
                (Ok(Some(u64::MAX)), Ok(Appended::Wrong(None))) => {}
                (Ok(Some(last)), Ok(Appended::Wrong(found))) => assert_eq!(found, Some(last)),
                (Err(name), Err(status)) => {
                    assert_eq!(status.code(), Code::FailedPrecondition);
                    assert_eq!(trailer(&status, "exception"), Some(name));
                    assert_eq!(trailer(&status, "stream-name"), Some(stream));
                    let text = format!("Event stream '{stream}' is deleted.");
                    assert_eq!(status.message(), text);
                    assert!(status.details().is_empty());
                }
                (told, found) => panic!("{stream} {expected:?}: {told:?}, not {found:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_retry_is_answered_as_the_first_time() {
    let served = Served::start().await;
    let sent = events(3);
    let first = served.append("a", NO_STREAM, sent.clone()).await.unwrap();
    served.fill("a", 2).await;
    for expected in [NO_STREAM, ANY, EXISTS] {
        let again = served.append("a", expected, sent.clone()).await.unwrap();
        assert_eq!(again, first);
    }
    let tail = served
        .append("a", exactly(0), sent[1..].to_vec())
        .await
        .unwrap();
    assert_eq!(tail, first);
    // What fits only in part is no retry.
    let mut part = sent.clone();
    part[2] = event(Uuid::new_v4(), "Counted");
    for expected in [NO_STREAM, ANY, EXISTS] {
        let wrong = served.append("a", expected, part.clone()).await.unwrap();
        assert_eq!(wrong, Appended::Wrong(Some(4)));
    }
    // The same id in another stream, or with the latest revision, is another event.
    let other = served.append("b", NO_STREAM, sent.clone()).await.unwrap();
    assert_ne!(other.position(), first.position());
    let latest = served.append("a", exactly(4), sent).await.unwrap();
    assert_eq!(
        latest,
        Appended::Success(Some(7), Some(other.position() + 3))
    );
}

#[tokio::test]
async fn the_retry_that_made_a_stream_does_not_bring_it_back() {
    let served = Served::start().await;
    let sent = events(1);
    let first = served.append("a", NO_STREAM, sent.clone()).await.unwrap();
    served.delete("a", ANY).await.unwrap();
    assert_eq!(served.append("a", NO_STREAM, sent).await.unwrap(), first);
    let back = served.append("a", NO_STREAM, events(1)).await.unwrap();
    assert!(matches!(back, Appended::Success(Some(1), _)), "{back:?}");
    let read = served.read_events(of_stream("a")).await.unwrap();
    assert_eq!((read.len(), read[0].stream_revision), (1, 1));
    let metadata = served.read_events(of_stream("$$a")).await.unwrap();
    assert_eq!(metadata[0].data, r#"{"$tb":1}"#);
}

#[tokio::test]
async fn an_append_of_nothing_tells_where_the_stream_ends() {
    let served = Served::start().await;
    states(&served).await;
    for (stream, expected, told) in [
        ("absent", ANY, Ok(Appended::Success(None, None))),
        ("absent", EXISTS, Ok(Appended::Wrong(None))),
        ("live", exactly(2), Ok(Appended::Success(Some(2), None))),
        ("live", NO_STREAM, Ok(Appended::Wrong(Some(2)))),
        ("metadata", EXISTS, Ok(Appended::Success(None, None))),
        ("deleted", EXISTS, Err("stream-deleted")),
        ("tombstoned", ANY, Err("stream-deleted")),
    ] {
        let found = served.append(stream, expected, Vec::new()).await;
        let name = |status| trailer(&status, "exception").map(str::to_owned);
        assert_eq!(
            found.map_err(name),
            told.map_err(|name| Some(name.to_owned())),
            "{stream}"
        );
    }
}

#[tokio::test]
async fn an_append_of_nothing_brings_a_deleted_stream_back() {
    for expected in [ANY, NO_STREAM, exactly(2)] {
        let served = Served::start().await;
        states(&served).await;
        let len = served.read_events(of_all()).await.unwrap().len();
        let wrong = served.append("deleted", exactly(1), Vec::new()).await;
        assert_eq!(wrong.unwrap(), Appended::Wrong(Some(2)));
        let told = served.append("deleted", expected, Vec::new()).await;
        assert_eq!(told.unwrap(), Appended::Success(Some(2), None));
        assert_eq!(served.read_events(of_stream("deleted")).await.unwrap(), []);
        let metadata = served.read_events(of_stream("$$deleted")).await.unwrap();
        assert_eq!(metadata[0].data, r#"{"$tb":3}"#);
        // Once more, there is nothing left to do.
        let told = served.append("deleted", exactly(2), Vec::new()).await;
        assert_eq!(told.unwrap(), Appended::Success(Some(2), None));
        assert_eq!(served.read_events(of_all()).await.unwrap().len(), len + 1);
        let next = served.append("deleted", EXISTS, events(1)).await.unwrap();
        assert!(matches!(next, Appended::Success(Some(3), _)), "{next:?}");
    }
}

#[tokio::test]
async fn an_append_that_makes_no_sense_is_an_invalid_argument() {
    let served = Served::start().await;
    let mut untyped = event(Uuid::new_v4(), "T");
    untyped.metadata = entries(&[("content-type", "application/json")]);
    let mut without_content = event(Uuid::new_v4(), "T");
    without_content.metadata = entries(&[("type", "T")]);
    let mut nameless = event(Uuid::new_v4(), "T");
    nameless.id = None;
    let one = || events(1);
    let mut twice = messages("a", Some(ANY), one());
    twice.extend(messages("a", Some(ANY), one()));
    let headless = messages("a", Some(ANY), one()).split_off(1);
    for (wrong, missing) in [
        (messages("a", Some(ANY), vec![untyped]), Some("type")),
        (
            messages("a", Some(ANY), vec![without_content]),
            Some("content-type"),
        ),
        (messages("a", Some(ANY), vec![nameless]), None),
        (messages("a", None, one()), None),
        (messages("", Some(ANY), one()), None),
        (messages("$$", Some(ANY), one()), None),
        (messages("a", Some(exactly(1 << 63)), one()), None),
        (twice, None),
        (headless, None),
        (Vec::new(), None),
        (vec![AppendReq { content: None }], None),
    ] {
        let text = format!("{wrong:?}");
        let status = served.streams().append(iter(wrong)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{text}: {status:?}");
        let exception = trailer(&status, "exception");
        match missing {
            None => assert_eq!(exception, None, "{text}"),
            Some(key) => {
                assert_eq!(exception, Some("missing-required-metadata-property"));
                let keys = trailer(&status, "required-metadata-properties");
                assert_eq!(keys, Some("type,content-type"));
                let said = format!("Required Metadata Property '{key}' is missing");
                assert_eq!(status.message(), said);
            }
        }
    }
    // Minus one, in unsigned numbers, stands for no stream.
    let sent = served.append("a", exactly(u64::MAX), one()).await.unwrap();
    assert_eq!(sent, Appended::Success(Some(0), Some(1)));
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let served = Served::start().await;
    for stream in ["$all", "$ce-a", "$et-T", "$streams", "$users"] {
        let status = served.append(stream, ANY, events(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{stream}");
        assert_eq!(trailer(&status, "exception"), Some("access-denied"));
        assert_eq!(status.message(), "Access Denied");
    }
}

#[tokio::test]
async fn what_is_too_large_is_told_with_the_limit() {
    let mut options = annal::StoreOptions::default();
    options.event_len_bytes_max = 50_000;
    options.append_len_bytes_max = 100_000;
    let served = Served::with(options, Default::default()).await;
    let sized = |len_bytes: usize| {
        let mut event = event(Uuid::new_v4(), "T");
        event.data = vec![0; len_bytes].into();
        event
    };
    // The type counts twice.
    served.append("a", ANY, vec![sized(49_998)]).await.unwrap();
    let large = sized(49_999);
    let id = match &large.id.as_ref().unwrap().value {
        Some(v1::uuid::Value::String(id)) => id.clone(),
        other => panic!("{other:?}"),
    };
    let status = served.append("a", ANY, vec![large]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let name = "maximum-append-event-size-exceeded";
    assert_eq!(trailer(&status, "exception"), Some(name));
    assert_eq!(trailer(&status, "maximum-append-event-size"), Some("50000"));
    assert_eq!(trailer(&status, "event-id"), Some(&*id));
    assert_eq!(
        trailer(&status, "proposed-append-event-size"),
        Some("50001")
    );
    // One is over what clients count, the other only over what the records take.
    for sizes in [[33_400; 3], [33_330; 3]] {
        let many = sizes.map(sized).to_vec();
        let status = served.append("a", ANY, many).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            trailer(&status, "exception"),
            Some("maximum-append-size-exceeded")
        );
        assert_eq!(trailer(&status, "maximum-append-size"), Some("100000"));
        assert_eq!(status.message(), "Maximum Append Size of 100000 Exceeded.");
    }
}

#[tokio::test]
async fn an_event_of_sixteen_million_bytes_goes_both_ways() {
    let served = Served::start().await;
    let mut large = event(Uuid::new_v4(), "T");
    large.data = vec![7; 16_000_000].into();
    served.append("a", ANY, vec![large.clone()]).await.unwrap();
    let read = served.read_events(of_stream("a")).await.unwrap();
    assert!(read[0].data == large.data);
}
