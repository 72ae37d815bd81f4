//! How control messages become bytes: the only file that names the encoder.
//!
//! `wire-format.md` describes the bytes without it: fields one behind the other; integers
//! little-endian in their own width; a flag and the mark of an optional value as one byte, 0 or 1;
//! texts and lists behind their count as a `u64`; arrays without a count; a variant as its number,
//! a `u32`, and its fields. Golden bytes hold it in place.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::frame::FRAME_LEN_BYTES_MAX;

/// Why a body is not the message that its kind says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the body of {message} cannot be read: {problem}")]
pub struct BodyError {
    /// The message that was expected.
    pub message: &'static str,
    /// What is wrong with the bytes.
    pub problem: String,
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_little_endian()
        .with_fixint_encoding()
}

/// Appends the bytes of a message.
pub(crate) fn put(message: &impl Serialize, out: &mut Vec<u8>) {
    options()
        .with_no_limit()
        .serialize_into(out, message)
        .expect("a vector takes every byte, and every list knows its length");
}

/// Reads a message; the bytes must be exactly one.
///
/// # Errors
/// If they are not.
pub(crate) fn take<T: DeserializeOwned>(
    bytes: &[u8],
    message: &'static str,
) -> Result<T, BodyError> {
    let limit = u64::try_from(FRAME_LEN_BYTES_MAX).unwrap_or(u64::MAX);
    options()
        .with_limit(limit)
        .reject_trailing_bytes()
        .deserialize(bytes)
        .map_err(|error| BodyError {
            message,
            problem: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Choice {
        Nothing,
        Something { number: u16, texts: Vec<String> },
    }

    #[test]
    fn the_bytes_are_what_the_document_says() {
        let mut out = Vec::new();
        let choice = Choice::Something {
            number: 0x0102,
            texts: vec!["ab".into()],
        };
        put(&(true, Some(choice), [7u8; 2]), &mut out);
        let expected = [
            &[1][..],                  // a flag
            &[1],                      // an optional value that is there
            &[1, 0, 0, 0],             // the second variant
            &[2, 1],                   // an integer of two bytes
            &[1, 0, 0, 0, 0, 0, 0, 0], // a list of one
            &[2, 0, 0, 0, 0, 0, 0, 0], // a text of two bytes
            b"ab",
            &[7, 7], // an array
        ];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn a_body_is_exactly_one_message() {
        let mut out = Vec::new();
        put(&Choice::Nothing, &mut out);
        assert_eq!(take::<Choice>(&out, "x"), Ok(Choice::Nothing));
        out.push(0);
        assert!(take::<Choice>(&out, "x").is_err());
        assert!(take::<Choice>(&out[..3], "x").is_err());
        assert!(
            take::<Choice>(&[2, 0, 0, 0], "x").is_err(),
            "an unknown variant"
        );
    }

    #[test]
    fn a_list_that_claims_to_be_endless_is_refused() {
        let mut bytes = vec![1, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(take::<Choice>(&bytes, "x").is_err());
    }
}
