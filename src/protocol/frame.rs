//! Frames: what stands in front of every message, and how a stream of bytes is cut into them.
//!
//! What always holds: a length is judged before anything is allocated for it, and memory grows with
//! the bytes that arrived, not with the bytes that were announced.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::Decoder;

use crate::format::Field;

/// How many bytes of the frame stand behind this field, as a `u32`.
pub const LENGTH: Field = Field::first("length of everything behind this field", 4);
/// Which message it is.
pub const KIND: Field = LENGTH.then("kind", 1);
/// Which request it belongs to, as a `u64`; 0 for what belongs to none.
pub const CORRELATION: Field = KIND.then("correlation id", 8);
/// What every frame begins with.
pub const FIELDS: [Field; 3] = [LENGTH, KIND, CORRELATION];
/// The length of what every frame begins with, in bytes.
pub const HEADER_LEN_BYTES: usize = CORRELATION.end();
/// The largest value of [`LENGTH`].
pub const FRAME_LEN_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;

/// The correlation id of messages that belong to the connection and to no request.
pub const NO_REQUEST: u64 = 0;

const BEHIND_LENGTH_MIN: usize = HEADER_LEN_BYTES - LENGTH.len;
const READ_AHEAD_LEN_BYTES: usize = 64 * 1024;
/// Room for so many times the bytes of a frame that have arrived is made for its rest.
const GROWTH: usize = 8;
const FIRST_READ_LEN_BYTES: usize = 4 * 1024;

/// One message, its body not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which message it is.
    pub kind: u8,
    /// Which request it belongs to.
    pub correlation: u64,
    /// The message itself, sharing the bytes that were read.
    pub body: Bytes,
}

/// Why bytes cannot be cut into frames. The connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is impossible.
    #[error("a frame says it has {0} bytes, not {BEHIND_LENGTH_MIN} to {FRAME_LEN_BYTES_MAX}")]
    Length(u32),
    /// The system refused; only the codec's user can see it.
    #[error("the connection failed: {0}")]
    Io(std::io::ErrorKind),
}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// Cuts bytes into frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

impl FrameCodec {
    /// How many bytes the frame at the start of `bytes` has, its length field included; none while
    /// the length has not arrived.
    ///
    /// # Errors
    /// [`FrameError::Length`] if no frame has that length.
    pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(length) = bytes.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        match usize::try_from(length) {
            Ok(len) if (BEHIND_LENGTH_MIN..=FRAME_LEN_BYTES_MAX).contains(&len) => {
                Ok(Some(LENGTH.len + len))
            }
            _ => Err(FrameError::Length(length)),
        }
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let frame_len = Self::frame_len(bytes)?.unwrap_or(HEADER_LEN_BYTES);
        if bytes.len() < frame_len {
            // Some times what is here, so that an announcement alone costs nothing, and a usual
            // frame is moved only once while it grows.
            let missing = frame_len - bytes.len();
            let earned = bytes.len().saturating_mul(GROWTH);
            bytes.reserve(missing.min(earned.max(READ_AHEAD_LEN_BYTES)));
            return Ok(None);
        }
        let mut frame = bytes.split_to(frame_len);
        frame.advance(LENGTH.len);
        let kind = frame.get_u8();
        let correlation = frame.get_u64_le();
        Ok(Some(Frame {
            kind,
            correlation,
            body: frame.freeze(),
        }))
    }
}

/// Makes room to read into: little at first, so that connections that rest are small, and much once
/// a read has filled what there was.
pub fn make_room(bytes: &mut BytesMut, filled: bool) {
    let room = if filled {
        READ_AHEAD_LEN_BYTES
    } else {
        FIRST_READ_LEN_BYTES
    };
    if bytes.capacity() - bytes.len() < room / 2 {
        bytes.reserve(room);
    }
}

/// Appends a frame whose body `body` appends.
pub fn put_frame(out: &mut Vec<u8>, kind: u8, correlation: u64, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame_with_tail(out, kind, correlation, 0, body);
}

/// The same for a frame of whose body only the front goes to `out`: `tail_len` bytes follow on
/// another way.
pub fn put_frame_with_tail(
    out: &mut Vec<u8>,
    kind: u8,
    correlation: u64,
    tail_len: usize,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH.len]);
    out.push(kind);
    out.extend_from_slice(&correlation.to_le_bytes());
    body(out);
    let len = out.len() + tail_len - start - LENGTH.len;
    // Bodies are limited where they are made; a longer one would be refused by its reader.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + LENGTH.len) {
        place.copy_from_slice(&len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(mut bytes: BytesMut) -> Vec<Frame> {
        std::iter::from_fn(|| FrameCodec.decode(&mut bytes).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn frames_come_back_however_the_bytes_are_dribbled(
            bodies in proptest::collection::vec(
                (any::<u8>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
            step in 1usize..50,
        ) {
            let mut out = Vec::new();
            for (kind, correlation, body) in &bodies {
                put_frame(&mut out, *kind, *correlation, |out| out.extend_from_slice(body));
            }
            let mut bytes = BytesMut::new();
            let mut frames = Vec::new();
            for part in out.chunks(step) {
                bytes.extend_from_slice(part);
                while let Some(frame) = FrameCodec.decode(&mut bytes).unwrap() {
                    frames.push((frame.kind, frame.correlation, frame.body.to_vec()));
                }
            }
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(frames, bodies);
        }
    }

    #[test]
    fn an_impossible_length_is_refused_before_anything_is_allocated() {
        let limit = u32::try_from(FRAME_LEN_BYTES_MAX).unwrap();
        for length in [0, 8, limit + 1, u32::MAX] {
            let mut bytes = BytesMut::from(&length.to_le_bytes()[..]);
            let before = bytes.capacity();
            assert_eq!(
                FrameCodec.decode(&mut bytes),
                Err(FrameError::Length(length))
            );
            assert_eq!(bytes.capacity(), before);
        }
        for length in [9, limit] {
            let mut bytes = BytesMut::from(&length.to_le_bytes()[..]);
            assert_eq!(FrameCodec.decode(&mut bytes), Ok(None));
            assert!(
                bytes.capacity() <= 2 * READ_AHEAD_LEN_BYTES,
                "memory follows what arrives"
            );
        }
    }

    #[test]
    fn what_follows_a_frame_stays() {
        let mut out = Vec::new();
        put_frame(&mut out, 1, 2, |out| out.push(3));
        put_frame(&mut out, 4, 5, |_| ());
        let frames = all(BytesMut::from(&out[..]));
        assert_eq!(frames.len(), 2);
        assert_eq!(
            frames[1],
            Frame {
                kind: 4,
                correlation: 5,
                body: Bytes::new()
            }
        );
    }
}
