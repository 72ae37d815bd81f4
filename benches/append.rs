//! Durable appends to new streams: by 1, 64 and 256 writers, in batches of 1 and 100 events.
//! The time is that of one append, divided among the writers: each waits for its own sync, and the
//! syncs are shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annal::Store;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod common;

fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(10);
    for writers in [1, 64, 256] {
        for events in [1usize, 100] {
            let (_folder, store) = common::store();
            let name = format!("{writers} writers, events each");
            group.throughput(Throughput::Elements(common::count(events)));
            group.bench_with_input(BenchmarkId::new(name, events), &events, |b, &events| {
                b.iter_custom(|appends| run(&store, writers, events, appends));
            });
        }
    }
    group.finish();
}

/// The time of `appends` appends, shared among the writers.
fn run(store: &Store, writers: u64, events: usize, appends: u64) -> Duration {
    static STREAMS: AtomicU64 = AtomicU64::new(0);
    let left = AtomicU64::new(appends);
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..writers.min(appends) {
            scope.spawn(|| {
                while take().is_ok() {
                    let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
                    let append = common::append(&format!("appended-{stream}"), events);
                    store.append(append).expect("the append is taken");
                }
            });
        }
    });
    start.elapsed()
}

criterion_group!(benches, appends);
criterion_main!(benches);
