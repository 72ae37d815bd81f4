//! What the manifest promises: either copy is enough, and what is newer is refused.

use super::*;
use crate::format::footer::{CreatedRange, Mark};
use crate::format::unit::Place;
use proptest::prelude::*;

fn manifest(segments: u32) -> ManifestData {
    let segment = |id| SealedSegment {
        id,
        first_position: Position(u64::from(id) * 10),
        events: 10,
        len_bytes: 9999,
        footer_offset: 8192,
        created: CreatedRange {
            min_us: -1,
            max_us: 5,
        },
        mark: Mark {
            checksum: 1,
            epoch: 2,
            committed_us: 3,
        },
        digest: [7; 32],
        rewrite: id.is_multiple_of(2).then_some(Rewrite {
            number: id + 1,
            keys_len: 9,
            keys_checksum: 8,
        }),
    };
    ManifestData {
        generation: 9,
        epoch: 4,
        next_segment: segments + 2,
        next_table: 6,
        indexed_to: Position(3),
        sealed: (0..segments).map(segment).collect(),
        unsealed: vec![segments, segments + 1],
        checkpoint: Some(CheckpointEntry {
            number: 2,
            len_bytes: 77,
            place: Place {
                segment: segments,
                offset: 5000,
            },
            position: Position(12),
        }),
        tables: vec![TableEntry {
            id: 5,
            level: 1,
            first: Position(0),
            end: Position(3),
            len_bytes: 1 << 40,
            digest: [8; 32],
        }],
        state: (segments > 0).then_some(StateEntry {
            since: 1,
            number: 2,
            len_bytes: 3,
            place: Place {
                segment: 4,
                offset: 5,
            },
            position: Position(6),
            mark: Mark::START,
        }),
        extensions: vec![Extension {
            kind: 3,
            bytes: b"later".to_vec(),
        }],
    }
}

#[test]
fn a_manifest_survives_the_loss_of_either_copy() {
    for segments in [0, 3, 100] {
        let manifest = manifest(segments);
        let bytes = manifest.encode();
        assert_eq!(ManifestData::decode(&bytes), Ok(manifest.clone()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(
                ManifestData::decode(&damaged).as_ref(),
                Ok(&manifest),
                "{at}"
            );
        }
        let mut damaged = bytes.clone();
        damaged[20] ^= 1;
        damaged[bytes.len() / 2 + 20] ^= 1;
        assert!(ManifestData::decode(&damaged).is_err());
    }
}

#[test]
fn a_mandatory_extension_that_is_unknown_is_refused() {
    let mut newer = manifest(1);
    newer.extensions[0].kind = EXTENSION_REWRITES + 1;
    assert_eq!(
        ManifestData::decode(&newer.encode()),
        Err(FormatError::Newer(WHAT))
    );
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    type Change = fn(&mut ManifestData);
    let contradictions: [Change; 12] = [
        |manifest| manifest.unsealed.clear(),
        |manifest| manifest.unsealed = vec![3, 4, 5, 6],
        |manifest| manifest.unsealed = vec![4, 3],
        |manifest| manifest.unsealed = vec![3, 3],
        |manifest| manifest.unsealed = vec![2, 3],
        |manifest| manifest.sealed[1].first_position = Position(11),
        |manifest| manifest.sealed[1].events = 9,
        |manifest| manifest.sealed[1].id = 0,
        |manifest| manifest.sealed[2].id = 1,
        |manifest| manifest.next_segment = 4,
        |manifest| manifest.next_table = 5,
        |manifest| manifest.sealed.swap(0, 1),
    ];
    let sound = || ManifestData {
        next_segment: 7,
        state: None,
        ..manifest(3)
    };
    assert!(ManifestData::decode(&sound().encode()).is_ok());
    for (number, change) in contradictions.into_iter().enumerate() {
        let mut manifest = sound();
        for sealed in &mut manifest.sealed {
            sealed.rewrite = None;
        }
        assert!(ManifestData::decode(&manifest.encode()).is_ok());
        change(&mut manifest);
        let decoded = ManifestData::decode(&manifest.encode());
        assert_eq!(decoded, Err(FormatError::Invalid(WHAT)), "{number}");
    }
    // At the edges it is sound.
    let edge = ManifestData {
        next_segment: 6,
        unsealed: vec![3, 4, 5],
        ..sound()
    };
    assert!(ManifestData::decode(&edge.encode()).is_ok());
    // A segment without events, which is none of a kind, has an id of its own all the same.
    let mut empty = sound();
    empty.sealed[1].events = 0;
    empty.sealed[2].first_position = Position(10);
    assert!(ManifestData::decode(&empty.encode()).is_ok());
}

#[test]
fn one_state_file_is_named_and_no_two() {
    let mut manifest = manifest(3);
    manifest.extensions.push(Extension {
        kind: EXTENSION_STATE,
        bytes: manifest.state.unwrap().bytes().to_vec(),
    });
    let decoded = ManifestData::decode(&manifest.encode());
    assert_eq!(decoded, Err(FormatError::Newer(WHAT)));
}

#[test]
fn the_sealed_segments_end_where_the_last_of_them_does() {
    assert_eq!(manifest(3).sealed_end(), Position(30));
    assert_eq!(manifest(0).sealed_end(), Position::START);
}

#[test]
fn the_tables_of_the_document_have_the_lengths_that_are_written() {
    let sealed = manifest(1).encode().len() - manifest(0).encode().len();
    assert!(sealed.is_multiple_of(COPY_ALIGN_BYTES));
    let mut out = Vec::new();
    manifest(1).sealed[0].put(&mut out);
    assert_eq!(out.len(), SEALED_FIELDS[10].end());
    out.clear();
    manifest(1).checkpoint.unwrap().put(&mut out);
    assert_eq!(out.len(), CHECKPOINT_FIELDS[4].end());
    out.clear();
    manifest(1).tables[0].put(&mut out);
    assert_eq!(out.len(), TABLE_FIELDS[5].end());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300), enclosed: bool,
    ) {
        if enclosed {
            let len = short(bytes.len() + envelope::VERSION.end());
            if let Some(length) = bytes.first_chunk_mut() {
                *length = len.to_le_bytes();
            }
            bytes = envelope::enclose(MAGIC, VERSION, &bytes).repeat(2);
        }
        let _outcome = ManifestData::decode(&bytes);
    }
}

#[test]
fn a_rewriting_has_a_number_and_its_keys_lie_within_the_segment() {
    for (number, keys_len, fits) in [
        (1, 8192, true),
        (0, 9, false),
        (1, 8193, false),
        (0, 8193, false),
    ] {
        let mut manifest = manifest(1);
        manifest.sealed[0].rewrite = Some(Rewrite {
            number,
            keys_len,
            keys_checksum: 8,
        });
        let decoded = ManifestData::decode(&manifest.encode());
        assert_eq!(decoded.is_ok(), fits, "{number} {keys_len}");
    }
}
