//! What the port of gRPC and HTTP refuses, so that nobody can make it hold more.

use std::net::SocketAddr;
use std::time::Duration;

use annal::{GrpcOptions, GrpcServer};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::http::{PREFACE, call, connect};
use crate::network::{LONG, memory_store};

/// `UNAVAILABLE`, in a response that has no body.
const UNAVAILABLE: &str = "14";
const CALLS: usize = 6;

fn serve(change: impl FnOnce(&mut GrpcOptions)) -> SocketAddr {
    let mut options = GrpcOptions::default();
    options.addresses = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    change(&mut options);
    let server = GrpcServer::bind(memory_store(1), options).unwrap();
    let address = server.local_addrs()[0];
    tokio::spawn(server.run(std::future::pending()));
    address
}

/// Makes calls that begin with these bytes and do not go on: so many of them stand, and the others
/// are refused at once.
async fn assert_stand(address: SocketAddr, bytes: &Bytes, stand: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let mut sender = connect(address).await;
        let (body, messages) = mpsc::channel(1);
        body.send(Ok(Frame::data(bytes.clone()))).await.unwrap();
        calls.spawn(async move {
            let answer = sender.send_request(call("streams.Streams/Append", messages));
            let answer = answer.await;
            drop((body, sender));
            answer.unwrap().headers()["grpc-status"].clone()
        });
    }
    for _ in stand..CALLS {
        let refused = timeout(LONG, calls.join_next()).await.expect("a refusal");
        assert_eq!(refused.unwrap().unwrap(), UNAVAILABLE);
    }
    assert!(calls.try_join_next().is_none(), "{stand} stand");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_still_arriving_share_one_budget() {
    let address = serve(|options| options.incoming_len_bytes_max = 40 << 20);
    let mut announced = vec![0];
    announced.extend_from_slice(&(16u32 << 20).to_be_bytes());
    assert_stand(address, &announced.into(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_calls_than_are_allowed() {
    let address = serve(|options| options.all_calls_max = 3);
    assert_stand(address, &Bytes::from_static(&[0]), 3).await;
}

#[tokio::test]
async fn who_does_not_say_which_protocol_he_speaks_is_not_waited_for() {
    let address = serve(|options| {
        options.hello_within = Duration::from_millis(100);
        options.message_within = Duration::from_millis(100);
    });
    for said in [
        &b""[..],
        b"P",
        &PREFACE[..PREFACE.len() - 1],
        b"GET / HTTP/1.1\r\nhost",
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said).await.unwrap();
        let mut told = Vec::new();
        let ended = timeout(LONG, socket.read_to_end(&mut told)).await;
        assert!(ended.is_ok(), "{said:?} is waited for");
    }
}
