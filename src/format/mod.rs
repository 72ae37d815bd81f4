//! Structures to bytes and back: everything that Annal writes to a disk, and nothing else.
//!
//! This layer is pure: no files, no clock, no threads. `storage-format.md`, which follows below,
//! describes every byte; its tables are rendered from the [`Field`] constants here, and a test
//! compares them.
//!
//! What always holds: no input makes a decoder panic or allocate more than the input's own length;
//! a length is trusted only after the checksum that covers it was found right; reserved bits and
//! bytes are zero, and others are refused as written by a newer version.
//!
#![doc = include_str!("../../storage-format.md")]

pub mod checksum;
pub mod codec;
mod envelope;
mod field;
pub mod filter;
pub mod floor;
pub mod footer;
pub mod manifest;
pub mod names;
pub mod pack;
pub mod record;
pub mod rewrite;
pub mod segment;
pub mod state;
pub mod store;
pub mod table;
pub mod unit;

pub use field::{Field, markdown_table};

use thiserror::Error;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the structure does.
    #[error("the bytes end inside {0}")]
    Truncated(&'static str),
    /// A checksum does not fit what it covers.
    #[error("the checksum of {0} is wrong")]
    Checksum(&'static str),
    /// A value is impossible.
    #[error("{0} has an impossible value")]
    Invalid(&'static str),
    /// A reserved bit or byte is set, or a version number is higher than this program knows.
    #[error("{0} was written by a newer version of Annal")]
    Newer(&'static str),
}

/// The first copy that is whole; a copy of a newer version counts as whole, and is refused.
fn first_whole<'a, T>(
    copies: impl Iterator<Item = &'a [u8]>,
    what: &'static str,
    decode: impl Fn(&'a [u8]) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    let mut first = None;
    for copy in copies {
        match decode(copy) {
            Ok(whole) => return Ok(whole),
            Err(FormatError::Newer(what)) => return Err(FormatError::Newer(what)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(FormatError::Truncated(what)))
}
