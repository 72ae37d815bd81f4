//! The client against a real server, through a proxy that cuts its connections: what is answered,
//! what is sent again, and that a subscription loses and doubles nothing.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod network;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annal::client::{AppendError, ClientOptions, ConnectError, Notice, Read, ReadError, Subscribe};
use annal::protocol::message::Welcome;
use annal::protocol::{Answer, FrameCodec};
use annal::{
    Append, Client, Direction, EventFilter, ExpectedRevision, FilterTarget, Position, ReadFrom,
    Revision, Server, Source, StreamHead, SubscribeFrom, Timestamp,
};
use bytes::BytesMut;
use network::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::codec::Decoder;

async fn connect(server: &Running) -> Client {
    Client::connect(&server.url()).await.unwrap()
}

#[tokio::test]
async fn what_is_appended_is_read() {
    let server = serve_memory();
    let client = connect(&server).await;
    assert_eq!(client.store(), server.store.id());
    let receipt = client.append(some_events("a-1", 3)).await.unwrap();
    assert_eq!(receipt.token, server.store.token());
    assert_eq!(receipt.revisions, [(name("a-1"), Revision(2))]);
    client.append(some_events("b-1", 2)).await.unwrap();

    let all = client.read(Read::all()).collect().await.unwrap();
    assert_eq!(
        all.iter().map(|event| event.position.0).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    let back = client
        .read_all(ReadFrom::End, Direction::Backwards)
        .collect()
        .await
        .unwrap();
    assert_eq!(back, all.iter().rev().cloned().collect::<Vec<_>>());
    let mut one = client.read_stream(name("a-1"), ReadFrom::At(Revision(1)), Direction::Forwards);
    assert_eq!(one.next().await.unwrap().unwrap(), all[1]);
    assert_eq!(one.next().await.unwrap().unwrap(), all[2]);
    assert_eq!(one.next().await.unwrap(), None);
    let filter = EventFilter::prefixes(FilterTarget::Stream, ["b-"]).unwrap();
    let filtered = client.read(Read::filtered(filter)).collect().await.unwrap();
    assert_eq!(filtered, all[3..]);
    let category = Read::category("a").backwards().events_max(2);
    let category = client.read(category).collect().await.unwrap();
    assert_eq!(category, [all[2].clone(), all[1].clone()]);

    assert_eq!(
        client.event_at(Position(3)).await.unwrap(),
        Some(all[3].clone())
    );
    assert_eq!(client.event_at(Position(9)).await.unwrap(), None);
    assert_eq!(
        client.event(&name("a-1"), Revision(2)).await.unwrap(),
        Some(all[2].clone())
    );
    let within = Duration::ZERO;
    assert_eq!(
        client.wait_for(receipt.token, within).await.unwrap(),
        Position(5)
    );
    let created = Timestamp::from_micros(0);
    assert_eq!(client.position_at(created).await.unwrap(), Position(0));
    assert_eq!(client.status().await.unwrap().token, server.store.token());
    server.stop().await;
}

#[tokio::test]
async fn streams_are_described_changed_and_listed() {
    let server = serve_memory();
    let client = connect(&server).await;
    let any = ExpectedRevision::Any;
    for stream in ["a-1", "a-2", "a-3"] {
        client.append(some_events(stream, 2)).await.unwrap();
    }
    client
        .set_metadata(&name("a-1"), any, "{\"$maxCount\":1}")
        .await
        .unwrap();
    let it = client.stream(&name("a-1")).await.unwrap();
    assert_eq!(
        (it.head, it.first, it.events),
        (StreamHead::At(Revision(1)), Some(Revision(1)), 2)
    );
    assert_eq!(it.metadata, Some((Revision(0), "{\"$maxCount\":1}".into())));
    client.delete(name("a-2"), any).await.unwrap();
    client.tombstone(name("a-3"), any).await.unwrap();
    let (first, more) = client.streams("a-", None, 2).await.unwrap();
    assert!(more);
    let (rest, more) = client
        .streams("a-", Some(&first[1].stream), 2)
        .await
        .unwrap();
    assert!(!more);
    let heads: Vec<_> = first.iter().chain(&rest).map(|one| one.head).collect();
    let one = Revision(1);
    assert_eq!(
        heads,
        [
            StreamHead::At(one),
            StreamHead::Deleted(Some(one)),
            StreamHead::Tombstoned
        ]
    );
    let absent = client.stream(&name("nobody")).await.unwrap();
    assert_eq!(absent.head, StreamHead::Absent);
    server.stop().await;
}

#[tokio::test]
async fn failures_are_typed() {
    let server = serve_memory();
    let client = connect(&server).await;
    let none = ExpectedRevision::NoStream;
    client.append(some_events("a-1", 1)).await.unwrap();
    assert_eq!(
        client
            .append(Append::to(name("a-1"), none, [event("x")]))
            .await
            .unwrap_err(),
        AppendError::WrongExpectedRevision {
            stream: name("a-1"),
            expected: none,
            found: StreamHead::At(Revision(0)),
        }
    );
    let read = client.read(Read::stream(name("nobody"))).collect().await;
    assert_eq!(read.unwrap_err(), ReadError::StreamNotFound(name("nobody")));
    let mut token = server.store.token();
    token.store.0 = uuid::Uuid::nil();
    let feed = Subscribe::new(Source::All, SubscribeFrom::Start).at_least(token, LONG);
    assert_eq!(
        client.subscribe(feed).await.unwrap_err(),
        ReadError::ForeignToken(token)
    );
    let later = annal::Token {
        end: Position(99),
        ..server.store.token()
    };
    let read = client.read(Read::all().at_least(later, Duration::from_millis(5)));
    assert!(matches!(
        read.collect().await,
        Err(ReadError::NotReached { .. })
    ));
    client.close();
    let closed = client.append(some_events("a", 1)).await.unwrap_err();
    assert_eq!(closed, AppendError::Connection(ConnectError::Closed));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(&format!("annal://{address}"))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let server = serve_memory();
    let client = connect(&server).await;
    // Twice as many as the server lets wait.
    let tasks = (0..2048).map(|number| {
        let client = client.clone();
        let stream = format!("s-{}", number % 10);
        tokio::spawn(async move { client.append(some_events(&stream, 1)).await.unwrap() })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(timeout(LONG, task).await.unwrap().unwrap().first.0);
    }
    positions.sort_unstable();
    assert_eq!(positions, (0..2048).collect::<Vec<_>>());
    let status = client.status().await.unwrap();
    assert!(status.figures.contains(&("connections".to_owned(), 1)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subscription_loses_and_doubles_nothing_whenever_the_connection_is_cut() {
    let server = serve_memory();
    let proxy = Proxy::to(server.address).await;
    let client = Client::connect(&(proxy.url() + "&credit_bytes=2000"))
        .await
        .unwrap();
    server.store.append(some_events("a-0", 300)).unwrap();
    const TOTAL: u64 = 2000;
    let writer = {
        let store = server.store.clone();
        std::thread::spawn(move || {
            for number in 300..TOTAL {
                store
                    .append(some_events(&format!("a-{}", number % 7), 1))
                    .unwrap();
            }
        })
    };
    let feed = Subscribe::new(Source::Category("a".into()), SubscribeFrom::Start);
    let mut subscription = client.subscribe(feed).await.unwrap();
    let (mut next, mut resumed) = (0, 0);
    while next < TOTAL {
        match timeout(LONG, subscription.next()).await.unwrap().unwrap() {
            Notice::Event(event) => {
                assert_eq!(event.position.0, next);
                next += 1;
                if next % 100 == 0 {
                    proxy.cut();
                }
            }
            Notice::Resumed { after } => {
                assert_eq!(
                    after,
                    Some(Position(next - 1)),
                    "behind the last event that was given"
                );
                resumed += 1;
            }
            Notice::Checkpoint { position, .. } | Notice::CaughtUp { position, .. } => {
                assert!(position.0 <= next, "a checkpoint never runs ahead");
            }
            Notice::FellBehind { .. } => (),
        }
    }
    assert!(resumed >= 1);
    writer.join().unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_goes_on_where_it_was_cut() {
    let server = serve_memory();
    server.store.append(some_events("a-1", 1000)).unwrap();
    server.store.append(some_events("b-1", 10)).unwrap();
    let proxy = Proxy::to(server.address).await;
    let client = Client::connect(&(proxy.url() + "&credit_bytes=500"))
        .await
        .unwrap();
    let streams = || Read::stream(name("a-1"));
    let forwards: Vec<u64> = (0..1000).collect();
    let backwards: Vec<u64> = (0..1000).rev().collect();
    for (read, expected) in [
        (streams(), &forwards[..]),
        (streams().backwards(), &backwards[..]),
        (Read::all().events_max(777), &forwards[..777]),
        (
            Read::all().from_position(Position(1000)).backwards(),
            &backwards[..],
        ),
        (
            Read::category("a").backwards().events_max(999),
            &backwards[..999],
        ),
    ] {
        let mut events = client.read(read);
        let mut found = Vec::new();
        while let Some(event) = timeout(LONG, events.next()).await.unwrap().unwrap() {
            found.push(event.position.0);
            if found.len() % 150 == 0 {
                proxy.cut();
            }
        }
        assert_eq!(found, expected);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_that_is_sent_again_is_done_once() {
    let server = serve_memory();
    let proxy = Proxy::to(server.address).await;
    let client = Client::connect(&proxy.url()).await.unwrap();
    const WRITERS: u64 = 8;
    const EACH: u64 = 100;
    let writers = (0..WRITERS).map(|writer| {
        let client = client.clone();
        tokio::spawn(async move {
            let stream = name(&format!("w-{writer}"));
            for number in 0..EACH {
                let expected = match number.checked_sub(1) {
                    Some(last) => ExpectedRevision::Exactly(Revision(last)),
                    None => ExpectedRevision::NoStream,
                };
                let append = Append::to(stream.clone(), expected, [event("x")]);
                let receipt = client.append(append).await.unwrap();
                assert_eq!(receipt.revisions, [(stream.clone(), Revision(number))]);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut cut_at = 50;
    for writer in writers {
        let mut writer = writer;
        loop {
            tokio::select! {
                done = &mut writer => break done.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(2)) => {
                    if server.store.committed().0 >= cut_at {
                        cut_at += 50;
                        proxy.cut();
                    }
                }
            }
        }
    }
    assert_eq!(server.store.committed(), Position(WRITERS * EACH));
    server.stop().await;
}

/// Answers one hello as the server would, takes one more frame, and hangs up.
async fn swallow_one_request(listener: &TcpListener, server: std::net::SocketAddr) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = tokio::net::TcpStream::connect(server).await.unwrap();
    let mut buffer = [0; 4096];
    for _ in 0..2 {
        let count = near.read(&mut buffer).await.unwrap();
        far.write_all(&buffer[..count]).await.unwrap();
        if buffer[4] == 1 {
            let count = far.read(&mut buffer).await.unwrap();
            near.write_all(&buffer[..count]).await.unwrap();
        } else {
            // The server does its work; the answer gets lost.
            assert!(far.read(&mut buffer).await.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn an_append_that_cannot_be_sent_again_is_unknown() {
    let server = serve_memory();
    for stream in ["a", "b"] {
        server.store.append(some_events(stream, 1)).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let delete = |stream| Append::delete(name(stream), ExpectedRevision::Any);
    let url = format!("annal://{address}?reconnect_within_ms=0");
    let swallow = swallow_one_request(&listener, server.address);
    let append = async {
        let client = Client::connect(&url).await.unwrap();
        client.append(delete("a")).await.unwrap_err()
    };
    let ((), error) = tokio::join!(swallow, append);
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    assert_eq!(server.store.committed(), Position(3), "it was done in fact");

    // The same with a request id is sent again, and answered as the first was.
    let named = delete("b").request(annal::Request {
        principal: String::new(),
        id: uuid::Uuid::from_u128(7),
    });
    let (to, target) = watch::channel(server.address);
    let url = format!("annal://{address}?reconnect_within_ms=20000");
    let both = async {
        swallow_one_request(&listener, server.address).await;
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(*target.borrow())
            .await
            .unwrap();
        let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    };
    let append = async {
        let client = Client::connect(&url).await.unwrap();
        client.append(named).await.unwrap()
    };
    let ((), receipt) = tokio::join!(both, append);
    assert!(receipt.repeated);
    assert_eq!(
        (receipt.first, server.store.committed()),
        (Position(3), Position(4))
    );
    drop(to);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_store_behind_the_address_is_not_talked_to() {
    let (first, second) = (
        serve(memory_store(1), options()),
        serve(memory_store(2), options()),
    );
    let (to, target) = watch::channel(first.address);
    let proxy = Proxy::to_many(target).await;
    let client = Client::connect(&proxy.url()).await.unwrap();
    let feed = Subscribe::new(Source::All, SubscribeFrom::Start);
    let mut subscription = client.subscribe(feed).await.unwrap();
    assert!(matches!(
        subscription.next().await.unwrap(),
        Notice::CaughtUp { .. }
    ));
    to.send_replace(second.address);
    proxy.cut();
    let ended = timeout(LONG, subscription.next())
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            ended,
            ReadError::Connection(ConnectError::OtherStore { .. })
        ),
        "{ended}"
    );
    let refused = client.append(some_events("a", 1)).await.unwrap_err();
    assert!(matches!(
        refused,
        AppendError::Connection(ConnectError::OtherStore { .. })
    ));
    assert_eq!(second.store.committed(), Position(0));
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_outlives_a_restart_of_the_server() {
    let server = serve_memory();
    let client = connect(&server).await;
    client.append(some_events("a", 1)).await.unwrap();
    let feed = Subscribe::new(Source::All, SubscribeFrom::Start);
    let mut subscription = client.subscribe(feed).await.unwrap();
    assert!(matches!(
        subscription.next().await.unwrap(),
        Notice::Event(_)
    ));
    assert!(matches!(
        subscription.next().await.unwrap(),
        Notice::CaughtUp { .. }
    ));
    let address = server.address;
    let store = server.stop().await;
    let appended = {
        let client = client.clone();
        tokio::spawn(async move { client.append(some_events("a", 1)).await })
    };
    let mut same_port = options();
    same_port.address = address;
    let bound = (0..1000).find_map(|_| Server::bind(store.clone(), same_port.clone()).ok());
    drop(bound.expect("the port is free again"));
    let server = serve(store, same_port);
    assert_eq!(
        timeout(LONG, appended)
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .first,
        Position(1)
    );
    let resumed = timeout(LONG, subscription.next()).await.unwrap().unwrap();
    assert_eq!(
        resumed,
        Notice::Resumed {
            after: Some(Position(0))
        }
    );
    let next = timeout(LONG, subscription.next()).await.unwrap().unwrap();
    assert!(matches!(next, Notice::Event(event) if event.position == Position(1)));
    server.stop().await;
}

#[tokio::test]
async fn a_feed_that_has_caught_up_is_told_how_far_the_log_has_come() {
    let mut options = options();
    options.idle_interval = Duration::from_millis(20);
    let server = serve(memory_store(1), options);
    let client = connect(&server).await;
    let feed = Subscribe::new(Source::Stream(name("quiet")), SubscribeFrom::Start);
    let mut subscription = client.subscribe(feed).await.unwrap();
    assert!(matches!(
        subscription.next().await.unwrap(),
        Notice::CaughtUp { .. }
    ));
    server.store.append(some_events("loud", 10)).unwrap();
    let notice = timeout(LONG, subscription.next()).await.unwrap().unwrap();
    assert!(
        matches!(
            notice,
            Notice::Checkpoint {
                position: Position(10),
                ..
            }
        ),
        "{notice:?}"
    );
    assert_eq!(subscription.after(), Some(Position(9)));
    server.stop().await;
}

#[tokio::test]
async fn a_tombstone_ends_a_subscription_to_the_stream() {
    let server = serve_memory();
    let client = connect(&server).await;
    client.append(some_events("a-1", 1)).await.unwrap();
    let feed = Subscribe::new(Source::Stream(name("a-1")), SubscribeFrom::Start);
    let mut subscription = client.subscribe(feed).await.unwrap();
    assert!(matches!(
        subscription.next().await.unwrap(),
        Notice::Event(_)
    ));
    assert!(matches!(
        subscription.next().await.unwrap(),
        Notice::CaughtUp { .. }
    ));
    client
        .tombstone(name("a-1"), ExpectedRevision::Any)
        .await
        .unwrap();
    let ended = loop {
        match timeout(LONG, subscription.next()).await.unwrap() {
            Ok(Notice::Event(_) | Notice::Checkpoint { .. }) => (),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(ended, ReadError::StreamTombstoned(name("a-1")));
    server.stop().await;
}

#[test]
fn options_and_texts_say_the_same() {
    let options: ClientOptions = "annal://h:7?credit_bytes=5".parse().unwrap();
    let mut other = ClientOptions::new("h", 7);
    other.credit_bytes = 5;
    assert_eq!(options, other);
}

/// Welcomes everybody, hears one request, and hangs up; counts how often.
async fn welcomes_and_hangs_up(welcome: Welcome) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut inbox = BytesMut::new();
            let mut frames = 0;
            while frames < 2 && socket.read_buf(&mut inbox).await.is_ok_and(|read| read > 0) {
                while FrameCodec.decode(&mut inbox).unwrap().is_some() {
                    frames += 1;
                    let mut bytes = Vec::new();
                    Answer::Welcome(welcome.clone()).put(0, &mut bytes);
                    if frames == 1 {
                        socket.write_all(&bytes).await.unwrap();
                    }
                }
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_server_that_welcomes_and_hangs_up_is_asked_with_growing_pauses_and_not_for_ever() {
    let server = serve_memory();
    let welcome = Raw::connect(server.address).await.welcome.unwrap();
    server.stop().await;
    let (address, count) = welcomes_and_hangs_up(welcome).await;
    let url = format!("annal://{address}?reconnect_within_ms=700");
    let client = Client::connect(&url).await.unwrap();
    let gave_up = |error: ConnectError| match error {
        ConnectError::Unreachable { problem, .. } => assert!(problem.contains("lost"), "{problem}"),
        other => panic!("{other:?}"),
    };
    // Of 20, 40, 80, .. ms, half at least: so many fit into the time.
    let tries = |before: u64| {
        let tries = count.load(Ordering::Relaxed) - before;
        assert!((2..=7).contains(&tries), "{tries} connections");
        before + tries
    };
    let Err(ReadError::Connection(error)) = timeout(LONG, client.status()).await.unwrap() else {
        panic!("nothing was answered");
    };
    gave_up(error);
    // Each request begins anew; and whatever is sent again is.
    let before = tries(0);
    let read = client.read(Read::all()).collect();
    let Err(ReadError::Connection(error)) = timeout(LONG, read).await.unwrap() else {
        panic!("nothing was answered");
    };
    gave_up(error);
    let before = tries(before);
    let feed = Subscribe::new(Source::All, SubscribeFrom::Start);
    let subscribed = timeout(LONG, client.subscribe(feed)).await.unwrap();
    let Err(ReadError::Connection(error)) = subscribed else {
        panic!("nothing was answered");
    };
    gave_up(error);
    let before = tries(before);
    let append = client.append(some_events("a", 1));
    timeout(LONG, append).await.unwrap().unwrap_err();
    tries(before);
}
