//! Subscriptions: how fast one catches up, and how long it takes from the call of an append until
//! a live one, on another thread, has the event; the sync is part of that.

use std::hint::black_box;
use std::sync::mpsc;
use std::time::Instant;

use annal::{BatchLimit, Notice, Source, Store, SubscribeFrom, Subscription};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

mod common;

const STREAMS: usize = 20;
const EACH: usize = 10_000;

fn catching_up(c: &mut Criterion) {
    let (_folder, store) = common::store();
    common::fill(&store, STREAMS, EACH);
    let mut group = c.benchmark_group("subscribe");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(common::count(STREAMS * EACH)));
    group.bench_function("catch up, all", |b| {
        b.iter(|| catch_up(&store, Source::All, SubscribeFrom::Start).1);
    });
    group.bench_function("catch up, category", |b| {
        let source = || Source::Category("filled".into());
        b.iter(|| catch_up(&store, source(), SubscribeFrom::Start).1);
    });
    group.finish();
}

fn live(c: &mut Criterion) {
    let (_folder, store) = common::store();
    let mut streams = 0u64;
    let mut group = c.benchmark_group("subscribe");
    group.sample_size(10);
    group.bench_function("live, from the append to its event", |b| {
        let (mut subscription, _) = catch_up(&store, Source::All, SubscribeFrom::End);
        b.iter_custom(|appends| {
            let (heard, hear) = mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..appends {
                        next_events(&mut subscription);
                        heard.send(Instant::now()).expect("somebody listens");
                    }
                });
                let delay = |_| {
                    streams += 1;
                    let append = common::append(&format!("live-{streams}"), 1);
                    let start = Instant::now();
                    store.append(append).expect("the append is taken");
                    let heard = hear.recv().expect("the event comes");
                    heard.saturating_duration_since(start)
                };
                (0..appends).map(delay).sum()
            })
        });
    });
    group.finish();
}

/// Waits for events, and drops what else is said.
fn next_events(subscription: &mut Subscription) {
    let limit = BatchLimit::default();
    while !matches!(
        subscription.next(limit).expect("the log is read"),
        Notice::Events(_)
    ) {}
}

/// A subscription that has delivered all there is, and how many events that were.
fn catch_up(store: &Store, source: Source, from: SubscribeFrom) -> (Subscription, u64) {
    let mut subscription = store.subscribe(source, from).expect("the store is open");
    let mut events = 0;
    loop {
        match subscription
            .next(BatchLimit::default())
            .expect("the log is read")
        {
            Notice::Events(batch) => events += black_box(batch).events_count(),
            Notice::CaughtUp(_) => return (subscription, events),
            _ => {}
        }
    }
}

criterion_group!(benches, catching_up, live);
criterion_main!(benches);
