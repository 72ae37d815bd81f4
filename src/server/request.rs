//! What has one answer: one short function per request.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::timeout;

use super::error::{Refusal, of_append, of_message, of_read};
use super::group;
use super::permit::Permit;
use super::session::Session;
use super::users;
use crate::engine::{BatchLimit, ReadError, Store};
use crate::model::{
    Append, Direction, Position, ReadFrom, Revision, StreamHead, StreamName, Timestamp, Token,
};
use crate::protocol::message as wire;
use crate::protocol::records::{Run, revisions};
use crate::protocol::{Answer, Frame, Request, WireError};

/// The most streams in one answer.
const STREAMS_MAX: u32 = 1024;
/// How many streams are looked at in one go for somebody who has seen too few of them.
const PAGE_LEN: usize = 1024;
/// The longest wait for a token.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

impl Session {
    /// Begins to answer a frame.
    pub(super) fn take(self: &Arc<Self>, frame: Frame) {
        let Frame {
            kind,
            correlation,
            body,
        } = frame;
        match Request::decode(kind, body) {
            Ok(request) => self.dispatch(correlation, request),
            Err(error) => self.answer(correlation, &Answer::Error(of_message(error))),
        }
    }

    fn dispatch(self: &Arc<Self>, correlation: u64, request: Request) {
        let permit = match self.permit(&request) {
            Ok(permit) => permit,
            Err(error) => return self.answer(correlation, &Answer::Error(error)),
        };
        match request {
            Request::Append(append) => self.append(correlation, append, &permit),
            Request::Read(read) => self.read(correlation, read, permit),
            Request::Subscribe(subscribe) => self.subscribe(correlation, subscribe, permit),
            Request::Credit(credit) => self.with_feed(correlation, |feed| feed.give(credit.bytes)),
            Request::Cancel(_) => self.with_feed(correlation, super::feed::Feed::cancel),
            Request::Heartbeat(_) => (),
            Request::Hello(_) => {
                let problem = "a second hello on one connection".to_owned();
                self.answer(correlation, &Answer::Error(WireError::Malformed(problem)));
            }
            Request::Event(at) => self.ask(correlation, permit, move |store, permit| {
                event(store, at, permit)
            }),
            Request::DescribeStream(wire::DescribeStream { stream }) => {
                self.ask(correlation, permit, move |store, _| describe(store, stream));
            }
            Request::ListStreams(list) => self.list_streams(correlation, list, permit),
            Request::PositionAt(at) => {
                self.ask(correlation, permit, move |store, _| position_at(store, at));
            }
            Request::Status(_) => {
                let session = Arc::clone(self);
                self.ask(correlation, permit, move |store, _| {
                    Ok(Answer::Status(session.status(store)))
                });
            }
            Request::Users(request) => {
                let access = self.shared.access.clone();
                self.ask(correlation, permit, move |_, _| {
                    users::answer(&access, request)
                });
            }
            Request::Groups(request) => {
                let shared = Arc::clone(&self.shared);
                self.ask(correlation, permit, move |_, _| {
                    group::answer(&shared.groups()?, request)
                });
            }
            Request::JoinGroup(join) => self.join_group(correlation, join, permit),
            Request::Ack(ack) => self.ack(correlation, &ack),
            Request::Nack(nack) => self.nack(correlation, &nack),
            Request::WaitFor(wait) => self.wait_for(correlation, wait, permit),
        }
    }

    /// Does something to a feed that may have ended already.
    fn with_feed(&self, correlation: u64, act: impl FnOnce(&super::feed::Feed)) {
        let feed = self.feeds.lock().by_request.get(&correlation).cloned();
        if let Some(feed) = feed {
            act(&feed);
        }
    }

    /// What an append needs is looked up on this thread, like what the append itself rests on, so
    /// that appends stay in their order. It is committed behind the last frame of a read.
    fn append(self: &Arc<Self>, correlation: u64, mut append: Append, permit: &Permit) {
        if let Err(error) = self.begin_request() {
            return self.answer(correlation, &Answer::Error(error));
        }
        if let Err(Refusal(error)) = permit.check() {
            self.answer(correlation, &Answer::Error(error));
            return self.end_request();
        }
        if let Some(request) = &mut append.request {
            self.principal()
                .of_requests()
                .clone_into(&mut request.principal);
        }
        let session = Arc::clone(self);
        let (store, origin) = (&self.shared.store, self.origin);
        store.enqueue_from(origin, append, move |done| {
            let answer = match done {
                Ok(receipt) => Answer::Receipt(receipt.into()),
                Err(error) => Answer::Error(of_append(error)),
            };
            session.answer(correlation, &answer);
            session.end_request();
        });
    }

    /// Answers from the store, on a thread that may wait for the disk.
    fn ask(
        self: &Arc<Self>,
        correlation: u64,
        mut permit: Permit,
        question: impl FnOnce(&Store, &mut Permit) -> Result<Answer, Refusal> + Send + 'static,
    ) {
        if let Err(error) = self.begin_request() {
            return self.answer(correlation, &Answer::Error(error));
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let judged = move |store: &Store| {
                permit.check()?;
                question(store, &mut permit)
            };
            let answer = match session.shared.on_disk(judged).await {
                Ok(answer) => answer,
                Err(error) => Answer::Error(error),
            };
            session.answer(correlation, &answer);
            session.end_request();
        });
    }

    /// Lists streams, page by page: whoever may see none of many holds no place of a reader for
    /// longer than one page takes.
    fn list_streams(
        self: &Arc<Self>,
        correlation: u64,
        list: wire::ListStreams,
        mut permit: Permit,
    ) {
        if let Err(error) = self.begin_request() {
            return self.answer(correlation, &Answer::Error(error));
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let listed = async {
                let mut listing = Listing::of(list)?;
                while !listing.is_whole {
                    if session.is_closed() {
                        return Err(WireError::GoingAway);
                    }
                    let page = session.shared.on_disk(move |store| {
                        permit.check()?;
                        listing.page(store, &mut permit)?;
                        Ok((listing, permit))
                    });
                    (listing, permit) = page.await?;
                }
                Ok(listing.answer())
            };
            let answer = match listed.await {
                Ok(answer) => answer,
                Err(error) => Answer::Error(error),
            };
            session.answer(correlation, &answer);
            session.end_request();
        });
    }

    fn wait_for(self: &Arc<Self>, correlation: u64, wait: wire::WaitFor, permit: Permit) {
        if let Err(error) = self.begin_request() {
            return self.answer(correlation, &Answer::Error(error));
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let reached = match session.shared.check(permit).await {
                Ok(_) => session.reach(wait).await,
                Err(error) => Err(error),
            };
            let answer = match reached {
                Ok(()) => Answer::Position(wire::PositionIs {
                    position: session.shared.store.committed().0,
                }),
                Err(error) => Answer::Error(error),
            };
            session.answer(correlation, &answer);
            session.end_request();
        });
    }

    /// Waits for a token, as long as the request says.
    pub(super) async fn reach(&self, wait: wire::WaitFor) -> Result<(), WireError> {
        let token = Token::from(wait.token);
        let within = Duration::from_millis(wait.within_ms.into()).min(WAIT_MAX);
        let store = &self.shared.store;
        match timeout(within, store.reached(token)).await {
            Ok(reached) => reached.map_err(of_read),
            Err(_) => Err(WireError::NotReached {
                reached: store.committed().0,
                asked: token.end.0,
                waited_ms: wait.within_ms,
            }),
        }
    }

    fn status(&self, store: &Store) -> wire::StatusIs {
        use std::sync::atomic::Ordering::Relaxed;
        let shared = &self.shared;
        let to_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        wire::StatusIs {
            committed: store.committed().0,
            committed_us: store.committed_us(),
            up_ms: u64::try_from(shared.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            figures: vec![
                (
                    "connections".to_owned(),
                    to_u64(shared.connections.load(Relaxed)),
                ),
                (
                    "subscriptions".to_owned(),
                    to_u64(shared.subscriptions.load(Relaxed)),
                ),
                (
                    "queued_len_bytes".to_owned(),
                    to_u64(shared.queued.load(Relaxed)),
                ),
                ("cpu_us".to_owned(), cpu_us()),
            ],
            texts: Vec::new(),
        }
    }
}

/// The processor time that this process has taken so far, in microseconds.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).map_or(0, |time| {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    })
}

fn event(store: &Store, at: wire::EventAt, permit: &mut Permit) -> Result<Answer, Refusal> {
    let one = BatchLimit {
        events_max: 1,
        len_bytes_max: usize::MAX,
    };
    let forwards = Direction::Forwards;
    let (found, wanted) = match at {
        wire::EventAt::Position(position) => {
            let from = ReadFrom::At(Position(position));
            let found = store
                .read_all(from, forwards, None)?
                .next_batch_within(one)?;
            (found, Wanted::Position(Position(position)))
        }
        wire::EventAt::Revision { stream, revision } => {
            let from = ReadFrom::At(Revision(revision));
            let mut events = store.read_stream(&StreamName::new(stream)?, from, forwards)?;
            (
                events.next_batch_within(one)?,
                Wanted::Revision(Revision(revision)),
            )
        }
    };
    let mut found = found;
    if let Some(batch) = &mut found {
        permit.show(batch)?;
    }
    // The record goes out as it lies on the disk, so that its reader can check it.
    let runs = found.into_iter().flat_map(|batch| batch.runs);
    let runs = runs.filter(|run| match wanted {
        Wanted::Position(position) => run.first == position,
        Wanted::Revision(revision) => {
            revisions(&run.bytes).is_some_and(|(first, _)| first == revision)
        }
    });
    let runs = runs.map(|run| Run {
        first: run.first,
        count: run.count,
        bytes: run.bytes,
    });
    Ok(Answer::Records(runs.collect()))
}

/// How the one event that was asked for is known.
enum Wanted {
    Position(Position),
    Revision(Revision),
}

fn describe(store: &Store, stream: String) -> Result<Answer, Refusal> {
    let stream = StreamName::new(stream)?;
    let info = match store.stream(&stream) {
        Ok(info) => info,
        // That it is not there is an answer.
        Err(ReadError::StreamNotFound(_)) => {
            return Ok(Answer::StreamDescription(wire::StreamDescription {
                head: StreamHead::Absent.into(),
                first: None,
                last_position: None,
                events: 0,
                metadata: None,
            }));
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = info.metadata.map(|metadata| wire::StreamMetadata {
        revision: metadata.revision.0,
        json: metadata.json.to_vec(),
    });
    Ok(Answer::StreamDescription(wire::StreamDescription {
        head: info.head.into(),
        first: info.first.map(|first| first.0),
        last_position: info.last_position.map(|position| position.0),
        events: info.events_count,
        metadata,
    }))
}

/// Streams that are being listed.
struct Listing {
    prefix: String,
    after: Option<StreamName>,
    max: usize,
    /// How many names the next page has: at first one more than is sent, which shows whether there
    /// are more.
    page_len: usize,
    found: Vec<wire::StreamSummary>,
    /// Whether there is one more than is sent, or nothing more.
    is_whole: bool,
}

impl Listing {
    fn of(list: wire::ListStreams) -> Result<Self, WireError> {
        let after = list.after.as_deref().map(StreamName::try_from);
        let max = usize::try_from(list.streams_max.clamp(1, STREAMS_MAX)).unwrap_or(1);
        Ok(Self {
            prefix: list.prefix,
            after: after.transpose()?,
            max,
            page_len: max + 1,
            found: Vec::new(),
            is_whole: false,
        })
    }

    /// Looks at one page of names.
    fn page(&mut self, store: &Store, permit: &mut Permit) -> Result<(), Refusal> {
        let page = store.streams(&self.prefix, self.after.as_ref(), self.page_len)?;
        let is_last = page.len() < self.page_len;
        self.page_len = PAGE_LEN;
        self.after = page.last().map(|summary| summary.stream.clone());
        for summary in page {
            if permit.sees(&summary.stream)? {
                self.found.push(wire::StreamSummary {
                    stream: summary.stream.to_string(),
                    head: summary.head.into(),
                    events: summary.events_count,
                });
            }
        }
        self.is_whole = is_last || self.found.len() > self.max;
        Ok(())
    }

    fn answer(mut self) -> Answer {
        let more = self.found.len() > self.max;
        self.found.truncate(self.max);
        Answer::StreamList(wire::StreamList {
            streams: self.found,
            more,
        })
    }
}

fn position_at(store: &Store, at: wire::PositionAt) -> Result<Answer, Refusal> {
    let created = Timestamp::new(at.seconds, at.nanos, 9)
        .map_err(|error| Refusal(WireError::Invalid(error.to_string())))?;
    let position = store.position_at(created)?.0;
    Ok(Answer::Position(wire::PositionIs { position }))
}
