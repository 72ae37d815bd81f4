//! Bytes that claim to come from a client or a server never make a decoder panic, and what is read
//! is written and read again as the same.

use annal::format::checksum::Salt;
use annal::protocol::records::all_events;
use annal::protocol::{Answer, Frame, FrameCodec, Request};
use bytes::BytesMut;
use tokio_util::codec::Decoder;

use crate::golden;

pub fn run(input: &[u8]) {
    let mut bytes = BytesMut::from(input);
    while let Ok(Some(frame)) = FrameCodec.decode(&mut bytes) {
        judge(&frame);
        // The bytes of a frame are not looked at by its kind alone.
        for kind in [Request::APPEND, Answer::RECORDS] {
            judge(&Frame {
                kind,
                ..frame.clone()
            });
        }
    }
}

fn judge(frame: &Frame) {
    let Frame {
        kind,
        correlation,
        body,
    } = frame.clone();
    if let Ok(request) = Request::decode(kind, body.clone()) {
        let again = written(|out| request.put(correlation, out));
        let again = Request::decode(again.kind, again.body).unwrap();
        assert_eq!(format!("{again:?}"), format!("{request:?}"));
    }
    match Answer::decode(kind, body) {
        Ok(Answer::Records(runs)) => {
            let _events = all_events(&runs, &Salt::new([7; 16]));
        }
        Ok(answer) => {
            let again = written(|out| answer.put(correlation, out));
            let again = Answer::decode(again.kind, again.body).unwrap();
            assert_eq!(format!("{again:?}"), format!("{answer:?}"));
        }
        Err(_) => {}
    }
}

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let mut out = Vec::new();
    put(&mut out);
    let frame = FrameCodec.decode(&mut BytesMut::from(&out[..]));
    frame.unwrap().unwrap()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frames = golden::frames().into_iter().map(|(_, frame)| frame);
    let mut seeds: Vec<_> = frames.collect();
    seeds.push(seeds.concat());
    seeds
}
