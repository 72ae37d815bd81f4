//! Attacks that are the same on every protocol, but for what is sent.
//!
//! Each goes on for as long as what it returns is held.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::{Held, Place, dial};
use crate::dice::Dice;

/// How long the end of a connection is awaited that need not end.
pub(super) const SHORT: Duration = Duration::from_millis(100);

/// Beginnings, each cut off at each of its bytes, and nothing behind them.
pub(super) async fn half_said(address: SocketAddr, place: Place, said: &[&[u8]]) -> Held {
    let mut held = Vec::new();
    for said in said {
        for len in 0..said.len() * place.scale {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(&said[..len % said.len()]).await.unwrap();
            held.push(socket);
        }
    }
    Held::of(held)
}

/// Each of these a byte at a time, again and again.
pub(super) fn dribbled(address: SocketAddr, place: Place, said: &[Vec<u8>]) -> Held {
    let mut tasks = JoinSet::new();
    for number in 0..4 * place.scale {
        let bytes = said[number % said.len()].clone();
        tasks.spawn(async move {
            loop {
                let mut socket = dial(address).await;
                for byte in &bytes {
                    if socket.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    yield_now().await;
                }
            }
        });
    }
    Held::of(tasks)
}

/// What these dice make, as many as the place says at least, and more while it is held.
pub(super) async fn diced(
    address: SocketAddr,
    place: Place,
    bytes: impl Fn(&mut Dice) -> Vec<u8> + Clone + Send + 'static,
) -> Held {
    let send = move |number: u64| {
        let bytes = bytes.clone();
        async move {
            let mut dice = Dice::new(place.seed.wrapping_add(number));
            let bytes = bytes(&mut dice);
            let mut socket = dial(address).await;
            // The server may close before it has heard all.
            let _cut = timeout(SHORT, socket.write_all(&bytes)).await;
            let _gone = socket.shutdown().await;
            let _told = timeout(SHORT, socket.read_to_end(&mut Vec::new())).await;
        }
    };
    for number in 0..place.mutations {
        send(number).await;
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for number in place.mutations.. {
            send(number).await;
        }
    });
    Held::of(tasks)
}
