//! Subscriptions: what is there, then what is committed, until the client goes or the stream ends.

use std::ops::ControlFlow;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;
use uuid::Uuid;

use super::asked::{Follow, Showing};
use super::replies::{Chunk, Replies};
use super::sight::Sight;
use crate::access::Principal;
use crate::engine::Store;
use crate::grpc::convert::{timestamp, told_end};
use crate::grpc::wire::event_store::client::streams::read_resp::{
    CaughtUp as CaughtUpMessage, Checkpoint, Content, SubscriptionConfirmation,
};
use crate::grpc::wire::event_store::client::streams::{Position as WirePosition, ReadResp};
use crate::grpc::{Shared, status};
use crate::model::StreamName;
use crate::subscription::{CaughtUp, Feed, FeedNotice, FeedOptions, FeedSource, Progress};

/// How many events, or checkpoints, a client gets at once.
const CHUNK_EVENTS: usize = 256;

/// Begins a subscription: it is there before the client is told so.
pub(super) async fn begin(
    shared: &Shared,
    caller: Principal,
    follow: Follow,
    showing: Showing,
) -> Result<Replies<ReadResp>, Status> {
    let place = shared.subscriptions.clone().try_acquire_owned();
    let place = place.map_err(|_| status::too_busy())?;
    let mut options = FeedOptions::default().resolve_links(showing.resolve_links);
    let mut stream = None;
    let (source, from) = match follow {
        Follow::Stream(name, from) => {
            stream = Some(name.clone());
            (FeedSource::Stream(name), from)
        }
        Follow::All(from, filter) => {
            let filter = filter.map(|(filter, interval)| {
                options = options.checkpoint_events(interval.get());
                filter
            });
            (FeedSource::All(filter), from)
        }
    };
    let sight = Sight::new(&shared.access, &caller, stream.is_none(), showing);
    let opened = shared.on_disk(move |store| store.feed(source, from, options));
    let feed = opened.await?.map_err(|error| status::of_read(&error))?;
    let (sender, more) = mpsc::channel(1);
    let following = Following {
        stream,
        feed,
        sight,
        store: shared.store.clone(),
        live: false,
    };
    tokio::spawn(run(shared.clone(), Box::new(following), sender, place));
    Ok(Replies::endless(vec![confirmation()], more))
}

/// The message that every subscription begins with.
pub(super) fn confirmation() -> ReadResp {
    message(Content::Confirmation(SubscriptionConfirmation {
        subscription_id: Uuid::new_v4().to_string(),
    }))
}

/// Follows until the client goes, the server stops, or something ends it, which is then said.
async fn run(
    shared: Shared,
    following: Box<Following>,
    sender: mpsc::Sender<Chunk<ReadResp>>,
    place: OwnedSemaphorePermit,
) {
    let ended = tokio::select! {
        ended = follow(&shared, following, &sender) => ended,
        () = sender.closed() => return,
        () = shared.stopping.cancelled() => Err(status::not_ready()),
    };
    drop(place);
    if let Err(error) = ended {
        let _gone = sender.send(Err(error)).await;
    }
}

/// Follows until something ends it; `Ok` if nobody listens any more.
async fn follow(
    shared: &Shared,
    mut following: Box<Following>,
    sender: &mpsc::Sender<Chunk<ReadResp>>,
) -> Result<(), Status> {
    loop {
        // What was just committed is in memory; the past may have to come from the disk.
        let step = match following.live && following.sight.is_quick() {
            true => following.step(),
            false => {
                let stepped = shared.on_disk(move |_| {
                    let step = following.step();
                    (following, step)
                });
                let (back, step) = stepped.await?;
                following = back;
                step
            }
        };
        let Step { messages, then } = step;
        if !messages.is_empty() && sender.send(Ok(messages)).await.is_err() {
            return Ok(());
        }
        match then {
            ControlFlow::Break(error) => return Err(error),
            ControlFlow::Continue(Next::Step) => {}
            ControlFlow::Continue(Next::Wait) => {
                let changed = following.feed.changed().await;
                changed.map_err(|error| status::of_read(&error))?;
            }
        }
    }
}

/// A subscription on its way.
struct Following {
    /// None for all events.
    stream: Option<StreamName>,
    feed: Feed,
    sight: Sight,
    store: Store,
    live: bool,
}

/// Some messages, and what comes then.
struct Step {
    messages: Vec<ReadResp>,
    then: ControlFlow<Status, Next>,
}

enum Next {
    Step,
    Wait,
}

impl Following {
    fn step(&mut self) -> Step {
        let end = |error| Step {
            messages: Vec::new(),
            then: ControlFlow::Break(error),
        };
        let go_on = |messages| Step {
            messages,
            then: ControlFlow::Continue(Next::Step),
        };
        let notice = match self.feed.try_next(CHUNK_EVENTS) {
            Err(error) => return end(status::of_read(&error)),
            Ok(None) => {
                return Step {
                    messages: Vec::new(),
                    then: ControlFlow::Continue(Next::Wait),
                };
            }
            Ok(Some(notice)) => notice,
        };
        match notice {
            FeedNotice::Events(events) => {
                let mut messages = Vec::with_capacity(events.len());
                for event in events {
                    match self.sight.show(event) {
                        Ok(shown) => messages.extend(shown),
                        Err(error) => {
                            return Step {
                                messages,
                                then: ControlFlow::Break(error),
                            };
                        }
                    }
                }
                go_on(messages)
            }
            FeedNotice::Checkpoint(progress) => {
                let mut messages = vec![self.checkpoint(progress)];
                while let Some(progress) = self.feed.try_checkpoint() {
                    messages.push(self.checkpoint(progress));
                    if messages.len() >= CHUNK_EVENTS {
                        break;
                    }
                }
                go_on(messages)
            }
            FeedNotice::CaughtUp(caught_up) => {
                self.live = true;
                go_on(vec![self.caught_up(caught_up)])
            }
            // Clients are not told, as by EventStoreDB; that it has caught up again they are.
            FeedNotice::FellBehind(_) => {
                self.live = false;
                go_on(Vec::new())
            }
            FeedNotice::StreamTombstoned(_) => {
                let stream = self.stream.as_deref().unwrap_or_default();
                end(status::stream_deleted(stream))
            }
        }
    }

    fn checkpoint(&self, at: Progress) -> ReadResp {
        let told = told_end(at.position);
        message(Content::Checkpoint(Checkpoint {
            commit_position: told,
            prepare_position: told,
            timestamp: Some(timestamp(self.store.now_us())),
        }))
    }

    fn caught_up(&self, at: CaughtUp) -> ReadResp {
        let told = told_end(at.progress.position);
        let revision = at
            .revision
            .and_then(|revision| i64::try_from(revision.0).ok());
        message(Content::CaughtUp(CaughtUpMessage {
            timestamp: Some(timestamp(self.store.now_us())),
            stream_revision: revision,
            position: self.stream.is_none().then_some(WirePosition {
                commit_position: told,
                prepare_position: told,
            }),
        }))
    }
}

fn message(content: Content) -> ReadResp {
    ReadResp {
        content: Some(content),
    }
}
