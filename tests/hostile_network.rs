//! What the network may do to a server: while each attack stands, a client that behaves well
//! appends and is told the truth, and once it is over new clients are served.
//!
//! The short form is small. The long form attacks the release server, which is a process of its
//! own, in every way, measures its memory and the appends of the witness, and prints a table:
//! `HOSTILE_SECONDS=10 cargo test --release --test hostile_network memory -- --nocapture`
//! (`HOSTILE_SCALE=20`, `HOSTILE_SEED=7`, `HOSTILE_ATTACKS=slow`; `HOSTILE_SERVER=PATH` attacks
//! another `annal`).
#![cfg(all(
    feature = "cli",
    feature = "client",
    feature = "server",
    feature = "grpc"
))]
#![allow(clippy::big_endian_bytes, reason = "HTTP/2 and gRPC are written so")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "simulation/dice.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod dice;
#[path = "network/mutate.rs"]
mod mutate;
mod network;

#[path = "hostile_network/bound.rs"]
mod bound;
#[path = "hostile_network/http.rs"]
mod http;
#[path = "hostile_network/native.rs"]
mod native;
#[path = "hostile_network/process.rs"]
mod process;
#[path = "hostile_network/refused.rs"]
mod refused;
#[path = "hostile_network/senders.rs"]
mod senders;
#[path = "hostile_network/witness.rs"]
mod witness;

use std::any::Any;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use annal::{Append, ExpectedRevision, GrpcOptions, GrpcServer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::yield_now;

use network::{memory_store, options};
use witness::Witness;

/// What is attacked, and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    native: SocketAddr,
    http: SocketAddr,
    connections_max: usize,
    /// How many times as much as the short form does.
    scale: usize,
    /// How many mutations have been sent when an attack by mutations stands.
    mutations: u64,
    seed: u64,
}

/// What keeps an attack up.
pub(crate) struct Held(#[expect(dead_code, reason = "held")] Box<dyn Any + Send>);

impl Held {
    fn of(held: impl Send + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// A connection that is reset when it is dropped, so that there can be any number of them.
async fn dial(address: SocketAddr) -> TcpStream {
    loop {
        if let Ok(socket) = TcpStream::connect(address).await {
            // A socket that refuses is gone already.
            let _gone = (socket.set_zero_linger(), socket.set_nodelay(true));
            return socket;
        }
        yield_now().await;
    }
}

type Attack = fn(Place) -> Pin<Box<dyn Future<Output = Held> + Send>>;

macro_rules! attacks {
    ($($front:ident $($attack:ident)*;)*) => {
        /// All attacks, by name.
        const ATTACKS: &[(&str, Attack)] = &[$($(
            (concat!(stringify!($front), " ", stringify!($attack)), |place| {
                Box::pin($front::$attack(place))
            }),
        )*)*];
    };
}

attacks! {
    native silent half_said oversized dribbled mutated reordered connections subscriptions slow
        pipelined abandoned;
    http half_said dribbled mutated pings arriving resets connections slow;
}

/// The attacks whose names hold what `HOSTILE_ATTACKS` says; all if it says nothing.
fn chosen() -> impl Iterator<Item = &'static (&'static str, Attack)> {
    let wanted = std::env::var("HOSTILE_ATTACKS").unwrap_or_default();
    ATTACKS
        .iter()
        .filter(move |(name, _)| name.contains(&wanted))
}

/// Whether a thread of the server has panicked: its runtime keeps it to itself.
static PANICKED: AtomicBool = AtomicBool::new(false);

#[test]
fn through_every_attack_a_witness_is_served_and_told_the_truth() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::SeqCst);
        show(panic);
    }));
    // The server has threads of its own, as it has where it is attacked.
    let theirs = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let ours = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (place, running) = theirs.block_on(async {
        let store = memory_store(1);
        let events = (0..100).map(|_| network::event(&"x".repeat(50_000)));
        let history = Append::to(network::name("history"), ExpectedRevision::Any, events);
        store.append(history).unwrap();
        let (mut options, mut of_http) = (options(), GrpcOptions::default());
        options.connections_max = 300;
        options.requests_max = 64;
        of_http.connections_max = 300;
        of_http.addresses = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let http = GrpcServer::bind(store.clone(), of_http).unwrap();
        let place = Place {
            native: options.address,
            http: http.local_addrs()[0],
            connections_max: options.connections_max,
            scale: 1,
            mutations: 150,
            seed: 1,
        };
        tokio::spawn(http.run(std::future::pending()));
        let running = network::serve(store, options);
        (
            Place {
                native: running.address,
                ..place
            },
            running,
        )
    });
    ours.block_on(async {
        let mut witness = Witness::connect(place).await;
        for (name, attack) in chosen() {
            let began = std::time::Instant::now();
            let held = attack(place).await;
            for _ in 0..20 {
                witness.append().await;
            }
            drop(held);
            Witness::connect(place).await.append().await;
            assert!(
                !PANICKED.load(Ordering::SeqCst),
                "a thread panicked under {name}"
            );
            println!("{name:>22} {:?}", began.elapsed());
        }
        witness.check().await;
    });
    theirs.block_on(running.stop());
}
