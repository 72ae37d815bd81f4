//! Followers: subscriptions from the first event on, which go on where they were when the server
//! goes away, or are dropped and begun anew behind what they were given.

use std::time::Duration;

use annal::client::{Notice, Notices, ReadError, Subscribe, Subscription};
use annal::{Client, Position, Source, SubscribeFrom};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::history::{Followed, Followings, Given};
use super::load::Clock;

/// How long a follower waits for the last event before this counts as never.
const END_WITHIN: Duration = Duration::from_secs(300);
/// How long it waits where nobody answers.
pub(crate) const PAUSE: Duration = Duration::from_millis(3);

/// What somebody is given who follows until `follow` ends, or for so long after it is known what
/// `last` is that he counts as lost.
pub(crate) async fn followed(
    of: Followed,
    last: &watch::Receiver<Option<Vec<Position>>>,
    follow: impl AsyncFnOnce(&mut Followings),
) -> Followings {
    let mut all = Followings {
        of,
        given: Vec::new(),
        resumed: 0,
        reached_the_end: false,
    };
    let ended = async {
        let mut last = last.clone();
        let _known = last.wait_for(Option::is_some).await.is_ok();
        sleep(END_WITHIN).await;
    };
    tokio::select! {
        () = follow(&mut all) => all.reached_the_end = true,
        () = ended => {}
    }
    all
}

/// Somebody who follows.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) client: Client,
    pub(crate) of: Followed,
    /// Whether it drops its subscription now and then.
    pub(crate) restless: bool,
    pub(crate) dice: Dice,
    pub(crate) clock: Clock,
}

impl Follower {
    /// Follows until it was given the event that `last` names for it, once that is known.
    pub(crate) async fn run(mut self, last: watch::Receiver<Option<Vec<Position>>>) -> Followings {
        let of = self.of.clone();
        followed(of, &last, async |all| self.follow(all, &last).await).await
    }

    async fn follow(
        &mut self,
        all: &mut Followings,
        last: &watch::Receiver<Option<Vec<Position>>>,
    ) {
        let mut running = None;
        let mut after = None;
        let mut given = None;
        loop {
            if last
                .borrow()
                .as_ref()
                .is_some_and(|last| is_last(&self.of, last, given))
            {
                return;
            }
            let Some(subscription) = &mut running else {
                match self.begin(after).await {
                    Ok(begun) => running = Some(begun),
                    Err(_) => sleep(PAUSE).await,
                }
                continue;
            };
            // Awake now and then, to see whether that was the last event.
            let Ok(next) = timeout(Duration::from_millis(50), subscription.next_batch()).await
            else {
                continue;
            };
            let now = self.clock.now();
            match next {
                Ok(Notices::Events(events)) => {
                    for event in events {
                        (given, after) = (Some(event.position), Some(event.position));
                        all.given.push(Given::Event(now, Box::new(event)));
                    }
                }
                Ok(Notices::Notice(notice)) => match notice {
                    Notice::Checkpoint {
                        position,
                        committed_us,
                    }
                    | Notice::CaughtUp {
                        position,
                        committed_us,
                    } => {
                        after = position.0.checked_sub(1).map(Position);
                        all.given.push(Given::LookedAt(now, position, committed_us));
                    }
                    Notice::FellBehind { position } => {
                        after = position.0.checked_sub(1).map(Position);
                        all.given.push(Given::LookedAt(now, position, None));
                    }
                    Notice::Resumed { .. } => all.resumed += 1,
                    Notice::Event(event) => all.given.push(Given::Event(now, Box::new(event))),
                },
                Err(_) => sleep(PAUSE).await,
            }
            if self.restless && self.dice.percent(1) {
                running = None;
                all.resumed += 1;
            }
        }
    }

    async fn begin(&self, after: Option<Position>) -> Result<Subscription, ReadError> {
        let source = match &self.of {
            Followed::All => Source::All,
            Followed::Stream(stream) => Source::Stream(stream.clone()),
            Followed::Category(category) => Source::Category(category.clone()),
        };
        let from = after.map_or(SubscribeFrom::Start, SubscribeFrom::After);
        let subscribe = Subscribe::new(source, from);
        self.client.subscribe(subscribe).await
    }
}

/// Whether the last event given is one behind which nothing comes.
pub(crate) fn is_last(of: &Followed, last: &[Position], given: Option<Position>) -> bool {
    match of {
        Followed::Stream(_) => given.is_some_and(|given| last.contains(&given)),
        Followed::All | Followed::Category(_) => given == last.last().copied(),
    }
}
