//! Filters of reads of all events.

use tonic::Code;

use crate::grpc_client::append::{ANY, event};
use crate::grpc_client::read::{by_prefix, by_regex, of_all};
use crate::grpc_client::v1::Empty;
use crate::grpc_client::v1::streams::read_req::options::FilterOption;
use crate::grpc_client::v1::streams::read_req::options::filter_options::{
    Expression, Filter, Window,
};
use crate::grpc_client::{Served, trailer};

const COUNT: Window = Window::Count(Empty {});

async fn some(served: &Served) {
    for (stream, event_type) in [
        ("order-1", "Placed"),
        ("order-2", "OrderPaid"),
        ("cart-1", "Opened"),
        ("cart-1", "$internal"),
    ] {
        let sent = vec![event(uuid::Uuid::new_v4(), event_type)];
        served.append(stream, ANY, sent).await.unwrap();
    }
}

#[tokio::test]
async fn events_are_chosen_by_stream_or_type_by_prefix_or_pattern() {
    let served = Served::start().await;
    some(&served).await;
    let stream = |expression: Expression| Filter::StreamIdentifier(expression);
    let of_type = |expression: Expression| Filter::EventType(expression);
    let nothing: &[u64] = &[];
    for (filter, told) in [
        (stream(by_prefix(&["order-"])), &[1, 2][..]),
        (stream(by_prefix(&["cart-", "order-2"])), &[2, 3, 4]),
        (stream(by_regex("-1$")), &[1, 3, 4]),
        (of_type(by_prefix(&["O"])), &[2, 3]),
        (of_type(by_regex("a")), &[1, 2, 4]),
        // What clients say to leave out system events.
        (of_type(by_regex("^[^$].*")), &[1, 2, 3]),
        (of_type(by_regex(r"^[^\$].*")), &[1, 2, 3]),
        (
            of_type(by_regex(r"^(?!(\$.+$|PersistentConfig\d+$|Result$))")),
            &[1, 2, 3],
        ),
        (stream(by_regex("^(?!(cart-.*$))")), &[1, 2]),
        (of_type(by_prefix(&[])), nothing),
    ] {
        let options = of_all().filter(filter.clone(), COUNT, 1);
        let read = served.read_events(options.clone()).await.unwrap();
        let positions: Vec<u64> = read.iter().map(|event| event.commit_position).collect();
        assert_eq!(positions, told, "{filter:?}");
        let last = served
            .read_events(options.end().backwards().count(1))
            .await
            .unwrap();
        let positions: Vec<u64> = last.iter().map(|event| event.commit_position).collect();
        assert_eq!(
            positions,
            told.last().copied().into_iter().collect::<Vec<_>>(),
            "{filter:?}"
        );
    }
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_an_invalid_argument() {
    let served = Served::start().await;
    let good = || Filter::EventType(by_prefix(&["a"]));
    let without_window = {
        let mut options = of_all().filter(good(), COUNT, 1);
        if let Some(FilterOption::Filter(filter)) = &mut options.filter_option {
            filter.window = None;
        }
        options
    };
    let without_expression = {
        let mut options = of_all().filter(good(), COUNT, 1);
        if let Some(FilterOption::Filter(filter)) = &mut options.filter_option {
            filter.filter = None;
        }
        options
    };
    let of_one_stream = {
        let mut options = of_all().filter(good(), COUNT, 1);
        options.stream_option = crate::grpc_client::read::of_stream("a").stream_option;
        options
    };
    for wrong in [
        without_window,
        without_expression,
        of_one_stream,
        of_all().filter(Filter::EventType(by_regex("(")), COUNT, 1),
        of_all().filter(good(), Window::Max(0), 1),
        of_all().filter(
            Filter::StreamIdentifier(by_prefix(&["a", "$idx-all"])),
            COUNT,
            1,
        ),
        of_all().filter(good(), COUNT, 0).follow(),
    ] {
        let text = format!("{wrong:?}");
        let status = match served.open(wrong).await {
            Ok(mut messages) => messages.message().await.unwrap_err(),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{text}");
    }
}

#[tokio::test]
async fn an_index_that_is_not_there_is_not_found() {
    let served = Served::start().await;
    let filter = Filter::StreamIdentifier(by_prefix(&["$idx-user-mine"]));
    let options = of_all().filter(filter, COUNT, 1);
    for options in [options.clone(), options.follow()] {
        let status = served.open(options).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(trailer(&status, "exception"), Some("index-not-found"));
        assert_eq!(trailer(&status, "index-name"), Some("$idx-user-mine"));
    }
}
