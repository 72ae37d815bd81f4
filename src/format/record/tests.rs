//! Promises of the record format.

use proptest::prelude::*;

use super::*;

fn salt() -> Salt {
    Salt::new([9; 16])
}

fn encoded(stream: &StreamName, revision: u64, event: &NewEvent, created: Timestamp) -> Bytes {
    let payload_checksum = payload_checksum(event);
    let revision = Revision(revision);
    let mut out = Vec::new();
    encode(
        &Record {
            stream,
            revision,
            event,
            created,
            payload_checksum,
        },
        Position(7),
        &salt(),
        &mut out,
    );
    Bytes::from(out)
}

fn event_strategy() -> impl Strategy<Value = (StreamName, u64, NewEvent, Timestamp)> {
    let text = "[ -~\u{e4}\u{4e00}]{1,40}";
    let content = prop_oneof![
        Just(ContentType::Json),
        Just(ContentType::Binary),
        "[a-z]{1,20}/[a-z]{1,20}".prop_map(|text| ContentType::new(text).unwrap()),
    ];
    // `$$` describes no stream, and is the name of none.
    let stream = text.prop_filter_map("the name of a stream", |text| StreamName::new(text).ok());
    let created = prop_oneof![
        any::<i64>().prop_map(Timestamp::from_micros),
        (
            Timestamp::SECONDS_MIN..=Timestamp::SECONDS_MAX,
            0u32..1_000_000_000,
            0u8..=9
        )
            .prop_map(|(seconds, nanos, decimals)| {
                let unit = decimal_unit(decimals);
                Timestamp::new(seconds, nanos / unit * unit, decimals).unwrap()
            }),
    ];
    (
        (stream, text, any::<u64>(), any::<u128>(), content),
        proptest::collection::vec("[a-z:0-9]{1,20}", 0..=TAGS_MAX),
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(any::<u8>(), 0..20_000),
        created,
    )
        .prop_map(
            |((stream, event_type, revision, id, content_type), tags, meta, data, created)| {
                let event = NewEvent {
                    id: Uuid::from_u128(id),
                    event_type: EventType::new(event_type).unwrap(),
                    content_type,
                    data: data.into(),
                    metadata: meta.into(),
                    tags: tags.into_iter().map(|tag| Tag::new(tag).unwrap()).collect(),
                    created: None,
                };
                (stream, revision, event, created)
            },
        )
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_went_in((stream, revision, event, created) in event_strategy()) {
        let bytes = encoded(&stream, revision, &event, created);
        let (back, len) = decode(&bytes, Position(7), &salt()).unwrap();
        prop_assert_eq!(len, bytes.len());
        let len_max = len_max(&stream, &event);
        prop_assert!((len..=len + NUMBERS_LEN_BYTES_MAX).contains(&len_max));
        let layout = Layout::parse(&bytes).unwrap();
        prop_assert_eq!((layout.id(), layout.revision()), (event.id, Revision(revision)));
        prop_assert_eq!(layout.created(), created);
        prop_assert_eq!(layout.stream(&bytes), stream.as_bytes());
        prop_assert_eq!(layout.event_type(&bytes), event.event_type.as_bytes());
        prop_assert_eq!(layout.metadata(&bytes), &event.metadata);
        let tags: Vec<&[u8]> = layout.tags(&bytes).collect();
        prop_assert_eq!(tags, event.tags.iter().map(|tag| tag.as_bytes()).collect::<Vec<_>>());
        let expected = RecordedEvent {
            position: Position(7),
            stream,
            revision: Revision(revision),
            id: event.id,
            event_type: event.event_type,
            content_type: event.content_type,
            created,
            tags: event.tags,
            metadata: event.metadata,
            data: event.data,
        };
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        if let Ok(layout) = Layout::parse(&bytes) {
            let _outcome = layout.event(&bytes, Position(0));
            let _outcome = layout.check_payload(&bytes);
        }
        prop_assert!(decode(&bytes, Position(0), &salt()).is_err());
    }
}

fn small() -> (StreamName, NewEvent) {
    let event_type = EventType::new("OrderPlaced").unwrap();
    let event = NewEvent::json(event_type, "{\"total\":42}")
        .with_metadata("{\"actor\":1}")
        .with_tags(vec![Tag::new("customer:42").unwrap()]);
    (StreamName::new("order-1").unwrap(), event)
}

#[test]
fn every_flipped_bit_is_found() {
    let (stream, event) = small();
    for created in [
        Timestamp::from_micros(1),
        Timestamp::from_micros(1_800_000_000_000_000),
    ] {
        let bytes = encoded(&stream, 300, &event, created);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = decode(&Bytes::from(damaged), Position(7), &salt());
            assert!(found.is_err(), "bit {bit}");
        }
    }
}

#[test]
fn records_one_behind_the_other_come_back_up_to_the_first_that_is_none() {
    let (stream, event) = small();
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for position in 7..10 {
        let record = Record {
            stream: &stream,
            revision: Revision(position - 7),
            event: &event,
            created: Timestamp::from_micros(0),
            payload_checksum: payload_checksum(&event),
        };
        encode(&record, Position(position), &salt(), &mut bytes);
        ends.push(bytes.len());
    }
    let decoded = |bytes: &[u8], count| {
        let (bytes, mut events) = (Bytes::copy_from_slice(bytes), Vec::new());
        let end = decode_all(&bytes, count, Position(7), &salt(), &mut events);
        let is_it = |(event, at): (&RecordedEvent, u64)| {
            assert_eq!((event.position.0, event.revision.0), (at, at - 7));
        };
        events.iter().zip(7..).for_each(is_it);
        (end, events.len())
    };
    assert_eq!(decoded(&bytes, 3), (Ok(()), 3));
    assert_eq!(decoded(&bytes, 2), (Ok(()), 2));
    let cut = FormatError::Truncated("a record's payload");
    assert_eq!(decoded(&bytes[..ends[2] - 1], 3), (Err(cut), 2));
    bytes[ends[0]] ^= 1;
    let damaged = FormatError::Checksum("a record's header");
    assert_eq!(decoded(&bytes, 3), (Err(damaged), 1));
}

#[test]
fn metadata_and_data_together_have_one_limit() {
    let (stream, event) = small();
    for (metadata, fits) in [(1_000, true), (1_001, false)] {
        let event = NewEvent {
            metadata: vec![1; metadata].into(),
            data: vec![2; PAYLOAD_LEN_BYTES_MAX - 1_000].into(),
            ..event.clone()
        };
        let bytes = encoded(&stream, 0, &event, Timestamp::from_micros(0));
        assert_eq!(Layout::parse(&bytes).is_ok(), fits);
    }
}

/// There may be events as long as this, so the limit cannot become less.
#[test]
fn metadata_and_data_may_have_16_mib_less_64_kib() {
    assert_eq!(PAYLOAD_LEN_BYTES_MAX, 16_711_680);
}

#[test]
fn a_created_time_of_the_servers_own_precision_takes_the_short_form() {
    let (stream, event) = small();
    let len = |created| encoded(&stream, 0, &event, created).len();
    let at = |seconds, decimals| Timestamp::new(seconds, 123_456_000, decimals).unwrap();
    let now = CREATED_BASE_S + 50_000_000;
    assert!(len(at(now, 6)) < len(at(now, 9)));
    assert!(len(at(now, 6)) < len(at(CREATED_BASE_S - 1, 6)));
}

#[test]
fn a_record_in_the_wrong_place_is_found() {
    let (stream, event) = small();
    let bytes = encoded(&stream, 0, &event, Timestamp::from_micros(0));
    let wrong = Err(FormatError::Checksum("a record's header"));
    assert_eq!(decode(&bytes, Position(8), &salt()), wrong);
    assert_eq!(decode(&bytes, Position(7), &Salt::new([8; 16])), wrong);
}

#[test]
fn a_record_cut_anywhere_is_found() {
    let (stream, event) = small();
    let bytes = encoded(&stream, 0, &event, Timestamp::from_micros(0));
    for len in 0..bytes.len() {
        let cut = decode(&bytes.slice(..len), Position(7), &salt());
        assert!(matches!(cut, Err(FormatError::Truncated(_))), "{len}");
    }
}

#[test]
fn a_typical_event_has_at_most_38_bytes_beside_its_texts() {
    let stream = StreamName::new("order-0000001").unwrap();
    let event = NewEvent::json(EventType::new("OrderPlaced").unwrap(), vec![b'x'; 256]);
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    let bytes = encoded(&stream, 9_999, &event, now);
    let texts = stream.len() + event.event_type.len() + event.data.len();
    assert!(bytes.len() - texts <= 38, "{}", bytes.len() - texts);
}

#[test]
#[cfg_attr(miri, ignore = "the checksums of 4 MiB take it too long")]
fn the_longest_header_is_as_long_as_its_limit() {
    let longest = |len: usize| "x".repeat(len);
    // Of a length that takes as many bytes as the longest.
    let long = || Bytes::from(vec![b'x'; 1 << 21]);
    let event = NewEvent {
        content_type: ContentType::new(longest(MediaType::LEN_BYTES_MAX)).unwrap(),
        tags: vec![Tag::new(longest(Tag::LEN_BYTES_MAX)).unwrap(); TAGS_MAX],
        metadata: long(),
        ..NewEvent::json(
            EventType::new(longest(EventType::LEN_BYTES_MAX)).unwrap(),
            long(),
        )
    };
    let stream = StreamName::new(longest(StreamName::LEN_BYTES_MAX)).unwrap();
    let created = Timestamp::new(Timestamp::SECONDS_MAX, 999_999_999, 9).unwrap();
    let bytes = encoded(&stream, u64::MAX, &event, created);
    assert!(decode(&bytes, Position(7), &salt()).is_ok());
    let header_len = Layout::parse(&bytes).unwrap().header_len;
    assert_eq!(header_len, HEADER_LEN_BYTES_MAX);
}
