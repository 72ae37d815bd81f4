//! A damaged event, read through every front: everything in front of it comes, then the error.

use std::sync::Arc;

use annal::access::Access;
use annal::client::{Client, Events, Notice, Read, ReadError, Subscribe};
use annal::disk::{Disk, MemoryDisk, SimulatedHost};
use annal::protocol::StorageKind;
use annal::{
    Direction, EventType, GrpcOptions, Position, ReadFrom, Source, Store, StoreOptions,
    SubscribeFrom, Tag,
};
use tonic::{Code, Status};

use crate::grpc_client::Served;
use crate::grpc_client::read::{of_all, of_stream};
use crate::grpc_client::v1::streams::read_req::Options;
use crate::grpc_client::v1::streams::read_resp::Content;
use crate::network::{event, name, options, serve};

/// The damaged one is the first of those that are planned of a list together: so many in front of
/// it, and from behind, twice as many.
const DAMAGED: u64 = 128;
const EVENTS: u64 = 3 * DAMAGED + 1;

/// A store that is only read, of one stream with a tag, and one event damaged.
fn damaged() -> Store {
    let disk = MemoryDisk::new();
    let open = |options: StoreOptions| {
        let host = Arc::new(SimulatedHost::new(1));
        Store::open_on(Arc::new(disk.clone()), host, options).unwrap()
    };
    let written = open(StoreOptions::default());
    for number in 0..EVENTS {
        let tag = Tag::new("kind:order").unwrap();
        let event = event(&format!("\"needle {number:03}\"")).with_tags(vec![tag]);
        let any = annal::ExpectedRevision::Any;
        let append = annal::Append::to(name("order-1"), any, [event]);
        written.append(append).unwrap();
    }
    written.close().unwrap();
    let needle = format!("needle {DAMAGED:03}");
    let segment = disk.map("segment-00000000").unwrap();
    let at = segment
        .windows(needle.len())
        .position(|it| it == needle.as_bytes());
    let at = u64::try_from(at.unwrap()).unwrap();
    drop(segment);
    disk.flip_bit("segment-00000000", at * 8).unwrap();
    let mut only_read = StoreOptions::default();
    only_read.read_only = true;
    open(only_read)
}

fn forwards() -> Vec<u64> {
    (0..DAMAGED).collect()
}

fn backwards() -> Vec<u64> {
    (DAMAGED + 1..EVENTS).rev().collect()
}

/// The positions that a read gives, and the error behind them.
async fn until_error(mut events: Events) -> (Vec<u64>, ReadError) {
    let mut positions = Vec::new();
    loop {
        match events.next().await {
            Ok(Some(event)) => positions.push(event.position.0),
            Ok(None) => panic!("{} events and no error", positions.len()),
            Err(error) => return (positions, error),
        }
    }
}

fn sources() -> Vec<Source> {
    vec![
        Source::All,
        Source::Stream(name("order-1")),
        Source::Category("order".to_owned()),
        Source::EventType(EventType::new("Happened").unwrap()),
        Source::Tag(Tag::new("kind:order").unwrap()),
    ]
}

fn is_damage(error: &ReadError) {
    match error {
        ReadError::Storage { kind, text } => {
            assert_eq!(*kind, StorageKind::Damaged);
            assert!(
                text.contains("segment-00000000 is damaged at byte"),
                "{text}"
            );
            assert!(text.contains("annal verify"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_native_front_gives_what_stands_in_front_of_damage() {
    let native = serve(damaged(), options());
    for credit_bytes in [1 << 20, 4_000] {
        let url = format!("{}&credit_bytes={credit_bytes}", native.url());
        let client = Client::connect(&*url).await.unwrap();
        for source in sources() {
            let read = || Read::new(source.clone());
            let (positions, error) = until_error(client.read(read())).await;
            assert_eq!(positions, forwards(), "{source:?}");
            is_damage(&error);
            let back = read().from_end().backwards();
            let (positions, error) = until_error(client.read(back)).await;
            assert_eq!(positions, backwards(), "{source:?}");
            is_damage(&error);
        }
    }
    native.stop().await;
}

#[tokio::test]
async fn a_subscription_gives_what_stands_in_front_of_damage() {
    let native = serve(damaged(), options());
    let client = Client::connect(&*native.url()).await.unwrap();
    for source in sources() {
        let subscribe = Subscribe::new(source.clone(), SubscribeFrom::Start);
        let mut all = client.subscribe(subscribe).await.unwrap();
        let mut positions = Vec::new();
        let error = loop {
            match all.next().await {
                Ok(Notice::Event(event)) => positions.push(event.position.0),
                Ok(_) => (),
                Err(error) => break error,
            }
        };
        assert_eq!(positions, forwards(), "{source:?}");
        is_damage(&error);
    }
    native.stop().await;
}

/// The positions that a read gives, and the status behind them.
async fn until_status(node: &Served, read: Options) -> (Vec<u64>, Status) {
    let mut messages = node.open(read).await.unwrap();
    let mut positions = Vec::new();
    loop {
        match messages.message().await {
            Ok(Some(message)) => match message.content.unwrap() {
                // What the protocol shows counts from 1.
                Content::Event(read) => {
                    positions.push(read.event.unwrap().commit_position - 1);
                }
                Content::Confirmation(_) => (),
                other => panic!("{other:?}"),
            },
            Ok(None) => panic!("{} events and no error", positions.len()),
            Err(status) => return (positions, status),
        }
    }
}

#[tokio::test]
async fn the_grpc_front_gives_what_stands_in_front_of_damage() {
    let folder = tempfile::tempdir().unwrap();
    let node = Served::of(folder, damaged(), GrpcOptions::default(), Access::open);
    let reads = [
        (of_all(), forwards()),
        (of_stream("order-1"), forwards()),
        (of_all().follow(), forwards()),
        (of_stream("order-1").follow(), forwards()),
        (of_all().end().backwards(), backwards()),
        (of_stream("order-1").end().backwards(), backwards()),
    ];
    for (number, (read, expected)) in reads.into_iter().enumerate() {
        let (positions, status) = until_status(&node, read).await;
        assert_eq!(positions, expected, "read {number}");
        assert_eq!(status.code(), Code::DataLoss, "read {number}: {status:?}");
        assert!(
            status.message().contains("is damaged at byte"),
            "{status:?}"
        );
    }
    node.stop().await;
}

#[test]
fn the_store_gives_what_stands_in_front_of_damage_in_batches_too() {
    let store = damaged();
    let reads = || {
        let (from, back) = (ReadFrom::Start, Direction::Forwards);
        let of_type = EventType::new("Happened").unwrap();
        [
            store.read_all(from, back, None),
            store.read_stream(&name("order-1"), ReadFrom::Start, back),
            store.read_type(&of_type, from, back),
        ]
    };
    for (number, read) in reads().into_iter().enumerate() {
        let mut read = read.unwrap();
        let mut next = Position::START;
        let error = loop {
            match read.next_batch() {
                Ok(Some(batch)) => {
                    for event in batch.events() {
                        assert_eq!(event.unwrap().position, next, "read {number}");
                        next = next.next();
                    }
                }
                Ok(None) => panic!("no error"),
                Err(error) => break error,
            }
        };
        assert_eq!(next, Position(DAMAGED), "read {number}");
        // It goes no further, and says so again.
        let again = read.next_batch().unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
    }
}
