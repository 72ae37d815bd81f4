//! Which events a verb goes through: a stream, everything, or a choice.

use super::failure::Failure;
use super::values;
use crate::model::{EventFilter, EventType, FilterTarget, Source, StreamName, Tag};

/// The flags that choose events.
#[derive(Debug, clap::Args)]
#[group(id = "selection", multiple = false)]
pub(super) struct SelectArgs {
    /// One stream
    #[arg(value_parser = values::stream)]
    stream: Option<StreamName>,
    /// Everything, in the order of the log
    #[arg(long)]
    all: bool,
    /// The streams of a category: CATEGORY-1, CATEGORY-2, ..
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// The events of a type
    #[arg(long = "type", value_name = "TYPE", value_parser = values::event_type)]
    event_type: Option<EventType>,
    /// The events with a tag
    #[arg(long, value_parser = values::tag)]
    tag: Option<Tag>,
    /// The streams whose names begin with this; can be given several times
    #[arg(long, value_name = "PREFIX")]
    prefix: Vec<String>,
    /// The events whose type matches a regular expression
    #[arg(long, value_name = "REGEX")]
    type_pattern: Option<String>,
}

impl SelectArgs {
    /// What was chosen; everything if nothing was.
    pub(super) fn source(&self) -> Result<Source, Failure> {
        let filtered =
            |filter: Result<EventFilter, _>| filter.map(Source::Filtered).map_err(Failure::usage);
        if let Some(stream) = &self.stream {
            return Ok(Source::Stream(stream.clone()));
        }
        if let Some(category) = &self.category {
            return Ok(Source::Category(category.clone()));
        }
        if let Some(event_type) = &self.event_type {
            return Ok(Source::EventType(event_type.clone()));
        }
        if let Some(tag) = &self.tag {
            return Ok(Source::Tag(tag.clone()));
        }
        if !self.prefix.is_empty() {
            let prefixes = self.prefix.iter().map(String::as_str);
            return filtered(EventFilter::prefixes(FilterTarget::Stream, prefixes));
        }
        if let Some(pattern) = &self.type_pattern {
            return filtered(EventFilter::pattern(FilterTarget::EventType, pattern));
        }
        Ok(Source::All)
    }

    /// The same in words.
    pub(super) fn describe(&self) -> String {
        let choices = [
            self.stream.as_ref().map(|name| format!("stream {name}")),
            self.category
                .as_ref()
                .map(|name| format!("category {name}")),
            self.event_type
                .as_ref()
                .map(|name| format!("type {}", &**name)),
            self.tag.as_ref().map(|tag| format!("tag {}", &**tag)),
            self.prefix
                .first()
                .map(|_| format!("streams {}", self.prefix.join("*, ") + "*")),
            self.type_pattern
                .as_ref()
                .map(|pattern| format!("types matching {pattern}")),
        ];
        choices
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_else(|| "everything".to_owned())
    }
}
