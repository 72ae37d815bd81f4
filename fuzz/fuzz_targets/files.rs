//! Bytes that claim to be one of the small files of a store, a header, a footer, a table's fixed
//! part or a packed list never make a decoder panic, and what is taken is written back the same.
#![no_main]

use annal::format::checksum::Salt;
use annal::format::floor::Floor;
use annal::format::footer::{Footer, OffsetPage};
use annal::format::manifest::ManifestData;
use annal::format::names::FileName;
use annal::format::pack::Packed;
use annal::format::rewrite::{RemovedKeys, RewrittenTrailer};
use annal::format::segment::SegmentHeader;
use annal::format::state;
use annal::format::store::Identity;
use annal::format::table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (count, bytes) = input;
    if let Ok(identity) = Identity::decode(bytes) {
        assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
    }
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
    if let Ok(manifest) = ManifestData::decode(bytes) {
        assert_eq!(ManifestData::decode(&manifest.encode()), Ok(manifest));
    }
    if let Ok(requests) = state::decode(bytes, count.into(), |_, _, _| ()) {
        let mut writer = state::StateWriter::new(count.into());
        let shown = state::decode(bytes, count.into(), |space, key, value| {
            writer.state(space, key, value);
        });
        assert_eq!(shown.as_ref(), Ok(&requests));
        assert_eq!(writer.finish(&requests), bytes);
    }
    if let Ok(trailer) = RewrittenTrailer::decode(bytes, count.into()) {
        assert_eq!(trailer.places().take(256).count(), usize::from(count));
        let mut written = Vec::new();
        trailer.encode(&mut written);
        assert_eq!(RewrittenTrailer::decode(&written, count.into()), Ok(trailer));
    }
    if let Ok(keys) = RemovedKeys::decode(bytes) {
        for (_, keys) in keys.range(0, u32::MAX).take(256) {
            let _ = keys.take(256).count();
        }
    }
    let _ = Floor::decode(bytes);
    let _ = Footer::decode(bytes);
    let _ = table::Footer::decode(bytes);
    let _ = table::children(bytes);
    let _ = table::sorted::SortedPage::parse(bytes);
    let salt = Salt::new([7; 16]);
    let _ = OffsetPage::decode(bytes.to_vec().into(), count.into(), 1, 0, &salt);
    if let Ok((packed, taken)) = Packed::parse(bytes, usize::from(count).min(128)) {
        assert!(taken <= bytes.len());
        for index in 0..=packed.len() {
            let _ = packed.value(index);
        }
    }
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(FileName::parse) {
        assert_eq!(name.to_string().as_bytes(), bytes);
    }
});
