//! What no client sends: the answer is a status of the protocol, never a fault.

use std::str::FromStr;

use http::uri::PathAndQuery;
use proptest::prelude::*;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Request, Status};

use crate::grpc_client::append::ANY;
use crate::grpc_client::bare::Bare;
use crate::grpc_client::{Served, trailer};

/// Every method that does not end the server.
fn methods() -> Vec<String> {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/client/descriptors.bin"));
    let set = FileDescriptorSet::decode(&bytes[..]).unwrap();
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let of_service = service.method.iter().map(|method| method.name());
            let lasting = of_service.filter(|method| *method != "Shutdown");
            let (package, service) = (file.package(), service.name());
            methods.extend(lasting.map(|method| format!("{package}.{service}/{method}")));
        }
    }
    assert!(methods.len() > 40, "{methods:?}");
    methods
}

/// How a call ends whose messages are these bytes.
async fn call(served: &Served, method: &str, messages: Vec<Vec<u8>>) -> Option<Status> {
    let mut client = tonic::client::Grpc::new(served.channel());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_str(&format!("/{method}")).unwrap();
    let request = Request::new(tokio_stream::iter(messages));
    let ended = async {
        let answered = client.streaming(request, path, Bare).await;
        let mut responses = match answered {
            Ok(responses) => responses.into_inner(),
            Err(status) => return Some(status),
        };
        // A few messages are enough: a subscription has no end.
        for _ in 0..3 {
            match responses.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
        None
    };
    let within = std::time::Duration::from_millis(500);
    tokio::time::timeout(within, ended).await.unwrap_or(None)
}

fn assert_of_the_protocol(method: &str, messages: &[Vec<u8>], status: &Status) {
    let fault = match status.code() {
        // For settings that cannot be it is the protocol's code, and a trailer says so.
        Code::Internal => trailer(status, "exception").is_none(),
        Code::Unknown | Code::DataLoss | Code::Cancelled => true,
        _ => false,
    };
    assert!(!fault, "{method} {messages:?}: {status:?}");
}

/// Bytes that often are fields of a message, some of them messages again.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = |inner: BoxedStrategy<Vec<u8>>| {
        (1u8..12, inner).prop_map(|(number, inner)| {
            let mut bytes = vec![number << 3 | 2, u8::try_from(inner.len()).unwrap_or(0)];
            bytes.extend(inner);
            bytes
        })
    };
    let number = (1u8..12, any::<u8>()).prop_map(|(number, value)| vec![number << 3, value & 127]);
    let text = prop::collection::vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![field(text.boxed()), number, Just(Vec::new())];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let fields = prop::collection::vec(inner, 0..4).prop_map(|all| all.concat());
        field(fields.boxed())
    })
}

#[test]
fn whatever_arrives_the_answer_is_of_the_protocol() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(Served::start());
    runtime.block_on(served.fill("a", 3));
    let config = ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let messages = prop::collection::vec(
        prop_oneof![4 => message(), 1 => prop::collection::vec(any::<u8>(), 0..40)],
        0..4,
    );
    proptest!(config, |(method in prop::sample::select(methods()), messages in messages)| {
        let status = runtime.block_on(call(&served, &method, messages.clone()));
        if let Some(status) = status {
            assert_of_the_protocol(&method, &messages, &status);
        }
    });
    runtime
        .block_on(async { served.append("a", ANY, Vec::new()).await })
        .unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented() {
    let served = Served::start().await;
    for method in [
        "event_store.client.streams.Streams/Nothing",
        "event_store.cluster.Gossip/Update",
        "nothing/Nothing",
    ] {
        let status = call(&served, method, vec![Vec::new()]).await.unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{method}");
    }
}

/// Posts bytes as the body of a call, and returns the status that it ends with.
async fn post(served: &Served, method: &str, body: &[u8]) -> Option<u32> {
    let body = http_body_util::Full::new(bytes::Bytes::copy_from_slice(body));
    let request = http::Request::post(format!("http://{}/{method}", served.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let socket = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let io = hyper_util::rt::TokioIo::new(socket);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    let running = tokio::spawn(connection);
    let response = sender.send_request(request).await.ok()?;
    let number = |value: &http::HeaderValue| value.to_str().unwrap().parse().unwrap();
    let code = match response.headers().get("grpc-status") {
        Some(code) => Some(number(code)),
        None => {
            let body = http_body_util::BodyExt::collect(response.into_body())
                .await
                .ok()?;
            body.trailers()?.get("grpc-status").map(number)
        }
    };
    running.abort();
    code
}

#[tokio::test]
async fn frames_that_are_none_end_a_call_and_not_the_server() {
    let served = Served::start().await;
    for method in methods() {
        for frame in [
            &b"\x01\0\0\0\x01x"[..],
            b"\x07\0\0\0\0",
            b"\0\xff\xff\xff\xff",
            b"\0\0\0\0\x05x",
            b"\0",
        ] {
            let code = post(&served, &method, frame).await;
            assert!(
                !matches!(code, Some(2 | 13 | 15)),
                "{method} {frame:?}: {code:?}"
            );
        }
    }
    served.fill("a", 1).await;
}
