//! Whatever a client sends to the native server, its other clients are served: a witness appends,
//! and is told the right positions.
//!
//! An input is what a client sends: behind a hello if the first byte is even, from the first byte
//! of the connection on if it is odd.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::protocol::message::{Authentication, Hello, VERSION_MAX, VERSION_MIN};
use annal::protocol::{Answer, FrameCodec, Request};
use annal::{
    Append, EventType, ExpectedRevision, NewEvent, Server, ServerOptions, Store, StoreOptions,
    StreamName,
};
use bytes::BytesMut;
use tokio::runtime::{Builder, Runtime};
use tokio_util::codec::Decoder;

use crate::golden;

/// So many inputs go to one server.
const INPUTS_MAX: u32 = 1_000;
/// Whoever waits longer than this waits for ever.
const LONG: Duration = Duration::from_secs(20);
/// How long answers are awaited that an input may have none of.
const SHORT: Duration = Duration::from_millis(200);

struct World {
    _runtime: Runtime,
    address: SocketAddr,
    witness: Witness,
    inputs: u32,
}

/// A client that behaves well.
struct Witness {
    socket: TcpStream,
    inbox: BytesMut,
    appended: u64,
}

/// A store in memory.
#[must_use]
pub fn memory_store() -> Store {
    let (disk, host) = (MemoryDisk::new(), SimulatedHost::new(1));
    let mut options = StoreOptions::default();
    options.segment_size_bytes = 1024 * 1024;
    Store::open_on(Arc::new(disk), Arc::new(host), options).unwrap()
}

/// A runtime that serves while its owner waits.
#[must_use]
pub fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

impl World {
    fn new() -> Self {
        let runtime = runtime();
        let mut options = ServerOptions::default();
        options.address.set_port(0);
        let guard = runtime.enter();
        let server = Server::bind(memory_store(), options).unwrap();
        drop(guard);
        let address = server.local_addr();
        runtime.spawn(server.run(std::future::pending()));
        Self {
            _runtime: runtime,
            address,
            witness: Witness::connect(address),
            inputs: 0,
        }
    }
}

impl Witness {
    fn connect(address: SocketAddr) -> Self {
        let mut socket = connect(address, LONG);
        socket.write_all(&hello()).unwrap();
        let mut witness = Self {
            socket,
            inbox: BytesMut::new(),
            appended: 0,
        };
        assert!(matches!(witness.answer(), Answer::Welcome(_)));
        witness
    }

    fn answer(&mut self) -> Answer {
        loop {
            if let Some(frame) = FrameCodec.decode(&mut self.inbox).unwrap() {
                match Answer::decode(frame.kind, frame.body).unwrap() {
                    Answer::Heartbeat(_) => continue,
                    answer => return answer,
                }
            }
            let mut bytes = [0; 4096];
            let count = match self.socket.read(&mut bytes) {
                // The fuzzer's clock.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("the witness is answered"),
            };
            assert!(count > 0, "the witness was cut off");
            self.inbox.extend_from_slice(&bytes[..count]);
        }
    }

    fn append(&mut self) {
        let stream = StreamName::new("the-witness-of-the-fuzzer").unwrap();
        let event = NewEvent::json(EventType::new("Seen").unwrap(), "{}");
        let append = Append::to(stream, ExpectedRevision::Any, [event]);
        let mut frame = Vec::new();
        Request::Append(append).put(1, &mut frame);
        self.socket.write_all(&frame).unwrap();
        match self.answer() {
            Answer::Receipt(receipt) => assert_eq!(receipt.revisions[0].1, self.appended),
            other => panic!("{other:?}"),
        }
        self.appended += 1;
    }
}

/// A connection that waits so long for bytes.
#[must_use]
pub fn connect(address: SocketAddr, within: Duration) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(within)).unwrap();
    socket
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        client: "fuzz".into(),
        authentication: Authentication::None,
    };
    let mut frame = Vec::new();
    Request::Hello(hello).put(7, &mut frame);
    frame
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
        let mut socket = connect(world.address, SHORT);
        let mut sent = Vec::new();
        if first % 2 == 0 {
            sent = hello();
        }
        sent.extend_from_slice(rest);
        // The server may have closed already.
        let _cut = socket.write_all(&sent);
        let _gone = socket.shutdown(Shutdown::Write);
        let mut told = Vec::new();
        let _end = socket.take(1 << 20).read_to_end(&mut told);
        world.witness.append();
    });
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frames = golden::frames().into_iter();
    let frames: Vec<_> = frames.take_while(|(name, _)| *name != "Welcome").collect();
    let mut seeds = vec![[&[1][..], &hello(), &hello()].concat()];
    let mut all = vec![0];
    for (number, (_, frame)) in (1u64..).zip(&frames) {
        seeds.push([&[0], &frame[..]].concat());
        let mut numbered = frame.clone();
        numbered[5..13].copy_from_slice(&number.to_le_bytes());
        all.extend(numbered);
    }
    seeds.push(all);
    seeds
}
