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
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 6;
    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Stream,
        Self::Metadata,
        Self::Category,
        Self::EventType,
        Self::Tag,
        Self::NewStreams,
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
