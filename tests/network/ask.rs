//! Requests as the tests make them, and what comes back.

use annal::format::checksum::Salt;
use annal::protocol::message::*;
use annal::protocol::records::all_events;
use annal::protocol::{Answer, Request};
use annal::{Append, RecordedEvent};

use super::Raw;

pub(crate) fn read(source: Source) -> Read {
    Read {
        source,
        from: From::Start,
        backwards: false,
        events_max: u64::MAX,
        credit_bytes: 1 << 30,
        at_least: None,
    }
}

pub(crate) fn subscribe(source: Source, from: SubscribeFrom) -> Subscribe {
    Subscribe {
        source,
        from,
        credit_bytes: 1 << 30,
        at_least: None,
    }
}

pub(crate) fn append(append: Append) -> Request {
    Request::Append(append)
}

pub(crate) async fn receipt(raw: &mut Raw, request: Append) -> Receipt {
    match raw.ask(append(request)).await {
        Answer::Receipt(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

/// The events of a read, and how it ended.
pub(crate) async fn read_all(raw: &mut Raw, read: Read) -> (Vec<RecordedEvent>, End) {
    let salt = Salt::new(raw.welcome.as_ref().unwrap().record_salt);
    let backwards = read.backwards;
    raw.send(5, &Request::Read(read)).await;
    let mut events = Vec::new();
    loop {
        match raw.next().await {
            (5, Answer::Records(runs)) => {
                let mut part = all_events(&runs, &salt).unwrap();
                if backwards {
                    part.reverse();
                }
                events.extend(part);
            }
            (5, Answer::End(end)) => return (events, end),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

pub(crate) fn token_of(raw: &Raw) -> Token {
    let welcome = raw.welcome.as_ref().unwrap();
    Token {
        store: welcome.store,
        lineage: welcome.lineage,
        end: 0,
    }
}
