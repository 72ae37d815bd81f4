//! Bytes that claim to be one of the files of a store, a header or a footer never make a decoder
//! panic, and what is taken is written back the same.
//!
//! An input is: which structure, a count from outside, the bytes. Each is judged as it is and with
//! the checksum that it ought to have: damage has none, but the checksum is no secret.

use annal::format::checksum::{Salt, checksum};
use annal::format::floor::Floor;
use annal::format::footer::{FIXED_LEN_BYTES, Footer, LISTS_CHECKSUM, OffsetPage, encode_page};
use annal::format::manifest::{LENGTH, ManifestData};
use annal::format::names::FileName;
use annal::format::rewrite::{RemovedKeys, RewrittenTrailer};
use annal::format::segment::SegmentHeader;
use annal::format::state;
use annal::format::store::Identity;

use crate::golden;
use crate::input::Input;

/// Judges bytes, given a count.
type Judge = fn(&[u8], u8);
/// Gives bytes the checksum that they ought to have.
type Seal = fn(&mut [u8]);

/// Which structures there are, by the first byte of an input.
const KINDS: &[(Judge, Seal)] = &[
    (identity, enveloped::<104>),
    (segment, enveloped::<36>),
    (manifest, seal_manifest),
    (states, enveloped::<{ usize::MAX }>),
    (floor, enveloped::<52>),
    (footer, seal_footer),
    (offsets, |_| ()),
    (rewritten, |_| ()),
    (removed, |_| ()),
    (name, |_| ()),
];

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let (kind, count) = (input.byte(), input.byte());
    let (judge, seal) = KINDS[usize::from(kind) % KINDS.len()];
    judge(input.0, count);
    let mut sealed = input.0.to_vec();
    seal(&mut sealed);
    judge(&sealed, count);
}

/// Magic number, checksum of the `LEN` bytes behind it, version: see `format/envelope.rs`.
fn enveloped<const LEN: usize>(bytes: &mut [u8]) {
    let len = bytes.len().min(LEN);
    if let Some(summed) = bytes.get(8..len) {
        let sum = checksum(summed).to_le_bytes();
        bytes[4..8].copy_from_slice(&sum);
    }
}

fn seal_manifest(bytes: &mut [u8]) {
    let half = bytes.len() / 2;
    let Some(length) = bytes.get(LENGTH.offset..LENGTH.end()) else {
        return;
    };
    let length = u32::from_le_bytes(length.try_into().unwrap());
    let len = usize::try_from(length).unwrap().min(half);
    enveloped::<{ usize::MAX }>(&mut bytes[..len]);
}

fn seal_footer(bytes: &mut [u8]) {
    let Some(lists_len) = bytes.len().checked_sub(FIXED_LEN_BYTES) else {
        return;
    };
    let (lists, fixed) = bytes.split_at_mut(lists_len);
    let sum = checksum(lists).to_le_bytes();
    fixed[LISTS_CHECKSUM.offset..LISTS_CHECKSUM.end()].copy_from_slice(&sum);
    enveloped::<{ usize::MAX }>(fixed);
}

fn identity(bytes: &[u8], _: u8) {
    if let Ok(identity) = Identity::decode(bytes) {
        assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
    }
}

fn segment(bytes: &[u8], _: u8) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

fn manifest(bytes: &[u8], _: u8) {
    if let Ok(manifest) = ManifestData::decode(bytes) {
        assert!(manifest.sealed_end() >= annal::Position(0));
        for name in manifest.files() {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        assert_eq!(ManifestData::decode(&manifest.encode()), Ok(manifest));
    }
}

fn states(bytes: &[u8], number: u8) {
    if let Ok(requests) = state::decode(bytes, number.into(), |_, _, _| ()) {
        let mut writer = state::StateWriter::new(number.into());
        let shown = state::decode(bytes, number.into(), |space, key, value| {
            writer.state(space, key, value);
        });
        assert_eq!(shown.as_ref(), Ok(&requests));
        let mut written = writer.finish(&requests);
        // The version may be an older one; what it says is the same.
        written[4..12].copy_from_slice(&bytes[4..12]);
        assert_eq!(written, bytes);
    }
}

fn floor(bytes: &[u8], _: u8) {
    if let Ok(floor) = Floor::decode(bytes) {
        let (_, slot) = floor.encode();
        assert_eq!(Floor::decode(&slot), Ok(floor));
    }
}

fn footer(bytes: &[u8], _: u8) {
    let _tail = Footer::tail_len(bytes);
    if let Ok(footer) = Footer::decode(bytes) {
        assert!(footer.end_position() >= footer.first_position);
        let _created = footer.created_range();
        for number in 0..=footer.pages.len() {
            let _page = footer.page(number);
        }
        let mut written = Vec::new();
        footer.encode(&mut written);
        assert_eq!(Footer::decode(&written), Ok(footer));
    }
}

fn offsets(bytes: &[u8], count: u8) {
    let salt = Salt::new([7; 16]);
    let count = usize::from(count) * 17;
    let _unsealed = OffsetPage::decode(bytes.to_vec().into(), count, 1, 0, &salt);
    // The checksum of a page is that of its checksum, its place and the salt.
    let sum = checksum(bytes).to_le_bytes();
    let sum = salt.checksum(&[&1u32.to_le_bytes(), &0u64.to_le_bytes(), &sum]);
    let sealed = [&sum.to_le_bytes()[..], bytes].concat();
    let page = OffsetPage::decode(sealed.into(), count, 1, 0, &salt).unwrap();
    let mut group = Vec::new();
    for index in (0..count + 70).step_by(7) {
        let _offset = page.offset(index);
        let _found = page.unpack_group(index, &mut group);
    }
    assert!(group.len() <= (count / 7 + 11) * 64);
}

fn rewritten(bytes: &[u8], count: u8) {
    if let Ok(trailer) = RewrittenTrailer::decode(bytes, count.into()) {
        assert_eq!(trailer.places().take(256).count(), usize::from(count));
        let mut written = Vec::new();
        trailer.encode(&mut written);
        assert_eq!(
            RewrittenTrailer::decode(&written, count.into()),
            Ok(trailer)
        );
    }
}

fn removed(bytes: &[u8], _: u8) {
    if let Ok(keys) = RemovedKeys::decode(bytes) {
        for (_, keys) in keys.range(0, u32::MAX).take(256) {
            assert!(keys.take(256).count() <= 256);
        }
    }
}

fn name(bytes: &[u8], _: u8) {
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(FileName::parse) {
        assert_eq!(name.to_string().as_bytes(), bytes);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut add = |kind: u8, count: u8, bytes: &[u8]| {
        // Beyond its copies a file holds nothing that these decoders look at.
        let bytes = bytes.get(..16 * 1024).unwrap_or(bytes);
        seeds.push([&[kind, count], bytes].concat());
    };
    for bytes in golden::files_of("store") {
        add(0, 0, &bytes);
    }
    for bytes in golden::files_of("segment") {
        let header = bytes.get(..4096).unwrap_or(&bytes);
        add(1, 0, header);
        // A sealed one ends with its footer.
        let fixed_at = bytes.len().saturating_sub(FIXED_LEN_BYTES);
        if let Ok(len) = Footer::tail_len(&bytes[fixed_at..]) {
            add(5, 0, &bytes[bytes.len() - len..]);
        }
    }
    for bytes in golden::files_of("manifest") {
        add(2, 0, &bytes);
    }
    for bytes in golden::files_of("state") {
        add(3, 2, &bytes);
    }
    for bytes in golden::files_of("floor") {
        add(4, 0, &bytes);
    }
    for bytes in golden::files_of("checkpoint") {
        let fixed_at = bytes.len().saturating_sub(FIXED_LEN_BYTES);
        let len = Footer::tail_len(&bytes[fixed_at..]).unwrap();
        add(5, 0, &bytes[bytes.len() - len..]);
        add(6, 3, &bytes);
    }
    let mut page = Vec::new();
    let places: Vec<u32> = (0..170).map(|at| 4096 + at * 150).collect();
    encode_page(&places, 1, 0, &Salt::new([7; 16]), &mut page);
    add(6, 10, &page[4..]);
    add(7, 2, &[1, 8, 0, 1, 2, 2]);
    add(
        8,
        0,
        &[2, 1, 1, b'a', 3, 2, b'b', b'c', 1, 2, 0, 1, 4, 2, 0],
    );
    for file in golden::files() {
        add(9, 0, file.name.as_bytes());
    }
    seeds
}
