//! Subscriptions deliver every event of their source once and in order, whatever happens at the
//! same time; they wake when there is something for them, and cost nothing when there is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, Background, Batch, BatchLimit, Direction, EventFilter, EventType, ExpectedRevision,
    FilterTarget, NewEvent, Notice, Position, ReadError, ReadFrom, RecordedEvent, Revision, Source,
    StorageError, Store, StoreOptions, StreamName, SubscribeFrom, SubscribeOptions, Subscription,
    Tag,
};

/// Long enough for any machine; who waits so long has been forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

fn store_with(background: Background) -> Store {
    let mut options = StoreOptions::default();
    options.background = background;
    options.segment_size_bytes = 64 * 1024;
    options.recent_bytes = 16 * 1024;
    if background == Background::Threads {
        // Events go to tables, and tables merge, while they are followed.
        options.index_flush_events = 100;
    }
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap()
}

fn store() -> Store {
    store_with(Background::Threads)
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn event_type(text: &str) -> EventType {
    EventType::new(text.to_owned()).unwrap()
}

fn append(store: &Store, stream: &str, count: usize) {
    let event = || NewEvent::json(event_type("Happened"), "{}");
    let events = (0..count).map(|_| event());
    let append = Append::to(name(stream), ExpectedRevision::Any, events);
    store.append(append).unwrap();
}

fn metadata(store: &Store, stream: &str, json: &'static str) {
    let append = Append::metadata(&name(stream), ExpectedRevision::Any, json).unwrap();
    store.append(append).unwrap();
}

fn limit() -> BatchLimit {
    BatchLimit::default()
}

fn next(subscription: &mut Subscription) -> Notice {
    let notice = subscription.next_timeout(limit(), FORGOTTEN).unwrap();
    notice.expect("somebody was forgotten")
}

fn revisions(batch: &Batch) -> Vec<u64> {
    batch
        .events()
        .map(|event| event.unwrap().revision.0)
        .collect()
}

/// The revisions of the next events, which must be what comes next.
fn next_revisions(subscription: &mut Subscription) -> Vec<u64> {
    match next(subscription) {
        Notice::Events(batch) => revisions(&batch),
        other => panic!("{other:?}"),
    }
}

/// The position up to which it has caught up, which must be what comes next.
fn caught_up(subscription: &mut Subscription) -> u64 {
    match next(subscription) {
        Notice::CaughtUp(progress) => progress.position.0,
        other => panic!("{other:?}"),
    }
}

/// Looks, and waits without blocking. Returns whether it was woken.
fn poll(subscription: &mut Subscription) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match subscription.poll_changed(&mut context) {
        Poll::Ready(changed) => {
            changed.unwrap();
            true
        }
        Poll::Pending => false,
    }
}

/// Brings a subscription to where it waits and the dispatcher knows.
fn wait(subscription: &mut Subscription) {
    loop {
        while subscription.try_next(limit()).unwrap().is_some() {}
        if !poll(subscription) {
            return;
        }
    }
}

/// Every kind of source, and what it chooses.
type Chooses = fn(&RecordedEvent) -> bool;

fn sources() -> Vec<(Source, Chooses)> {
    let tag = Tag::new("even").unwrap();
    let prefixes = EventFilter::prefixes(FilterTarget::Stream, ["a-", "b-3"]).unwrap();
    let by_type = EventFilter::prefixes(FilterTarget::EventType, ["Op"]).unwrap();
    let pattern = EventFilter::pattern(FilterTarget::Stream, "-[12]$").unwrap();
    vec![
        (Source::All, |_| true),
        (Source::Stream(name("a-1")), |event| &*event.stream == "a-1"),
        (Source::Category("a".to_owned()), |event| {
            event.stream.starts_with("a-")
        }),
        (Source::EventType(event_type("Opened")), |event| {
            &*event.event_type == "Opened"
        }),
        (Source::Tag(tag), |event| !event.tags.is_empty()),
        (Source::Filtered(prefixes), |event| {
            event.stream.starts_with("a-") || event.stream.starts_with("b-3")
        }),
        (Source::Filtered(by_type), |event| {
            event.event_type.starts_with("Op")
        }),
        (Source::Filtered(pattern), |event| {
            event.stream.ends_with("-1") || event.stream.ends_with("-2")
        }),
    ]
}

/// Appends of several sizes over several streams; what they are depends on the numbers alone.
fn mixed(writer: usize, round: usize) -> Append {
    let count = 1 + (writer * 7 + round * 3) % 5;
    (0..count).fold(Append::new(), |append, number| {
        let mix = writer * 31 + round * 17 + number * 5;
        let stream = format!("{}-{}", ["a", "b", "c"][mix % 3], mix % 4);
        let kind = ["Opened", "Changed", "Closed"][mix % 5 % 3];
        let tags = match mix % 2 {
            0 => vec![Tag::new("even").unwrap()],
            _ => Vec::new(),
        };
        let event = NewEvent::json(event_type(kind), "{}").with_tags(tags);
        append.event(name(&stream), event)
    })
}

/// The last event of all, which concerns every source.
fn last() -> Append {
    let tag = Tag::new("even").unwrap();
    let event = NewEvent::json(event_type("Opened"), "\"last\"").with_tags(vec![tag]);
    Append::to(name("a-1"), ExpectedRevision::Any, [event])
}

/// Follows until the last event of all, and returns the positions that were delivered.
fn follow(mut subscription: Subscription, limit: BatchLimit) -> Vec<u64> {
    let mut positions = Vec::new();
    loop {
        let notice = subscription.next_timeout(limit, FORGOTTEN).unwrap();
        let Notice::Events(batch) = notice.expect("somebody was forgotten") else {
            continue;
        };
        let count = batch.events_count();
        assert!(count > 0 && usize::try_from(count).unwrap() <= limit.events_max);
        for event in batch.events() {
            let event = event.unwrap();
            positions.push(event.position.0);
            if &*event.data == b"\"last\"" {
                return positions;
            }
        }
    }
}

#[test]
fn nothing_is_lost_or_doubled_between_catching_up_and_live() {
    const WRITERS: usize = 3;
    const ROUNDS: usize = 150;
    for background in [Background::Threads, Background::Manual] {
        let store = store_with(background);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        store.append(mixed(writer, round)).unwrap();
                    }
                })
            })
            .collect();
        let mut followers = Vec::new();
        for number in 0..24usize {
            let (source, chooses) = sources().swap_remove(number % 8);
            let from = match number / 8 {
                0 => SubscribeFrom::Start,
                1 => SubscribeFrom::After(Position(40)),
                _ => SubscribeFrom::End,
            };
            // A point in time for each: somewhere while the writers write.
            let before = store.committed();
            let subscription = store.subscribe(source, from).unwrap();
            let after = store.committed();
            let range = match from {
                SubscribeFrom::End => before..after,
                SubscribeFrom::After(position) => position.next()..position.next(),
                _ => Position::START..Position::START,
            };
            let limit = BatchLimit {
                events_max: [1, 7, usize::MAX][number % 3],
                ..limit()
            };
            let follower = thread::spawn(move || follow(subscription, limit));
            followers.push((follower, chooses, range));
        }
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        store.append(last()).unwrap();
        let all = store
            .read_all(ReadFrom::Start, Direction::Forwards, None)
            .unwrap();
        let all: Vec<RecordedEvent> = all.map(Result::unwrap).collect();
        for (number, (follower, chooses, began)) in followers.into_iter().enumerate() {
            let delivered = follower.join().unwrap();
            let first = delivered[0];
            let chosen = all
                .iter()
                .filter(|event| chooses(event))
                .map(|event| event.position.0);
            let expected: Vec<u64> = chosen.clone().filter(|at| *at >= first).collect();
            assert_eq!(delivered, expected, "{number}");
            // It began where it was to begin: an earlier one lies in front of there.
            let earlier = chosen.clone().filter(|at| *at < first).max();
            assert!(first >= began.start.0, "{number}");
            assert!(earlier.is_none_or(|at| at < began.end.0), "{number}");
        }
    }
}

#[test]
fn who_catches_up_is_told_so_and_then_gets_what_is_committed() {
    let store = store();
    append(&store, "a-1", 3);
    for (source, _) in sources() {
        let mut subscription = store.subscribe(source, SubscribeFrom::End).unwrap();
        let end = store.committed();
        assert_eq!(caught_up(&mut subscription), end.0);
        assert!(subscription.try_next(limit()).unwrap().is_none());
        store.append(last()).unwrap();
        assert_eq!(next_revisions(&mut subscription).len(), 1);
        assert_eq!(subscription.position(), store.committed());
        assert!(subscription.try_next(limit()).unwrap().is_none());
    }
}

#[test]
fn ten_thousand_that_wait_for_their_streams_sleep_while_others_are_written() {
    for background in [Background::Threads, Background::Manual] {
        let store = store_with(background);
        let mut idle: Vec<Subscription> = (0..10_000)
            .map(|number| {
                let stream = Source::Stream(name(&format!("idle-{number}")));
                store.subscribe(stream, SubscribeFrom::Start).unwrap()
            })
            .collect();
        idle.iter_mut().for_each(wait);
        for _ in 0..200 {
            append(&store, "busy-1", 2);
        }
        append(&store, "idle-77", 1);
        assert_eq!(next_revisions(&mut idle[77]), [0]);
        let woken = |one: &mut Subscription| usize::from(poll(one));
        let others: usize = idle.iter_mut().map(woken).sum();
        // The one that was read rests, and is the only one that was ever woken or is now.
        assert_eq!(others, 1);
        let wakes: u64 = idle.iter().map(Subscription::wakes_count).sum();
        assert!(wakes <= 1, "{wakes}");
        assert!(size_of::<Subscription>() <= 512);
    }
}

#[test]
fn many_commits_wake_a_subscription_once_until_it_waits_again() {
    let store = store_with(Background::Manual);
    let mut subscription = store.subscribe(Source::All, SubscribeFrom::Start).unwrap();
    wait(&mut subscription);
    for _ in 0..100 {
        append(&store, "a-1", 1);
    }
    assert!(poll(&mut subscription));
    assert_eq!(subscription.wakes_count(), 1);
    assert_eq!(next_revisions(&mut subscription).len(), 100);
    wait(&mut subscription);
    assert_eq!(subscription.wakes_count(), 1);
}

#[test]
fn a_filter_that_chooses_nothing_makes_progress_that_is_told() {
    let store = store_with(Background::Manual);
    let many = |rounds: usize| {
        for _ in 0..rounds {
            let data = "x".repeat(1000);
            let event = || NewEvent::binary(event_type("Happened"), data.clone());
            let events = (0..100).map(|_| event());
            store
                .append(Append::to(name("a-1"), ExpectedRevision::Any, events))
                .unwrap();
        }
    };
    many(40);
    let none = EventFilter::pattern(FilterTarget::EventType, "^Never$").unwrap();
    let options = SubscribeOptions::default().checkpoint_events(1000);
    let source = Source::Filtered(none);
    let start = SubscribeFrom::Start;
    let mut subscription = store.subscribe_with(source, start, options).unwrap();
    let mut told = vec![0];
    let caught_up = loop {
        match next(&mut subscription) {
            Notice::Checkpoint(progress) => told.push(progress.position.0),
            Notice::CaughtUp(progress) => break progress,
            other => panic!("{other:?}"),
        }
    };
    let far_enough = |pair: &[u64]| (1000..1500).contains(&(pair[1] - pair[0]));
    assert!(
        told.len() > 2 && told.windows(2).all(far_enough),
        "{told:?}"
    );
    assert_eq!(caught_up.position, Position(4000));
    assert!(caught_up.committed_us.is_some());
    // Live, it is woken for each checkpoint, and reads nothing.
    wait(&mut subscription);
    let mut live = vec![4000];
    for _ in 0..25 {
        many(1);
        while poll(&mut subscription) {
            match subscription.try_next(limit()).unwrap() {
                Some(Notice::Checkpoint(progress)) => live.push(progress.position.0),
                None => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(live, [4000, 5000, 6000]);
    assert_eq!(subscription.wakes_count(), 2);
}

#[test]
fn what_is_committed_after_a_subscription_began_is_delivered_whole() {
    let store = store();
    append(&store, "a-1", 5);
    metadata(&store, "a-1", r#"{"$maxCount":2}"#);
    let source = || Source::Stream(name("a-1"));
    let mut subscription = store.subscribe(source(), SubscribeFrom::Start).unwrap();
    append(&store, "a-1", 5);
    assert_eq!(next_revisions(&mut subscription), [5, 6, 7, 8, 9]);
    caught_up(&mut subscription);
    // The past, however, is what the stream shows.
    let mut later = store.subscribe(source(), SubscribeFrom::Start).unwrap();
    assert_eq!(next_revisions(&mut later), [8, 9]);
    let after = SubscribeFrom::AfterRevision(Revision(8));
    let mut after = store.subscribe(source(), after).unwrap();
    assert_eq!(next_revisions(&mut after), [9]);
    // Every change of metadata is delivered to who follows the metadata.
    let metadata_stream = Source::Stream(name("$$a-1"));
    let mut changes = store
        .subscribe(metadata_stream, SubscribeFrom::Start)
        .unwrap();
    assert_eq!(next_revisions(&mut changes), [0]);
    metadata(&store, "a-1", "{}");
    metadata(&store, "a-1", "{}");
    assert_eq!(next_revisions(&mut changes), [1, 2]);
}

#[test]
fn a_stream_that_is_not_there_or_is_deleted_is_waited_for() {
    let store = store();
    let source = || Source::Stream(name("a-1"));
    let mut subscription = store.subscribe(source(), SubscribeFrom::Start).unwrap();
    assert_eq!(caught_up(&mut subscription), 0);
    append(&store, "a-1", 2);
    assert_eq!(next_revisions(&mut subscription), [0, 1]);
    let deletion = Append::delete(name("a-1"), ExpectedRevision::Any);
    store.append(deletion).unwrap();
    let mut later = store.subscribe(source(), SubscribeFrom::Start).unwrap();
    caught_up(&mut later);
    append(&store, "a-1", 1);
    assert_eq!(next_revisions(&mut subscription), [2]);
    assert_eq!(next_revisions(&mut later), [2]);
}

#[test]
fn from_behind_a_revision_that_is_not_reached_the_events_up_to_it_are_left_out() {
    let store = store();
    append(&store, "a-1", 2);
    let from = SubscribeFrom::AfterRevision(Revision(3));
    let mut subscription = store.subscribe(Source::Stream(name("a-1")), from).unwrap();
    caught_up(&mut subscription);
    append(&store, "a-1", 2);
    append(&store, "a-1", 2);
    assert_eq!(next_revisions(&mut subscription), [4, 5]);
}

#[test]
fn a_tombstone_ends_a_subscription_behind_the_last_event() {
    let store = store();
    let source = || Source::Stream(name("a-1"));
    let mut subscription = store.subscribe(source(), SubscribeFrom::Start).unwrap();
    caught_up(&mut subscription);
    wait(&mut subscription);
    append(&store, "a-1", 2);
    let tombstone = Append::tombstone(name("a-1"), ExpectedRevision::Any);
    store.append(tombstone).unwrap();
    assert_eq!(next_revisions(&mut subscription), [0, 1]);
    for mut subscription in [
        subscription,
        store.subscribe(source(), SubscribeFrom::Start).unwrap(),
    ] {
        for _ in 0..2 {
            let notice = next(&mut subscription);
            assert!(matches!(notice, Notice::StreamTombstoned(Position(2))));
        }
    }
}

#[test]
fn a_slow_reader_is_told_that_it_fell_behind_and_loses_nothing() {
    let store = store();
    let options = SubscribeOptions::default().behind_events(50);
    let source = Source::Stream(name("a-1"));
    let start = SubscribeFrom::Start;
    let mut subscription = store.subscribe_with(source, start, options).unwrap();
    caught_up(&mut subscription);
    append(&store, "a-1", 100);
    let few = BatchLimit {
        events_max: 10,
        ..limit()
    };
    let notice = subscription.try_next(few).unwrap().unwrap();
    assert!(matches!(notice, Notice::FellBehind(progress) if progress.position == Position(0)));
    let mut delivered = Vec::new();
    loop {
        match subscription.try_next(few).unwrap().unwrap() {
            Notice::Events(batch) => delivered.extend(revisions(&batch)),
            Notice::CaughtUp(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, (0..100).collect::<Vec<u64>>());
}

#[test]
fn how_far_behind_the_slowest_is_can_be_asked() {
    let store = store();
    assert_eq!(store.subscription_stats().unwrap().count, 0);
    append(&store, "a-1", 10);
    let mut slow = store.subscribe(Source::All, SubscribeFrom::Start).unwrap();
    let elsewhere = Source::Stream(name("b-1"));
    let mut quick = store.subscribe(elsewhere, SubscribeFrom::Start).unwrap();
    caught_up(&mut quick);
    assert!(quick.try_next(limit()).unwrap().is_none());
    let lag = |count, behind_count, lag_events_max| {
        let stats = store.subscription_stats().unwrap();
        let found = (stats.count, stats.behind_count, stats.lag_events_max);
        assert_eq!(found, (count, behind_count, lag_events_max));
    };
    lag(2, 1, 10);
    let few = BatchLimit {
        events_max: 4,
        ..limit()
    };
    slow.try_next(few).unwrap().unwrap();
    lag(2, 1, 6);
    while slow.try_next(limit()).unwrap().is_some() {}
    lag(2, 0, 0);
    // What does not concern it does not count; what does, counts from when it hears of it.
    assert!(!poll(&mut quick));
    append(&store, "a-1", 1);
    lag(2, 0, 0);
    append(&store, "b-1", 1);
    while !poll(&mut quick) {
        thread::yield_now();
    }
    lag(2, 1, 1);
    drop(slow);
    drop(quick);
    lag(0, 0, 0);
}

#[test]
fn closing_the_store_ends_the_wait() {
    let store = store();
    let mut subscription = store.subscribe(Source::All, SubscribeFrom::End).unwrap();
    caught_up(&mut subscription);
    let waits = thread::spawn(move || subscription.next(limit()).map(drop));
    store.clone().close().unwrap();
    let error = waits.join().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Storage(StorageError::Closed)));
    let refused = store.subscribe(Source::All, SubscribeFrom::End);
    assert!(matches!(
        refused,
        Err(ReadError::Storage(StorageError::Closed))
    ));
}

#[test]
fn a_commit_between_reading_and_waiting_is_not_missed() {
    for background in [Background::Threads, Background::Manual] {
        for (source, _) in sources() {
            let store = store_with(background);
            let mut subscription = store.subscribe(source, SubscribeFrom::End).unwrap();
            while subscription.try_next(limit()).unwrap().is_some() {}
            // Nobody waits now, so nobody is told.
            store.append(last()).unwrap();
            assert!(poll(&mut subscription));
            assert_eq!(next_revisions(&mut subscription), [0]);
        }
    }
}

#[test]
fn nobody_is_forgotten_while_the_dispatcher_is_busy() {
    let store = store();
    let source = Source::Stream(name("b-1"));
    let mut subscription = store.subscribe(source, SubscribeFrom::End).unwrap();
    caught_up(&mut subscription);
    for round in 0..60 {
        wait(&mut subscription);
        // Enough to keep it busy when the next one comes.
        append(&store, "a-1", 1500);
        append(&store, "b-1", 1);
        let (told, hears) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(told)));
        let mut context = Context::from_waker(&waker);
        if subscription.poll_changed(&mut context).is_pending() {
            hears.recv_timeout(FORGOTTEN).unwrap();
        }
        assert_eq!(next_revisions(&mut subscription), [round]);
    }
}

/// Tells somebody that it was woken.
struct Tell(mpsc::Sender<()>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        // Who does not listen any more has heard it before.
        let _unheard = self.0.send(());
    }
}

#[test]
fn a_crowd_hears_of_every_event() {
    let store = store();
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let mut subscription = store.subscribe(Source::All, SubscribeFrom::End).unwrap();
            caught_up(&mut subscription);
            thread::spawn(move || follow(subscription, limit()))
        })
        .collect();
    for _ in 0..50 {
        append(&store, "a-1", 1);
    }
    store.append(last()).unwrap();
    for one in crowd {
        assert_eq!(one.join().unwrap(), (0..51).collect::<Vec<u64>>());
    }
}
