//! Reads of what is warm: the whole log, a virtual stream, one stream, single events.

use annal::{Direction, Position, ReadFrom, Revision, StreamName};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

mod common;

const STREAMS: usize = 20;
const EACH: usize = 10_000;

fn reads(c: &mut Criterion) {
    let (_folder, store) = common::store();
    common::fill(&store, STREAMS, EACH);
    let stream = StreamName::new("filled-7").expect("a short name");
    let mut group = c.benchmark_group("read");
    group.sample_size(10);
    group.throughput(Throughput::Elements(common::count(STREAMS * EACH)));
    group.bench_function("all, events", |b| {
        b.iter(|| {
            let events = store.read_all(ReadFrom::Start, Direction::Forwards, None);
            events.expect("the log is read").count()
        });
    });
    group.bench_function("all, batches", |b| {
        b.iter(|| {
            let events = store.read_all(ReadFrom::Start, Direction::Forwards, None);
            let mut events = events.expect("the log is read");
            while events.next_batch().expect("the log is read").is_some() {}
        });
    });
    let category = StreamName::new("$ce-filled").expect("a short name");
    for (name, resolve_links) in [("links", false), ("links followed", true)] {
        group.bench_function(format!("virtual stream, {name}"), |b| {
            b.iter(|| {
                let (start, forwards) = (ReadFrom::Start, Direction::Forwards);
                let links = store.read_resolved(&category, start, forwards, resolve_links);
                links.expect("the category is read").count()
            });
        });
    }
    group.throughput(Throughput::Elements(common::count(EACH)));
    for direction in [Direction::Forwards, Direction::Backwards] {
        let from = match direction {
            Direction::Forwards => ReadFrom::Start,
            Direction::Backwards => ReadFrom::End,
        };
        group.bench_function(format!("stream, {direction:?}"), |b| {
            b.iter(|| {
                let events = store.read_stream(&stream, from, direction);
                events.expect("the stream is read").count()
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("event by position", |b| {
        let mut position = 0;
        b.iter(|| {
            position = (position + 7_919) % 100_000;
            let event = store.event_at(Position(position));
            event.expect("the event is read")
        });
    });
    group.bench_function("event by stream and revision", |b| {
        let mut revision = 0;
        b.iter(|| {
            revision = (revision + 7_919) % 10_000;
            let event = store.event(&stream, Revision(revision));
            event.expect("the event is read")
        });
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
