//! Attacks on the port of gRPC and HTTP. Each stands when it returns, and goes on until what it
//! gives back is dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::{Held, Place, dial, senders};
use crate::mutate::mutation;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const REQUEST: &[u8] = b"POST /subscriptions/a/b/replayParked HTTP/1.1\r\nhost: a\r\n\
    content-length: 5\r\n\r\nabcde";

pub(super) type Messages = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

/// Beginnings of both protocols, each cut off at each of its bytes, and nothing behind them.
pub(super) async fn half_said(place: Place) -> Held {
    senders::half_said(place.http, place, &[PREFACE, REQUEST]).await
}

/// Requests a byte at a time, again and again.
pub(super) async fn dribbled(place: Place) -> Held {
    senders::dribbled(place.http, place, &[REQUEST.to_vec(), two_frames()])
}

/// Requests of both protocols with mutations.
pub(super) async fn mutated(place: Place) -> Held {
    senders::diced(place.http, place, |dice| {
        mutation(&[REQUEST.to_vec(), two_frames(), two_frames()], dice)
    })
    .await
}

/// Settings and pings without end, whose answers nobody reads.
pub(super) async fn pings(place: Place) -> Held {
    let mut tasks = JoinSet::new();
    for _ in 0..2 * place.scale {
        let mut socket = TcpStream::connect(place.http).await.unwrap();
        tasks.spawn(async move {
            socket.write_all(PREFACE).await.unwrap();
            let both = [frame(4, 0, 0, &[]), frame(6, 0, 0, &[7; 8])].concat();
            let many = both.repeat(1000);
            while socket.write_all(&many).await.is_ok() {}
            // Whoever was cut off stays silent.
            std::future::pending::<()>().await;
        });
    }
    Held::of(tasks)
}

/// Messages as long as any can be, of which the first bytes come and no more.
pub(super) async fn arriving(place: Place) -> Held {
    let mut tasks = JoinSet::new();
    for _ in 0..place.scale {
        let mut sender = connect(place.http).await;
        for _ in 0..100 {
            let (body, messages) = tokio::sync::mpsc::channel(1);
            let mut bytes = vec![0];
            bytes.extend_from_slice(&(16u32 << 20).to_be_bytes());
            bytes.extend_from_slice(&[10; 20_000]);
            body.send(Ok(Frame::data(bytes.into()))).await.unwrap();
            let answer = sender.send_request(call("streams.Streams/Append", messages));
            let sender = sender.clone();
            tasks.spawn(async move {
                let _refused = answer.await;
                let _held = (body, sender);
                std::future::pending::<()>().await;
            });
        }
    }
    Held::of(tasks)
}

/// Calls that are given up as soon as they are made, without end.
pub(super) async fn resets(place: Place) -> Held {
    let mut tasks = JoinSet::new();
    for _ in 0..2 * place.scale {
        tasks.spawn(async move {
            loop {
                let mut sender = connect(place.http).await;
                while sender.ready().await.is_ok() {
                    let (_body, messages) = tokio::sync::mpsc::channel(1);
                    let answer = sender.send_request(call("streams.Streams/Read", messages));
                    let _given_up = timeout(Duration::ZERO, answer).await;
                    yield_now().await;
                }
            }
        });
    }
    Held::of(tasks)
}

/// More connections than are allowed.
pub(super) async fn connections(place: Place) -> Held {
    let mut held = Vec::new();
    for _ in 0..place.connections_max + 100 {
        held.push(TcpStream::connect(place.http).await.unwrap());
    }
    Held::of(held)
}

/// Subscribers to everything that read nothing.
pub(super) async fn slow(place: Place) -> Held {
    // ReadReq: all, from the start, as a subscription, with uuids as texts.
    let asked = [
        0x0a, 0x0c, 0x12, 0x02, 0x12, 0x00, 0x32, 0x00, 0x42, 0x00, 0x4a, 0x02, 0x12, 0x00,
    ];
    let mut held = Vec::new();
    for _ in 0..5 * place.scale {
        let mut sender = connect(place.http).await;
        for _ in 0..40 {
            let (body, messages) = tokio::sync::mpsc::channel(1);
            let len = u32::try_from(asked.len()).unwrap().to_be_bytes();
            let bytes = [&[0], &len[..], &asked].concat();
            body.send(Ok(Frame::data(bytes.into()))).await.unwrap();
            drop(body);
            let call = call("streams.Streams/Read", messages);
            if let Ok(answer) = sender.send_request(call).await {
                held.push(answer);
            }
        }
    }
    Held::of(held)
}

pub(super) async fn connect(address: SocketAddr) -> SendRequest<Messages> {
    let socket = dial(address).await;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) fn call(
    method: &str,
    messages: tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, Infallible>>,
) -> hyper::Request<Messages> {
    let request = hyper::Request::post(format!("http://a/event_store.client.{method}"));
    let request = request.header("content-type", "application/grpc");
    let body = StreamBody::new(ReceiverStream::new(messages));
    request.header("te", "trailers").body(body).unwrap()
}

/// A session of HTTP/2: settings, a call with a message, a ping, the end.
fn two_frames() -> Vec<u8> {
    let path = "/event_store.client.streams.Streams/Append";
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let message = [0, 0, 0, 0, 7, 10, 5, 10, 3, b'a', b'-', b'1'];
    [
        PREFACE.to_vec(),
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(1, 4, 1, &block),
        frame(0, 0, 1, &message),
        frame(6, 0, 0, &[7; 8]),
        frame(0, 1, 1, &message),
        frame(8, 0, 0, &[0, 0, 255, 255]),
        frame(3, 0, 1, &[0, 0, 0, 8]),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
