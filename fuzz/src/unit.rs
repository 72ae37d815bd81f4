//! Bytes that claim to be a unit's header or trailer never make the decoder panic, and what is
//! taken is written back the same.

use annal::format::checksum::Salt;
use annal::format::unit::{
    AppendEntry, HEADER_CHECKSUM, HEADER_LEN, Place, RequestEntry, StateRecord, Trailer, UnitHeader,
};
use annal::model::Position;
use uuid::Uuid;

pub fn run(input: &[u8]) {
    let salt = Salt::new([7; 16]);
    let mut header = input.to_vec();
    let _unsealed = UnitHeader::decode(&header, &salt);
    if let Some(summed) = header.get(HEADER_CHECKSUM.end()..HEADER_LEN) {
        let sum = salt.checksum(&[summed]).to_le_bytes();
        header[HEADER_CHECKSUM.offset..HEADER_CHECKSUM.end()].copy_from_slice(&sum);
        if let Ok((unit, sum)) = UnitHeader::decode(&header, &salt) {
            assert_eq!(unit.encode(&salt), (*header.first_chunk().unwrap(), sum));
            assert!(unit.end_position() >= unit.first_position);
        }
    }
    if let Ok(trailer) = Trailer::decode(input) {
        let mut written = Vec::new();
        trailer.encode(&mut written);
        assert_eq!(Trailer::decode(&written).as_ref(), Ok(&trailer));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let header = UnitHeader {
        place: Place {
            segment: 3,
            offset: 4096,
        },
        first_position: Position(77),
        committed_us: -5,
        epoch: 2,
        previous: 0xdead_beef,
        records: 4,
        records_len: 1000,
        trailer_len: 10,
        body_checksum: 1,
    };
    let request = RequestEntry {
        principal: "ann".into(),
        id: Uuid::from_u128(9),
        content: 8,
    };
    let trailer = Trailer {
        appends: vec![
            AppendEntry {
                records: 1,
                request: None,
            },
            AppendEntry {
                records: 3,
                request: Some(request),
            },
        ],
        states: vec![
            StateRecord {
                space: 1,
                key: b"ann"[..].into(),
                value: Some(b"{}"[..].into()),
            },
            StateRecord {
                space: 2,
                key: b"gone"[..].into(),
                value: None,
            },
        ],
    };
    let mut written = Vec::new();
    trailer.encode(&mut written);
    vec![header.encode(&Salt::new([7; 16])).0.to_vec(), written]
}
