//! Peers that vanish without a word: the cable is pulled, so that nothing of theirs arrives any
//! more, and nothing says so. What they held comes back.
//!
//! They live in a network namespace, behind a pair of virtual interfaces; that takes root and
//! `ip`. Where either is missing the tests are shown as ignored, with the reason.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(
    clippy::wildcard_imports,
    reason = "what is shared with tests that have another harness"
)]

mod network;

use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annal::protocol::message::{Source, SubscribeFrom};
use annal::protocol::{Answer, Request, WireError};
use annal::{GrpcOptions, GrpcServer, Server};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::{geteuid, getpid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use network::ask::subscribe;
use network::{Raw, hello, memory_store, options, run};

/// How many places there are, all of which the peers take.
const PLACES: usize = 4;
/// Whoever waits longer than this waits for ever; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// What makes this program a peer: what it is to do, and where.
const PEER: &str = "ANNAL_VANISHED_PEER";

/// A namespace behind a cable that can be pulled.
struct Far {
    name: String,
    /// The address of this side.
    address: [u8; 4],
}

impl Far {
    fn make() -> Result<Self, String> {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let id = getpid().as_raw_nonzero().get().unsigned_abs();
        let name = format!("annal-{id}-{number}");
        let [high, low] = [id / 64 % 256, id % 64 * 4].map(|part| u8::try_from(part).unwrap());
        let high = high.wrapping_add(u8::try_from(number % 256).unwrap());
        let far = Self {
            address: [10, 213, high, low + 1],
            name,
        };
        let near = format!("an{id}n{number}");
        let [a, b, c, d] = far.address;
        let (here, there) = (
            format!("{a}.{b}.{c}.{d}/30"),
            format!("{a}.{b}.{c}.{}/30", d + 1),
        );
        ip(&["netns", "add", &far.name])?;
        ip(&[
            "link", "add", &near, "type", "veth", "peer", "name", "cable", "netns", &far.name,
        ])?;
        ip(&["addr", "add", &here, "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &far.name, "addr", "add", &there, "dev", "cable"])?;
        ip(&["-n", &far.name, "link", "set", "cable", "up"])?;
        Ok(far)
    }

    /// Runs this program there, as a peer.
    fn peer(&self, does: &str, address: SocketAddr) -> Child {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("ip");
        let command = command.args(["netns", "exec", &self.name]).arg(program);
        let command = command.env(PEER, format!("{does} {address}"));
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    fn pull_the_cable(&self) {
        ip(&["-n", &self.name, "link", "set", "cable", "down"]).unwrap();
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // The interfaces go with it.
        let _may_be_gone = ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(words).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

fn lacking() -> Option<String> {
    if !geteuid().is_root() {
        return Some("it needs to be run as root".to_owned());
    }
    match Far::make() {
        Ok(_) => None,
        Err(problem) => Some(format!("it needs a network namespace: {problem}")),
    }
}

/// Holds a peer until it is ended.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = (self.0.kill(), self.0.wait());
    }
}

/// Waits until a peer says that it holds what it is to hold.
fn wait_for(peer: &mut Peer) {
    use std::io::{BufRead, BufReader};
    let mut line = String::new();
    let told = peer.0.stdout.as_mut().unwrap();
    BufReader::new(told).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
}

/// All places and subscriptions of the native port are held by peers that vanish.
fn native() -> Result<Completion, Failed> {
    if let Some(lacks) = lacking() {
        eprintln!("vanished was NOT RUN: {lacks}");
        return Ok(Completion::ignored_with(lacks));
    }
    let far = Far::make()?;
    Runtime::new().unwrap().block_on(async {
        let mut options = options();
        options.insecure = true;
        options.address = SocketAddr::from((far.address, 0));
        options.connections_max = PLACES;
        options.all_subscriptions_max = PLACES;
        options.heartbeat = Duration::from_millis(500);
        options.silence_max = Duration::from_secs(2);
        let store = memory_store(1);
        let server = run(Server::bind(store.clone(), options).unwrap(), store);
        let mut peer = Peer(far.peer("native", server.address));
        tokio::task::block_in_place(|| wait_for(&mut peer));
        assert!(Raw::try_connect(server.address, hello()).await.is_none());
        far.pull_the_cable();
        // From here on nobody is heard of, and nobody says that it is over.
        let mut raw = timeout(PATIENCE, async {
            loop {
                if let Some(raw) = Raw::try_connect(server.address, hello()).await {
                    return raw;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("a place");
        let feed = subscribe(Source::Stream("s".into()), SubscribeFrom::Start);
        let mut number = 0;
        for _ in 0..PLACES {
            timeout(PATIENCE, async {
                loop {
                    number += 1;
                    raw.send(number, &Request::Subscribe(feed.clone())).await;
                    if is_subscribed(&mut raw, number).await {
                        break;
                    }
                }
            })
            .await
            .expect("a subscription");
        }
        drop(raw);
        server.stop().await;
    });
    Ok(Completion::Completed)
}

async fn is_subscribed(raw: &mut Raw, number: u64) -> bool {
    loop {
        match raw.next().await {
            (told, Answer::Subscribed(_)) if told == number => return true,
            (told, Answer::Error(WireError::TooMany { .. })) if told == number => return false,
            (_, Answer::CaughtUp(_) | Answer::Idle(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// All places of the other port are held by peers that vanish and spoke this protocol.
fn http(protocol: &'static str) -> Result<Completion, Failed> {
    if let Some(lacks) = lacking() {
        eprintln!("vanished was NOT RUN: {lacks}");
        return Ok(Completion::ignored_with(lacks));
    }
    let far = Far::make()?;
    Runtime::new().unwrap().block_on(async {
        let mut options = GrpcOptions::default();
        options.insecure = true;
        options.addresses = vec![SocketAddr::from((far.address, 0))];
        options.connections_max = PLACES;
        options.keep_alive_interval = Duration::from_millis(500);
        options.keep_alive_within = Duration::from_secs(1);
        options.message_within = Duration::from_secs(2);
        let server = GrpcServer::bind(memory_store(1), options).unwrap();
        let address = server.local_addrs()[0];
        let serving = tokio::spawn(server.run(std::future::pending()));
        let mut peer = Peer(far.peer(protocol, address));
        tokio::task::block_in_place(|| wait_for(&mut peer));
        assert!(!is_served(address).await);
        far.pull_the_cable();
        let served = async { while !are_all_free(address).await {} };
        timeout(PATIENCE, served).await.expect("the places");
        serving.abort();
    });
    Ok(Completion::Completed)
}

async fn is_served(address: SocketAddr) -> bool {
    ask(address).await.is_some()
}

/// Whether there are as many places at once as there are.
async fn are_all_free(address: SocketAddr) -> bool {
    let mut held = Vec::new();
    for _ in 0..PLACES {
        held.push(ask(address).await);
    }
    held.iter().all(Option::is_some)
}

/// A connection over HTTP/1.1 that was answered, and stays.
async fn ask(address: SocketAddr) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    socket
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .ok()?;
    let mut told = [0; 12];
    socket.read_exact(&mut told).await.ok()?;
    (&told == b"HTTP/1.1 204").then_some(socket)
}

/// What a peer does: takes everything, says so, and stays alive.
async fn be_a_peer(does: &str, address: SocketAddr) {
    let mut held = Vec::new();
    for _ in 0..PLACES {
        match does {
            "native" => {
                let mut raw = Raw::connect(address).await;
                let feed = subscribe(Source::Stream("s".into()), SubscribeFrom::Start);
                raw.send(1, &Request::Subscribe(feed)).await;
                assert!(is_subscribed(&mut raw, 1).await);
                held.push(raw.socket);
            }
            "http2" => {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                    .await
                    .unwrap();
                // The server's settings, so it has taken the connection.
                assert!(socket.read(&mut [0; 9]).await.unwrap() > 0);
                held.push(socket);
            }
            _ => held.push(ask(address).await.expect("an answer")),
        }
    }
    // Those that are not cut off are kept by heartbeats alone; this is quicker than their limit.
    println!("ready");
    std::future::pending::<()>().await;
}

fn main() -> ExitCode {
    if let Ok(peer) = std::env::var(PEER) {
        let (does, address) = peer.split_once(' ').unwrap();
        let address = address.parse().unwrap();
        Runtime::new().unwrap().block_on(be_a_peer(does, address));
    }
    let trials = vec![
        Trial::ignorable_test("places_of_native_peers_that_vanish_come_back", native),
        Trial::ignorable_test("places_of_http1_peers_that_vanish_come_back", || {
            http("http1")
        }),
        Trial::ignorable_test("places_of_http2_peers_that_vanish_come_back", || {
            http("http2")
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
