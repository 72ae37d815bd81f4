//! What the benchmarks share: stores in a temporary folder of the working directory's disk, and
//! events of the size that the project's figures speak of.

use annal::{Append, EventType, ExpectedRevision, NewEvent, Store, StoreOptions, StreamName};
use tempfile::TempDir;

/// Bytes of data in an event.
pub(crate) const DATA_LEN_BYTES: usize = 256;

/// A new store on a real disk: beside the build output, since `/tmp` is often memory.
pub(crate) fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let store = Store::open(folder.path(), StoreOptions::default()).expect("a store opens");
    (folder, store)
}

/// An append of so many events to a stream that must be new.
pub(crate) fn append(stream: &str, events: usize) -> Append {
    let stream = StreamName::new(stream.to_owned()).expect("a short name");
    let event_type = EventType::new("Measured").expect("a short type");
    let data = bytes::Bytes::from_static(&[b'x'; DATA_LEN_BYTES]);
    let event = || NewEvent::binary(event_type.clone(), data.clone());
    Append::to(
        stream,
        ExpectedRevision::NoStream,
        (0..events).map(|_| event()),
    )
}

/// How many, as criterion takes it.
#[allow(dead_code, reason = "not every benchmark has a rate")]
pub(crate) fn count(elements: usize) -> u64 {
    u64::try_from(elements).expect("a count fits 64 bits")
}

/// Fills a store with streams of `each` events.
#[allow(dead_code, reason = "not every benchmark reads")]
pub(crate) fn fill(store: &Store, streams: usize, each: usize) {
    for stream in 0..streams {
        let append = append(&format!("filled-{stream}"), each);
        store.append(append).expect("the append is taken");
    }
}
