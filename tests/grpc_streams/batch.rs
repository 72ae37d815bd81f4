//! Many appends on one call.

use std::time::Duration;

use prost::Message;
use prost_types::{Duration as WireDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_stream::iter;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use uuid::Uuid;

use crate::grpc_client::append::{ANY, entries, event, events};
use crate::grpc_client::read::{SOON, of_stream};
use crate::grpc_client::v1::streams::batch_append_req::Options;
use crate::grpc_client::v1::streams::batch_append_req::options::{
    DeadlineOption, ExpectedStreamPosition as Expected,
};
use crate::grpc_client::v1::streams::batch_append_resp::{Result as Answer, success};
use crate::grpc_client::v1::streams::{BatchAppendReq, BatchAppendResp};
use crate::grpc_client::{Served, identifier, text_id, v1};

fn options(stream: &str, expected: Expected) -> Option<Options> {
    Some(Options {
        stream_identifier: Some(identifier(stream)),
        expected_stream_position: Some(expected),
        deadline_option: None,
    })
}

fn whole(stream: &str, expected: Expected, sent: Vec<v1::ProposedMessage>) -> BatchAppendReq {
    BatchAppendReq {
        correlation_id: Some(text_id(Uuid::new_v4())),
        options: options(stream, expected),
        proposed_messages: sent,
        is_final: true,
    }
}

async fn batch(served: &Served, requests: Vec<BatchAppendReq>) -> Vec<BatchAppendResp> {
    let call = served.streams().batch_append(iter(requests)).await;
    let mut responses = call.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(response) = responses.message().await.unwrap() {
        all.push(response);
    }
    all
}

async fn next(responses: &mut Streaming<BatchAppendResp>) -> BatchAppendResp {
    let response = tokio::time::timeout(SOON, responses.message()).await;
    response.expect("an answer comes soon").unwrap().unwrap()
}

/// The revision and position of a success; else the code, the text and the name of the detail.
fn outcome(response: &BatchAppendResp) -> Result<(u64, u64), (Code, String, String)> {
    assert!(response.correlation_id.is_some() && response.stream_identifier.is_some());
    match response.result.clone().expect("it is set") {
        Answer::Success(done) => {
            let revision = match done.current_revision_option.unwrap() {
                success::CurrentRevisionOption::CurrentRevision(revision) => revision,
                success::CurrentRevisionOption::NoStream(()) => u64::MAX,
            };
            let position = match done.position_option.unwrap() {
                success::PositionOption::Position(at) => at.commit_position,
                success::PositionOption::NoPosition(()) => 0,
            };
            Ok((revision, position))
        }
        Answer::Error(error) => {
            let detail = error.details.unwrap().type_url;
            let name = detail
                .strip_prefix("type.googleapis.com/")
                .unwrap()
                .to_owned();
            Err((Code::from(error.code), error.message, name))
        }
    }
}

fn refused(code: Code, text: &str) -> Result<(u64, u64), (Code, String, String)> {
    Err((code, text.to_owned(), format!("event_store.client.{text}")))
}

#[tokio::test]
async fn an_append_is_answered_with_its_id() {
    let served = Served::start().await;
    let sent = whole("a", Expected::NoStream(()), events(3));
    let responses = batch(&served, vec![sent.clone()]).await;
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].correlation_id, sent.correlation_id);
    assert_eq!(responses[0].stream_identifier, Some(identifier("a")));
    assert_eq!(outcome(&responses[0]), Ok((2, 3)));
    // Sent again, it is answered as the first time.
    assert_eq!(outcome(&batch(&served, vec![sent]).await[0]), Ok((2, 3)));
}

#[tokio::test]
async fn one_that_fails_does_not_end_the_call() {
    let served = Served::start().await;
    served.fill("live", 2).await;
    served.fill("gone", 1).await;
    served.tombstone("gone", ANY).await.unwrap();
    let mut untyped = event(Uuid::new_v4(), "T");
    untyped.metadata = entries(&[("content-type", "application/json")]);
    let mut unexpected = whole("a", Expected::Any(()), events(1));
    unexpected
        .options
        .as_mut()
        .unwrap()
        .expected_stream_position = None;
    let mut without_options = whole("a", Expected::Any(()), events(1));
    without_options.options = None;
    let bad = |text: &str| {
        Err((
            Code::InvalidArgument,
            text.to_owned(),
            "event_store.client.BadRequest".to_owned(),
        ))
    };
    for (request, told) in [
        (
            whole("live", Expected::NoStream(()), events(1)),
            refused(Code::AlreadyExists, "WrongExpectedVersion"),
        ),
        (
            whole("gone", Expected::Any(()), events(1)),
            refused(Code::NotFound, "StreamDeleted"),
        ),
        (
            whole("$all", Expected::Any(()), events(1)),
            refused(Code::PermissionDenied, "AccessDenied"),
        ),
        (
            whole("a", Expected::Any(()), vec![untyped]),
            bad("Required Metadata Property 'type' is missing"),
        ),
        (
            whole("", Expected::Any(()), events(1)),
            bad("stream name is empty"),
        ),
        (unexpected, bad("the expected revision is missing")),
        (without_options, bad("the options are missing")),
    ] {
        let good = whole("good", Expected::Any(()), events(1));
        let id = request.correlation_id.clone();
        let responses = batch(&served, vec![request, good.clone()]).await;
        assert_eq!(responses.len(), 2, "{told:?}");
        let (of_good, of_bad): (Vec<_>, Vec<_>) = responses
            .iter()
            .partition(|one| one.correlation_id == good.correlation_id);
        assert!(outcome(of_good[0]).is_ok());
        assert_eq!(of_bad[0].correlation_id, id);
        assert_eq!(outcome(of_bad[0]), told);
    }
}

#[tokio::test]
async fn a_conflict_says_what_was_expected_and_found() {
    let served = Served::start().await;
    served.fill("a", 2).await;
    let sent = whole("a", Expected::StreamPosition(7), events(1));
    let responses = batch(&served, vec![sent]).await;
    let Some(Answer::Error(error)) = &responses[0].result else {
        panic!("{responses:?}");
    };
    let detail = error.details.clone().unwrap();
    let conflict = v1::WrongExpectedVersion::decode(&*detail.value).unwrap();
    use v1::wrong_expected_version::{CurrentStreamRevisionOption, ExpectedStreamPositionOption};
    let current = CurrentStreamRevisionOption::CurrentStreamRevision(1);
    assert_eq!(conflict.current_stream_revision_option, Some(current));
    let expected = ExpectedStreamPositionOption::ExpectedStreamPosition(7);
    assert_eq!(conflict.expected_stream_position_option, Some(expected));
}

#[tokio::test]
async fn chunks_of_many_appends_may_be_mixed() {
    let served = Served::start().await;
    let (sender, requests) = mpsc::channel(1);
    let call = served
        .streams()
        .batch_append(ReceiverStream::new(requests))
        .await;
    let mut responses = call.unwrap().into_inner();
    let chunk = |id: Uuid, stream: Option<&str>, count: usize, is_final: bool| BatchAppendReq {
        correlation_id: Some(text_id(id)),
        options: stream.and_then(|stream| options(stream, Expected::Any(()))),
        proposed_messages: events(count),
        is_final,
    };
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    for request in [
        chunk(a, Some("a"), 2, false),
        chunk(b, Some("b"), 1, false),
        chunk(a, None, 1, false),
        chunk(b, None, 0, true),
    ] {
        sender.send(request).await.unwrap();
    }
    let first = next(&mut responses).await;
    assert_eq!(first.correlation_id, Some(text_id(b)));
    assert_eq!(outcome(&first), Ok((0, 1)));
    let seen = served.read(of_stream("a")).await.unwrap();
    assert_eq!(seen.len(), 1, "only that it is not there: {seen:?}");
    sender.send(chunk(a, None, 1, true)).await.unwrap();
    assert_eq!(outcome(&next(&mut responses).await), Ok((3, 5)));
    drop(sender);
    assert!(responses.message().await.unwrap().is_none());
}

#[tokio::test]
async fn appends_on_their_way_keep_their_order() {
    let served = Served::start().await;
    let requests: Vec<_> = (0..500u64)
        .map(|index| {
            let expected = match index.checked_sub(1) {
                None => Expected::NoStream(()),
                Some(last) => Expected::StreamPosition(last),
            };
            whole("a", expected, events(1))
        })
        .collect();
    let responses = batch(&served, requests.clone()).await;
    assert_eq!(responses.len(), 500);
    for (index, request) in (0..).zip(&requests) {
        let of_it = |one: &&BatchAppendResp| one.correlation_id == request.correlation_id;
        let response = responses.iter().find(of_it).unwrap();
        assert_eq!(outcome(response), Ok((index, index + 1)));
    }
}

#[tokio::test]
async fn deadlines_are_taken_as_clients_give_them() {
    let served = Served::start().await;
    let now = served.store.now_us() / 1_000_000;
    let relative = |seconds, nanos| DeadlineOption::Deadline(WireDuration { seconds, nanos });
    let absolute = |seconds| DeadlineOption::Deadline21100(Timestamp { seconds, nanos: 0 });
    for (deadline, in_time) in [
        // Seconds since 1970 in a duration, and the longest there is.
        (relative(now + 10, 0), true),
        (relative(315_576_000_000, 999_999_999), true),
        (relative(i64::MAX, i32::MAX), false),
        (relative(0, 0), false),
        (relative(-1, 0), false),
        (absolute(now + 10), true),
        (absolute(i64::MAX), true),
        (absolute(now - 2), false),
        // A clock that is far off is not meant.
        (absolute(0), true),
        (absolute(i64::MIN), true),
    ] {
        let mut request = whole("a", Expected::Any(()), events(1));
        request.options.as_mut().unwrap().deadline_option = Some(deadline);
        let responses = batch(&served, vec![request]).await;
        match in_time {
            true => assert!(outcome(&responses[0]).is_ok(), "{deadline:?}"),
            false => {
                let told = refused(Code::DeadlineExceeded, "Timeout");
                assert_eq!(outcome(&responses[0]), told, "{deadline:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_without_an_id_ends_and_one_that_waits_ends_with_the_server() {
    let served = Served::start().await;
    let mut nameless = whole("a", Expected::Any(()), events(1));
    nameless.correlation_id = None;
    let call = served.streams().batch_append(iter(vec![nameless])).await;
    let status = call.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let (sender, requests) = mpsc::channel::<BatchAppendReq>(1);
    let call = served
        .streams()
        .batch_append(ReceiverStream::new(requests))
        .await;
    let mut waiting = call.unwrap().into_inner();
    let stopped = tokio::time::timeout(Duration::from_secs(20), served.stop());
    stopped.await.expect("the server stops in time");
    assert_eq!(
        waiting.message().await.unwrap_err().code(),
        Code::Unavailable
    );
    drop(sender);
}

#[tokio::test]
async fn an_append_whose_rest_does_not_come_is_given_up_and_the_call_goes_on() {
    let mut options = annal::GrpcOptions::default();
    options.message_within = Duration::from_millis(50);
    let served = Served::with(Default::default(), options).await;
    let (sender, requests) = mpsc::channel::<BatchAppendReq>(4);
    let mut client = served.streams();
    let call = client.batch_append(ReceiverStream::new(requests));
    let mut responses = call.await.unwrap().into_inner();
    let mut begun = whole("a", Expected::Any(()), events(1));
    begun.is_final = false;
    let rest = BatchAppendReq {
        options: None,
        is_final: true,
        ..begun.clone()
    };
    sender.send(begun).await.unwrap();
    let told = refused(Code::DeadlineExceeded, "Timeout");
    assert_eq!(outcome(&next(&mut responses).await), told);
    // What comes too late is left out.
    sender.send(rest).await.unwrap();
    let other = whole("b", Expected::Any(()), events(1));
    sender.send(other).await.unwrap();
    assert_eq!(outcome(&next(&mut responses).await), Ok((0, 1)));
}
