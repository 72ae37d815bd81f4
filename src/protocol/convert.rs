//! Between the wire's structures and the values of the model. Towards the wire nothing can fail;
//! from it, texts and expressions are checked.

use bytestring::ByteString;
use uuid::Uuid;

use super::error::WireError;
use super::message as wire;
use crate::model::{
    Direction, EventFilter, EventType, ExpectedRevision, FilterRule, FilterTarget, InvalidFilter,
    InvalidText, Lineage, Position, ReadFrom, Receipt, Revision, Source, StoreId, StreamHead,
    StreamName, SubscribeFrom, Tag, Token,
};

impl From<InvalidText> for WireError {
    fn from(error: InvalidText) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<InvalidFilter> for WireError {
    fn from(error: InvalidFilter) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<Token> for wire::Token {
    fn from(token: Token) -> Self {
        Self {
            store: token.store.0.into_bytes(),
            lineage: token.lineage.0.into_bytes(),
            end: token.end.0,
        }
    }
}

impl From<wire::Token> for Token {
    fn from(token: wire::Token) -> Self {
        Self {
            store: StoreId(Uuid::from_bytes(token.store)),
            lineage: Lineage(Uuid::from_bytes(token.lineage)),
            end: Position(token.end),
        }
    }
}

impl From<ExpectedRevision> for wire::Expected {
    fn from(expected: ExpectedRevision) -> Self {
        match expected {
            ExpectedRevision::Any => Self::Any,
            ExpectedRevision::NoStream => Self::NoStream,
            ExpectedRevision::StreamExists => Self::StreamExists,
            ExpectedRevision::Exactly(revision) => Self::Exactly(revision.0),
        }
    }
}

impl From<wire::Expected> for ExpectedRevision {
    fn from(expected: wire::Expected) -> Self {
        match expected {
            wire::Expected::Any => Self::Any,
            wire::Expected::NoStream => Self::NoStream,
            wire::Expected::StreamExists => Self::StreamExists,
            wire::Expected::Exactly(revision) => Self::Exactly(Revision(revision)),
        }
    }
}

impl From<StreamHead> for wire::StreamHead {
    fn from(head: StreamHead) -> Self {
        match head {
            StreamHead::Absent => Self::Absent,
            StreamHead::At(revision) => Self::At(revision.0),
            StreamHead::Deleted(revision) => Self::Deleted(revision.map(|revision| revision.0)),
            StreamHead::Tombstoned => Self::Tombstoned,
        }
    }
}

impl From<wire::StreamHead> for StreamHead {
    fn from(head: wire::StreamHead) -> Self {
        match head {
            wire::StreamHead::Absent => Self::Absent,
            wire::StreamHead::At(revision) => Self::At(Revision(revision)),
            wire::StreamHead::Deleted(revision) => Self::Deleted(revision.map(Revision)),
            wire::StreamHead::Tombstoned => Self::Tombstoned,
        }
    }
}

impl From<&EventFilter> for wire::Filter {
    fn from(filter: &EventFilter) -> Self {
        let target = match filter.target() {
            FilterTarget::Stream => wire::FilterTarget::Stream,
            FilterTarget::EventType => wire::FilterTarget::EventType,
        };
        let rule = match filter.rule() {
            FilterRule::Prefixes(prefixes) => {
                wire::FilterRule::Prefixes(prefixes.iter().map(ToString::to_string).collect())
            }
            FilterRule::Pattern(pattern) => wire::FilterRule::Pattern(pattern.as_str().to_owned()),
        };
        Self { target, rule }
    }
}

impl TryFrom<wire::Filter> for EventFilter {
    type Error = WireError;

    fn try_from(filter: wire::Filter) -> Result<Self, WireError> {
        let target = match filter.target {
            wire::FilterTarget::Stream => FilterTarget::Stream,
            wire::FilterTarget::EventType => FilterTarget::EventType,
        };
        Ok(match filter.rule {
            wire::FilterRule::Prefixes(prefixes) => Self::prefixes(target, prefixes)?,
            wire::FilterRule::Pattern(pattern) => Self::pattern(target, &pattern)?,
        })
    }
}

impl From<&Source> for wire::Source {
    fn from(source: &Source) -> Self {
        match source {
            Source::All => Self::All,
            Source::Stream(stream) => Self::Stream(stream.to_string()),
            Source::Category(category) => Self::Category(category.clone()),
            Source::EventType(event_type) => Self::EventType(event_type.to_string()),
            Source::Tag(tag) => Self::Tag(tag.to_string()),
            Source::Filtered(filter) => Self::Filtered(filter.into()),
        }
    }
}

impl TryFrom<wire::Source> for Source {
    type Error = WireError;

    fn try_from(source: wire::Source) -> Result<Self, WireError> {
        Ok(match source {
            wire::Source::All => Self::All,
            wire::Source::Stream(stream) => Self::Stream(StreamName::new(stream)?),
            wire::Source::Category(category) => {
                // A category is the beginning of a stream's name.
                StreamName::new(category.as_str())?;
                Self::Category(category)
            }
            wire::Source::EventType(event_type) => Self::EventType(EventType::new(event_type)?),
            wire::Source::Tag(tag) => Self::Tag(Tag::new(tag)?),
            wire::Source::Filtered(filter) => Self::Filtered(filter.try_into()?),
        })
    }
}

impl From<SubscribeFrom> for wire::SubscribeFrom {
    fn from(from: SubscribeFrom) -> Self {
        match from {
            SubscribeFrom::Start => Self::Start,
            SubscribeFrom::After(position) => Self::After(position.0),
            SubscribeFrom::AfterRevision(revision) => Self::AfterRevision(revision.0),
            SubscribeFrom::End => Self::End,
        }
    }
}

impl From<wire::SubscribeFrom> for SubscribeFrom {
    fn from(from: wire::SubscribeFrom) -> Self {
        match from {
            wire::SubscribeFrom::Start => Self::Start,
            wire::SubscribeFrom::After(position) => Self::After(Position(position)),
            wire::SubscribeFrom::AfterRevision(revision) => Self::AfterRevision(Revision(revision)),
            wire::SubscribeFrom::End => Self::End,
        }
    }
}

impl From<ReadFrom<u64>> for wire::From {
    fn from(from: ReadFrom<u64>) -> Self {
        match from {
            ReadFrom::Start => Self::Start,
            ReadFrom::End => Self::End,
            ReadFrom::At(at) => Self::At(at),
        }
    }
}

impl wire::From {
    /// The same for a read by positions or by revisions.
    #[must_use]
    pub fn of<P>(self, number: impl FnOnce(u64) -> P) -> ReadFrom<P> {
        match self {
            Self::Start => ReadFrom::Start,
            Self::End => ReadFrom::End,
            Self::At(at) => ReadFrom::At(number(at)),
        }
    }
}

impl wire::Read {
    /// Which way the read goes.
    #[must_use]
    pub fn direction(&self) -> Direction {
        match self.backwards {
            false => Direction::Forwards,
            true => Direction::Backwards,
        }
    }
}

impl From<Receipt> for wire::Receipt {
    fn from(receipt: Receipt) -> Self {
        let revisions = receipt.revisions.into_iter();
        Self {
            first: receipt.first.0,
            last: receipt.last.map(|last| last.0),
            revisions: revisions
                .map(|(stream, last)| (stream.into(), last.0))
                .collect(),
            token: receipt.token.into(),
            repeated: receipt.repeated,
        }
    }
}

impl TryFrom<wire::Receipt> for Receipt {
    type Error = InvalidText;

    fn try_from(receipt: wire::Receipt) -> Result<Self, InvalidText> {
        let revisions = receipt.revisions.into_iter();
        let checked =
            |(stream, last): (ByteString, u64)| Ok((StreamName::new(stream)?, Revision(last)));
        Ok(Self {
            first: Position(receipt.first),
            last: receipt.last.map(Position),
            revisions: revisions.map(checked).collect::<Result<_, InvalidText>>()?,
            token: receipt.token.into(),
            repeated: receipt.repeated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_come_back_as_they_went() {
        let filter = |rule| EventFilter::pattern(FilterTarget::Stream, rule).unwrap();
        let prefixes = EventFilter::prefixes(FilterTarget::EventType, ["a", "b"]).unwrap();
        for source in [
            Source::All,
            Source::Stream(StreamName::new("a-1").unwrap()),
            Source::Category("a".into()),
            Source::EventType(EventType::new("T").unwrap()),
            Source::Tag(Tag::new("x:1").unwrap()),
            Source::Filtered(filter("^a")),
            Source::Filtered(prefixes),
        ] {
            let sent = wire::Source::from(&source);
            let back = Source::try_from(sent.clone()).unwrap();
            assert_eq!(wire::Source::from(&back), sent, "{source:?}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let pattern = wire::Filter {
            target: wire::FilterTarget::Stream,
            rule: wire::FilterRule::Pattern("(".into()),
        };
        for source in [
            wire::Source::Stream(String::new()),
            wire::Source::Category("$all".into()),
            wire::Source::EventType("\n".into()),
            wire::Source::Tag("x".repeat(200)),
            wire::Source::Filtered(pattern),
        ] {
            assert!(matches!(
                Source::try_from(source),
                Err(WireError::Invalid(_))
            ));
        }
    }
}
