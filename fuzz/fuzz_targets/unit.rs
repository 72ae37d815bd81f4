//! Bytes that claim to be a unit's header or trailer never make the decoder panic, and a trailer
//! that is taken is written back the same.
#![no_main]

use annal::format::checksum::Salt;
use annal::format::unit::{Trailer, UnitHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = UnitHeader::decode(input, &Salt::new([7; 16]));
    if let Ok(trailer) = Trailer::decode(input) {
        let mut written = Vec::new();
        trailer.encode(&mut written);
        assert_eq!(Trailer::decode(&written).as_ref(), Ok(&trailer));
    }
});
