//! Whatever is sent to the port of gRPC and HTTP, the server answers or closes, and then answers
//! the next caller.
//!
//! An input is: how it is sent, and the bytes. They are the message of one of the methods, the
//! first bytes of a connection, or what follows the preface of HTTP/2.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use annal::{GrpcOptions, GrpcServer};
use tokio::runtime::Runtime;

use crate::golden;
use crate::session::{connect, memory_store, runtime};

/// So many inputs go to one server.
const INPUTS_MAX: u32 = 1_000;
/// Whoever waits longer than this waits for ever.
const LONG: Duration = Duration::from_secs(20);
/// How long answers are awaited that an input may have none of.
const SHORT: Duration = Duration::from_millis(100);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const PROTO_FILES: [&str; 9] = [
    include_str!("../../src/grpc/proto/gossip.proto"),
    include_str!("../../src/grpc/proto/monitoring.proto"),
    include_str!("../../src/grpc/proto/operations.proto"),
    include_str!("../../src/grpc/proto/persistent.proto"),
    include_str!("../../src/grpc/proto/projections.proto"),
    include_str!("../../src/grpc/proto/server_features.proto"),
    include_str!("../../src/grpc/proto/streams.proto"),
    include_str!("../../src/grpc/proto/users.proto"),
    include_str!("../../src/grpc/proto/v2_streams.proto"),
];

/// The path of every method that does not end the server.
fn methods() -> &'static [String] {
    static METHODS: OnceLock<Vec<String>> = OnceLock::new();
    METHODS.get_or_init(|| {
        let mut methods = Vec::new();
        for text in PROTO_FILES {
            let (mut package, mut service) = ("", "");
            for line in text.lines() {
                let words: Vec<_> = line
                    .split([' ', '(', ';'])
                    .filter(|it| !it.is_empty())
                    .collect();
                match words[..] {
                    ["package", name] => package = name,
                    ["service", name, ..] => service = name,
                    ["rpc", "Shutdown", ..] => {}
                    ["rpc", name, ..] => methods.push(format!("/{package}.{service}/{name}")),
                    _ => {}
                }
            }
        }
        assert!(methods.len() > 40, "{methods:?}");
        methods
    })
}

struct World {
    _runtime: Runtime,
    address: SocketAddr,
    inputs: u32,
}

impl World {
    fn new() -> Self {
        let runtime = runtime();
        let mut options = GrpcOptions::default();
        options.addresses = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let guard = runtime.enter();
        let server = GrpcServer::bind(memory_store(), options).unwrap();
        drop(guard);
        let address = server.local_addrs()[0];
        runtime.spawn(server.run(std::future::pending()));
        Self {
            _runtime: runtime,
            address,
            inputs: 0,
        }
    }

    /// Sends bytes and takes what comes at first.
    fn send(&self, bytes: &[u8]) {
        let mut socket = connect(self.address, SHORT);
        // The server may have closed already.
        let _cut = socket.write_all(bytes);
        let mut told = [0; 16 * 1024];
        let _count = socket.read(&mut told);
        let _gone = socket.shutdown(Shutdown::Both);
    }

    fn lives(&self) {
        let mut socket = connect(self.address, LONG);
        let request = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        socket.write_all(request).unwrap();
        let mut told = String::new();
        socket.read_to_string(&mut told).expect("an answer in time");
        assert!(told.starts_with("HTTP/1.1 204"), "{told}");
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

pub fn run(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    WORLD.with_borrow_mut(|world| {
        world.inputs += 1;
        if world.inputs > INPUTS_MAX {
            *world = World::new();
        }
        match usize::from(*first) {
            255 => world.send(rest),
            254 => world.send(&[PREFACE, rest].concat()),
            number => {
                let path = &methods()[number % methods().len()];
                world.send(&called(path, rest));
            }
        }
        world.lives();
    });
}

/// A call with one message, which HTTP/1.1 can carry too.
fn called(path: &str, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\nte: trailers\r\n\
         content-length: {}\r\n\r\n",
        message.len() + 5
    );
    [head.as_bytes(), &[0], &len, message].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let methods = u8::try_from(methods().len()).unwrap();
    let mut seeds = Vec::new();
    // A field of each shape: texts, numbers, messages in messages.
    let messages: [&[u8]; 6] = [
        &[],
        &[0x0a, 0x05, 0x0a, 0x03, b'a', b'-', b'1'],
        &[
            0x0a, 0x09, 0x0a, 0x05, 0x0a, 0x03, b'a', b'-', b'1', 0x12, 0x00,
        ],
        &[0x12, 0x02, 0x08, 0x01, 0x1a, 0x02, 0x08, 0x7f],
        &[
            0x0a, 0x0c, 0x0a, 0x03, b'a', b'n', b'n', 0x12, 0x01, b'x', 0x22, 0x02, b'o', b'p',
        ],
        &[
            0x0a, 0x10, 0x22, 0x0e, 0x0a, 0x0c, 0x0a, 0x03, b'^', b'a', b'+', 0x10, 0x05, 0x1a,
            0x01, b'b', 0x08, 0x20,
        ],
    ];
    for method in 0..methods {
        for message in messages {
            seeds.push([&[method], message].concat());
        }
    }
    for text in [
        "GET /stats?format=json HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n",
        "GET /subscriptions/a-1/workers/info HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /subscriptions/a-1/workers/replayParked?stopAt=3 HTTP/1.1\r\nhost: a\r\n\
         authorization: Basic YWRtaW46eA==\r\ncontent-length: 2\r\n\r\n{}",
        "GET /gossip HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nabcde\r\n0\r\n\r\n",
        "GET /health/live?liveCode=299 HTTP/1.0\r\n\r\n",
    ] {
        seeds.push([&[255], text.as_bytes()].concat());
    }
    // Settings, a ping, headers that are one indexed field, a reset.
    seeds.push(vec![
        254, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 3,
        1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8,
    ]);
    let frames = golden::frames().into_iter().take(3);
    seeds.extend(frames.map(|(_, frame)| [&[255], &frame[..]].concat()));
    seeds
}
