//! Attacks on the native port. Each stands when it returns, and goes on until what it gives back is
//! dropped.

use std::slice::from_ref;

use annal::model::{EventFilter, FilterTarget};
use annal::protocol::message::*;
use annal::protocol::{Request, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::senders::{self, SHORT};
use super::{Held, Place, dial};
use crate::mutate::mutation;
use crate::network::ask::{append, read, subscribe};
use crate::network::{Raw, hello, some_events};

/// Connections that say nothing, some before and some behind the hello.
pub(super) async fn silent(place: Place) -> Held {
    let mut held = Vec::new();
    for _ in 0..20 * place.scale {
        held.push(TcpStream::connect(place.native).await.unwrap());
        held.push(Raw::connect(place.native).await.socket);
    }
    Held::of(held)
}

/// Hellos that end in the middle, one after each of their bytes.
pub(super) async fn half_said(place: Place) -> Held {
    let said = framed(1, &Request::Hello(hello()));
    senders::half_said(place.native, place, &[&said]).await
}

/// Frames that are announced as long as any can be, or longer, of which no more comes than makes
/// the server wait for the rest.
pub(super) async fn oversized(place: Place) -> Held {
    let mut held = Vec::new();
    let longest = u32::try_from(frame::FRAME_LEN_BYTES_MAX).unwrap();
    for number in 0..30 * place.scale {
        let len = [longest, longest - 1, longest + 1, u32::MAX][number % 4];
        let mut raw = Raw::connect(place.native).await;
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.push(Request::APPEND);
        bytes.extend_from_slice(&1u64.to_le_bytes());
        bytes.resize(200_000, 0);
        // What is refused is closed, perhaps before all of it is sent.
        let _sent = timeout(SHORT, raw.socket.write_all(&bytes)).await;
        held.push(raw.socket);
    }
    Held::of(held)
}

/// Whole sessions a byte at a time, again and again.
pub(super) async fn dribbled(place: Place) -> Held {
    senders::dribbled(place.native, place, &[session().concat()])
}

/// Sessions with mutations, as many as the place says at least, and more while it is held.
pub(super) async fn mutated(place: Place) -> Held {
    let seeds = session();
    let whole = seeds.concat();
    senders::diced(place.native, place, move |dice| {
        let bytes = [mutation(&seeds, dice), mutation(from_ref(&whole), dice)];
        let hello = framed(1, &Request::Hello(hello()));
        [&hello[..], &bytes[dice.index(2)]].concat()
    })
    .await
}

/// Whole frames in any order, any number of times, under numbers that meet.
pub(super) async fn reordered(place: Place) -> Held {
    let frames = session();
    senders::diced(place.native, place, move |dice| {
        let mut bytes = framed(1, &Request::Hello(hello()));
        for _ in 0..dice.below(40) {
            let mut frame = frames[dice.index(frames.len())].clone();
            let number = dice.below(4).to_le_bytes();
            frame[frame::CORRELATION.offset..frame::CORRELATION.end()].copy_from_slice(&number);
            bytes.extend(frame);
        }
        bytes
    })
    .await
}

/// More connections than are allowed, and as many that come and go.
pub(super) async fn connections(place: Place) -> Held {
    let mut held = Vec::new();
    for _ in 0..place.connections_max + 100 {
        held.push(TcpStream::connect(place.native).await.unwrap());
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            drop(dial(place.native).await);
        }
    });
    Held::of((held, tasks))
}

/// More subscriptions than a connection may have, of every kind.
pub(super) async fn subscriptions(place: Place) -> Held {
    let mut held = Vec::new();
    for _ in 0..place.scale {
        let mut raw = Raw::connect(place.native).await;
        let mut bytes = Vec::new();
        for number in 1..=11_000u64 {
            let source = match number % 8 {
                0 => Source::All,
                1 => filtered(&format!("^s-{number}$")),
                2 => Source::Category(format!("s{number}")),
                3 => Source::Tag(format!("t{number}")),
                _ => Source::Stream(format!("s-{number}")),
            };
            let feed = subscribe(source, SubscribeFrom::End);
            Request::Subscribe(feed).put(number, &mut bytes);
        }
        raw.socket.write_all(&bytes).await.unwrap();
        held.push(raw.socket);
    }
    Held::of(held)
}

fn filtered(pattern: &str) -> Source {
    let filter = EventFilter::pattern(FilterTarget::Stream, pattern).unwrap();
    Source::from(&annal::Source::Filtered(filter))
}

/// Subscribers to everything that read nothing, with all the credit there is.
pub(super) async fn slow(place: Place) -> Held {
    let mut held = Vec::new();
    for _ in 0..10 * place.scale {
        let mut raw = Raw::connect(place.native).await;
        for number in 1..=50 {
            let feed = subscribe(Source::All, SubscribeFrom::Start);
            raw.send(number, &Request::Subscribe(feed)).await;
        }
        held.push(raw.socket);
    }
    Held::of(held)
}

/// Appends, one behind the other, of which nobody reads the answers, until the server takes no
/// more of them.
pub(super) async fn pipelined(place: Place) -> Held {
    let mut tasks = JoinSet::new();
    for number in 0..4 * place.scale {
        let mut raw = Raw::connect(place.native).await;
        tasks.spawn(async move {
            let one = framed(2, &append(some_events(&format!("flood-{number}"), 3)));
            let many = one.repeat(100);
            while raw.socket.write_all(&many).await.is_ok() {}
        });
    }
    Held::of(tasks)
}

/// Requests of every kind whose sender is gone before the answer comes.
pub(super) async fn abandoned(place: Place) -> Held {
    let bytes = session().concat();
    let mut tasks = JoinSet::new();
    for _ in 0..4 * place.scale {
        let bytes = bytes.clone();
        tasks.spawn(async move {
            loop {
                let mut socket = dial(place.native).await;
                let _sent = socket.write_all(&bytes).await;
            }
        });
    }
    Held::of(tasks)
}

/// The frames of a client that does everything.
fn session() -> Vec<Vec<u8>> {
    let stream = || Source::Stream("session-1".to_owned());
    let requests = [
        Request::Hello(hello()),
        append(some_events("session-1", 3)),
        Request::Read(read(stream())),
        Request::Read(read(Source::All)),
        Request::Subscribe(subscribe(Source::All, SubscribeFrom::Start)),
        Request::Subscribe(subscribe(stream(), SubscribeFrom::End)),
        Request::Credit(Credit { bytes: 1 << 20 }),
        Request::Status(Empty),
        Request::DescribeStream(DescribeStream {
            stream: "session-1".to_owned(),
        }),
        Request::ListStreams(ListStreams {
            prefix: String::new(),
            after: None,
            streams_max: 100,
        }),
        Request::Event(EventAt::Position(0)),
        Request::PositionAt(PositionAt {
            seconds: 5,
            nanos: 5,
        }),
        Request::Users(UserRequest::List(None)),
        append(some_events("session-2", 1)),
        Request::Cancel(Empty),
        Request::Heartbeat(Empty),
    ];
    let numbered = (1u64..).zip(&requests);
    numbered.map(|(number, it)| framed(number, it)).collect()
}

fn framed(number: u64, request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.put(number, &mut bytes);
    bytes
}
