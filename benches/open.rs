//! Opening a store after a clean stop, and what the first read then costs.

use annal::{Position, Store, StoreOptions};
use criterion::{Criterion, criterion_group, criterion_main};

mod common;

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(20);
    for events in [1_000usize, 200_000] {
        let (folder, store) = common::store();
        common::fill(&store, events / 1_000, 1_000);
        store.close().expect("the store closes");
        group.bench_function(format!("{events} events, clean, to the first read"), |b| {
            b.iter(|| {
                let store = Store::open(folder.path(), StoreOptions::default());
                let store = store.expect("the store opens");
                store.event_at(Position(17)).expect("the event is read")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, open);
criterion_main!(benches);
