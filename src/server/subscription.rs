//! A session's subscriptions: one small task each, which sleeps until the dispatcher wakes it.
//!
//! While a subscription catches up it reads on threads that may wait for the disk; when it is live,
//! what it sends is still in memory, and it reads where it is. How far the log has come is told to
//! all that wait by one frame per connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{Refusal, of_read};
use super::feed::Feed;
use super::permit::Permit;
use super::session::Session;
use crate::engine::BatchLimit;
use crate::model::{Position, Source, SubscribeFrom};
use crate::protocol::frame::NO_REQUEST;
use crate::protocol::message as wire;
use crate::protocol::records::RECORDS_LEN_BYTES;
use crate::protocol::{Answer, WireError};
use crate::subscription::{Notice, Progress, Resting, Subscription};

/// A subscription as its session knows it.
#[derive(Debug)]
pub(super) struct Live {
    /// It has told its client that it caught up.
    caught_up: AtomicBool,
    resting: Resting,
    /// The stream, if it follows one.
    stream: String,
}

/// After how many events that the subscriber may not see he is told how far it has come.
const HIDDEN_MAX: u64 = 4096;

/// A subscription, and what its owner may see of it.
struct Following {
    subscription: Subscription,
    permit: Permit,
    /// How many events were left out since he was told something.
    hidden_count: u64,
}

impl Following {
    /// The next notice of what the subscriber may see, as things are now.
    fn try_next(&mut self, limit: BatchLimit) -> Result<Option<Notice>, Refusal> {
        self.permit.check()?;
        loop {
            let mut found = self.subscription.try_next(limit)?;
            if let Some(Notice::Events(batch)) = &mut found {
                self.hidden_count += self.permit.show(batch)?;
                if batch.is_empty() {
                    if self.hidden_count < HIDDEN_MAX {
                        continue;
                    }
                    found = Some(Notice::Checkpoint(Progress {
                        position: self.subscription.position(),
                        committed_us: None,
                    }));
                }
            }
            if found.is_some() {
                self.hidden_count = 0;
            }
            return Ok(found);
        }
    }
}

impl Session {
    /// Begins a subscription.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        correlation: u64,
        subscribe: wire::Subscribe,
        permit: Permit,
    ) {
        let options = &self.shared.options;
        let feed = Arc::new(Feed::new(
            subscribe.credit_bytes,
            options.credit_bytes_max,
            true,
        ));
        if let Err(error) = self.open_subscription(correlation, &feed) {
            return self.answer(correlation, &Answer::Error(error));
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let ended = session.follow(correlation, subscribe, &feed, permit).await;
            session.end_subscription(correlation, ended);
        });
    }

    /// Makes the feed of a subscription or a membership, if there is room for one more.
    pub(super) fn open_subscription(
        &self,
        correlation: u64,
        feed: &Arc<Feed>,
    ) -> Result<(), WireError> {
        self.open_feed(correlation, feed)?;
        let mut feeds = self.feeds.lock();
        let options = &self.shared.options;
        let all = self.shared.subscriptions.fetch_add(1, Ordering::Relaxed);
        let limits = [
            (
                "subscriptions",
                feeds.subscriptions,
                options.subscriptions_max,
            ),
            (
                "subscriptions on all connections",
                all,
                options.all_subscriptions_max,
            ),
        ];
        if let Some((what, _, max)) = limits.iter().find(|(_, count, max)| count >= max) {
            self.shared.subscriptions.fetch_sub(1, Ordering::Relaxed);
            feeds.by_request.remove(&correlation);
            return Err(WireError::TooMany {
                what: (*what).to_owned(),
                max: u64::try_from(*max).unwrap_or(u64::MAX),
            });
        }
        feeds.subscriptions += 1;
        Ok(())
    }

    /// Lets a subscription or a membership go, and tells its client why it ended.
    pub(super) fn end_subscription(&self, correlation: u64, ended: Result<(), WireError>) {
        self.shared.subscriptions.fetch_sub(1, Ordering::Relaxed);
        self.owe_answer();
        {
            let mut feeds = self.feeds.lock();
            feeds.members.remove(&correlation);
            feeds.by_request.remove(&correlation);
            feeds.live.remove(&correlation);
            feeds.subscriptions -= 1;
        }
        let answer = match ended {
            Err(error) => Answer::Error(error),
            Ok(()) if self.is_leaving() => Answer::Error(WireError::GoingAway),
            Ok(()) => Answer::End(wire::End {
                reason: wire::EndReason::Cancelled,
                next: None,
            }),
        };
        self.answer(correlation, &answer);
        self.end_request();
    }

    /// Feeds a subscription until it is cancelled.
    async fn follow(
        &self,
        correlation: u64,
        subscribe: wire::Subscribe,
        feed: &Feed,
        permit: Permit,
    ) -> Result<(), WireError> {
        let permit = self.shared.check(permit).await?;
        if let Some(wait) = subscribe.at_least {
            tokio::select! {
                reached = self.reach(wait) => reached?,
                () = feed.cancelled() => return Ok(()),
            }
        }
        let stream = match &subscribe.source {
            wire::Source::Stream(stream) => stream.clone(),
            _ => String::new(),
        };
        let source = Source::try_from(subscribe.source)?;
        let from = SubscribeFrom::from(subscribe.from);
        if let (SubscribeFrom::AfterRevision(_), false) =
            (from, matches!(source, Source::Stream(_)))
        {
            let problem = "only a subscription to one stream can begin behind a revision";
            return Err(WireError::Invalid(problem.to_owned()));
        }
        let opened = self
            .shared
            .on_disk(move |store| Ok(store.subscribe(source, from)?))
            .await?;
        let live = Arc::new(Live {
            caught_up: AtomicBool::new(false),
            resting: opened.resting(),
            stream,
        });
        self.feeds
            .lock()
            .live
            .insert(correlation, Arc::clone(&live));
        let position = opened.position().0;
        let begins = wire::Mark {
            position,
            committed_us: None,
        };
        self.answer(correlation, &Answer::Subscribed(begins));
        let mut following = Following {
            subscription: opened,
            permit,
            hidden_count: 0,
        };
        loop {
            let Some(allowance) = self.allowance(feed).await else {
                return Ok(());
            };
            let limit = BatchLimit {
                events_max: usize::MAX,
                len_bytes_max: usize::try_from(allowance.len_bytes)
                    .unwrap_or(usize::MAX)
                    .min(RECORDS_LEN_BYTES),
            };
            // What is new is in memory, and whoever may see everything is not asked about.
            let waits = !live.caught_up.load(Ordering::Relaxed) || !following.permit.is_unlimited();
            let found = match waits {
                false => following.subscription.try_next(limit).map_err(of_read)?,
                true => {
                    let (back, found) = self.look(following, limit).await?;
                    following = back;
                    found
                }
            };
            match found {
                Some(notice) => {
                    let read_len_bytes = match &notice {
                        Notice::Events(batch) if waits => batch.len_bytes(),
                        _ => 0,
                    };
                    self.tell(correlation, notice, feed, &live)?;
                    drop(allowance);
                    if read_len_bytes > 0 {
                        self.shared.give_way(read_len_bytes).await;
                    }
                }
                None => {
                    drop(allowance);
                    tokio::select! {
                        changed = following.subscription.changed() => changed.map_err(of_read)?,
                        () = feed.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// The next notice, on a thread that may wait for the disk.
    async fn look(
        &self,
        mut following: Following,
        limit: BatchLimit,
    ) -> Result<(Following, Option<Notice>), WireError> {
        self.shared
            .on_disk(move |_| {
                let found = following.try_next(limit)?;
                Ok((following, found))
            })
            .await
    }

    fn tell(
        &self,
        correlation: u64,
        notice: Notice,
        feed: &Feed,
        live: &Live,
    ) -> Result<(), WireError> {
        match notice {
            Notice::Events(batch) => self.send_batch(correlation, &batch, feed),
            Notice::Checkpoint(progress) => {
                self.answer(correlation, &Answer::Checkpoint(mark(progress)));
            }
            Notice::CaughtUp(progress) => {
                self.answer(correlation, &Answer::CaughtUp(mark(progress)));
                live.caught_up.store(true, Ordering::Release);
            }
            Notice::FellBehind(progress) => {
                live.caught_up.store(false, Ordering::Release);
                self.answer(correlation, &Answer::FellBehind(mark(progress)));
            }
            Notice::StreamTombstoned(_) => {
                return Err(WireError::StreamTombstoned(live.stream.clone()));
            }
        }
        Ok(())
    }
}

fn mark(progress: Progress) -> wire::Mark {
    wire::Mark {
        position: progress.position.0,
        committed_us: progress.committed_us,
    }
}

/// Tells a connection from time to time how far all its live subscriptions have come.
#[derive(Debug, Default)]
pub(super) struct IdleMarks {
    told: Position,
}

impl IdleMarks {
    /// Sends a mark, if the log has moved and every subscription that has caught up is at rest:
    /// then nothing for any of them lies in front of the mark, and nothing is on its way.
    pub(super) fn tick(&mut self, session: &Session) {
        let live: Vec<Arc<Live>> = {
            let feeds = session.feeds.lock();
            let caught_up = |live: &&Arc<Live>| live.caught_up.load(Ordering::Acquire);
            feeds.live.values().filter(caught_up).cloned().collect()
        };
        if live.is_empty() {
            return;
        }
        let resting = live.iter().map(|live| &live.resting);
        let Some(progress) = session.shared.store.all_resting(resting) else {
            return;
        };
        if progress.position > self.told {
            self.told = progress.position;
            session.answer(NO_REQUEST, &Answer::Idle(mark(progress)));
        }
    }
}
