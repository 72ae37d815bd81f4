//! Bytes that claim to be a record never make the decoder panic or read beyond them.
#![no_main]

use annal::format::checksum::Salt;
use annal::format::record::{Layout, decode};
use annal::model::Position;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    let salt = Salt::new([7; 16]);
    if let Ok((_, len)) = decode(&bytes, Position(0), &salt) {
        assert!(len <= input.len());
    }
    // Few inputs guess a checksum, so what stands behind one is asked without it as well.
    if let Ok(layout) = Layout::parse(&bytes) {
        let _ = layout.stream(&bytes);
        let _ = layout.event_type(&bytes);
        let _ = layout.check_payload(&bytes);
        let _ = layout.event(&bytes, Position(0));
    }
});
