//! Nobody can keep the others from their turn, or the server waiting for ever.

use std::time::Duration;

use annal::{Append, EventType, ExpectedRevision, GrpcOptions, NewEvent, StoreOptions, StreamName};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::grpc_client::Served;
use crate::grpc_client::append::{ANY, messages as begun};
use crate::grpc_client::group::{group, settings};
use crate::grpc_client::read::{SOON, by_regex, of_all, of_stream};
use crate::grpc_client::v1::Empty;
use crate::grpc_client::v1::streams::ReadReq;
use crate::grpc_client::v1::streams::read_req::options::filter_options::{Filter, Window};
use crate::grpc_client::wire::kurrentdb::protocol::v2;

#[tokio::test]
async fn a_read_that_finds_nothing_lets_others_read_meanwhile() {
    let mut options = GrpcOptions::default();
    options.reads_max = 1;
    let served = Served::with(StoreOptions::default(), options).await;
    let stream = StreamName::new("many").unwrap();
    let data = format!("{:?}", "x".repeat(300));
    for _ in 0..40 {
        let event_type = EventType::new("Happened").unwrap();
        let events = (0..1000).map(|_| NewEvent::json(event_type.clone(), data.clone()));
        let append = Append::to(stream.clone(), ExpectedRevision::Any, events);
        served.store.append(append).unwrap();
    }
    let filter = Filter::EventType(by_regex("^(?!Happened$)"));
    let options = of_all().filter(filter, Window::Count(Empty {}), 1);
    let found = served.read_events(options);
    let mut found = std::pin::pin!(found);
    let others = async {
        for _ in 0..2 {
            let read = served.read_events(of_stream("many").count(1)).await;
            assert_eq!(read.unwrap().len(), 1);
        }
    };
    tokio::select! {
        biased;
        found = &mut found => panic!("the others came later: {found:?}"),
        () = others => {}
    }
    assert_eq!(found.await.unwrap().len(), 0);
}

#[tokio::test]
async fn members_of_groups_take_places_of_subscriptions() {
    let mut options = GrpcOptions::default();
    options.subscriptions_max = 2;
    let served = Served::with(StoreOptions::default(), options).await;
    let asked = group("a", "g", None, settings());
    served.create_group(asked).await.unwrap();
    let _follower = served.follow(of_stream("a")).await;
    let member = served.join("a", "g", 1).await.unwrap();
    let refused = served.join("a", "g", 1).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "Server Is Too Busy");
    drop(member);
    let freed = async {
        while served.join("a", "g", 1).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, freed).await.unwrap();
}

/// Sends nothing, for as long as the sender lives.
fn silent<T>() -> (mpsc::Sender<T>, ReceiverStream<T>) {
    let (sender, messages) = mpsc::channel(1);
    (sender, ReceiverStream::new(messages))
}

async fn ended<T>(call: impl Future<Output = Result<T, Status>>) -> Code {
    let ended = tokio::time::timeout(SOON, call).await;
    ended.expect("it ends by itself").err().unwrap().code()
}

#[tokio::test]
async fn who_owes_a_message_has_so_long_for_it() {
    let mut options = GrpcOptions::default();
    options.message_within = Duration::from_millis(50);
    let served = Served::with(StoreOptions::default(), options).await;
    let late = Code::DeadlineExceeded;
    let (mut groups, mut streams) = (served.groups(), served.streams());
    let (_held, messages) = silent();
    assert_eq!(ended(groups.read(messages)).await, late);
    let (_held, messages) = silent();
    assert_eq!(ended(streams.append(messages)).await, late);
    let (_held, messages) = silent::<v2::streams::AppendRequest>();
    let channel = served.channel();
    let mut second = v2::streams::streams_service_client::StreamsServiceClient::new(channel);
    assert_eq!(ended(second.append_session(messages)).await, late);
    let (sender, messages) = mpsc::channel(2);
    for message in begun("a", Some(ANY), Vec::new()) {
        sender.send(message).await.unwrap();
    }
    let call = streams.append(ReceiverStream::new(messages));
    assert_eq!(ended(call).await, late);
}

#[tokio::test]
async fn a_call_ends_when_its_caller_waits_no_longer() {
    let mut options = GrpcOptions::default();
    options.subscriptions_max = 1;
    let served = Served::with(StoreOptions::default(), options).await;
    served.fill("a", 3).await;
    let follow = |within| {
        let options = Some(of_stream("a").follow());
        let mut request = Request::new(ReadReq { options });
        request.set_timeout(within);
        request
    };
    // It has come this far, and its place is free again as soon as it ends.
    for _ in 0..3 {
        let mut streams = served.streams();
        let told = loop {
            match streams.read(follow(Duration::from_millis(200))).await {
                Ok(told) => break told,
                Err(busy) => assert_eq!(busy.code(), Code::Unavailable),
            }
        };
        let mut told = told.into_inner();
        let mut count = 0;
        let ended = loop {
            match tokio::time::timeout(SOON, told.message()).await.unwrap() {
                Ok(_) => count += 1,
                Err(status) => break status,
            }
        };
        assert_eq!((count, ended.code()), (5, Code::DeadlineExceeded));
    }
}
