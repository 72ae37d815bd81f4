//! What is to be sent on one connection: many put frames in, one takes everything out at once.
//!
//! Small frames are written one behind the other into one buffer; large bodies keep their own bytes
//! and are not copied. Whoever empties the outbox can so write all of it with one call.

use bytes::Bytes;

/// Bodies from this size on are not copied into the buffer, in bytes.
const SHARED_LEN_BYTES_MIN: usize = 4 * 1024;

/// Bytes in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: Vec<Bytes>,
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
        self.parts.push(bytes);
    }

    /// Takes everything out.
    #[must_use]
    pub fn take(&mut self) -> Vec<Bytes> {
        self.close_buffer();
        self.len_bytes = 0;
        std::mem::take(&mut self.parts)
    }

    fn close_buffer(&mut self) {
        if !self.buffer.is_empty() {
            self.parts.push(std::mem::take(&mut self.buffer).into());
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
        let parts = outbox.take();
        assert_eq!(
            parts,
            [
                Bytes::from_static(&[1, 2]),
                large.clone(),
                Bytes::from_static(&[3])
            ]
        );
        assert_eq!(
            parts[1].as_ptr(),
            large.as_ptr(),
            "large bodies are not copied"
        );
        assert!(outbox.take().is_empty());
        assert_eq!(outbox.len_bytes(), 0);
    }
}
