//! Reads that end: of a stream or of all events, in chunks that are read as the client takes them.

use tokio::sync::mpsc;
use tonic::Status;

use super::asked::{PAGE_EVENTS, Read, ReadOf, Showing};
use super::replies::{Chunk, Replies};
use super::sight::Sight;
use crate::access::Principal;
use crate::engine::{Bounds, Looked, ReadError, ResolvedEvents, Store};
use crate::grpc::convert::stream_identifier;
use crate::grpc::wire::event_store::client::streams::ReadResp;
use crate::grpc::wire::event_store::client::streams::read_resp::{Content, StreamNotFound};
use crate::grpc::{Shared, status};
use crate::model::{Direction, ReadFrom, Revision, StreamName};

/// How much a client gets at once: so many events,
const CHUNK_EVENTS: usize = 256;
/// or so many bytes of them.
const CHUNK_LEN_BYTES: usize = 256 * 1024;
/// What one step looks at, in events that the caller may not see; a stretch of the log without any
/// event for him counts as many.
const LOOKED_MAX: usize = 4096;
const OF_STRETCH: usize = 1024;

/// Begins a read. Its first chunk is its answer, and most often all of it.
pub(super) async fn begin(
    shared: &Shared,
    caller: Principal,
    read: Read,
    showing: Showing,
) -> Result<Replies<ReadResp>, Status> {
    let among_all = matches!(read.of, ReadOf::All(..));
    let sight = Sight::new(&shared.access, &caller, among_all, showing);
    let begun = shared.on_disk(move |store| Walk::begin(store, read, sight, showing));
    let (mut messages, walk) = match begun.await?? {
        Begun::NotFound(stream) => return Ok(Replies::whole(vec![not_found(&stream)])),
        Begun::Walk(messages, walk) => (messages, walk),
    };
    let (walk, step) = advance(shared, walk).await?;
    messages.extend(step.messages);
    match step.end {
        Some(Ok(())) => Ok(Replies::whole(messages)),
        Some(Err(error)) if messages.is_empty() => Err(error),
        Some(Err(error)) => {
            let (sender, more) = mpsc::channel(1);
            // The channel is new and has room.
            let _taken = sender.try_send(Err(error));
            Ok(Replies::followed(messages, more))
        }
        None => {
            let (sender, more) = mpsc::channel(1);
            tokio::spawn(go_on(shared.clone(), walk, sender));
            Ok(Replies::followed(messages, more))
        }
    }
}

/// Reads on until everything is read or nobody takes it any more.
async fn go_on(shared: Shared, mut walk: Box<Walk>, sender: mpsc::Sender<Chunk<ReadResp>>) {
    loop {
        let step = match advance(&shared, walk).await {
            Ok((back, step)) => {
                walk = back;
                step
            }
            Err(error) => {
                let _gone = sender.send(Err(error)).await;
                return;
            }
        };
        let is_gone = match step.messages.is_empty() {
            true => sender.is_closed(),
            false => sender.send(Ok(step.messages)).await.is_err(),
        };
        if is_gone {
            return;
        }
        match step.end {
            None => {}
            Some(Ok(())) => return,
            Some(Err(error)) => {
                let _gone = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

async fn advance(shared: &Shared, mut walk: Box<Walk>) -> Result<(Box<Walk>, Step), Status> {
    let stepped = shared.on_disk(move |_| {
        let step = walk.step();
        (walk, step)
    });
    stepped.await
}

pub(super) fn not_found(stream: &StreamName) -> ReadResp {
    message(Content::StreamNotFound(StreamNotFound {
        stream_identifier: Some(stream_identifier(stream)),
    }))
}

fn message(content: Content) -> ReadResp {
    ReadResp {
        content: Some(content),
    }
}

/// How a read began.
enum Begun {
    NotFound(StreamName),
    /// With messages that come before the events.
    Walk(Vec<ReadResp>, Box<Walk>),
}

/// A read on its way.
struct Walk {
    events: ResolvedEvents,
    sight: Sight,
    /// How many events may still come.
    left: u64,
    /// The message behind the events.
    last: Option<ReadResp>,
}

/// Some messages, and how the read ended if it did.
struct Step {
    messages: Vec<ReadResp>,
    end: Option<Result<(), Status>>,
}

impl Walk {
    fn begin(store: &Store, read: Read, sight: Sight, showing: Showing) -> Result<Begun, Status> {
        let Read {
            of,
            direction,
            count,
            tells_bounds,
        } = read;
        let links = showing.resolve_links;
        let mut first = None;
        let events = match of {
            ReadOf::All(from, filter) => store.read_all_resolved(from, direction, filter, links),
            ReadOf::Stream(stream, from) => {
                let events = store.read_resolved(&stream, from, direction, links);
                if let Err(ReadError::StreamNotFound(_)) = events {
                    return Ok(Begun::NotFound(stream));
                }
                let bounds = events.as_ref().ok().and_then(ResolvedEvents::bounds);
                if let (Some(bounds), Direction::Forwards, true) = (bounds, direction, tells_bounds)
                {
                    first = first_elsewhere(from, bounds);
                }
                events
            }
        };
        let events = events.map_err(|error| status::of_read(&error))?;
        let last = events.bounds().filter(|_| tells_bounds);
        let first = first.map(|first| message(Content::FirstStreamPosition(first.0)));
        let walk = Self {
            sight,
            left: count,
            last: last.map(|bounds| message(Content::LastStreamPosition(bounds.last.0))),
            events,
        };
        Ok(Begun::Walk(first.into_iter().collect(), Box::new(walk)))
    }

    fn step(&mut self) -> Step {
        let mut messages = Vec::new();
        let (mut len_bytes, mut looked) = (0, 0);
        let end = loop {
            let is_full = messages.len() >= CHUNK_EVENTS || len_bytes >= CHUNK_LEN_BYTES;
            if is_full || looked >= LOOKED_MAX {
                break None;
            }
            let next = match self.left {
                0 => Ok(Looked::End),
                _ => self.events.look(),
            };
            let event = match next {
                Ok(Looked::Found(event)) => event,
                Ok(Looked::Nothing) => {
                    looked += OF_STRETCH;
                    continue;
                }
                Ok(Looked::End) => {
                    messages.extend(self.last.take());
                    break Some(Ok(()));
                }
                Err(error) => break Some(Err(status::of_read(&error))),
            };
            len_bytes += event.len_bytes();
            match self.sight.show(event) {
                Ok(Some(shown)) => {
                    self.left -= 1;
                    messages.push(shown);
                }
                Ok(None) => looked += 1,
                Err(error) => break Some(Err(error)),
            }
        };
        Step { messages, end }
    }
}

/// The next revision there is, if a client that reads page by page finds its first one empty.
fn first_elsewhere(from: ReadFrom<Revision>, bounds: Bounds) -> Option<Revision> {
    let from = match from {
        ReadFrom::Start => Revision::START,
        ReadFrom::At(revision) => revision,
        ReadFrom::End => return None,
    };
    match bounds {
        Bounds { last, .. } if from > last => Some(last.next()).filter(|next| *next != from),
        Bounds { first, .. } if first >= from.plus(PAGE_EVENTS) => Some(first),
        _ => None,
    }
}
