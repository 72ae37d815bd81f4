//! What happens in the golden store. Nothing in it depends on chance or on the time of day.

use std::sync::Arc;

use annal::disk::{Host, MemoryDisk, SimulatedHost};
use annal::{Append, ContentType, ExpectedRevision, NewEvent, Request, StreamName, Tag, Timestamp};
use uuid::Uuid;

use super::{Files, files_of, listing, open};

/// Longer than what is left of the first segment, so that the log goes on in the next one.
const LARGE_LEN_BYTES: usize = 1024 * 1024;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(id: u128, event_type: &str, data: &'static str) -> NewEvent {
    NewEvent::json(event_type.try_into().unwrap(), data).with_id(Uuid::from_u128(id))
}

/// What was written.
pub(crate) struct Written {
    /// All events that were acknowledged.
    pub(crate) events: String,
    /// The files after the store was stopped in order.
    pub(crate) stopped: Files,
    /// The files as a power cut leaves them in the middle of one more append.
    pub(crate) cut: Files,
}

/// Writes the store.
pub(crate) fn run() -> Written {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(1));
    let store = open(&disk, &host, true);
    for (index, append) in appends().into_iter().enumerate() {
        store.append(append).unwrap();
        host.advance_us(1_000 * i64::try_from(index).unwrap() + 1);
        store.maintain().unwrap();
    }
    // The floor is written after a pause.
    host.advance_us(1_000_000);
    store.maintain().unwrap();
    let cut = cut_short(&disk, &host);
    host.advance_us(1_000_000);
    let events = listing(&store);
    store.close().unwrap();
    Written {
        events,
        stopped: files_of(&disk),
        cut,
    }
}

/// A copy of the files in which the last bytes of one more append are missing.
fn cut_short(disk: &MemoryDisk, host: &SimulatedHost) -> Files {
    let now_us = host.now_us();
    let copy = disk.snapshot();
    let host = Arc::new(SimulatedHost::new(3));
    host.set_now_us(now_us);
    let store = open(&copy, &host, false);
    let lost = event(50, "Lost", r#"{"nobody":"was told"}"#);
    let lost = Append::to(stream("lost"), ExpectedRevision::Any, [lost]);
    store.append(lost).unwrap();
    let mut files = files_of(&copy);
    let is_segment = |(name, _): &(&String, &mut Vec<u8>)| name.starts_with("segment-");
    let (_, active) = files.iter_mut().filter(is_segment).last().unwrap();
    let end = active.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    active[end - 16..end].fill(0);
    files
}

fn appends() -> Vec<Append> {
    let order = || stream("order-42");
    let any = ExpectedRevision::Any;
    let request = Request {
        principal: "ann".to_owned(),
        id: Uuid::from_u128(0xaa),
    };
    let times = [
        "2016-02-29T01:23:00Z",
        "1969-12-31T23:59:59.5Z",
        "2026-01-31T23:59:59.123456Z",
    ];
    let timed = times.iter().zip(10..).map(|(time, id)| {
        let created: Timestamp = time.parse().unwrap();
        event(id, "Timed", "{}").with_created(created)
    });
    let many = (100..170).map(|id| event(id, "Counted", "1"));
    let picture = NewEvent {
        content_type: ContentType::new("image/png").unwrap(),
        ..event(20, "PictureTaken", "not really")
    };
    let large = NewEvent::binary("Blob".try_into().unwrap(), vec![0; LARGE_LEN_BYTES])
        .with_id(Uuid::from_u128(30));
    let metadata = event(5, "$metadata", r#"{"$maxCount":100}"#);
    let tags = ["vip", "customer:7"].map(|tag| Tag::new(tag).unwrap());
    let placed = event(1, "OrderPlaced", r#"{"total":12}"#)
        .with_metadata(r#"{"by":"ann"}"#)
        .with_tags(tags.to_vec());
    vec![
        Append::to(order(), ExpectedRevision::NoStream, [placed]).request(request),
        Append::new()
            .event(order(), event(2, "OrderPaid", "{}"))
            .event(stream("payment-7"), event(3, "PaymentTaken", "{}"))
            .event(order(), event(4, "OrderSent", "{}")),
        Append::to(stream("times"), any, timed),
        Append::to(stream("pictures"), any, [picture]),
        Append::to(stream("$$order-42"), any, [metadata]),
        Append::to(stream("counter"), any, many),
        Append::to(stream("blobs"), any, [large]),
        Append::to(stream("short-1"), any, [event(40, "Begun", "{}")]),
        Append::delete(stream("short-1"), any),
        Append::to(stream("short-1"), any, [event(41, "BegunAgain", "{}")]),
        Append::to(stream("short-2"), any, [event(42, "Begun", "{}")]),
        Append::tombstone(stream("short-2"), any),
    ]
}
