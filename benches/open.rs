//! Opening a store after a clean stop, up to the first event read.

use std::path::Path;
use std::time::{Duration, Instant};

use annal::{Position, Store, StoreOptions};
use criterion::{Criterion, criterion_group, criterion_main};

mod common;

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(20);
    for streams in [1, 200] {
        let (folder, store) = common::store();
        common::fill(&store, streams, 1_000);
        store.close().expect("the store closes");
        let name = format!("to the first event, of {}", streams * 1_000);
        group.bench_function(name, |b| b.iter_custom(|opens| run(folder.path(), opens)));
    }
    group.finish();
}

/// The time of so many openings, without the closing.
fn run(folder: &Path, opens: u64) -> Duration {
    let open = |_| {
        let start = Instant::now();
        let store = Store::open(folder, StoreOptions::default()).expect("the store opens");
        let event = store.event_at(Position(17)).expect("the event is read");
        let took = start.elapsed();
        assert!(event.is_some(), "there is such an event");
        store.close().expect("the store closes");
        took
    };
    (0..opens).map(open).sum()
}

criterion_group!(benches, open);
criterion_main!(benches);
