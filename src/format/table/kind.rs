//! The kinds of keys.

/// What a key of the index stands for. Keys sort by the byte of their kind, then by their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A stream, by name; ordinals are revisions.
    Stream,
    /// The metadata events of a stream, by the name of the stream they describe.
    Metadata,
    /// A category.
    Category,
    /// An event type.
    EventType,
    /// A tag.
    Tag,
    /// The one list of all events with revision 0; its text is empty.
    NewStreams,
    /// A correlation id.
    CorrelationId,
    /// The events with revision 0 of a category.
    CategoryStreams,
    /// The one list of all events that delete or close a stream; its text is empty.
    Deletions,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 9;
    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Stream,
        Self::Metadata,
        Self::Category,
        Self::EventType,
        Self::Tag,
        Self::NewStreams,
        Self::CorrelationId,
        Self::CategoryStreams,
        Self::Deletions,
    ];

    /// The byte that stands in front of the text.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Stream => 1,
            Self::Metadata => 2,
            Self::Category => 3,
            Self::EventType => 4,
            Self::Tag => 5,
            Self::NewStreams => 6,
            Self::CorrelationId => 7,
            Self::CategoryStreams => 8,
            Self::Deletions => 9,
        }
    }

    /// The version of the first tables that hold keys of this kind.
    #[must_use]
    pub const fn since_version(self) -> u32 {
        match self {
            Self::Stream
            | Self::Metadata
            | Self::Category
            | Self::EventType
            | Self::Tag
            | Self::NewStreams => 1,
            Self::CorrelationId | Self::CategoryStreams | Self::Deletions => 2,
        }
    }

    /// Its place among all kinds, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.byte() - 1)
    }

    /// The kind with this byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_byte_and_a_place_of_its_own() {
        let places: Vec<usize> = Kind::ALL.into_iter().map(Kind::index).collect();
        assert_eq!(places, Vec::from_iter(0..Kind::COUNT));
        for kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind.byte()), Some(kind));
        }
        assert_eq!(Kind::from_byte(0), None);
    }
}
