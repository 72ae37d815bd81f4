//! Reads and subscriptions of streams that show state: what is kept at this moment, and for
//! followers what it changes to, which is looked at now and then.

use std::collections::HashSet;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;
use uuid::Uuid;

use super::asked::{Follow, Read, ReadOf, Showing, What};
use super::follow::confirmation;
use super::read::not_found;
use super::replies::{Chunk, Replies};
use crate::access::Principal;
use crate::grpc::auth::Wish;
use crate::grpc::convert::{UuidForm, recorded, timestamp, told};
use crate::grpc::system::{LOOK_INTERVAL, StateStream};
use crate::grpc::wire::event_store::client::streams::ReadResp;
use crate::grpc::wire::event_store::client::streams::read_resp::read_event::Position;
use crate::grpc::wire::event_store::client::streams::read_resp::{CaughtUp, Content, ReadEvent};
use crate::grpc::{Shared, status};
use crate::model::{Direction, ReadFrom, RecordedEvent, Revision, StreamName, SubscribeFrom};

impl What {
    /// The state that is wanted, and the stream that shows it, if one does.
    pub(super) fn state(&self) -> Option<(StateStream, StreamName)> {
        let stream = match self {
            Self::Read(Read {
                of: ReadOf::Stream(stream, _),
                ..
            })
            | Self::Follow(Follow::Stream(stream, _)) => stream,
            Self::Read(_) | Self::Follow(_) => return None,
        };
        Some((StateStream::of(stream)?, stream.clone()))
    }
}

/// Begins to show state.
pub(super) async fn begin(
    shared: &Shared,
    caller: Principal,
    (state, stream): (StateStream, StreamName),
    what: What,
    showing: Showing,
) -> Result<Replies<ReadResp>, Status> {
    let events = state.events(shared, &stream).await?;
    match what {
        What::Read(read) if events.is_empty() => {
            drop(read);
            Ok(Replies::whole(vec![not_found(&stream)]))
        }
        What::Read(read) => Ok(Replies::whole(self::read(events, &read, showing.form))),
        What::Follow(follow) => {
            let place = shared.subscriptions.clone().try_acquire_owned();
            let place = place.map_err(|_| status::too_busy())?;
            let (sender, more) = mpsc::channel(1);
            let following = Following {
                shared: shared.clone(),
                caller,
                state,
                stream,
                form: showing.form,
                seen: HashSet::new(),
            };
            let begun = following.run(follow, sender);
            tokio::spawn(async move {
                begun.await;
                drop(place);
            });
            Ok(Replies::endless(vec![confirmation()], more))
        }
    }
}

fn read(mut events: Vec<RecordedEvent>, read: &Read, form: UuidForm) -> Vec<ReadResp> {
    let from = match &read.of {
        ReadOf::Stream(_, from) => *from,
        ReadOf::All(..) => ReadFrom::Start,
    };
    let last = events.last().map(|event| event.revision);
    if read.direction == Direction::Backwards {
        events.reverse();
    }
    let is_wanted = |revision: Revision| match (from, read.direction) {
        (ReadFrom::Start, Direction::Forwards) | (ReadFrom::End, Direction::Backwards) => true,
        (ReadFrom::At(at), Direction::Forwards) => revision >= at,
        (ReadFrom::At(at), Direction::Backwards) => revision <= at,
        (ReadFrom::Start, Direction::Backwards) => revision == Revision::START,
        (ReadFrom::End, Direction::Forwards) => false,
    };
    let wanted = events.into_iter().filter(|event| is_wanted(event.revision));
    let count = usize::try_from(read.count).unwrap_or(usize::MAX);
    let mut messages: Vec<ReadResp> = wanted
        .take(count)
        .map(|event| message(shown(event, form)))
        .collect();
    let last = last.filter(|_| read.tells_bounds);
    messages.extend(last.map(|last| message(Content::LastStreamPosition(last.0))));
    messages
}

/// Somebody who follows state.
struct Following {
    shared: Shared,
    caller: Principal,
    state: StateStream,
    stream: StreamName,
    form: UuidForm,
    /// The ids of the events that he has, or does not want.
    seen: HashSet<Uuid>,
}

impl Following {
    async fn run(mut self, follow: Follow, sender: mpsc::Sender<Chunk<ReadResp>>) {
        let stopping = self.shared.stopping.clone();
        let ended = tokio::select! {
            ended = self.follow(follow, &sender) => ended,
            () = sender.closed() => return,
            () = stopping.cancelled() => status::not_ready(),
        };
        let _gone = sender.send(Err(ended)).await;
    }

    async fn follow(&mut self, follow: Follow, sender: &mpsc::Sender<Chunk<ReadResp>>) -> Status {
        let from = match follow {
            Follow::Stream(_, from) | Follow::All(from, _) => from,
        };
        let mut is_first = true;
        loop {
            // What he might read when he began, he may have lost since.
            let wish = Wish::Read(self.stream.clone());
            if let Err(error) = self.shared.allow(&self.caller, wish).await {
                return error;
            }
            let events = match self.state.events(&self.shared, &self.stream).await {
                Ok(events) => events,
                Err(error) => return error,
            };
            let last = events.last().map(|event| event.revision);
            let now: HashSet<Uuid> = events.iter().map(|event| event.id).collect();
            let is_old = |revision: Revision| match from {
                SubscribeFrom::AfterRevision(after) => revision <= after,
                SubscribeFrom::End => true,
                SubscribeFrom::Start | SubscribeFrom::After(_) => false,
            };
            let new = events.into_iter().filter(|event| match is_first {
                true => !is_old(event.revision),
                false => !self.seen.contains(&event.id),
            });
            let mut messages: Vec<ReadResp> =
                new.map(|event| message(shown(event, self.form))).collect();
            if is_first {
                messages.push(message(self.caught_up(last)));
            }
            // What is gone is new when it comes again.
            self.seen = now;
            is_first = false;
            if !messages.is_empty() && sender.send(Ok(messages)).await.is_err() {
                return status::not_ready();
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn caught_up(&self, last: Option<Revision>) -> Content {
        Content::CaughtUp(CaughtUp {
            timestamp: Some(timestamp(self.shared.store.now_us())),
            stream_revision: last.and_then(|last| i64::try_from(last.0).ok()),
            position: None,
        })
    }
}

fn shown(event: RecordedEvent, form: UuidForm) -> Content {
    Content::Event(ReadEvent {
        position: Some(Position::CommitPosition(told(event.position))),
        event: Some(recorded(event, form)),
        link: None,
    })
}

fn message(content: Content) -> ReadResp {
    ReadResp {
        content: Some(content),
    }
}
