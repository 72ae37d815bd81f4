//! The values that flags take: names, expectations, places.

use std::str::FromStr;

use crate::model::{
    EventType, ExpectedRevision, Position, ReadFrom, Revision, StreamName, SubscribeFrom, Tag,
};

/// A stream name from the command line.
pub(super) fn stream(text: &str) -> Result<StreamName, String> {
    StreamName::new(text).map_err(|error| error.to_string())
}

/// An event type from the command line.
pub(super) fn event_type(text: &str) -> Result<EventType, String> {
    EventType::new(text).map_err(|error| error.to_string())
}

/// A tag from the command line.
pub(super) fn tag(text: &str) -> Result<Tag, String> {
    Tag::new(text).map_err(|error| error.to_string())
}

/// What a writer expects: `any`, `none`, `exists` or the revision of the last event.
pub(super) fn expected(text: &str) -> Result<ExpectedRevision, String> {
    match text {
        "any" => Ok(ExpectedRevision::Any),
        "none" => Ok(ExpectedRevision::NoStream),
        "exists" => Ok(ExpectedRevision::StreamExists),
        _ => text
            .parse()
            .map(|revision| ExpectedRevision::Exactly(Revision(revision)))
            .map_err(|_| "it is any, none, exists or the revision of the last event".to_owned()),
    }
}

/// Where to begin: `start`, `end` or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Before everything.
    Start,
    /// Behind everything.
    End,
    /// At this revision of a stream, or at this position of anything else.
    At(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| "it is start, end, a position, or a revision of a stream".to_owned()),
        }
    }
}

impl From {
    /// For reading a stream.
    pub(super) fn revision(self) -> ReadFrom<Revision> {
        match self {
            Self::Start => ReadFrom::Start,
            Self::End => ReadFrom::End,
            Self::At(number) => ReadFrom::At(Revision(number)),
        }
    }

    /// For reading anything else.
    pub(super) fn position(self) -> ReadFrom<Position> {
        match self {
            Self::Start => ReadFrom::Start,
            Self::End => ReadFrom::End,
            Self::At(number) => ReadFrom::At(Position(number)),
        }
    }

    /// For following: the number itself belongs to what is followed.
    pub(super) fn subscribe(self, to_stream: bool) -> SubscribeFrom {
        match self {
            Self::Start | Self::At(0) => SubscribeFrom::Start,
            Self::End => SubscribeFrom::End,
            Self::At(number) if to_stream => SubscribeFrom::AfterRevision(Revision(number - 1)),
            Self::At(number) => SubscribeFrom::After(Position(number - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_words_or_a_revision() {
        assert_eq!(expected("any"), Ok(ExpectedRevision::Any));
        assert_eq!(expected("none"), Ok(ExpectedRevision::NoStream));
        assert_eq!(expected("exists"), Ok(ExpectedRevision::StreamExists));
        assert_eq!(expected("7"), Ok(ExpectedRevision::Exactly(Revision(7))));
        assert!(expected("-1").is_err() && expected("None").is_err());
    }

    #[test]
    fn the_number_to_begin_with_is_itself_included() {
        let at = |text: &str| text.parse::<From>().unwrap();
        assert_eq!(
            at("5").subscribe(true),
            SubscribeFrom::AfterRevision(Revision(4))
        );
        assert_eq!(at("5").subscribe(false), SubscribeFrom::After(Position(4)));
        assert_eq!(at("0").subscribe(true), SubscribeFrom::Start);
        assert_eq!(at("end").subscribe(true), SubscribeFrom::End);
        assert_eq!(at("5").revision(), ReadFrom::At(Revision(5)));
        assert!("first".parse::<From>().is_err());
    }
}
