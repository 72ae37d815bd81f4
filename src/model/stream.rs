//! Names of streams, and what their first characters mean.

use bytes::Bytes;
use bytestring::ByteString;

use super::text::{InvalidText, check, from_utf8};

/// The stream whose last event holds the default access rules of the store.
pub const SETTINGS_STREAM: &str = "$settings";

/// The name of a stream: 1 to 1,024 bytes of UTF-8 without control characters, taken as it is.
///
/// Names that begin with `$` are system streams; `$$NAME` is the metadata stream of `NAME`.
/// Cloning is cheap: the text is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(ByteString);

impl StreamName {
    /// The longest allowed name, in bytes.
    pub const LEN_BYTES_MAX: usize = 1024;

    /// Checks and keeps a name.
    ///
    /// # Errors
    /// Refuses an empty or too long name, one with control characters, and the two that cannot be
    /// streams: `$all` (the whole log) and `$$` (metadata of nothing).
    pub fn new(name: impl Into<ByteString>) -> Result<Self, InvalidText> {
        let name = name.into();
        check(&name, "stream name", Self::LEN_BYTES_MAX)?;
        if matches!(&*name, "$all" | "$$") {
            return Err(InvalidText::Reserved {
                what: "stream name",
                text: name.to_string(),
            });
        }
        Ok(Self(name))
    }

    /// The same for bytes, which are shared, not copied.
    ///
    /// # Errors
    /// As [`Self::new`], and refuses bytes that are not UTF-8.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidText> {
        Self::new(from_utf8(bytes, "stream name")?)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as bytes, which are shared, not copied.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.0.as_bytes().clone()
    }

    /// Whether the stream belongs to the store: its name begins with `$`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The stream whose metadata this stream holds, if it is a metadata stream. The text is not a
    /// `StreamName`, because `$$$all` holds the metadata of `$all`.
    #[must_use]
    pub fn described(&self) -> Option<&str> {
        self.0.strip_prefix("$$")
    }

    /// The metadata stream of this stream; none for a metadata stream, which has no metadata of its
    /// own, and for a name that is too long to be prefixed.
    #[must_use]
    pub fn metadata_stream(&self) -> Option<Self> {
        match self.described() {
            Some(_) => None,
            None => Self::new(format!("$${}", self.as_str())).ok(),
        }
    }

    /// The category: the text before the first `-`. System streams, names without `-` and names
    /// that begin with it have none.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        Self::category_of(&self.0)
    }

    /// The same for a name that is still text.
    #[must_use]
    pub fn category_of(name: &str) -> Option<&str> {
        if name.starts_with('$') {
            return None;
        }
        match name.split_once('-') {
            Some(("", _)) | None => None,
            Some((category, _)) => Some(category),
        }
    }
}

impl From<StreamName> for ByteString {
    fn from(name: StreamName) -> Self {
        name.0
    }
}

impl std::ops::Deref for StreamName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for StreamName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for StreamName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl TryFrom<&str> for StreamName {
    type Error = InvalidText;
    fn try_from(name: &str) -> Result<Self, InvalidText> {
        Self::new(name)
    }
}

impl TryFrom<String> for StreamName {
    type Error = InvalidText;
    fn try_from(name: String) -> Result<Self, InvalidText> {
        Self::new(name)
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).unwrap()
    }

    #[test]
    fn a_category_ends_at_the_first_dash() {
        assert_eq!(name("order-1-2").category(), Some("order"));
        assert_eq!(name("order").category(), None);
        assert_eq!(name("-1").category(), None);
        assert_eq!(name("$$order-1").category(), None);
    }

    #[test]
    fn metadata_streams_know_what_they_describe() {
        assert_eq!(name("order-1").metadata_stream(), Some(name("$$order-1")));
        assert_eq!(name("$$order-1").described(), Some("order-1"));
        assert_eq!(name("$$$all").described(), Some("$all"));
        assert_eq!(name("$$order-1").metadata_stream(), None);
    }

    #[test]
    fn what_cannot_be_a_stream_is_refused() {
        for text in ["", "$all", "$$", "a\nb", "a\u{85}b"] {
            assert!(StreamName::new(text).is_err(), "{text:?}");
        }
        let longest = "x".repeat(StreamName::LEN_BYTES_MAX);
        assert!(StreamName::new(longest.clone()).is_ok());
        assert!(StreamName::new(longest + "x").is_err());
        assert!(StreamName::from_bytes(Bytes::from_static(b"\xff")).is_err());
    }
}
