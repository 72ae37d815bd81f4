//! The worked examples of the document, as the code writes and reads them.

use annal::format::checksum::{ChecksumList, Salt};
use annal::format::floor::Floor;
use annal::format::footer::{Footer, Mark};
use annal::format::manifest::ManifestData;
use annal::format::record::{self, Layout, Record, payload_checksum};
use annal::format::segment::{SegmentHeader, SegmentKind};
use annal::format::state::StateWriter;
use annal::format::store::Identity;
use annal::format::unit::{
    self, AppendEntry, Place, RequestEntry, StateRecord, Trailer, UnitHeader,
};
use annal::model::{
    ContentType, Lineage, NewEvent, Position, Revision, StoreId, StreamName, Tag, Timestamp,
};
use bytes::Bytes;
use uuid::Uuid;

use super::render::Dump;

const POSITION: Position = Position(7);
const UNIT_ALIGN: usize = 8;

fn salt(first: u8) -> Salt {
    Salt::new(std::array::from_fn(|index| {
        first + u8::try_from(index).unwrap()
    }))
}

fn event() -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(0x0190_a5b2_7c1e_7d3f_8a4b_5c6d_7e8f_9a0b),
        event_type: "OrderPlaced".try_into().unwrap(),
        content_type: ContentType::Json,
        data: Bytes::from_static(br#"{"total":12}"#),
        metadata: Bytes::from_static(br#"{"by":"ann"}"#),
        tags: vec![Tag::new("vip").unwrap()],
        created: None,
    }
}

fn encode_record(out: &mut Vec<u8>) -> u32 {
    let event = event();
    let record = Record {
        stream: &StreamName::new("order-42").unwrap(),
        revision: Revision(3),
        event: &event,
        created: Timestamp::from_micros(1_767_225_600_000_000),
        payload_checksum: payload_checksum(&event),
    };
    record::encode(&record, POSITION, &salt(0), out)
}

/// The example of a record.
pub(crate) fn record() -> Dump {
    let mut bytes = Vec::new();
    encode_record(&mut bytes);
    let mut dump = Dump::new(bytes);
    dump.fields(&record::FIELDS);
    dump.part(1, "revision 3");
    dump.part(7, "created: 31,536,000,000,000 microseconds");
    dump.part(1, "length of the stream's name: 8");
    dump.part(1, "length of the event type: 11");
    dump.part(1, "length of the metadata: 12");
    dump.part(1, "length of the data: 12");
    dump.part(8, "order-42");
    dump.part(11, "OrderPlaced");
    dump.part(1, "one tag");
    dump.part(4, "3, vip");
    dump.part(12, r#"metadata: {"by":"ann"}"#);
    dump.part(12, r#"data: {"total":12}"#);
    dump
}

fn trailer() -> Trailer {
    Trailer {
        appends: vec![AppendEntry {
            records: 1,
            request: Some(RequestEntry {
                principal: "ann".into(),
                id: Uuid::from_u128(0x0190_a5b2_7c1e_7d3f_8a4b_5c6d_7e8f_9a0c),
                content: 0x1122_3344_5566_7788,
            }),
        }],
        states: vec![StateRecord {
            space: 1,
            key: b"k".as_slice().into(),
            value: Some(b"v".as_slice().into()),
        }],
    }
}

fn unit_header(records_len: usize, trailer_len: usize, body_checksum: u32) -> UnitHeader {
    UnitHeader {
        place: Place {
            segment: 1,
            offset: 4096,
        },
        first_position: POSITION,
        committed_us: 1_767_225_600_000_001,
        epoch: 2,
        previous: 0x0403_0201,
        records: 1,
        records_len: records_len.try_into().unwrap(),
        trailer_len: trailer_len.try_into().unwrap(),
        body_checksum,
    }
}

/// The example of a unit.
pub(crate) fn unit() -> Dump {
    let mut body = Vec::new();
    let mut sums = ChecksumList::default();
    sums.push(encode_record(&mut body));
    let records_len = body.len();
    sums.push(trailer().encode(&mut body));
    let trailer_len = body.len() - records_len;
    let header = unit_header(records_len, trailer_len, sums.finish());
    let mut bytes = header.encode(&salt(16)).0.to_vec();
    bytes.append(&mut body);
    let unpadded_len = bytes.len();
    bytes.resize(unpadded_len.next_multiple_of(UNIT_ALIGN), 0);
    let padding_len = bytes.len() - unpadded_len;
    let mut dump = Dump::new(bytes);
    dump.fields(&unit::FIELDS);
    dump.part(records_len, "the record above");
    dump.part(1, "one append");
    dump.part(1, "of one record, with a request");
    dump.part(4, "3, ann");
    dump.part(16, "request id");
    dump.part(8, "digest of what was asked");
    dump.part(1, "one state record");
    dump.part(1, "space 1");
    dump.part(2, "1, k");
    dump.part(2, "1 + 1, v");
    dump.part(padding_len, "padding");
    dump
}

/// Both examples come back as they went in.
pub(crate) fn check() {
    let bytes = Bytes::from(record().bytes);
    let layout = Layout::parse(&bytes).unwrap();
    layout.check_header(&bytes, POSITION, &salt(0)).unwrap();
    layout.check_payload(&bytes).unwrap();
    assert_eq!(layout.record_len(), bytes.len());
    let read = layout.event(&bytes, POSITION).unwrap();
    let written = event();
    assert_eq!((&*read.stream, read.revision), ("order-42", Revision(3)));
    assert_eq!((read.id, read.tags), (written.id, written.tags));
    assert_eq!((read.metadata, read.data), (written.metadata, written.data));
    assert_eq!(read.created.to_string(), "2026-01-01T00:00:00.000000Z");

    let bytes = unit().bytes;
    let (header, _) = UnitHeader::decode(&bytes, &salt(16)).unwrap();
    let records_len = usize::try_from(header.records_len).unwrap();
    let trailer_len = usize::try_from(header.trailer_len).unwrap();
    let body = &bytes[unit::HEADER_LEN..];
    assert_eq!(body[..records_len], record().bytes);
    let read = Trailer::decode(&body[records_len..records_len + trailer_len]);
    assert_eq!(read, Ok(trailer()));
}

/// Every structure with an envelope, from its first byte.
pub(crate) fn envelopes() -> [(&'static str, Vec<u8>); 7] {
    let store = StoreId(Uuid::nil());
    let identity = Identity {
        store,
        lineage: Lineage(Uuid::nil()),
        record_salt: salt(0),
        unit_salt: salt(16),
        unit_align: 8,
        created_us: 0,
    };
    let segment = SegmentHeader {
        store,
        segment: 0,
        kind: SegmentKind::Written { capacity: 0 },
    };
    let rewritten = SegmentHeader {
        kind: SegmentKind::Rewritten { number: 1 },
        ..segment
    };
    let floor = Floor {
        number: 0,
        generation: 0,
        position: POSITION,
        end: Place {
            segment: 0,
            offset: 0,
        },
        epoch: 0,
        clean: false,
    };
    let footer = Footer {
        segment: 0,
        first_position: POSITION,
        events: 0,
        end_offset: 0,
        mark: Mark::START,
        chain: [0; 32],
        pages: Vec::new(),
        created: Vec::new(),
        blocks: Vec::new(),
        leaves: Vec::new(),
    };
    let mut footer_bytes = Vec::new();
    footer.encode(&mut footer_bytes);
    [
        ("identity", identity.encode()),
        ("segment header", segment.encode()),
        ("segment header, rewritten", rewritten.encode()),
        ("footer, fixed part", footer_bytes),
        ("floor slot", floor.encode().1),
        ("manifest", ManifestData::default().encode()),
        ("state file", StateWriter::new(0).finish(&[])),
    ]
}
