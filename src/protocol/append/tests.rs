//! Appends come back as they went in, and nothing else is one.

use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn event() -> impl Strategy<Value = NewEvent> {
    let created =
        option::of((-5_000_000_000i64..5_000_000_000, 0u32..1_000_000_000)).prop_map(|created| {
            created.map(|(seconds, nanos)| Timestamp::new(seconds, nanos, 9).unwrap())
        });
    let content_type = prop_oneof![
        Just(ContentType::Json),
        Just(ContentType::Binary),
        Just(ContentType::new("text/plain").unwrap()),
    ];
    let payload = || vec(any::<u8>(), 0..40);
    let tags = vec("[a-z]{1,8}", 0..3);
    (
        any::<u128>(),
        "[A-C]",
        content_type,
        payload(),
        payload(),
        tags,
        created,
    )
        .prop_map(
            |(id, event_type, content_type, data, metadata, tags, created)| NewEvent {
                id: Uuid::from_u128(id),
                event_type: EventType::new(event_type).unwrap(),
                content_type,
                data: data.into(),
                metadata: metadata.into(),
                tags: tags.into_iter().map(|tag| Tag::new(tag).unwrap()).collect(),
                created,
            },
        )
}

fn append() -> impl Strategy<Value = Append> {
    let stream = || "[a-e]-[0-9]".prop_map(|name| StreamName::new(name).unwrap());
    let expected = prop_oneof![
        Just(ExpectedRevision::Any),
        Just(ExpectedRevision::NoStream),
        Just(ExpectedRevision::StreamExists),
        any::<u64>().prop_map(|revision| ExpectedRevision::Exactly(Revision(revision))),
    ];
    let ending = prop_oneof![Just(Ending::Deleted), Just(Ending::Tombstoned)];
    let events = vec((stream(), event()), 0..20);
    let expectations = vec((stream(), expected), 0..5);
    let ending = option::of((stream(), ending));
    (events, expectations, ending, option::of(any::<u128>())).prop_map(
        |(events, expectations, ending, request)| {
            let request = request.map(|id| Request {
                principal: String::new(),
                id: Uuid::from_u128(id),
            });
            let payload_checksums = events
                .iter()
                .map(|(_, event)| payload_checksum(event))
                .collect();
            Append {
                events,
                expectations,
                ending,
                brought_back: None,
                request,
                states: Vec::new(),
                payload_checksums,
            }
        },
    )
}

fn encoded(append: &Append) -> Bytes {
    let mut out = Vec::new();
    put(append, &mut out);
    Bytes::from(out)
}

proptest! {
    #[test]
    fn an_append_comes_back_as_it_went_in(append in append()) {
        prop_assert_eq!(take(&encoded(&append)), Ok(append));
    }

    #[test]
    fn an_append_that_is_cut_short_is_refused(append in append(), cut: prop::sample::Index) {
        let bytes = encoded(&append);
        let cut = cut.index(bytes.len());
        prop_assert!(take(&bytes.slice(..cut)).is_err());
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(
        append in append(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = encoded(&append).to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _judged = take(&Bytes::from(bytes));
    }
}

#[test]
fn a_payload_that_changed_on_its_way_is_found() {
    let stream = StreamName::new("a-1").unwrap();
    let events = ["one", "two"].map(|data| NewEvent::json(EventType::new("T").unwrap(), data));
    let bytes = encoded(&Append::to(stream, ExpectedRevision::Any, events));
    let mut damaged = bytes.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(
        take(&Bytes::from(damaged)),
        Err(AppendProblem::PayloadDamaged(1))
    );
}

#[test]
fn names_travel_once() {
    let stream = StreamName::new("a-very-long-name-of-a-stream").unwrap();
    let event = || NewEvent::json(EventType::new("SomethingHappened").unwrap(), "{}");
    let of = |count| {
        let events = std::iter::repeat_with(event).take(count);
        encoded(&Append::to(stream.clone(), ExpectedRevision::Any, events)).len()
    };
    assert_eq!(of(11) - of(1), 10 * (EVENT_LEN_BYTES_MIN + 2));
}

#[test]
fn a_count_without_events_reserves_no_memory() {
    let mut bytes = vec![0, 0, 0];
    put_varint(&mut bytes, u64::from(u32::MAX));
    assert!(take(&Bytes::from(bytes)).is_err());
}

#[test]
fn a_frame_of_tiny_entries_does_not_become_gigabytes() {
    let table = |count: u64, entry: &[u8]| {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, count);
        (0..count).for_each(|_| bytes.extend_from_slice(entry));
        bytes
    };
    let names = table(1 << 20, &[1, b'a', EXPECT_ANY]);
    let types = table(1 << 20, &[1, b'a']);
    let one_name = table(1, &[1, b'a', EXPECT_ANY]);
    let event = [&[0; 4][..], &[CONTENT_BINARY], &[0; 16], &[0, 0, 0]].concat();
    let events = table(1 << 19, &event);
    let one_type = table(1, &[1, b'a']);
    for frame in [
        [&[0], &names[..], &[0, 0]].concat(),
        [&[0], &one_name[..], &types[..], &[0]].concat(),
        [&[0], &one_name[..], &one_type[..], &events[..]].concat(),
    ] {
        assert!(matches!(
            take(&frame.into()),
            Err(AppendProblem::Format(FormatError::Invalid(_)))
        ));
    }
}

#[test]
fn a_name_travels_once_however_many_there_are() {
    for streams in [1, 8, 9, 20] {
        let name = |number: u64| format!("stream-{number:03}");
        let twice = (0..streams).chain(0..streams);
        let append = twice.fold(Append::new(), |append, number| {
            let event = NewEvent::json(EventType::new("Moved").unwrap(), "{}");
            append.event(StreamName::new(name(number)).unwrap(), event)
        });
        let bytes = encoded(&append);
        let count = |text: &str| {
            let windows = bytes.windows(text.len());
            windows.filter(|window| *window == text.as_bytes()).count()
        };
        assert!((0..streams).all(|number| count(&name(number)) == 1));
        assert_eq!(count("Moved"), 1);
    }
}
