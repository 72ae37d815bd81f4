//! Whatever a server answers, a client ends what it asked: with a result or an error, never with a
//! panic and never not at all.
//!
//! An input is: what the client asks, and the frames that answer it. Frames of request 1 answer
//! whatever number the client chose.

use std::time::Duration;

use annal::client::{Client, ClientOptions, Subscribe};
use annal::protocol::message::{Limits, Welcome};
use annal::protocol::{Answer, Frame, FrameCodec, frame};
use annal::{
    Append, Direction, EventType, ExpectedRevision, GroupName, GroupSource, NewEvent, Position,
    ReadFrom, Revision, Source, StreamName, SubscribeFrom, Timestamp,
};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_util::codec::Decoder;

use crate::golden;

/// Whoever waits longer than this waits for ever.
const LONG: Duration = Duration::from_secs(20);
/// How many answers the client takes of what has no end.
const ANSWERS_MAX: usize = 64;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
}

pub fn run(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let both = async { tokio::join!(serve(listener, rest), ask(port, *first)) };
            timeout(LONG, both)
                .await
                .expect("the client ends what it asked");
        });
    });
}

/// Welcomes one client and answers its first request with these bytes.
async fn serve(listener: TcpListener, answers: &[u8]) {
    let (mut socket, _) = listener.accept().await.unwrap();
    drop(listener);
    socket.set_nodelay(true).unwrap();
    let mut inbox = BytesMut::new();
    let Some(hello) = next(&mut socket, &mut inbox).await else {
        return;
    };
    let mut out = Vec::new();
    Answer::Welcome(welcome()).put(hello.correlation, &mut out);
    if socket.write_all(&out).await.is_err() {
        return;
    }
    let Some(asked) = next(&mut socket, &mut inbox).await else {
        return;
    };
    let mut answers = answers.to_vec();
    let mut at = 0;
    while let Some(rest) = answers.get_mut(at..)
        && let Ok(Some(len)) = FrameCodec::frame_len(rest)
        && len <= rest.len()
    {
        let correlation = &mut rest[frame::CORRELATION.offset..frame::CORRELATION.end()];
        if correlation == 1u64.to_le_bytes() {
            correlation.copy_from_slice(&asked.correlation.to_le_bytes());
        }
        at += len;
    }
    let _gone = socket.write_all(&answers).await;
}

async fn next(socket: &mut TcpStream, inbox: &mut BytesMut) -> Option<Frame> {
    loop {
        if let Some(frame) = FrameCodec.decode(inbox).unwrap() {
            return Some(frame);
        }
        if socket.read_buf(inbox).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        store: [1; 16],
        lineage: [2; 16],
        record_salt: [7; 16],
        committed: 9,
        limits: Limits {
            frame_len_bytes_max: 1 << 24,
            append_len_bytes_max: 1 << 24,
            append_events_max: 1 << 16,
            credit_bytes_max: 1 << 24,
            requests_max: 16,
            subscriptions_max: 16,
            heartbeat_ms: 10_000,
            silence_ms_max: 30_000,
        },
        server: "fuzz".into(),
        server_version: "0".into(),
    }
}

async fn ask(port: u16, what: u8) {
    let mut options = ClientOptions::new("127.0.0.1", port);
    options.reconnect_within = Duration::ZERO;
    let client = Client::connect(options).await.unwrap();
    let stream = StreamName::new("a-1").unwrap();
    match what % 14 {
        0 => drop(client.append(one_event(stream)).await),
        1 => drop(
            client
                .read_all(ReadFrom::Start, Direction::Forwards)
                .collect()
                .await,
        ),
        2 => {
            let events = client.read_stream(stream, ReadFrom::Start, Direction::Backwards);
            drop(events.collect().await);
        }
        3 => follow(&client).await,
        4 => drop(client.event_at(Position(7)).await),
        5 => drop(client.event(&stream, Revision(7)).await),
        6 => drop(client.stream(&stream).await),
        7 => drop(client.streams("", None, 10).await),
        8 => drop(client.position_at(Timestamp::from_micros(5)).await),
        9 => drop(client.status().await),
        10 => drop(client.users().await),
        11 => drop(client.groups().list(None).await),
        12 => join(&client, stream).await,
        _ => drop(client.append_once(one_event(stream)).await),
    }
}

fn one_event(stream: StreamName) -> Append {
    let event = NewEvent::json(EventType::new("Asked").unwrap(), "{}");
    Append::to(stream, ExpectedRevision::Any, [event])
}

async fn follow(client: &Client) {
    let subscribe = Subscribe::new(Source::All, SubscribeFrom::Start);
    if let Ok(mut subscription) = client.subscribe(subscribe).await {
        for _ in 0..ANSWERS_MAX {
            if subscription.next().await.is_err() {
                return;
            }
        }
    }
}

async fn join(client: &Client, stream: StreamName) {
    let (name, source) = (
        GroupName::new("workers").unwrap(),
        GroupSource::Stream(stream),
    );
    let groups = client.groups();
    let joined = groups.join(&source, &name, 8);
    if let Ok(mut member) = joined.await {
        for _ in 0..ANSWERS_MAX {
            match member.next().await {
                Ok(delivery) => member.ack(&[&delivery]),
                Err(_) => return,
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frames: Vec<_> = golden::frames()
        .into_iter()
        .map(|(_, frame)| frame)
        .collect();
    let mut seeds = Vec::new();
    for what in 0..14 {
        for frame in &frames {
            seeds.push([&[what], &frame[..]].concat());
        }
        seeds.push([&[what], &frames.concat()[..]].concat());
    }
    seeds
}
