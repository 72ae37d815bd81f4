//! What is to be sent on one connection: many put frames in, one takes everything out at once.
//!
//! Small frames are written one behind the other into one buffer; large bodies keep their own bytes
//! and are not copied. Whoever empties the outbox can so write all of it with one call, and leaves
//! the memory of what he has sent in its place, so that small answers allocate nothing.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bodies from this size on are not copied into the buffer, in bytes.
const SHARED_LEN_BYTES_MIN: usize = 4 * 1024;
/// A buffer that has grown larger is not kept for what is sent next, in bytes.
const KEPT_LEN_BYTES_MAX: usize = 16 * 1024;

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

    /// Takes everything out, into `parts`, of which nothing may be left.
    pub fn take(&mut self, parts: &mut Parts) {
        parts.clear();
        std::mem::swap(&mut parts.closed, &mut self.parts);
        std::mem::swap(&mut parts.open, &mut self.buffer);
        parts.len_bytes = std::mem::take(&mut self.len_bytes);
    }

    /// Gives back the memory that is kept for what comes next.
    pub fn rest(&mut self) {
        if self.len_bytes == 0 {
            *self = Self::default();
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
    closed: VecDeque<Bytes>,
    /// What stands behind them, and how much of it is gone.
    open: Vec<u8>,
    gone: usize,
    len_bytes: usize,
}

impl Parts {
    fn clear(&mut self) {
        self.closed.clear();
        self.open.clear();
        if self.open.capacity() > KEPT_LEN_BYTES_MAX {
            self.open = Vec::new();
        }
        self.gone = 0;
        self.len_bytes = 0;
    }

    fn open(&self) -> &[u8] {
        self.open.get(self.gone..).unwrap_or_default()
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.len_bytes
    }

    fn chunk(&self) -> &[u8] {
        match self.closed.front() {
            Some(part) => part,
            None => self.open(),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let open = Some(self.open()).filter(|open| !open.is_empty());
        let parts = self.closed.iter().map(|part| &**part).chain(open);
        let pairs = slices.iter_mut().zip(parts);
        pairs
            .map(|(slice, part)| *slice = IoSlice::new(part))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        self.len_bytes = self.len_bytes.saturating_sub(count);
        while let Some(part) = self.closed.front_mut().filter(|_| count > 0) {
            let gone = count.min(part.len());
            part.advance(gone);
            count -= gone;
            if part.is_empty() {
                self.closed.pop_front();
            }
        }
        self.gone += count;
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
        let mut parts = Parts::default();
        outbox.take(&mut parts);
        assert_eq!((parts.closed.len(), parts.open.len()), (2, 1));
        assert_eq!(
            parts.closed[1].as_ptr(),
            large.as_ptr(),
            "large bodies are not copied"
        );
        for count in [2, 3, 4] {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = parts.chunks_vectored(&mut slices[..count]);
            assert_eq!(filled, count.min(3));
        }
        let mut out = Vec::new();
        while parts.has_remaining() {
            let step = parts.chunk().len().min(1000);
            out.extend_from_slice(&parts.chunk()[..step]);
            parts.advance(step);
        }
        assert_eq!(out, [&[1, 2], &large[..], &[3]].concat());
        outbox.put(|out| out.push(4));
        outbox.take(&mut parts);
        assert_eq!((parts.remaining(), parts.chunk()), (1, &[4][..]));
        outbox.take(&mut parts);
        assert!(!parts.has_remaining());
        assert_eq!(outbox.len_bytes(), 0);
    }
}
