//! Which events a reader of the whole log wants to see.

use bytestring::ByteString;
use thiserror::Error;

use super::pattern::{Pattern, PatternTooCostly};

/// Chooses events by stream name or by event type, by prefix or by regular expression.
///
/// Expressions search anywhere in the text; see [`Pattern`] for what they may cost.
#[derive(Clone, Debug)]
pub struct EventFilter {
    target: FilterTarget,
    rule: FilterRule,
}

/// What of the event a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterTarget {
    /// The name of its stream.
    Stream,
    /// Its type.
    EventType,
}

/// What a filter asks of the text.
#[derive(Clone, Debug)]
pub enum FilterRule {
    /// It begins with one of these.
    Prefixes(Vec<ByteString>),
    /// The expression is found in it.
    Pattern(Pattern),
}

/// Why a filter was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidFilter {
    /// There is no prefix to begin with, so the filter could match nothing.
    #[error("a filter by prefix needs at least one prefix")]
    NoPrefix,
    /// There are more prefixes, or longer ones, than the limits allow.
    #[error("a filter takes at most {0} prefixes of at most {1} bytes")]
    TooManyPrefixes(usize, usize),
    /// The expression is longer than the limit.
    #[error("a pattern has at most {0} bytes")]
    PatternTooLong(usize),
    /// The expression is not one, or compiles to more than 1 MiB.
    #[error("not a regular expression that this store takes: {0}")]
    Pattern(String),
}

impl EventFilter {
    /// The most prefixes a filter may have.
    pub const PREFIXES_MAX: usize = 256;
    /// The longest prefix, in bytes.
    pub const PREFIX_LEN_BYTES_MAX: usize = 1024;
    /// The longest pattern, in bytes.
    pub const PATTERN_LEN_BYTES_MAX: usize = 4096;

    /// Events whose stream name or type begins with one of the prefixes.
    ///
    /// # Errors
    /// Refuses an empty list, more than [`Self::PREFIXES_MAX`] prefixes and too long ones.
    pub fn prefixes(
        target: FilterTarget,
        prefixes: impl IntoIterator<Item = impl Into<ByteString>>,
    ) -> Result<Self, InvalidFilter> {
        let prefixes: Vec<ByteString> = prefixes.into_iter().map(Into::into).collect();
        if prefixes.is_empty() {
            return Err(InvalidFilter::NoPrefix);
        }
        let too_long = prefixes
            .iter()
            .any(|prefix| prefix.len() > Self::PREFIX_LEN_BYTES_MAX);
        if too_long || prefixes.len() > Self::PREFIXES_MAX {
            return Err(InvalidFilter::TooManyPrefixes(
                Self::PREFIXES_MAX,
                Self::PREFIX_LEN_BYTES_MAX,
            ));
        }
        Ok(Self {
            target,
            rule: FilterRule::Prefixes(prefixes),
        })
    }

    /// Events in whose stream name or type the regular expression is found.
    ///
    /// # Errors
    /// Refuses what is not a regular expression (the syntax of the `regex` crate, and look-around
    /// and back-references as the `fancy-regex` crate has them) and one that is too long or too
    /// costly.
    pub fn pattern(target: FilterTarget, pattern: &str) -> Result<Self, InvalidFilter> {
        if pattern.len() > Self::PATTERN_LEN_BYTES_MAX {
            return Err(InvalidFilter::PatternTooLong(Self::PATTERN_LEN_BYTES_MAX));
        }
        let pattern = Pattern::new(pattern).map_err(InvalidFilter::Pattern)?;
        Ok(Self {
            target,
            rule: FilterRule::Pattern(pattern),
        })
    }

    /// No event at all: what EventStoreDB makes of a filter that has neither prefix nor pattern.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            target: FilterTarget::Stream,
            rule: FilterRule::Prefixes(Vec::new()),
        }
    }

    /// Every event whose type does not begin with `$`: no metadata, no tombstones, no links.
    #[must_use]
    pub fn no_system_events() -> Self {
        // The expression is a constant; a test compiles it.
        Self::pattern(FilterTarget::EventType, "^[^$]").unwrap_or_else(|_| Self::nothing())
    }

    /// What the filter looks at.
    #[must_use]
    pub fn target(&self) -> FilterTarget {
        self.target
    }

    /// What the filter asks.
    #[must_use]
    pub fn rule(&self) -> &FilterRule {
        &self.rule
    }

    /// Whether an event of this stream and type is wanted.
    ///
    /// # Errors
    /// The pattern takes too many steps on this text.
    pub fn matches(&self, stream: &str, event_type: &str) -> Result<bool, PatternTooCostly> {
        let text = match self.target {
            FilterTarget::Stream => stream,
            FilterTarget::EventType => event_type,
        };
        match &self.rule {
            FilterRule::Prefixes(prefixes) => Ok(prefixes.iter().any(|p| text.starts_with(&**p))),
            FilterRule::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(filter: &EventFilter, stream: &str, event_type: &str) -> bool {
        filter.matches(stream, event_type).unwrap()
    }

    #[test]
    fn prefixes_and_patterns_choose_by_stream_or_type() {
        let by_stream = EventFilter::prefixes(FilterTarget::Stream, ["order-", "cart-"]).unwrap();
        assert!(chosen(&by_stream, "cart-1", "Opened"));
        assert!(!chosen(&by_stream, "user-1", "order-"));
        let by_type = EventFilter::pattern(FilterTarget::EventType, "Placed$").unwrap();
        assert!(chosen(&by_type, "order-1", "OrderPlaced"));
        assert!(!chosen(&by_type, "OrderPlaced", "Opened"));
    }

    #[test]
    fn system_events_can_be_left_out() {
        let filter = EventFilter::no_system_events();
        assert!(chosen(&filter, "$$order-1", "x"));
        assert!(!chosen(&filter, "order-1", "$metadata"));
        assert!(!chosen(&EventFilter::nothing(), "order-1", "x"));
    }

    #[test]
    fn a_filter_that_cannot_work_is_refused() {
        let none: [&str; 0] = [];
        assert!(EventFilter::prefixes(FilterTarget::Stream, none).is_err());
        assert!(EventFilter::pattern(FilterTarget::Stream, "(").is_err());
        assert!(EventFilter::pattern(FilterTarget::Stream, "(a{1000}){1000}").is_err());
        assert!(EventFilter::pattern(FilterTarget::Stream, &"a".repeat(5000)).is_err());
    }
}
