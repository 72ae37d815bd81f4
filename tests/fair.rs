//! Promises to those who share a store: however much one origin of appends has handed over, an
//! append of another one is made within its turn, and finds a place.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[cfg(feature = "server")]
mod network;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, AppendError, Background, EventType, ExpectedRevision, NewEvent, Origin, Receipt, Store,
    StoreOptions, StreamName,
};
use uuid::Uuid;

type Answers = Receiver<Result<Receipt, AppendError>>;

fn store(change: impl FnOnce(&mut StoreOptions)) -> Store {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    change(&mut options);
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap()
}

fn append(id: u128) -> Append {
    let event = NewEvent::binary(EventType::new("Happened").unwrap(), vec![7; 100]);
    let stream = StreamName::new("a").unwrap();
    Append::to(
        stream,
        ExpectedRevision::Any,
        [event.with_id(Uuid::from_u128(id))],
    )
}

fn submit(store: &Store, origin: Origin, ids: impl IntoIterator<Item = u128>) -> Answers {
    let (answers, received) = mpsc::channel();
    for id in ids {
        let answers = answers.clone();
        store.submit_from(origin, append(id), move |answer| {
            answers.send(answer).unwrap();
        });
    }
    received
}

fn positions(answers: &Answers) -> Vec<u64> {
    answers
        .try_iter()
        .filter_map(|answer| Some(answer.ok()?.first.0))
        .collect()
}

#[test]
fn an_append_is_made_within_its_turn_however_much_another_origin_has_handed_over() {
    // A commit takes about ten of these.
    let store = store(|options| options.unit_len_bytes = 2_000);
    let flood = submit(&store, store.origin(), 0..2_000);
    let one = submit(&store, store.origin(), [5_000]);
    store.maintain().unwrap();
    let first = one.recv().unwrap().unwrap().first;
    assert!(first.0 < 100, "it was made behind {first} others");
    let flood = positions(&flood);
    assert_eq!(flood.len(), 2_000);
    assert!(flood.is_sorted(), "each origin keeps its order");
}

#[test]
fn an_append_is_not_held_up_by_what_goes_round_for_another_origin() {
    let store = store(|options| options.unit_len_bytes = 2_000);
    // Each is there twice, so the second has to wait for the first and be looked at again.
    let flood = submit(&store, store.origin(), (0..200).flat_map(|id| [id, id]));
    let one = submit(&store, store.origin(), [5_000]);
    store.maintain().unwrap();
    let first = one.recv().unwrap().unwrap().first;
    assert!(first.0 < 20, "it was made behind {first} others");
    let flood = positions(&flood);
    assert_eq!(flood.len(), 400);
    assert!(flood.is_sorted(), "each origin keeps its order");
}

#[test]
fn an_append_finds_a_place_though_another_origin_has_taken_all() {
    let store = store(|options| {
        options.unit_len_bytes = 2_000;
        options.waiting_requests_max = 50;
    });
    let flood = submit(&store, store.origin(), 0..100);
    let one = submit(&store, store.origin(), [5_000]);
    store.maintain().unwrap();
    one.recv().unwrap().unwrap();
    let (mut made, mut busy) = (0, 0);
    for answer in flood.try_iter() {
        match answer {
            Ok(_) => made += 1,
            Err(AppendError::Busy) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(made + busy, 100);
    assert!(made >= 50, "{made}");
}

/// Connections that have all sent, before the server looks at any of them.
#[cfg(feature = "server")]
mod connections {
    use std::io;

    use annal::protocol::{Answer, Request};
    use tokio::runtime::Builder;

    use crate::network::{Raw, memory_store, options, serve, some_events};

    /// How many requests of a connection are taken before the others have their turn.
    const TURN: u64 = 64;
    const FLOODS: u64 = 8;

    fn requests(stream: &str, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in 1..=count {
            Request::Append(some_events(stream, 1)).put(number, &mut bytes);
        }
        bytes
    }

    /// Writes without letting anybody else go on.
    fn write(raw: &Raw, bytes: &[u8]) {
        let mut written = 0;
        while written < bytes.len() {
            match raw.socket.try_write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the system takes {written} bytes only")
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn answers(raw: &mut Raw, count: u64) {
        for _ in 0..count {
            let (_, answer) = raw.next().await;
            assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
        }
    }

    #[test]
    fn a_request_is_answered_behind_few_turns_of_the_connections_that_flood() {
        // One thread for all: nobody goes on but where it is waited for.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = serve(memory_store(1), options());
            let mut floods = Vec::new();
            for _ in 0..FLOODS {
                floods.push(Raw::connect(server.address).await);
            }
            let mut one = Raw::connect(server.address).await;
            // By now the server reads much of them at once.
            for (number, flood) in floods.iter_mut().enumerate() {
                for _ in 0..4 {
                    write(flood, &requests(&format!("flood-{number}"), 400));
                    answers(flood, 400).await;
                }
            }
            let before = server.store.committed().0;
            for (number, flood) in floods.iter().enumerate() {
                write(flood, &requests(&format!("flood-{number}"), 400));
            }
            write(&one, &requests("one", 1));
            let (_, answer) = one.next().await;
            let Answer::Receipt(receipt) = answer else {
                panic!("{answer:?}");
            };
            let behind = receipt.first - before;
            // One turn of each if nobody was awake when it came, and one more of those who were.
            assert!(
                behind <= 2 * FLOODS * TURN,
                "it was made behind {behind} of {} others",
                FLOODS * 400
            );
            for flood in &mut floods {
                answers(flood, 400).await;
            }
            server.stop().await;
        });
    }
}
