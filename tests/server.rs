//! The server over real sockets, frame by frame: every request, every refusal, and that nobody can
//! make it hold more than it says.
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
use annal::protocol::{Answer, Request, WireError};
use annal::{
    Append, ExpectedRevision, NewEvent, Position, RecordedEvent, Revision, ServeError, Server,
    ServerOptions, StreamHead as Head,
};
use network::*;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

fn read(source: Source) -> Read {
    Read {
        source,
        from: From::Start,
        backwards: false,
        events_max: u64::MAX,
        credit_bytes: 1 << 30,
        at_least: None,
    }
}

fn subscribe(source: Source, from: SubscribeFrom) -> Subscribe {
    Subscribe {
        source,
        from,
        credit_bytes: 1 << 30,
        at_least: None,
    }
}

fn append(append: Append) -> Request {
    Request::Append(append)
}

async fn receipt(raw: &mut Raw, request: Append) -> Receipt {
    match raw.ask(append(request)).await {
        Answer::Receipt(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

/// The events of a read, and how it ended.
async fn read_all(raw: &mut Raw, read: Read) -> (Vec<RecordedEvent>, End) {
    let salt = Salt::new(raw.welcome.as_ref().unwrap().record_salt);
    let backwards = read.backwards;
    raw.send(5, &Request::Read(read)).await;
    let mut events = Vec::new();
    loop {
        match raw.next().await {
            (5, Answer::Records(runs)) => {
                let part = runs
                    .iter()
                    .flat_map(|run| run.events(salt))
                    .map(Result::unwrap);
                let mut part: Vec<_> = part.collect();
                if backwards {
                    part.reverse();
                }
                events.extend(part);
            }
            (5, Answer::End(end)) => return (events, end),
            other => panic!("{other:?}"),
        }
    }
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

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
    assert_eq!(first.revisions, [("a-1".to_owned(), 2)]);
    assert_eq!(first.token.end, 3);
    let both = Append::new()
        .event(name("a-2"), event("x"))
        .event(name("a-1"), event("y"));
    let second = receipt(&mut raw, both.expect(name("b"), ExpectedRevision::NoStream)).await;
    assert_eq!(
        second.revisions,
        [("a-2".to_owned(), 0), ("a-1".to_owned(), 3)]
    );

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
        Answer::Records(runs) => {
            let events = runs
                .iter()
                .flat_map(|run| run.events(salt))
                .map(Result::unwrap);
            positions(&events.collect::<Vec<_>>())
        }
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
    // Has a password.
    let password = Authentication::Password {
        user: "admin".into(),
        password: "changeit".into(),
    };
    let mut raw = Raw::silent(server.address).await;
    raw.send(
        1,
        &Request::Hello(Hello {
            authentication: password,
            ..hello()
        }),
    )
    .await;
    assert!(matches!(
        refused(raw.try_next().await),
        WireError::Authentication(_)
    ));
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

fn token_of(raw: &Raw) -> Token {
    let welcome = raw.welcome.as_ref().unwrap();
    Token {
        store: welcome.store,
        lineage: welcome.lineage,
        end: 0,
    }
}

#[tokio::test]
async fn what_there_may_be_too_much_of_is_limited() {
    let mut options = options();
    options.requests_max = 2;
    options.subscriptions_max = 1;
    options.connections_max = 2;
    let server = serve(memory_store(1), options);
    let mut raw = Raw::connect(server.address).await;
    let never = WaitFor {
        token: Token {
            end: 1,
            ..token_of(&raw)
        },
        within_ms: 20_000,
    };
    raw.send(1, &Request::WaitFor(never)).await;
    raw.send(2, &Request::WaitFor(never)).await;
    assert!(matches!(
        raw.error(Request::Status(Empty)).await,
        WireError::TooMany { max: 2, .. }
    ));
    let feed = Request::Subscribe(subscribe(Source::All, SubscribeFrom::End));
    raw.send(3, &feed).await;
    assert!(matches!(raw.next().await, (3, Answer::Subscribed(_))));
    loop {
        match raw.ask_among(feed.clone()).await {
            Some(Answer::Error(error)) => {
                assert!(matches!(error, WireError::TooMany { max: 1, .. }));
                break;
            }
            _ => continue,
        }
    }
    let _second = Raw::connect(server.address).await;
    let mut third = Raw::silent(server.address).await;
    third.send(1, &Request::Hello(hello())).await;
    assert!(matches!(
        third.next().await,
        (0, Answer::Error(WireError::TooMany { max: 2, .. }))
    ));
    server.store.append(some_events("a", 1)).unwrap();
    server.stop().await;
}

#[tokio::test]
async fn no_more_is_sent_than_there_is_credit_for() {
    let server = serve_memory();
    server.store.append(some_events("a-1", 1000)).unwrap();
    let mut raw = Raw::connect(server.address).await;
    let feed = Subscribe {
        credit_bytes: 1000,
        ..subscribe(Source::All, SubscribeFrom::Start)
    };
    let mut granted = 1000;
    let mut sent = 0;
    let mut count = 0;
    raw.send(1, &Request::Subscribe(feed)).await;
    while count < 1000 {
        match raw.next().await {
            (1, Answer::Records(runs)) => {
                assert!(
                    sent < granted,
                    "{sent} bytes were sent for {granted}, and more came"
                );
                sent += runs.iter().map(|run| run.bytes.len()).sum::<usize>();
                count += runs.iter().map(|run| run.count).sum::<u32>();
                assert!(sent < granted + 100, "at most one record beyond");
            }
            (1, Answer::Subscribed(_)) => (),
            other => panic!("{other:?}"),
        }
        if sent >= granted && count < 1000 {
            // Nothing comes; the answer to a question comes instead.
            assert!(matches!(
                raw.ask(Request::Status(Empty)).await,
                Answer::Status(_)
            ));
            raw.send(1, &Request::Credit(Credit { bytes: 777 })).await;
            granted += 777;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_reads_nothing_costs_little_and_hinders_nobody() {
    let mut options = options();
    options.outbox_len_bytes = 64 * 1024;
    let server = serve(memory_store(1), options);
    let payload = "x".repeat(10_000);
    for _ in 0..20 {
        let events = (0..100).map(|_| event(&payload));
        server
            .store
            .append(Append::to(name("a"), ExpectedRevision::Any, events))
            .unwrap();
    }
    // Ten feeds of 20 MB each, all the credit there is, and nobody who reads.
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::connect(server.address).await;
        raw.send(
            1,
            &Request::Subscribe(subscribe(Source::All, SubscribeFrom::Start)),
        )
        .await;
        silent.push(raw);
    }
    let mut other = Raw::connect(server.address).await;
    for _ in 0..50 {
        timeout(LONG, receipt(&mut other, some_events("b", 1)))
            .await
            .unwrap();
        let (events, _) = read_all(&mut other, read(Source::Stream("b".into()))).await;
        assert!(!events.is_empty());
    }
    let Answer::Status(status) = other.ask(Request::Status(Empty)).await else {
        panic!()
    };
    let figure = |name: &str| status.figures.iter().find(|one| one.0 == name).unwrap().1;
    assert_eq!(figure("subscriptions"), 10);
    assert!(figure("queued_len_bytes") > 0, "they are being served");
    // Each feed may have sent one batch beyond the limit.
    assert!(figure("queued_len_bytes") < 10 * (64 + 300) * 1024);
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn a_read_can_be_cancelled() {
    let server = serve_memory();
    server.store.append(some_events("a-1", 1000)).unwrap();
    let mut raw = Raw::connect(server.address).await;
    raw.send(
        1,
        &Request::Read(Read {
            credit_bytes: 1,
            ..read(Source::All)
        }),
    )
    .await;
    assert!(matches!(raw.next().await, (1, Answer::Records(_))));
    // The number is in use.
    raw.send(1, &Request::Read(read(Source::All))).await;
    assert!(matches!(
        raw.next().await,
        (1, Answer::Error(WireError::Malformed(_)))
    ));
    raw.send(1, &Request::Cancel(Empty)).await;
    let (1, Answer::End(end)) = raw.next().await else {
        panic!()
    };
    assert_eq!(end.reason, EndReason::Cancelled);
    assert!(end.next.unwrap() > 0);
    // What is over takes no harm.
    raw.send(1, &Request::Cancel(Empty)).await;
    raw.send(1, &Request::Credit(Credit { bytes: 1 })).await;
    let mut feed = subscribe(Source::All, SubscribeFrom::End);
    feed.credit_bytes = 1;
    raw.send(2, &Request::Subscribe(feed)).await;
    assert!(matches!(raw.next().await, (2, Answer::Subscribed(_))));
    assert!(matches!(
        raw.next().await,
        (2, Answer::CaughtUp(Mark { position: 1000, .. }))
    ));
    raw.send(2, &Request::Cancel(Empty)).await;
    assert!(matches!(raw.next().await, (2, Answer::End(_))));
    server.stop().await;
}

#[tokio::test]
async fn ten_thousand_idle_subscriptions_are_woken_only_for_their_own() {
    let mut options = options();
    options.idle_interval = Duration::from_millis(50);
    let server = serve(memory_store(1), options);
    let mut raw = Raw::connect(server.address).await;
    const COUNT: u64 = 10_000;
    for number in 1..=COUNT {
        let source = Source::Stream(format!("s-{number}"));
        let mut feed = subscribe(source, SubscribeFrom::Start);
        feed.credit_bytes = 10_000;
        let mut bytes = Vec::new();
        Request::Subscribe(feed).put(number, &mut bytes);
        raw.socket.write_all(&bytes).await.unwrap();
    }
    let mut caught_up = 0;
    while caught_up < COUNT {
        match raw.next().await.1 {
            Answer::Subscribed(_) => (),
            Answer::CaughtUp(_) => caught_up += 1,
            other => panic!("{other:?}"),
        }
    }
    for round in 0..10 {
        server
            .store
            .append(some_events(&format!("s-{}", 7 + 1000 * round), 1))
            .unwrap();
        server.store.append(some_events("nobodys", 10)).unwrap();
    }
    let mut woken = Vec::new();
    loop {
        match raw.next().await {
            (number, Answer::Records(_)) => woken.push(number),
            (0, Answer::Idle(mark)) if mark.position == 110 => break,
            (0, Answer::Idle(_)) => (),
            other => panic!("{other:?}"),
        }
    }
    woken.sort_unstable();
    let expected: Vec<u64> = (0..10).map(|round| 7 + 1000 * round).collect();
    assert_eq!(
        woken, expected,
        "and each before the mark that says that all was seen"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_was_accepted() {
    let server = serve_memory();
    let mut raw = Raw::connect(server.address).await;
    let feed = subscribe(Source::Stream("nobody".into()), SubscribeFrom::Start);
    raw.send(9_999, &Request::Subscribe(feed)).await;
    assert!(matches!(raw.next().await, (9_999, Answer::Subscribed(_))));
    assert!(matches!(raw.next().await, (9_999, Answer::CaughtUp(_))));
    let mut bytes = Vec::new();
    for number in 1..=200 {
        append(some_events("a", 1)).put(number, &mut bytes);
    }
    raw.socket.write_all(&bytes).await.unwrap();
    assert!(matches!(raw.next().await, (_, Answer::Receipt(_))));
    let stopping = tokio::spawn(server.stop());
    let (mut receipts, mut refused, mut told, mut ended) = (1, 0, false, false);
    while let Some((number, answer)) = raw.try_next().await {
        match answer {
            Answer::Receipt(_) => receipts += 1,
            Answer::Error(WireError::GoingAway) if number == 9_999 => ended = true,
            Answer::Error(WireError::GoingAway) => refused += 1,
            Answer::GoingAway(_) => told = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(told && ended);
    assert_eq!(receipts + refused, 200, "everything sent was answered");
    drop(raw);
    let store = stopping.await.unwrap();
    assert_eq!(store.committed(), Position(receipts));
}

#[tokio::test]
async fn silence_ends_a_connection_and_heartbeats_keep_it() {
    let mut options = options();
    options.heartbeat = Duration::from_millis(40);
    options.silence_max = Duration::from_millis(300);
    let server = serve(memory_store(1), options);
    let mut silent = Raw::connect(server.address).await;
    let mut alive = Raw::connect(server.address).await;
    let beats = async {
        // A bounded number of heartbeats, each after one of the server's.
        for _ in 0..30 {
            let frame = timeout(LONG, alive.heartbeat()).await.unwrap();
            assert!(frame, "the server is still there");
            alive.send(0, &Request::Heartbeat(Empty)).await;
        }
    };
    let cut = async {
        assert!(matches!(
            silent.try_next().await,
            Some((0, Answer::Error(_)))
        ));
        assert!(silent.try_next().await.is_none());
    };
    tokio::join!(beats, cut);
    assert!(matches!(
        alive.ask(Request::Status(Empty)).await,
        Answer::Status(_)
    ));
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let mut options = ServerOptions::default();
    options.address = "0.0.0.0:0".parse().unwrap();
    let refused = Server::bind(memory_store(1), options).unwrap_err();
    assert!(matches!(refused, ServeError::Insecure(_)));
}
