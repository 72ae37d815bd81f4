//! Reads that end.

use tonic::Code;
use uuid::Uuid;

use crate::grpc_client::Served;
use crate::grpc_client::append::{ANY, event, events};
use crate::grpc_client::read::{of_all, of_stream};
use crate::grpc_client::v1::RecordedEvent;
use crate::grpc_client::v1::streams::read_req::Options;
use crate::grpc_client::v1::streams::read_req::options::StreamOption;
use crate::grpc_client::v1::streams::read_resp::{Content, read_event};

fn revisions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.stream_revision).collect()
}

#[tokio::test]
async fn a_stream_is_read_from_anywhere_both_ways() {
    let served = Served::start().await;
    served.fill("a", 5).await;
    let a = || of_stream("a");
    let none: [u64; 0] = [];
    for (options, told) in [
        (a().count(2), &[0, 1][..]),
        (a().count(0), &none),
        (a().revision(3), &[3, 4]),
        (a().revision(9), &none),
        (a().end(), &none),
        (a().end().backwards(), &[4, 3, 2, 1, 0]),
        (a().revision(1).backwards(), &[1, 0]),
        (a().revision(9).backwards().count(2), &[4, 3]),
        (a().revision(u64::MAX).backwards().count(1), &[4]),
        (a().backwards(), &[0]),
    ] {
        let read = served.read_events(options.clone()).await.unwrap();
        assert_eq!(revisions(&read), told, "{options:?}");
    }
}

#[tokio::test]
async fn all_events_are_read_from_a_position_that_only_a_forward_read_includes() {
    let served = Served::start().await;
    served.fill("a", 3).await;
    served.fill("b", 2).await;
    let none: [u64; 0] = [];
    for (options, told) in [
        (of_all(), &[1, 2, 3, 4, 5][..]),
        (of_all().position(0), &[1, 2, 3, 4, 5]),
        (of_all().position(4), &[4, 5]),
        (of_all().position(99), &none),
        (of_all().position(u64::MAX), &none),
        (of_all().end(), &none),
        (of_all().end().backwards().count(2), &[5, 4]),
        (of_all().position(u64::MAX).backwards().count(1), &[5]),
        (of_all().position(4).backwards(), &[3, 2, 1]),
        (of_all().position(0).backwards(), &none),
        (of_all().backwards(), &none),
    ] {
        let read = served.read_events(options.clone()).await.unwrap();
        let positions: Vec<u64> = read.iter().map(|event| event.commit_position).collect();
        assert_eq!(positions, told, "{options:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_a_message() {
    let served = Served::start().await;
    for options in [
        of_stream("a"),
        of_stream("a").end().backwards(),
        of_stream("a").count(0),
    ] {
        let messages = served.read(options.compatible()).await.unwrap();
        let [Content::StreamNotFound(missing)] = &messages[..] else {
            panic!("{messages:?}");
        };
        let name = missing.stream_identifier.clone().unwrap().stream_name;
        assert_eq!(name, "a");
    }
}

#[tokio::test]
async fn first_and_last_revision_are_told_to_those_who_know_them() {
    let served = Served::start().await;
    served.fill("a", 100).await;
    served.set_metadata("a", r#"{"$tb":60}"#).await;
    let ends = async |options: Options| {
        let messages = served.read(options).await.unwrap();
        let first = match messages.first() {
            Some(Content::FirstStreamPosition(first)) => Some(*first),
            _ => None,
        };
        let last = match messages.last() {
            Some(Content::LastStreamPosition(last)) => Some(*last),
            _ => None,
        };
        let extra = usize::from(first.is_some()) + usize::from(last.is_some());
        (first, messages.len() - extra, last)
    };
    let a = || of_stream("a").compatible();
    assert_eq!(ends(a()).await, (Some(60), 40, Some(99)));
    assert_eq!(ends(a().revision(50)).await, (None, 40, Some(99)));
    assert_eq!(ends(a().revision(100)).await, (None, 0, Some(99)));
    assert_eq!(ends(a().revision(105)).await, (Some(100), 0, Some(99)));
    assert_eq!(
        ends(a().end().backwards().count(3)).await,
        (None, 3, Some(99))
    );
    assert_eq!(ends(of_stream("a")).await, (None, 40, None));
    assert_eq!(ends(of_all().compatible()).await, (None, 101, None));
}

#[tokio::test]
async fn metadata_hides_what_it_says_and_shows_its_last_word() {
    let served = Served::start().await;
    served.fill("a", 10).await;
    served.set_metadata("a", r#"{"$maxCount":3}"#).await;
    let read = served.read_events(of_stream("a")).await.unwrap();
    assert_eq!(revisions(&read), [7, 8, 9]);
    served.set_metadata("a", r#"{"$maxCount":3,"$tb":9}"#).await;
    let read = served.read_events(of_stream("a")).await.unwrap();
    assert_eq!(revisions(&read), [9]);
    let metadata = served.read_events(of_stream("$$a")).await.unwrap();
    assert_eq!(revisions(&metadata), [1]);
    assert_eq!(served.read_events(of_all()).await.unwrap().len(), 12);
}

fn link(to: &str) -> crate::grpc_client::v1::ProposedMessage {
    let mut link = event(Uuid::new_v4(), "$>");
    link.data = to.as_bytes().to_vec().into();
    link
}

#[tokio::test]
async fn links_come_with_what_they_point_to() {
    let served = Served::start().await;
    served.fill("a", 2).await;
    let links = vec![link("1@a"), link("7@a"), link("0@gone"), link("no link")];
    served.append("links", ANY, links).await.unwrap();
    let plain = served.read_events(of_stream("links")).await.unwrap();
    assert_eq!(plain[0].data, "1@a");
    let resolved = served.read(of_stream("links").resolved()).await.unwrap();
    let told: Vec<_> = resolved
        .into_iter()
        .map(|message| {
            let Content::Event(event) = message else {
                panic!("{message:?}");
            };
            let original = event.link.as_ref().or(event.event.as_ref()).unwrap();
            let at = read_event::Position::CommitPosition(original.commit_position);
            assert_eq!(event.position, Some(at));
            let link = event
                .link
                .map(|link| (link.stream_revision, link.commit_position));
            let found = event
                .event
                .map(|event| (event.stream_revision, event.commit_position));
            (link, found)
        })
        .collect();
    let told_as = [
        (Some((0, 3)), Some((1, 2))),
        (Some((1, 4)), None),
        (Some((2, 5)), None),
        (None, Some((3, 6))),
    ];
    assert_eq!(told, told_as);
}

#[tokio::test]
async fn what_is_computed_is_read_like_a_stream() {
    let served = Served::start().await;
    served.fill("order-1", 2).await;
    served.fill("order-2", 1).await;
    for stream in ["$ce-order", "$et-Counted"] {
        let messages = served.read(of_stream(stream).resolved()).await.unwrap();
        let told: Vec<_> = messages
            .into_iter()
            .map(|message| match message {
                Content::Event(event) => (
                    event.link.unwrap().stream_revision,
                    event.event.unwrap().commit_position,
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, [(0, 1), (1, 2), (2, 3)], "{stream}");
    }
}

#[tokio::test]
async fn a_large_read_arrives_whole_and_in_order() {
    let served = Served::start().await;
    for _ in 0..10 {
        served.append("a", ANY, events(1000)).await.unwrap();
    }
    let read = served.read_events(of_stream("a")).await.unwrap();
    assert!(revisions(&read).into_iter().eq(0..10_000));
    let backwards = served
        .read_events(of_all().end().backwards())
        .await
        .unwrap();
    assert!(revisions(&backwards).into_iter().eq((0..10_000).rev()));
    // One that is not read on stops its reader, and others are served.
    let mut slow = served.open(of_all()).await.unwrap();
    slow.message().await.unwrap().unwrap();
    assert_eq!(
        served.read_events(of_all().count(1)).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_read_that_makes_no_sense_is_an_invalid_argument() {
    let served = Served::start().await;
    let mut without_id_form = of_all();
    without_id_form.uuid_option = None;
    let mut without_source = of_all();
    without_source.stream_option = None;
    let mut without_count = of_all();
    without_count.count_option = None;
    let mut without_filter = of_all();
    without_filter.filter_option = None;
    let mut sideways = of_all();
    sideways.read_direction = 7;
    let mut disordered = of_all().position(3);
    let stream_option = disordered.stream_option.as_mut().unwrap();
    match stream_option {
        StreamOption::All(all) => {
            use crate::grpc_client::v1::streams::Position;
            use crate::grpc_client::v1::streams::read_req::options::all_options::AllOption;
            all.all_option = Some(AllOption::Position(Position {
                commit_position: 3,
                prepare_position: 4,
            }));
        }
        StreamOption::Stream(_) => panic!("it reads everything"),
    }
    for wrong in [
        without_id_form,
        without_source,
        without_count,
        without_filter,
        sideways,
        disordered,
        of_all().backwards().follow(),
        of_stream("").count(1),
        of_stream("$all"),
        of_stream("a").revision(1 << 63),
    ] {
        let text = format!("{wrong:?}");
        let status = match served.open(wrong).await {
            Ok(mut messages) => messages.message().await.unwrap_err(),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{text}: {status:?}");
    }
}
