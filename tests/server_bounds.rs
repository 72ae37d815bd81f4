//! The server over real sockets: nobody can make it hold more than it says, or wait for ever.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod network;

use std::time::Duration;

use annal::protocol::message::*;
use annal::protocol::{Answer, Request, WireError};
use annal::{Append, ExpectedRevision, Position, ServeError, Server, ServerOptions};
use network::ask::*;
use network::*;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

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
async fn all_connections_together_have_so_many_subscriptions() {
    let mut options = options();
    options.all_subscriptions_max = 3;
    options.idle_interval = LONG;
    let server = serve(memory_store(1), options);
    let feed = Request::Subscribe(subscribe(Source::Stream("s".into()), SubscribeFrom::Start));
    let mut one = Raw::connect(server.address).await;
    let mut other = Raw::connect(server.address).await;
    let subscribed = async |raw: &mut Raw, number: u64| {
        raw.send(number, &feed).await;
        match raw.next().await {
            (told, Answer::Subscribed(_)) if told == number => {
                assert!(matches!(raw.next().await, (_, Answer::CaughtUp(_))));
                true
            }
            (told, Answer::Error(WireError::TooMany { what, max: 3 })) if told == number => {
                assert_eq!(what, "subscriptions on all connections");
                false
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(subscribed(&mut one, 1).await);
    assert!(subscribed(&mut one, 2).await);
    assert!(subscribed(&mut other, 1).await);
    assert!(!subscribed(&mut other, 2).await);
    assert!(!subscribed(&mut one, 3).await);
    // Whoever cancels gives his place to anybody.
    one.send(1, &Request::Cancel(Empty)).await;
    assert!(matches!(one.next().await, (1, Answer::End(_))));
    assert!(subscribed(&mut other, 2).await);
    assert!(!subscribed(&mut one, 4).await);
    // So does whoever goes.
    drop(other);
    let again = async { while !subscribed(&mut one, 5).await {} };
    timeout(LONG, again).await.expect("a place");
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
    // Three hundred feeds of 20 MB each, all the credit there is, and nobody who reads.
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::connect(server.address).await;
        for number in 1..=30 {
            let feed = subscribe(Source::All, SubscribeFrom::Start);
            raw.send(number, &Request::Subscribe(feed)).await;
        }
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
    assert_eq!(figure("subscriptions"), 300);
    assert!(figure("queued_len_bytes") > 0, "they are being served");
    // However many feeds there are, two of a connection at once may go beyond the limit.
    assert!(figure("queued_len_bytes") < 10 * 4 * 64 * 1024);
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
