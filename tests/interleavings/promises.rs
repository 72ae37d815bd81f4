//! What holds in whatever order the threads of a store meet: those that commit, that read, that
//! follow, and that close. No wait ends by itself here, so a wake-up that is lost is a deadlock,
//! which the scheduler tells.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod disk;
mod scene;
mod stretches;

use std::time::Duration;

use annal::engine::{AppendError, BatchLimit, StorageError, Store};
use annal::model::{
    Direction, ExpectedRevision, Position, ReadFrom, Revision, Source, StreamHead, SubscribeFrom,
    Token,
};
use annal::subscription::{Notice, Subscription};
use shuttle::sync::mpsc;
use shuttle::thread;

use scene::{FORGOTTEN, Scene, Told, events, in_many_orders, stream};

/// Follows until so many events were delivered, which must be all there are of the source.
fn follow(scene: &Scene, subscription: &mut Subscription, count: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    while positions.len() < count {
        let notice = subscription.next_timeout(BatchLimit::default(), FORGOTTEN);
        let Notice::Events(batch) = notice.unwrap().expect("somebody was forgotten") else {
            continue;
        };
        for event in batch.events() {
            let event = event.unwrap();
            scene.knows(event.position, &event.data);
            positions.push(event.position);
        }
    }
    positions
}

#[test]
fn every_append_is_answered_once_and_durable_then() {
    in_many_orders(|| {
        let scene = Scene::new();
        let (told, hears) = mpsc::channel();
        let blocking = ["a", "b"].map(|name| {
            let mine = scene.clone();
            thread::spawn(move || {
                mine.append(events(name, "first", 1));
                mine.append(events(name, "second", 2));
            })
        });
        let (mine, tells) = (scene.clone(), told.clone());
        let submits = thread::spawn(move || {
            for append in [events("c", "first", 1), events("a", "third", 1)] {
                let done = mine.telling(&append, &tells);
                mine.store().submit(append, done);
            }
        });
        // As a connection does it: the commit is made on the thread that received the requests.
        let (mine, tells) = (scene.clone(), told);
        let session = thread::spawn(move || {
            let origin = mine.store().origin();
            for text in ["first", "second"] {
                let (append, store) = (events("d", text, 1), mine.store());
                let done = mine.telling(&append, &tells);
                store.enqueue_from(origin, append, done);
                store.commit_enqueued(Duration::from_secs(1));
            }
        });
        // The sender goes with the last answer.
        let answers: Vec<Told> = hears.iter().collect();
        assert_eq!(answers.len(), 4);
        assert!(answers.iter().all(|Told(_, answer)| answer.is_ok()));
        for thread in blocking.into_iter().chain([submits, session]) {
            thread.join().unwrap();
        }
        assert_eq!(scene.end().len(), 10);
    });
}

#[test]
fn a_request_that_comes_alone_is_not_forgotten() {
    in_many_orders(|| {
        let scene = Scene::new();
        let (told, hears) = mpsc::channel();
        for text in ["first", "second", "third", "fourth"] {
            let append = events("a", text, 1);
            let done = scene.telling(&append, &told);
            scene.store().submit(append, done);
            assert!(hears.recv().unwrap().1.is_ok());
        }
        assert_eq!(scene.end().len(), 4);
    });
}

#[test]
fn what_a_reader_sees_is_durable() {
    in_many_orders(|| {
        let scene = Scene::new();
        scene.append(events("a", "past", 1));
        let writers = ["a", "b"].map(|name| {
            let mine = scene.clone();
            thread::spawn(move || {
                mine.append(events(name, "first", 1));
                mine.append(events(name, "second", 1));
            })
        });
        let mine = scene.clone();
        let reader = thread::spawn(move || {
            let store = mine.store();
            for _ in 0..3 {
                mine.read(&store);
                let read = store.read_stream(&stream("a"), ReadFrom::Start, Direction::Forwards);
                for (number, event) in (0..).zip(read.unwrap()) {
                    let event = event.unwrap();
                    assert_eq!(event.revision.0, number);
                    mine.knows(event.position, &event.data);
                }
            }
        });
        for thread in writers.into_iter().chain([reader]) {
            thread.join().unwrap();
        }
        assert_eq!(scene.end().len(), 5);
    });
}

#[test]
fn a_subscription_goes_from_the_past_to_the_present_without_a_gap_or_a_double() {
    in_many_orders(|| {
        let scene = Scene::new();
        scene.append(events("a", "past", 2));
        let follow_both = [Source::All, Source::Stream(stream("a"))].map(|source| {
            let mine = scene.clone();
            thread::spawn(move || {
                let count = if matches!(source, Source::All) { 8 } else { 5 };
                let mut subscription = mine
                    .store()
                    .subscribe(source, SubscribeFrom::Start)
                    .unwrap();
                follow(&mine, &mut subscription, count)
            })
        });
        let writers = ["a", "b"].map(|name| {
            let mine = scene.clone();
            thread::spawn(move || {
                mine.append(events(name, "first", 1));
                mine.append(events(name, "second", 2));
            })
        });
        for thread in writers {
            thread.join().unwrap();
        }
        let [of_all, of_stream] = follow_both.map(|thread| thread.join().unwrap());
        assert_eq!(of_all, (0..8).map(Position).collect::<Vec<_>>());
        let left = scene.end();
        let of_a = left.iter().filter(|(_, data)| data.starts_with(b"a "));
        assert_eq!(
            of_stream,
            of_a.map(|(position, _)| *position).collect::<Vec<_>>()
        );
    });
}

#[test]
fn who_follows_is_woken_for_each_event_that_comes_alone() {
    in_many_orders(|| {
        let scene = Scene::new();
        let (delivered, hears) = mpsc::channel();
        let mine = scene.clone();
        let follower = thread::spawn(move || {
            let mut subscription = mine
                .store()
                .subscribe(Source::All, SubscribeFrom::Start)
                .unwrap();
            for _ in 0..4 {
                follow(&mine, &mut subscription, 1);
                delivered.send(()).unwrap();
            }
        });
        for text in ["first", "second", "third", "fourth"] {
            scene.append(events("a", text, 1));
            hears.recv().unwrap();
        }
        follower.join().unwrap();
        scene.end();
    });
}

#[test]
fn who_waits_while_much_is_written_is_woken_by_the_dispatcher() {
    in_many_orders(|| {
        let scene = Scene::new();
        let mine = scene.clone();
        let follows = thread::spawn(move || {
            let source = Source::Stream(stream("a"));
            let mut subscription = mine.store().subscribe(source, SubscribeFrom::End).unwrap();
            mine.store().append(events("a", "begun", 1)).unwrap();
            follow(&mine, &mut subscription, 3)
        });
        // More than whoever commits looks through himself.
        for text in ["first", "second"] {
            let mut much = events("b", text, 40);
            much.events.extend(events("a", text, 1).events);
            scene.store().append(much).unwrap();
        }
        scene.store().append(events("a", "last", 2)).unwrap();
        let positions = follows.join().unwrap();
        assert!(positions.is_sorted_by(|one, next| one < next));
        scene.end();
    });
}

#[test]
fn a_token_is_waited_for_until_its_events_are_there() {
    in_many_orders(|| {
        let scene = Scene::new();
        let mine = scene.clone();
        let waits = thread::spawn(move || {
            let store = mine.store();
            for end in [1, 3] {
                let token = Token {
                    end: Position(end),
                    ..store.token()
                };
                store.wait_for(token, FORGOTTEN).unwrap();
                assert!(store.committed() >= token.end);
                mine.read(&store);
            }
        });
        scene.append(events("a", "first", 1));
        scene.append(events("a", "second", 2));
        waits.join().unwrap();
        assert_eq!(scene.end().len(), 3);
    });
}

#[test]
fn of_those_who_expect_the_same_revision_one_writes_and_the_others_see_why_not() {
    in_many_orders(|| {
        let scene = Scene::new();
        let rivals = ["x", "y", "z"].map(|text| {
            let mine = scene.clone();
            thread::spawn(move || {
                let mut append = events("a", text, 1);
                append.expectations = vec![(stream("a"), ExpectedRevision::NoStream)];
                let store = mine.store();
                match store.append(append.clone()) {
                    Ok(receipt) => {
                        mine.acknowledged(&append, &receipt);
                        true
                    }
                    Err(AppendError::WrongExpectedRevision { found, .. }) => {
                        assert_eq!(found, StreamHead::At(Revision(0)));
                        // The grounds can be read, and stay.
                        mine.read(&store);
                        assert_eq!(store.committed(), Position(1));
                        false
                    }
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let wrote = rivals.map(|rival| rival.join().unwrap());
        assert_eq!(wrote.iter().filter(|wrote| **wrote).count(), 1);
        assert_eq!(scene.end().len(), 1);
    });
}

/// Whether it is certain that a request is not in the log.
fn is_certainly_not_there(error: &AppendError) -> bool {
    matches!(error, AppendError::Storage(StorageError::Closed))
}

#[test]
fn closing_answers_everything_and_lets_everybody_go() {
    in_many_orders(|| {
        let scene = Scene::new();
        let (told, hears) = mpsc::channel();
        let follows = |store: &Store| store.subscribe(Source::All, SubscribeFrom::Start).unwrap();
        let mut waiting = follows(&scene.store());
        let follower = thread::spawn(move || {
            // Until the store is closed.
            while waiting.next(BatchLimit::default()).is_ok() {}
        });
        let submitters = ["a", "b"].map(|name| {
            let (mine, tells, store) = (scene.clone(), told.clone(), scene.store());
            thread::spawn(move || {
                for text in ["first", "second"] {
                    let append = events(name, text, 1);
                    let done = mine.telling(&append, &tells);
                    store.submit(append, done);
                }
            })
        });
        drop(told);
        scene.close();
        let answers: Vec<Told> = hears.iter().collect();
        assert_eq!(answers.len(), 4, "every request is answered once");
        for thread in submitters.into_iter().chain([follower]) {
            thread.join().unwrap();
        }
        let left = scene.end();
        for Told(asked, answer) in answers {
            let data = &asked.events[0].1.data[..];
            let there = left.iter().filter(|(_, left)| left == data).count();
            match answer {
                Ok(_) => assert_eq!(there, 1),
                Err(error) if is_certainly_not_there(&error) => assert_eq!(there, 0),
                Err(error) => panic!("{error}"),
            }
        }
    });
}
