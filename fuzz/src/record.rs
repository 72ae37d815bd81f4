//! Bytes that claim to be a record never make the decoder panic or read beyond them; what it takes
//! is written back the same.

use annal::format::checksum::{Salt, checksum};
use annal::format::record::payload_checksum;
use annal::format::record::{HEADER_CHECKSUM, Layout, PAYLOAD_CHECKSUM, Record, decode, encode};
use annal::model::{
    ContentType, EventType, NewEvent, Position, RecordedEvent, Revision, StreamName, Tag, Timestamp,
};
use bytes::Bytes;

const PLACE: Position = Position(7);

pub fn run(input: &[u8]) {
    judge(input);
    // Few inputs guess a checksum, so they are asked with the right ones as well.
    if let Some(sealed) = sealed(input) {
        judge(&sealed);
    }
}

fn judge(input: &[u8]) {
    let salt = Salt::new([7; 16]);
    let bytes = Bytes::copy_from_slice(input);
    if let Ok((event, len)) = decode(&bytes, PLACE, &salt) {
        assert!(len <= input.len());
        let again = written(&event, &salt);
        let (back, _) = decode(&again.into(), PLACE, &salt).unwrap();
        assert_eq!(back, event);
    }
    if let Ok(layout) = Layout::parse(&bytes) {
        let _parts = (
            layout.stream(&bytes),
            layout.event_type(&bytes),
            layout.metadata(&bytes),
        );
        let _tags = layout.tags(&bytes).count();
        let _checked = layout.check_payload(&bytes);
        let _event = layout.event(&bytes, PLACE);
    }
}

/// The same record with the checksums that it ought to have.
fn sealed(input: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = input.to_vec();
    let layout = Layout::parse(&bytes).ok()?;
    let whole = bytes.get(..layout.record_len())?;
    let payload_len = whole.len() - header_len(&layout, whole);
    let payload = checksum(&whole[whole.len() - payload_len..]);
    bytes[PAYLOAD_CHECKSUM.offset..PAYLOAD_CHECKSUM.end()].copy_from_slice(&payload.to_le_bytes());
    let header = bytes.get(PAYLOAD_CHECKSUM.offset..layout.record_len() - payload_len)?;
    let sum = Salt::new([7; 16]).checksum(&[&PLACE.0.to_le_bytes(), header]);
    bytes[..HEADER_CHECKSUM.end()].copy_from_slice(&sum.to_le_bytes());
    Some(bytes)
}

/// The metadata is where the payload begins.
fn header_len(layout: &Layout, record: &[u8]) -> usize {
    layout.metadata(record).as_ptr().addr() - record.as_ptr().addr()
}

fn written(event: &RecordedEvent, salt: &Salt) -> Vec<u8> {
    let new = NewEvent {
        id: event.id,
        event_type: event.event_type.clone(),
        content_type: event.content_type.clone(),
        data: event.data.clone(),
        metadata: event.metadata.clone(),
        tags: event.tags.clone(),
        created: None,
    };
    let record = Record {
        stream: &event.stream,
        revision: event.revision,
        event: &new,
        created: event.created,
        payload_checksum: payload_checksum(&new),
    };
    let mut out = Vec::new();
    encode(&record, PLACE, salt, &mut out);
    out
}

pub fn seeds() -> Vec<Vec<u8>> {
    let types = [
        ContentType::Json,
        ContentType::Binary,
        ContentType::from_bytes(Bytes::from_static(b"text/plain")).unwrap(),
    ];
    let times = [
        Timestamp::from_micros(1_800_000_000_000_000),
        Timestamp::new(-5, 120_000_000, 2).unwrap(),
        Timestamp::new(0, 0, 0).unwrap(),
    ];
    let mut seeds = Vec::new();
    for (content_type, created) in types.into_iter().zip(times) {
        for (tags, metadata) in [(0, ""), (2, "{\"$correlationId\":\"c\"}")] {
            let tags = (0..tags).map(|tag| Tag::new(format!("customer:{tag}")).unwrap());
            let event = RecordedEvent {
                position: PLACE,
                stream: StreamName::new("order-1").unwrap(),
                revision: Revision(300),
                id: uuid::Uuid::from_u128(5),
                event_type: EventType::new("Placed").unwrap(),
                content_type: content_type.clone(),
                created,
                tags: tags.collect(),
                metadata: Bytes::from_static(metadata.as_bytes()),
                data: Bytes::from_static(b"{\"total\":7}"),
            };
            seeds.push(written(&event, &Salt::new([7; 16])));
        }
    }
    seeds
}
