//! Bytes that claim to come from a client or a server never make a decoder panic, and what is read
//! is written and read again as the same.
#![no_main]

use annal::format::checksum::Salt;
use annal::protocol::records::all_events;
use annal::protocol::{Answer, FrameCodec, Request};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fuzz_target!(|input: &[u8]| {
    let mut bytes = BytesMut::from(input);
    while let Ok(Some(frame)) = FrameCodec.decode(&mut bytes) {
        if let Ok(request) = Request::decode(frame.kind, frame.body.clone()) {
            let mut out = Vec::new();
            request.put(frame.correlation, &mut out);
            let again = FrameCodec.decode(&mut BytesMut::from(&out[..]));
            let again = again.unwrap().unwrap();
            let again = Request::decode(again.kind, again.body).unwrap();
            assert_eq!(format!("{again:?}"), format!("{request:?}"));
        }
        if let Ok(Answer::Records(runs)) = Answer::decode(frame.kind, frame.body) {
            let _ = all_events(&runs, &Salt::new([7; 16]));
        }
    }
});
