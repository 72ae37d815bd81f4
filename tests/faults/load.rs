//! Clients that write, each over a connection of its own and by one of two protocols: exact, absent
//! and any expectations, own and shared streams, one and several streams, small and large; now and
//! then they look. What is unknown they send again with the same ids, or let be. Every request is
//! noted with its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annal::client::{AppendError, ConnectError, Read, ReadError};
use annal::{
    Append, Client, EventType, ExpectedRevision, NewEvent, Position, Revision, StreamHead,
    StreamName, Tag,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::dice::Dice;
use super::grpc::Grpc;
use super::history::{Asked, Look, Moment, Outcome, Saw};

/// How many streams all writers share.
pub(crate) const SHARED: u64 = 4;
/// How long a writer waits after it was told that nothing can be written.
const PAUSE: Duration = Duration::from_millis(3);

/// The clock of a history.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Instant>);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Instant::now()))
    }

    pub(crate) fn now(&self) -> Moment {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap()
    }
}

/// The stream of this number that all share.
pub(crate) fn shared(number: u64) -> StreamName {
    StreamName::new(format!("shared-{number}")).unwrap()
}

/// What a writer did and saw.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) asked: Vec<Asked>,
    pub(crate) looks: Vec<Look>,
    /// Answers that no fault of this kind explains.
    pub(crate) complaints: Vec<String>,
}

/// What all writers were answered.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// What a writer is given.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    /// The longest time that an answer may take before it is not waited for any more.
    pub(crate) patience: Option<Duration>,
    /// How many of a thousand events are large.
    pub(crate) large_permille: u64,
    pub(crate) counts: Arc<Counts>,
    pub(crate) clock: Clock,
}

/// What a client speaks.
#[derive(Clone, Debug)]
pub(crate) enum Speaks {
    Native(Client),
    Grpc(Grpc),
}

/// A client that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    client: Speaks,
    number: u64,
    dice: Dice,
    means: Means,
    /// Where streams ended when last heard of.
    heads: HashMap<StreamName, Option<Revision>>,
    own: u64,
    notes: Notes,
}

impl Writer {
    pub(crate) fn new(client: Speaks, number: u64, seed: u64, means: Means) -> Self {
        Self {
            client,
            number,
            dice: Dice::new(seed ^ number.wrapping_mul(0x5851_f42d_4c95_7f2d)),
            means,
            heads: HashMap::new(),
            own: 0,
            notes: Notes::default(),
        }
    }

    /// Writes and looks until it is told to stop.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) -> Notes {
        while !*stop.borrow() {
            match self.dice.percent(12) {
                true => self.look().await,
                false => self.write().await,
            }
        }
        self.notes
    }

    fn name(&self, text: &str, number: u64) -> StreamName {
        StreamName::new(format!("{text}_{}-{number}", self.number)).unwrap()
    }

    fn event(&mut self) -> NewEvent {
        let bytes = match self.dice.below(1_000) {
            few if few < self.means.large_permille => 200_000 + self.dice.below(400_000),
            few if few < 20 => 4_000 + self.dice.below(16_000),
            _ => self.dice.below(300),
        };
        let data: Vec<u8> = match bytes {
            0..20_000 => (0..bytes)
                .map(|_| self.dice.roll().to_le_bytes()[0])
                .collect(),
            _ => vec![self.dice.roll().to_le_bytes()[0]; usize::try_from(bytes).unwrap()],
        };
        let event_type = EventType::new(self.dice.pick(&["Placed", "Paid", "Shipped"])).unwrap();
        let id = u128::from(self.dice.roll()) << 64 | u128::from(self.dice.roll());
        let event = NewEvent::binary(event_type, data).with_id(Uuid::from_u128(id));
        match self.dice.below(4) {
            0 => event.with_metadata(r#"{"by":"a writer"}"#),
            1 if matches!(self.client, Speaks::Native(_)) => {
                event.with_tags(vec![Tag::new("kind:tagged").unwrap()])
            }
            _ => event,
        }
    }

    fn events(&mut self) -> Vec<NewEvent> {
        let count = match self.dice.below(100) {
            0 => 50 + self.dice.below(200),
            1..25 => 2 + self.dice.below(7),
            _ => 1,
        };
        (0..count).map(|_| self.event()).collect()
    }

    /// What is believed of a stream, mostly.
    fn belief(&mut self, stream: &StreamName) -> ExpectedRevision {
        let known = self.heads.get(stream).copied().flatten();
        match (known, self.dice.below(20)) {
            (_, 0) => ExpectedRevision::NoStream,
            (Some(Revision(at)), 1) => ExpectedRevision::Exactly(Revision(at + 1)),
            (Some(Revision(at)), 2) => ExpectedRevision::Exactly(Revision(at.saturating_sub(1))),
            (Some(_), 3) => ExpectedRevision::StreamExists,
            (Some(at), _) => ExpectedRevision::Exactly(at),
            (None, _) => ExpectedRevision::NoStream,
        }
    }

    fn request(&mut self) -> Append {
        let shared = shared(self.dice.below(SHARED));
        let own = self.name("own", self.dice.clone().below(3));
        match self.dice.below(100) {
            0..30 => Append::to(own.clone(), self.belief(&own), self.events()),
            30..60 => Append::to(shared.clone(), self.belief(&shared), self.events()),
            60..72 => Append::to(shared, ExpectedRevision::Any, self.events()),
            72..87 => {
                self.own += 1;
                let new = self.name("new", self.own);
                Append::to(new, ExpectedRevision::NoStream, self.events())
            }
            // The other protocol writes to one stream at once.
            _ if matches!(self.client, Speaks::Grpc(_)) => {
                Append::to(own, ExpectedRevision::Any, self.events())
            }
            _ => {
                let (of_own, of_shared) = (self.belief(&own), self.belief(&shared));
                let mut append = Append::to(own.clone(), of_own, self.events());
                append = append.event(shared.clone(), self.event());
                append = append.event(own, self.event());
                append.expect(shared, of_shared)
            }
        }
    }

    async fn write(&mut self) {
        let append = self.request();
        let invoked = self.means.clock.now();
        // By the client, which sends again itself if it is one of ours; by hand; or not at all.
        let by_hand = self.dice.percent(60) || matches!(self.client, Speaks::Grpc(_));
        let mut tries = if by_hand { 1 + self.dice.below(5) } else { 0 };
        let mut doubt = None;
        let outcome = loop {
            tries = tries.saturating_sub(1);
            match (self.send(append.clone(), by_hand).await, doubt) {
                (Outcome::Unknown(why), _) if tries > 0 => doubt = Some(why),
                // Refused was only what was sent last.
                (Outcome::Refused(_), Some(why)) => break Outcome::Unknown(why),
                // What was sent first may still be on its way.
                (Outcome::Conflict { .. }, Some(why)) if self.means.patience.is_some() => {
                    break Outcome::Unknown(why);
                }
                (outcome, _) => break outcome,
            }
            sleep(PAUSE).await;
        };
        let returned = self.means.clock.now();
        match &outcome {
            Outcome::Done(receipt) => {
                self.means
                    .counts
                    .acknowledged
                    .fetch_add(1, Ordering::Relaxed);
                for (stream, revision) in &receipt.revisions {
                    self.heads.insert(stream.clone(), Some(*revision));
                }
            }
            Outcome::Conflict { stream, found } => {
                self.heads.insert(stream.clone(), *found);
            }
            Outcome::Refused(_) => {
                self.means.counts.refused.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
            Outcome::Unknown(_) => {}
        }
        self.notes.asked.push(Asked {
            append,
            over_grpc: matches!(self.client, Speaks::Grpc(_)),
            invoked,
            returned,
            outcome,
        });
    }

    async fn send(&mut self, append: Append, once: bool) -> Outcome {
        let client = self.client.clone();
        let answer = async {
            match client {
                Speaks::Native(client) if once => Ok(client.append_once(append).await),
                Speaks::Native(client) => Ok(client.append(append).await),
                Speaks::Grpc(client) => Err(client.append(&append).await),
            }
        };
        let answered = match self.means.patience {
            None => Some(answer.await),
            Some(patience) => timeout(patience, answer).await.ok(),
        };
        match answered {
            Some(Ok(sent)) => self.outcome(sent),
            Some(Err(Ok(outcome))) => outcome,
            Some(Err(Err(complaint))) => {
                self.notes.complaints.push(complaint.clone());
                Outcome::Unknown(complaint)
            }
            None => Outcome::Unknown("no answer in time".to_owned()),
        }
    }

    fn outcome(&mut self, sent: Result<annal::Receipt, AppendError>) -> Outcome {
        let error = match sent {
            Ok(receipt) => return Outcome::Done(receipt),
            Err(error) => error,
        };
        let text = error.to_string();
        match error {
            AppendError::Unknown(why) => return Outcome::Unknown(why),
            AppendError::WrongExpectedRevision { stream, found, .. } => match found {
                StreamHead::Absent => {
                    return Outcome::Conflict {
                        stream,
                        found: None,
                    };
                }
                StreamHead::At(at) => {
                    let found = Some(at);
                    return Outcome::Conflict { stream, found };
                }
                StreamHead::Deleted(_) | StreamHead::Tombstoned => {}
            },
            AppendError::Storage { .. } | AppendError::DiskFull(_) | AppendError::Busy => {
                return Outcome::Refused(text);
            }
            AppendError::Connection(ConnectError::Unreachable { .. }) => {
                return Outcome::Refused(text);
            }
            _ => {}
        }
        self.notes.complaints.push(text.clone());
        Outcome::Refused(text)
    }

    async fn look(&mut self) {
        let invoked = self.means.clock.now();
        let shared = shared(self.dice.below(SHARED));
        let client = match &self.client {
            Speaks::Native(client) => client.clone(),
            Speaks::Grpc(client) => {
                let head = client.clone().head(&shared).await;
                let returned = self.means.clock.now();
                match head {
                    Ok(head) => self.notes.looks.push(Look {
                        invoked,
                        returned,
                        saw: Saw::Head(shared, head),
                    }),
                    Err(_) => sleep(PAUSE).await,
                }
                return;
            }
        };
        let seen = match self.dice.below(3) {
            0 => client.stream(&shared).await.map(|is| {
                let head = match is.head {
                    StreamHead::At(at) => Some(at),
                    _ => None,
                };
                Saw::Head(shared, head)
            }),
            1 => {
                let known = self.heads.get(&shared).copied().flatten();
                let from = Revision(known.map_or(0, |known| known.0.saturating_sub(3)));
                let read = Read::stream(shared.clone()).from_revision(from);
                match client.read(read).collect().await {
                    Err(ReadError::StreamNotFound(_)) => Ok(Saw::Head(shared, None)),
                    read => read.map(|events| Saw::Stream(shared, from, events)),
                }
            }
            _ => match client.status().await {
                Err(error) => Err(error),
                Ok(status) => {
                    let from = Position(status.token.end.0.saturating_sub(5));
                    let read = Read::all().from_position(from);
                    let read = client.read(read).collect().await;
                    read.map(|events| Saw::Log(from, events))
                }
            },
        };
        let returned = self.means.clock.now();
        match seen {
            Ok(saw) => self.notes.looks.push(Look {
                invoked,
                returned,
                saw,
            }),
            Err(ReadError::Connection(ConnectError::Unreachable { .. })) => sleep(PAUSE).await,
            Err(error) => {
                self.notes.complaints.push(format!("a look: {error}"));
                sleep(PAUSE).await;
            }
        }
    }
}
