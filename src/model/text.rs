//! Short checked texts: event types and tags. Stream names have their own file.
//!
//! A text is UTF-8 within its length limit and holds no control characters, so that it can be
//! printed and logged as it is. It is never normalised: two texts are equal if their bytes are.

use bytes::Bytes;
use bytestring::ByteString;
use thiserror::Error;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// The text has no bytes.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of text it was to be.
        what: &'static str,
    },
    /// The text is longer than its kind allows.
    #[error("{what} has {len_bytes} bytes, more than the {len_bytes_max} allowed")]
    TooLong {
        /// Which kind of text it was to be.
        what: &'static str,
        /// Its length in bytes.
        len_bytes: usize,
        /// The longest that is allowed, in bytes.
        len_bytes_max: usize,
    },
    /// The bytes are not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// Which kind of text it was to be.
        what: &'static str,
    },
    /// The text holds a control character.
    #[error("{what} holds a control character")]
    ControlCharacter {
        /// Which kind of text it was to be.
        what: &'static str,
    },
    /// The name is kept for the store itself: `$$` without a name behind it, or `$all`.
    #[error("{what} {text:?} is reserved")]
    Reserved {
        /// Which kind of text it was to be.
        what: &'static str,
        /// The text.
        text: String,
    },
}

/// Checks the rules that every short text obeys.
pub(super) fn check(
    text: &str,
    what: &'static str,
    len_bytes_max: usize,
) -> Result<(), InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty { what });
    }
    if text.len() > len_bytes_max {
        return Err(InvalidText::TooLong {
            what,
            len_bytes: text.len(),
            len_bytes_max,
        });
    }
    // Pure ASCII is the common case and needs no decoding.
    let control = |text: &str| match text.is_ascii() {
        true => text.bytes().any(|byte| byte.is_ascii_control()),
        false => text.chars().any(char::is_control),
    };
    if control(text) {
        return Err(InvalidText::ControlCharacter { what });
    }
    Ok(())
}

/// Bytes that came from disk or network as text, without copying them.
pub(super) fn from_utf8(bytes: Bytes, what: &'static str) -> Result<ByteString, InvalidText> {
    ByteString::try_from(bytes).map_err(|_| InvalidText::NotUtf8 { what })
}

macro_rules! short_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $len_max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ByteString);

        impl $name {
            /// The longest allowed, in bytes.
            pub const LEN_BYTES_MAX: usize = $len_max;

            /// Checks and keeps a text.
            ///
            /// # Errors
            /// Refuses an empty or too long text and one with control characters.
            pub fn new(text: impl Into<ByteString>) -> Result<Self, InvalidText> {
                let text = text.into();
                check(&text, $what, Self::LEN_BYTES_MAX)?;
                Ok(Self(text))
            }

            /// The same for bytes, which are shared, not copied.
            ///
            /// # Errors
            /// As [`Self::new`], and refuses bytes that are not UTF-8.
            pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidText> {
                Self::new(from_utf8(bytes, $what)?)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text as bytes, which are shared, not copied.
            #[must_use]
            pub fn to_bytes(&self) -> Bytes {
                self.0.as_bytes().clone()
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidText;
            fn try_from(text: &str) -> Result<Self, InvalidText> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;
            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::new(text)
            }
        }
    };
}

short_text! {
    /// What kind of fact an event states, such as `OrderPlaced`. Types that begin with `$` belong
    /// to the store.
    EventType, "event type", 1024
}

short_text! {
    /// A label that an event carries beside its stream and type, such as `customer:42`.
    Tag, "tag", 128
}
