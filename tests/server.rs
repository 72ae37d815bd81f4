//! The server over real sockets, frame by frame: every request and every refusal.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod network;

use std::time::Duration;

use annal::format::checksum::Salt;
use annal::protocol::frame::{FRAME_LEN_BYTES_MAX, HEADER_LEN_BYTES};
use annal::protocol::message::*;
use annal::protocol::records;
use annal::protocol::{Answer, Request, WireError};
use annal::{Append, ExpectedRevision, NewEvent, Position, Revision, StreamHead as Head};
use network::ask::*;
use network::*;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_welcome_says_what_store_it_is_and_what_it_allows() {
    let server = serve_memory();
    let raw = Raw::connect(server.address).await;
    let welcome = raw.welcome.unwrap();
    assert_eq!(welcome.version, 1);
    assert_eq!(welcome.store, server.store.id().0.into_bytes());
    assert_eq!(welcome.lineage, server.store.lineage().0.into_bytes());
    assert_eq!(welcome.limits.requests_max, 1024);
    assert_eq!(welcome.limits.append_events_max, 65_536);
    server.stop().await;
}

#[tokio::test]
async fn appends_are_answered_by_receipts_and_reads_see_them() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let first = receipt(&mut raw, some_events("a-1", 3)).await;
    assert_eq!((first.first, first.last), (0, Some(2)));
    assert_eq!(first.revisions, [("a-1".into(), 2)]);
    assert_eq!(first.token.end, 3);
    let both = Append::new()
        .event(name("a-2"), event("x"))
        .event(name("a-1"), event("y"));
    let second = receipt(&mut raw, both.expect(name("b"), ExpectedRevision::NoStream)).await;
    assert_eq!(second.revisions, [("a-2".into(), 0), ("a-1".into(), 3)]);

    let (all, end) = read_all(&mut raw, read(Source::All)).await;
    assert_eq!(positions(&all), [0, 1, 2, 3, 4]);
    assert_eq!(end.reason, EndReason::Exhausted);
    assert_eq!(&all[4].data[..], b"y");
    let backwards = Read {
        from: From::End,
        backwards: true,
        ..read(Source::All)
    };
    assert_eq!(
        positions(&read_all(&mut raw, backwards).await.0),
        [4, 3, 2, 1, 0]
    );

    let two = Read {
        from: From::At(1),
        events_max: 2,
        ..read(Source::Stream("a-1".into()))
    };
    let (some, end) = read_all(&mut raw, two).await;
    assert_eq!(positions(&some), [1, 2]);
    assert_eq!(
        end,
        End {
            reason: EndReason::EventsMax,
            next: Some(3)
        }
    );
    let back = Read {
        from: From::At(1),
        backwards: true,
        ..read(Source::Stream("a-1".into()))
    };
    assert_eq!(positions(&read_all(&mut raw, back).await.0), [1, 0]);
    for source in [
        Source::Category("a".into()),
        Source::EventType("Happened".into()),
    ] {
        assert_eq!(
            positions(&read_all(&mut raw, read(source)).await.0),
            [0, 1, 2, 3, 4]
        );
    }
    let filter = Filter {
        target: FilterTarget::Stream,
        rule: FilterRule::Prefixes(vec!["a-2".to_owned()]),
    };
    assert_eq!(
        positions(&read_all(&mut raw, read(Source::Filtered(filter))).await.0),
        [3]
    );
    assert!(
        read_all(&mut raw, read(Source::Tag("none".into())))
            .await
            .0
            .is_empty()
    );
    server.stop().await;
}

#[tokio::test]
async fn questions_have_one_answer() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let written = receipt(&mut raw, some_events("a-1", 3)).await;
    receipt(&mut raw, some_events("a-2", 1)).await;
    let metadata = Append::metadata(&name("a-1"), ExpectedRevision::Any, "{\"$tb\":1}").unwrap();
    receipt(&mut raw, metadata).await;

    let salt = Salt::new(raw.welcome.as_ref().unwrap().record_salt);
    let one = |answer| match answer {
        Answer::Records(runs) => positions(&records::all_events(&runs, &salt).unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        one(raw.ask(Request::Event(EventAt::Position(2))).await),
        [2]
    );
    assert!(one(raw.ask(Request::Event(EventAt::Position(99))).await).is_empty());
    let at = |revision| {
        Request::Event(EventAt::Revision {
            stream: "a-1".into(),
            revision,
        })
    };
    assert_eq!(one(raw.ask(at(2)).await), [2]);
    assert!(one(raw.ask(at(0)).await).is_empty(), "it is truncated");

    let describe = |stream: &str| {
        Request::DescribeStream(DescribeStream {
            stream: stream.into(),
        })
    };
    match raw.ask(describe("a-1")).await {
        Answer::StreamDescription(it) => {
            assert_eq!(
                (it.head, it.first, it.events),
                (StreamHead::At(2), Some(1), 3)
            );
            let metadata = it.metadata.unwrap();
            assert_eq!(
                (metadata.revision, &metadata.json[..]),
                (0, &b"{\"$tb\":1}"[..])
            );
        }
        other => panic!("{other:?}"),
    }
    match raw.ask(describe("nobody")).await {
        Answer::StreamDescription(it) => assert_eq!(it.head, StreamHead::Absent),
        other => panic!("{other:?}"),
    }
    let list = |after: Option<&str>, streams_max| {
        let after = after.map(ToOwned::to_owned);
        Request::ListStreams(ListStreams {
            prefix: "a-".into(),
            after,
            streams_max,
        })
    };
    for (after, max, names, more) in [
        (None, 1, vec!["a-1"], true),
        (Some("a-1"), 9, vec!["a-2"], false),
    ] {
        match raw.ask(list(after, max)).await {
            Answer::StreamList(list) => {
                let found: Vec<_> = list.streams.iter().map(|one| &*one.stream).collect();
                assert_eq!((found, list.more), (names, more));
            }
            other => panic!("{other:?}"),
        }
    }
    let position = |answer| match answer {
        Answer::Position(is) => is.position,
        other => panic!("{other:?}"),
    };
    let at = Request::PositionAt(PositionAt {
        seconds: 0,
        nanos: 0,
    });
    assert_eq!(position(raw.ask(at).await), 0);
    let wait = Request::WaitFor(WaitFor {
        token: written.token,
        within_ms: 0,
    });
    assert_eq!(position(raw.ask(wait).await), 5);
    match raw.ask(Request::Status(Empty)).await {
        Answer::Status(status) => {
            assert_eq!(status.committed, 5);
            assert!(status.figures.contains(&("connections".to_owned(), 1)));
        }
        other => panic!("{other:?}"),
    }
    server.stop().await;
}

#[tokio::test]
async fn every_refusal_says_what_it_refuses() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let token = receipt(&mut raw, some_events("a-1", 1)).await.token;
    let none = ExpectedRevision::NoStream;
    let wrong = Append::to(name("a-1"), none, [event("x")]);
    assert_eq!(
        raw.error(append(wrong)).await,
        WireError::WrongExpectedRevision {
            stream: "a-1".into(),
            expected: Expected::NoStream,
            found: StreamHead::At(0),
        }
    );
    receipt(
        &mut raw,
        Append::tombstone(name("gone"), ExpectedRevision::Any),
    )
    .await;
    assert_eq!(
        raw.error(append(some_events("gone", 1))).await,
        WireError::StreamDeleted {
            stream: "gone".into(),
            found: Head::Tombstoned.into()
        }
    );
    let named = |append: Append| {
        append.request(annal::Request {
            principal: String::new(),
            id: uuid::Uuid::from_u128(5),
        })
    };
    receipt(&mut raw, named(some_events("a-3", 1))).await;
    assert_eq!(
        raw.error(append(named(some_events("a-4", 1)))).await,
        WireError::RequestIdReused(uuid::Uuid::from_u128(5).into_bytes())
    );
    let twice = Append::new()
        .expect(name("a"), none)
        .expect(name("a"), none);
    assert!(matches!(
        raw.error(append(twice)).await,
        WireError::Invalid(_)
    ));
    let many = Append::to(name("many"), none, vec![event("1"); 65_537]);
    assert!(matches!(
        raw.error(append(many)).await,
        WireError::OverLimit { max: 65_536, .. }
    ));

    let of = |source| Request::Read(read(source));
    assert_eq!(
        raw.error(of(Source::Stream("nobody".into()))).await,
        WireError::StreamNotFound("nobody".into())
    );
    assert_eq!(
        raw.error(of(Source::Stream("gone".into()))).await,
        WireError::StreamTombstoned("gone".into())
    );
    assert!(matches!(
        raw.error(of(Source::Stream("$all".into()))).await,
        WireError::Invalid(_)
    ));
    let pattern = FilterRule::Pattern("(".into());
    let filter = Filter {
        target: FilterTarget::Stream,
        rule: pattern,
    };
    assert!(matches!(
        raw.error(of(Source::Filtered(filter))).await,
        WireError::Invalid(_)
    ));

    let foreign = Token {
        store: [9; 16],
        ..token
    };
    let wait = |token| {
        Some(WaitFor {
            token,
            within_ms: 10,
        })
    };
    let read_at = |token| {
        Request::Read(Read {
            at_least: wait(token),
            ..read(Source::All)
        })
    };
    assert_eq!(
        raw.error(read_at(foreign)).await,
        WireError::ForeignToken(foreign)
    );
    let restored = Token {
        lineage: [9; 16],
        ..token
    };
    let from_start = subscribe(Source::All, SubscribeFrom::Start);
    let feed = Subscribe {
        at_least: wait(restored),
        ..from_start
    };
    assert_eq!(
        raw.error(Request::Subscribe(feed)).await,
        WireError::ForeignToken(restored)
    );
    let later = Token { end: 1000, ..token };
    assert!(matches!(
        raw.error(read_at(later)).await,
        WireError::NotReached {
            asked: 1000,
            waited_ms: 10,
            ..
        }
    ));
    let after_revision = subscribe(Source::All, SubscribeFrom::AfterRevision(1));
    let error = raw.error(Request::Subscribe(after_revision)).await;
    assert!(matches!(error, WireError::Invalid(_)));
    let second = raw.error(Request::Hello(hello())).await;
    assert!(matches!(second, WireError::Malformed(_)));
    server.stop().await;
}

#[tokio::test]
async fn a_broken_body_is_refused_and_the_connection_goes_on() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let mut bytes = Vec::new();
    annal::protocol::frame::put_frame(&mut bytes, 0x7f, 3, |_| ());
    annal::protocol::frame::put_frame(&mut bytes, Request::READ, 4, |out| out.push(1));
    append(some_events("a-1", 1)).put(5, &mut bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    raw.socket.write_all(&bytes).await.unwrap();
    assert!(matches!(
        raw.next().await,
        (3, Answer::Error(WireError::Unsupported(0x7f)))
    ));
    assert!(matches!(
        raw.next().await,
        (4, Answer::Error(WireError::Malformed(_)))
    ));
    assert!(matches!(
        raw.next().await,
        (5, Answer::Error(WireError::PayloadDamaged(0)))
    ));
    receipt(&mut raw, some_events("a-1", 1)).await;
    assert_eq!(server.store.committed(), Position(1));
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_say_hello_is_not_heard() {
    let mut options = options();
    options.hello_within = Duration::from_millis(100);
    let server = serve(memory_store(1), options);
    let refused = |answer: Option<(u64, Answer)>| match answer {
        Some((0, Answer::Error(error))) => error,
        other => panic!("{other:?}"),
    };
    // Says nothing.
    let mut raw = Raw::silent(server.address).await;
    assert!(matches!(
        refused(raw.try_next().await),
        WireError::Malformed(_)
    ));
    assert!(raw.try_next().await.is_none());
    // Speaks of something else.
    let mut raw = Raw::silent(server.address).await;
    raw.send(1, &Request::Status(Empty)).await;
    assert!(matches!(
        refused(raw.try_next().await),
        WireError::Malformed(_)
    ));
    assert!(raw.try_next().await.is_none());
    // Speaks another protocol.
    let mut raw = Raw::silent(server.address).await;
    raw.socket
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(
        refused(raw.try_next().await),
        WireError::Malformed(_)
    ));
    // Speaks another version.
    let mut raw = Raw::silent(server.address).await;
    let newer = Hello {
        version_min: 2,
        version_max: 3,
        ..hello()
    };
    raw.send(1, &Request::Hello(newer)).await;
    assert_eq!(
        refused(raw.try_next().await),
        WireError::Version { min: 1, max: 1 }
    );
    // Speaks a version among others.
    let mut raw = Raw::silent(server.address).await;
    raw.send(
        1,
        &Request::Hello(Hello {
            version_max: 9,
            ..hello()
        }),
    )
    .await;
    assert!(matches!(
        raw.next().await,
        (1, Answer::Welcome(Welcome { version: 1, .. }))
    ));
    server.stop().await;
}

#[tokio::test]
async fn frames_may_dribble_and_must_not_lie() {
    let mut options = options();
    options.frame_within = Duration::from_millis(400);
    let server = serve(memory_store(1), options);
    let mut raw = Raw::connect(server.address).await;
    let mut bytes = Vec::new();
    append(some_events("a-1", 2)).put(3, &mut bytes);
    for byte in &bytes {
        raw.socket.write_all(&[*byte]).await.unwrap();
    }
    assert!(matches!(raw.next().await, (3, Answer::Receipt(_))));
    // A length that cannot be.
    let too_long = u32::try_from(FRAME_LEN_BYTES_MAX + 1).unwrap();
    raw.socket.write_all(&too_long.to_le_bytes()).await.unwrap();
    assert!(matches!(
        raw.next().await,
        (0, Answer::Error(WireError::Malformed(_)))
    ));
    assert!(raw.try_next().await.is_none());
    // A frame that never ends.
    let mut raw = Raw::connect(server.address).await;
    raw.socket
        .write_all(&bytes[..HEADER_LEN_BYTES + 1])
        .await
        .unwrap();
    assert!(matches!(
        raw.next().await,
        (0, Answer::Error(WireError::Malformed(_)))
    ));
    assert!(raw.try_next().await.is_none());
    assert_eq!(server.store.committed(), Position(2));
    server.stop().await;
}

#[tokio::test]
async fn the_largest_event_passes_in_both_directions() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let largest = vec![b'x'; 16 * 1024 * 1024 - 64 * 1024];
    let event = NewEvent::binary(annal::EventType::new("Large").unwrap(), largest);
    let request = Append::to(name("a"), ExpectedRevision::Any, [event.clone()]);
    receipt(&mut raw, request).await;
    let small_credit = Read {
        credit_bytes: 1,
        events_max: 1,
        ..read(Source::All)
    };
    let (events, _) = read_all(&mut raw, small_credit).await;
    assert_eq!(events[0].data, event.data);
    server.stop().await;
}

#[tokio::test]
async fn requests_of_one_connection_are_done_in_order_and_answered_as_they_are_ready() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let token = Token {
        end: 500,
        ..token_of(&raw)
    };
    let mut bytes = Vec::new();
    // It is answered only when all the others are done.
    Request::WaitFor(WaitFor {
        token,
        within_ms: 20_000,
    })
    .put(10_000, &mut bytes);
    for number in 0..500 {
        let expected = match u64::checked_sub(number, 1) {
            Some(last) => ExpectedRevision::Exactly(Revision(last)),
            None => ExpectedRevision::NoStream,
        };
        append(Append::to(name("a"), expected, [event("x")])).put(number + 1, &mut bytes);
    }
    raw.socket.write_all(&bytes).await.unwrap();
    let mut done = 0;
    for _ in 0..501 {
        match raw.next().await {
            (10_000, Answer::Position(is)) => assert_eq!(is.position, 500),
            (_, Answer::Receipt(_)) => done += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(done, 500);
    server.stop().await;
}
