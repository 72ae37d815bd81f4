//! What is to be sent on one connection: many put frames in, one takes everything out at once.
//!
//! Small frames are written one behind the other into one buffer; large bodies keep their own bytes
//! and are not copied. Whoever empties the outbox can so write all of it with one call.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bodies from this size on are not copied into the buffer, in bytes.
const SHARED_LEN_BYTES_MIN: usize = 4 * 1024;
/// The buffer begins with room for a usual answer.
const BUFFER_LEN_BYTES_MIN: usize = 256;

/// Bytes in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: VecDeque<Bytes>,
    buffer: Vec<u8>,
    len_bytes: usize,
}

impl Outbox {
    /// How many bytes are waiting.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Adds what a function appends: one or more whole frames, or the front of one.
    pub fn put(&mut self, frames: impl FnOnce(&mut Vec<u8>)) {
        let before = self.buffer.len();
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(BUFFER_LEN_BYTES_MIN);
        }
        frames(&mut self.buffer);
        self.len_bytes += self.buffer.len() - before;
    }

    /// Adds bytes that belong behind what was put in before.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_LEN_BYTES_MIN {
            return self.put(|out| out.extend_from_slice(&bytes));
        }
        self.len_bytes += bytes.len();
        self.close_buffer();
        self.parts.push_back(bytes);
    }

    /// Takes everything out.
    #[must_use]
    pub fn take(&mut self) -> Parts {
        self.close_buffer();
        let len_bytes = std::mem::take(&mut self.len_bytes);
        Parts {
            parts: std::mem::take(&mut self.parts),
            len_bytes,
        }
    }

    fn close_buffer(&mut self) {
        if !self.buffer.is_empty() {
            self.parts
                .push_back(std::mem::take(&mut self.buffer).into());
        }
    }
}

/// What was taken out of an outbox; a socket takes many of its pieces at once.
#[derive(Debug, Default)]
pub struct Parts {
    parts: VecDeque<Bytes>,
    len_bytes: usize,
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.len_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.parts);
        pairs
            .map(|(slice, part)| *slice = IoSlice::new(part))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        self.len_bytes = self.len_bytes.saturating_sub(count);
        while let Some(part) = self.parts.front_mut().filter(|_| count > 0) {
            let gone = count.min(part.len());
            part.advance(gone);
            count -= gone;
            if part.is_empty() {
                self.parts.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let large = Bytes::from(vec![7; SHARED_LEN_BYTES_MIN]);
        let mut outbox = Outbox::default();
        outbox.put(|out| out.push(1));
        outbox.put_bytes(Bytes::from_static(&[2]));
        outbox.put_bytes(large.clone());
        outbox.put(|out| out.push(3));
        assert_eq!(outbox.len_bytes(), 3 + large.len());
        let mut parts = outbox.take();
        assert_eq!(parts.parts.len(), 3);
        assert_eq!(
            parts.parts[1].as_ptr(),
            large.as_ptr(),
            "large bodies are not copied"
        );
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(parts.chunks_vectored(&mut slices), 2);
        let mut out = Vec::new();
        while parts.has_remaining() {
            let step = parts.chunk().len().min(1000);
            out.extend_from_slice(&parts.chunk()[..step]);
            parts.advance(step);
        }
        assert_eq!(out, [&[1, 2], &large[..], &[3]].concat());
        assert!(!outbox.take().has_remaining());
        assert_eq!(outbox.len_bytes(), 0);
    }
}
