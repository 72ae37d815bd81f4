//! What a client wants to read: its request, with everything checked that can be without the
//! store.

use std::num::NonZeroU64;

use tonic::Status;

use crate::grpc::auth::Wish;
use crate::grpc::convert::{
    UuidForm, read_from, read_from_revision, stream, subscribe_from, subscribe_from_revision,
};
use crate::grpc::status;
use crate::grpc::wire::event_store::client::streams::ReadReq;
use crate::grpc::wire::event_store::client::streams::read_req::options::{
    self as option, AllOptions, CountOption, FilterOption, FilterOptions, ReadDirection,
    StreamOption, StreamOptions,
};
use crate::model::{
    Direction, EventFilter, FilterTarget, Position, ReadFrom, Revision, StreamName, SubscribeFrom,
};
use option::all_options::AllOption;
use option::filter_options::{Expression, Filter, Window};
use option::stream_options::RevisionOption;
use option::uuid_option::Content as UuidOption;

/// How many events of a stream make a page, and how many a filter looks at in one step if the
/// client leaves it open: the unit in which clients count checkpoints.
pub(super) const PAGE_EVENTS: u64 = 32;

/// A checked request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: What,
    pub(super) showing: Showing,
}

/// How events are to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Showing {
    /// Whether links come with what they point to.
    pub(super) resolve_links: bool,
    /// How ids are told.
    pub(super) form: UuidForm,
}

#[derive(Debug)]
pub(super) enum What {
    Read(Read),
    Follow(Follow),
}

/// A read that ends.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) of: ReadOf,
    pub(super) direction: Direction,
    pub(super) count: u64,
    /// Whether the client knows the messages that tell the first and the last revision.
    pub(super) tells_bounds: bool,
}

#[derive(Debug)]
pub(super) enum ReadOf {
    Stream(StreamName, ReadFrom<Revision>),
    All(ReadFrom<Position>, Option<EventFilter>),
}

/// A subscription.
#[derive(Debug)]
pub(super) enum Follow {
    Stream(StreamName, SubscribeFrom),
    /// A filter comes with the number of events after which it is told how far it has come.
    All(SubscribeFrom, Option<(EventFilter, NonZeroU64)>),
}

impl Follow {
    /// What begins at the end begins with what is committed from the arrival of the call on:
    /// whatever is appended while it is judged is new to the caller.
    pub(super) fn arrived_at(mut self, end: Position) -> Self {
        let (Self::Stream(_, from) | Self::All(from, _)) = &mut self;
        if *from == SubscribeFrom::End {
            *from = match end.0.checked_sub(1) {
                Some(last) => SubscribeFrom::After(Position(last)),
                None => SubscribeFrom::Start,
            };
        }
        self
    }
}

impl What {
    /// What the caller must be allowed to do.
    pub(super) fn wish(&self) -> Wish {
        match self {
            Self::Read(Read {
                of: ReadOf::Stream(stream, _),
                ..
            })
            | Self::Follow(Follow::Stream(stream, _)) => Wish::Read(stream.clone()),
            Self::Read(_) | Self::Follow(_) => Wish::ReadAll,
        }
    }
}

impl Asked {
    /// Checks a request.
    pub(super) fn of(request: ReadReq) -> Result<Self, Status> {
        let missing = |what: &str| status::invalid(format!("the {what} is missing"));
        let options = request.options.ok_or_else(|| missing("options"))?;
        let direction = match ReadDirection::try_from(options.read_direction) {
            Ok(ReadDirection::Forwards) => Direction::Forwards,
            Ok(ReadDirection::Backwards) => Direction::Backwards,
            Err(_) => return Err(status::invalid("there is no such direction")),
        };
        let uuid = options.uuid_option.ok_or_else(|| missing("UUID option"))?;
        let showing = Showing {
            resolve_links: options.resolve_links,
            form: match uuid.content {
                Some(UuidOption::String(_)) => UuidForm::Text,
                Some(UuidOption::Structured(_)) | None => UuidForm::Structured,
            },
        };
        let filter = match options
            .filter_option
            .ok_or_else(|| missing("filter option"))?
        {
            FilterOption::Filter(filter) => Some(filter),
            FilterOption::NoFilter(_) => None,
        };
        let stream_option = options
            .stream_option
            .ok_or_else(|| missing("stream option"))?;
        if filter.is_some() && matches!(stream_option, StreamOption::Stream(_)) {
            return Err(status::invalid("only reads of all events take a filter"));
        }
        let count_option = options
            .count_option
            .ok_or_else(|| missing("count option"))?;
        let what = match count_option {
            CountOption::Count(count) => What::Read(Read {
                of: read_of(stream_option, filter)?,
                direction,
                count,
                tells_bounds: options
                    .control_option
                    .is_some_and(|control| control.compatibility >= 1),
            }),
            CountOption::Subscription(_) if direction == Direction::Backwards => {
                return Err(status::invalid("a subscription goes forwards"));
            }
            CountOption::Subscription(_) => What::Follow(follow_of(stream_option, filter)?),
        };
        Ok(Self { what, showing })
    }
}

fn read_of(option: StreamOption, filter: Option<FilterOptions>) -> Result<ReadOf, Status> {
    Ok(match option {
        StreamOption::Stream(options) => {
            let (stream, revision) = of_stream(options)?;
            let from = match revision {
                RevisionOption::Revision(revision) => read_from_revision(revision)?,
                RevisionOption::Start(_) => ReadFrom::Start,
                RevisionOption::End(_) => ReadFrom::End,
            };
            ReadOf::Stream(stream, from)
        }
        StreamOption::All(options) => {
            let from = match of_all(options)? {
                AllOption::Position(at) => read_from(at.commit_position, at.prepare_position)?,
                AllOption::Start(_) => ReadFrom::Start,
                AllOption::End(_) => ReadFrom::End,
            };
            let filter = filter.map(checked).transpose()?;
            ReadOf::All(from, filter.map(|(filter, _)| filter))
        }
    })
}

fn follow_of(option: StreamOption, filter: Option<FilterOptions>) -> Result<Follow, Status> {
    Ok(match option {
        StreamOption::Stream(options) => {
            let (stream, revision) = of_stream(options)?;
            let from = match revision {
                RevisionOption::Revision(revision) => subscribe_from_revision(revision)?,
                RevisionOption::Start(_) => SubscribeFrom::Start,
                RevisionOption::End(_) => SubscribeFrom::End,
            };
            Follow::Stream(stream, from)
        }
        StreamOption::All(options) => {
            let from = match of_all(options)? {
                AllOption::Position(at) => subscribe_from(at.commit_position, at.prepare_position)?,
                AllOption::Start(_) => SubscribeFrom::Start,
                AllOption::End(_) => SubscribeFrom::End,
            };
            let filter = filter.map(checked).transpose()?;
            let paced = match filter {
                None => None,
                Some((filter, interval)) => {
                    let none = || status::invalid("the checkpoint interval multiplier is 0");
                    Some((filter, NonZeroU64::new(interval).ok_or_else(none)?))
                }
            };
            Follow::All(from, paced)
        }
    })
}

fn of_stream(options: StreamOptions) -> Result<(StreamName, RevisionOption), Status> {
    let missing = || status::invalid("the revision option is missing");
    let revision = options.revision_option.ok_or_else(missing)?;
    Ok((stream(options.stream_identifier)?, revision))
}

fn of_all(options: AllOptions) -> Result<AllOption, Status> {
    let missing = || status::invalid("the position option is missing");
    options.all_option.ok_or_else(missing)
}

/// The filter, and after how many events it is told how far it has come.
fn checked(options: FilterOptions) -> Result<(EventFilter, u64), Status> {
    let missing = |what: &str| status::invalid(format!("the {what} of the filter is missing"));
    let window = match options.window.ok_or_else(|| missing("window"))? {
        Window::Max(0) => return Err(status::invalid("the window of the filter is 0")),
        Window::Max(max) => u64::from(max),
        Window::Count(_) => PAGE_EVENTS,
    };
    let (target, expression) = match options.filter.ok_or_else(|| missing("expression"))? {
        Filter::StreamIdentifier(expression) => (FilterTarget::Stream, expression),
        Filter::EventType(expression) => (FilterTarget::EventType, expression),
    };
    let interval = window.saturating_mul(options.checkpoint_interval_multiplier.into());
    Ok((filter(target, expression)?, interval))
}

/// A pattern goes before prefixes; with neither nothing is chosen.
pub(in crate::grpc) fn filter(
    target: FilterTarget,
    expression: Expression,
) -> Result<EventFilter, Status> {
    let Expression { regex, prefix } = expression;
    if let (FilterTarget::Stream, true) = (target, regex.is_empty()) {
        refuse_indexes(&prefix)?;
    }
    let filter = match (regex.is_empty(), prefix.is_empty()) {
        (false, _) => EventFilter::pattern(target, &regex),
        (true, false) => EventFilter::prefixes(target, prefix),
        (true, true) => Ok(EventFilter::nothing()),
    };
    filter.map_err(|error| status::invalid(error.to_string()))
}

/// A prefix that names an index asks for that index alone; there is none of those.
fn refuse_indexes(prefixes: &[String]) -> Result<(), Status> {
    let is_index = |prefix: &&String| prefix.starts_with("$idx-");
    match (prefixes.iter().find(is_index), prefixes.len()) {
        (None, _) => Ok(()),
        (Some(index), 1) => Err(status::index_not_found(index)),
        (Some(_), _) => Err(status::invalid("an index is read by itself")),
    }
}
