//! One connection: one task that takes in every frame that has arrived and sends everything that is
//! ready, each with one call to the system.
//!
//! Answers come from many threads into the outbox. While more waits there than allowed, no further
//! request is read and no feed goes on.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::codec::Decoder;

use super::Shared;
use super::feed::Feed;
use super::subscription::{IdleMarks, Live};
use crate::access::{AuthenticationError, Credentials, Principal};
use crate::engine::Origin;
use crate::protocol::frame::{NO_REQUEST, make_room};
use crate::protocol::message::{
    Authentication, Empty, Hello, Limits, VERSION_MAX, VERSION_MIN, Welcome,
};
use crate::protocol::outbox::Outbox;
use crate::protocol::{Answer, FrameCodec, FrameError, Request, WireError};
use crate::subscription::MemberHandle;

/// Frames up to this size arrive without asking; larger ones share a budget, in bytes. So much may
/// also wait to be sent, however many connections there are.
pub(super) const SMALL_FRAME_LEN_BYTES: usize = 64 * 1024;
/// How many feeds of a connection read at once: one reads while another's records are sent.
const TURNS: usize = 2;
/// A commit that takes longer must not hold up the other connections of a runtime's thread.
const COMMIT_WITHIN: Duration = Duration::from_micros(500);
/// How many requests of a connection are taken before the others have their turn.
const FRAMES_AT_ONCE: usize = 64;
/// How long a client that is going may send on before the socket is closed under it.
const LINGER: Duration = Duration::from_secs(1);

/// One connection, as its task and whoever answers its requests see it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    pub(super) origin: Origin,
    /// Who said hello.
    principal: OnceLock<Principal>,
    outbox: Mutex<Outbox>,
    /// Bytes that were taken out of the outbox and are being sent.
    sending: AtomicUsize,
    wake: Notify,
    /// Whether requests are being taken in. What is answered meanwhile is sent right behind that by
    /// the same task: to wake it would have another thread look for it in vain.
    taking: AtomicBool,
    drained: Notify,
    /// Feeds take turns: were all of them to read as soon as there is room, the room would be
    /// filled many times over.
    pub(super) turns: Semaphore,
    requests: AtomicUsize,
    finished: Notify,
    pub(super) feeds: Mutex<Feeds>,
    /// No new requests are taken.
    leaving: AtomicBool,
    /// Everything was answered: send what is there, and close.
    ending: AtomicBool,
}

/// The feeds of a session by the requests that they answer.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    pub(super) by_request: HashMap<u64, Arc<Feed>>,
    pub(super) subscriptions: usize,
    /// Those that run.
    pub(super) live: HashMap<u64, Arc<Live>>,
    /// Memberships of consumer groups.
    pub(super) members: HashMap<u64, MemberHandle>,
    /// No new ones.
    closed: bool,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            origin: shared.store.origin(),
            shared,
            peer,
            principal: OnceLock::new(),
            outbox: Mutex::default(),
            sending: AtomicUsize::new(0),
            wake: Notify::new(),
            taking: AtomicBool::new(false),
            drained: Notify::new(),
            turns: Semaphore::new(TURNS),
            requests: AtomicUsize::new(0),
            finished: Notify::new(),
            feeds: Mutex::default(),
            leaving: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        })
    }

    /// Serves a connection until one side ends it.
    pub(super) async fn serve(
        self: &Arc<Self>,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        stopping: watch::Receiver<bool>,
        refusal: Option<WireError>,
    ) {
        let _ends = Ends(Arc::clone(self));
        let mut receiving = pin!(self.receive(reader, stopping, refusal));
        let mut sending = pin!(self.send(writer));
        // In this order: what was answered while receiving is sent before the task gives way.
        tokio::select! {
            biased;
            () = &mut receiving => (),
            sent = &mut sending => if sent {
                // What the client has sent meanwhile is read, so that closing does not tear the
                // last answers out of its hands.
                let _lingered = timeout(LINGER, receiving).await;
            },
        }
    }

    async fn receive(
        self: &Arc<Self>,
        mut reader: impl AsyncRead + Unpin,
        stopping: watch::Receiver<bool>,
        refusal: Option<WireError>,
    ) {
        let mut inbox = BytesMut::new();
        let within = self.shared.options.hello_within;
        let greeted = match timeout(within, self.greet(&mut reader, &mut inbox, refusal)).await {
            Ok(greeted) => greeted,
            Err(_) => Err(Some(WireError::Malformed("no hello in time".to_owned()))),
        };
        let ended = match greeted {
            Ok(()) => self.receive_requests(&mut reader, inbox, stopping).await,
            Err(ended) => ended,
        };
        let Some(error) = ended else { return };
        tracing::debug!(peer = %self.peer, %error, "closing a connection");
        self.answer(NO_REQUEST, &Answer::Error(error));
        self.end();
        drain(&mut reader).await;
    }

    /// Answers the hello. An error is the last thing that the client is told, if it is there.
    async fn greet(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        inbox: &mut BytesMut,
        refusal: Option<WireError>,
    ) -> Result<(), Option<WireError>> {
        let frame = loop {
            match FrameCodec::frame_len(inbox) {
                Ok(Some(SMALL_FRAME_LEN_BYTES..)) => {
                    return Err(Some(WireError::Malformed("this is no hello".to_owned())));
                }
                Ok(_) => (),
                Err(error) => return Err(Some(WireError::Malformed(error.to_string()))),
            }
            if let Ok(Some(frame)) = FrameCodec.decode(inbox) {
                break frame;
            }
            match reader.read_buf(inbox).await {
                Ok(1..) => (),
                Ok(0) | Err(_) => return Err(None),
            }
        };
        let hello = match Request::decode(frame.kind, frame.body) {
            Ok(Request::Hello(hello)) => hello,
            Ok(_) => {
                return Err(Some(WireError::Malformed(
                    "the first frame is no hello".into(),
                )));
            }
            Err(error) => return Err(Some(super::error::of_message(error))),
        };
        match refusal {
            Some(error) => return Err(Some(error)),
            None => check_hello(&hello)?,
        }
        let principal = self
            .authenticate(&hello.authentication)
            .await
            .map_err(Some)?;
        tracing::debug!(
            peer = %self.peer,
            client = %hello.client.escape_debug(),
            user = %principal.name().escape_debug(),
            "connected"
        );
        self.principal.get_or_init(|| principal);
        self.answer(frame.correlation, &Answer::Welcome(self.welcome(&hello)));
        Ok(())
    }

    /// Who a client is, by what he shows.
    async fn authenticate(&self, shown: &Authentication) -> Result<Principal, WireError> {
        let access = self.shared.access.clone();
        let credentials = match shown {
            Authentication::None => None,
            Authentication::Password { user, password } => {
                Some(Credentials::new(user.clone(), password.clone()))
            }
            Authentication::Token(_) if access.is_open() => None,
            Authentication::Token(_) => {
                let problem = "this server gives out no tokens; show a user and his password";
                return Err(WireError::Authentication(problem.to_owned()));
            }
        };
        if let Some(known) = access.recognise(credentials.as_ref()) {
            return Ok(known);
        }
        // Hashing a password takes its time.
        let checked = spawn_blocking(move || access.authenticate(credentials.as_ref())).await;
        match checked.map_err(|_| WireError::GoingAway)? {
            Ok(principal) => Ok(principal),
            Err(AuthenticationError::Busy) => Err(WireError::Busy),
            Err(error) => Err(WireError::Authentication(error.to_string())),
        }
    }

    /// Who sends the requests of this connection.
    pub(super) fn principal(&self) -> Principal {
        let said = self.principal.get().cloned();
        said.unwrap_or_else(Principal::anonymous)
    }

    fn welcome(&self, hello: &Hello) -> Welcome {
        let Shared { store, options, .. } = &*self.shared;
        let to_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Welcome {
            version: hello.version_max.min(VERSION_MAX),
            store: store.id().0.into_bytes(),
            lineage: store.lineage().0.into_bytes(),
            record_salt: store.record_salt().bytes(),
            committed: store.committed().0,
            limits: Limits {
                frame_len_bytes_max: to_u32(crate::protocol::frame::FRAME_LEN_BYTES_MAX),
                append_len_bytes_max: to_u32(store.options().append_len_bytes_max),
                append_events_max: to_u32(store.options().append_events_max),
                credit_bytes_max: options.credit_bytes_max,
                requests_max: to_u32(options.requests_max),
                subscriptions_max: to_u32(options.subscriptions_max),
                heartbeat_ms: ms(options.heartbeat),
                silence_ms_max: ms(options.silence_max),
            },
            server: "annal".to_owned(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Takes requests until the client ends the connection, or breaks the rules, which is returned.
    async fn receive_requests(
        self: &Arc<Self>,
        reader: &mut (impl AsyncRead + Unpin),
        mut inbox: BytesMut,
        mut stopping: watch::Receiver<bool>,
    ) -> Option<WireError> {
        let options = &self.shared.options;
        let mut ticks = ticks(options.silence_max.min(options.frame_within) / 8);
        let mut heard = Instant::now();
        let mut frame_began = heard;
        let mut budget = None;
        let mut filled = false;
        loop {
            let before = inbox.len();
            let more = match self.take_frames(&mut inbox) {
                Ok(more) => more,
                Err(error) => return Some(WireError::Malformed(error.to_string())),
            };
            if inbox.len() < before {
                budget = None;
            }
            if inbox.len() < before || inbox.is_empty() {
                frame_began = Instant::now();
            }
            if self.backlog() > self.outbox_len_bytes() || self.is_large(&inbox, &budget) {
                self.room().await;
                self.afford(&inbox, &mut budget).await;
                heard = Instant::now();
            }
            if filled || more {
                // Who sends without end takes turns with the others.
                yield_now().await;
            }
            if more {
                continue;
            }
            make_room(&mut inbox, filled);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut inbox) => match read {
                    Ok(1..) => {
                        heard = Instant::now();
                        filled = inbox.len() == inbox.capacity();
                    }
                    Ok(0) | Err(_) => return None,
                },
                _ = stopping.wait_for(|stop| *stop), if !self.is_leaving() => self.leave(),
                () = self.finished.notified(), if self.is_leaving() => self.end_if_answered(),
                _ = ticks.tick() => {
                    if inbox.is_empty() {
                        // A connection that rests gives back what it read into.
                        inbox = BytesMut::new();
                    }
                    if heard.elapsed() > options.silence_max {
                        return Some(WireError::Malformed("nothing was heard for long".into()));
                    }
                    if !inbox.is_empty() && frame_began.elapsed() > options.frame_within {
                        return Some(WireError::Malformed("a frame took too long".into()));
                    }
                },
            }
        }
    }

    /// Takes as many requests as may be taken at once. Whether there are more.
    fn take_frames(self: &Arc<Self>, inbox: &mut BytesMut) -> Result<bool, FrameError> {
        let mut appends = false;
        self.taking.store(true, Ordering::Release);
        let mut taken = 0;
        let more = loop {
            if taken == FRAMES_AT_ONCE {
                break FrameCodec::frame_len(inbox)
                    .map(|len| len.is_some_and(|len| len <= inbox.len()));
            }
            match FrameCodec.decode(inbox) {
                Ok(Some(frame)) => {
                    appends |= frame.kind == Request::APPEND;
                    self.take(frame);
                    taken += 1;
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        if appends {
            self.shared.store.commit_enqueued(COMMIT_WITHIN);
        }
        self.taking.store(false, Ordering::Release);
        more
    }

    fn is_large(&self, inbox: &BytesMut, budget: &Option<OwnedSemaphorePermit>) -> bool {
        let frame_len = FrameCodec::frame_len(inbox).ok().flatten();
        budget.is_none() && frame_len.is_some_and(|len| len > SMALL_FRAME_LEN_BYTES)
    }

    /// Waits until a large frame has its share of the budget.
    async fn afford(&self, inbox: &BytesMut, budget: &mut Option<OwnedSemaphorePermit>) {
        if let (None, Ok(Some(len @ SMALL_FRAME_LEN_BYTES..))) =
            (&budget, FrameCodec::frame_len(inbox))
        {
            let whole = self.shared.options.incoming_len_bytes_max.max(1);
            let share = u32::try_from(len.min(whole)).unwrap_or(u32::MAX);
            // The semaphore is never closed.
            *budget = Arc::clone(&self.shared.incoming)
                .acquire_many_owned(share)
                .await
                .ok();
        }
    }

    /// Sends what is in the outbox, and heartbeats. Returns whether everything was sent.
    async fn send(&self, mut writer: impl AsyncWrite + Unpin) -> bool {
        let options = &self.shared.options;
        let mut ticks = ticks((options.heartbeat / 4).min(options.idle_interval));
        let mut sent = Instant::now();
        let mut idle = IdleMarks::default();
        loop {
            let mut parts = self.outbox.lock().take();
            if parts.has_remaining() {
                while parts.has_remaining() {
                    self.sending.store(parts.remaining(), Ordering::Release);
                    match timeout(options.silence_max, writer.write_buf(&mut parts)).await {
                        Ok(Ok(sent @ 1..)) => {
                            self.shared.queued.fetch_sub(sent, Ordering::Relaxed);
                        }
                        Ok(Ok(0) | Err(_)) | Err(_) => return false,
                    }
                }
                // An encrypted stream may still hold what it took.
                let flushed = timeout(options.silence_max, writer.flush()).await;
                if !flushed.is_ok_and(|flushed| flushed.is_ok()) {
                    return false;
                }
                self.sending.store(0, Ordering::Release);
                self.drained.notify_waiters();
                sent = Instant::now();
                continue;
            }
            if self.ending.load(Ordering::Acquire) {
                return writer.shutdown().await.is_ok();
            }
            tokio::select! {
                biased;
                () = self.called() => (),
                _ = ticks.tick() => {
                    idle.tick(self);
                    if sent.elapsed() >= options.heartbeat {
                        self.answer(NO_REQUEST, &Answer::Heartbeat(Empty));
                    }
                }
            }
        }
    }

    /// Waits until there is something to be sent, or to be looked at.
    async fn called(&self) {
        let mut woken = pin!(self.wake.notified());
        poll_fn(|context| match self.outbox.lock().len_bytes() {
            0 => woken.as_mut().poll(context),
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Puts an answer into the outbox.
    pub(super) fn answer(&self, correlation: u64, answer: &Answer) {
        self.put(|outbox| outbox.put(|out| answer.put(correlation, out)));
    }

    /// Puts frames into the outbox and has them sent.
    pub(super) fn put(&self, frames: impl FnOnce(&mut Outbox)) {
        {
            let mut outbox = self.outbox.lock();
            let before = outbox.len_bytes();
            frames(&mut outbox);
            let added = outbox.len_bytes() - before;
            self.shared.queued.fetch_add(added, Ordering::Relaxed);
        }
        if !self.taking.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }

    /// How many bytes wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.lock().len_bytes() + self.sending.load(Ordering::Acquire)
    }

    /// How many bytes may wait to be sent.
    pub(super) fn outbox_len_bytes(&self) -> usize {
        let Shared {
            options,
            connections,
            ..
        } = &*self.shared;
        let share = options.all_outboxes_len_bytes / connections.load(Ordering::Relaxed).max(1);
        options
            .outbox_len_bytes
            .min(share.max(SMALL_FRAME_LEN_BYTES))
    }

    /// Waits until less waits to be sent than is allowed.
    pub(super) async fn room(&self) {
        loop {
            let mut drained = pin!(self.drained.notified());
            drained.as_mut().enable();
            if self.backlog() <= self.outbox_len_bytes() {
                return;
            }
            drained.await;
        }
    }

    /// Counts a request; an error if there are too many, or the server is going.
    pub(super) fn begin_request(&self) -> Result<(), WireError> {
        let max = self.shared.options.requests_max;
        if self.is_leaving() {
            return Err(WireError::GoingAway);
        }
        if self.requests.fetch_add(1, Ordering::AcqRel) >= max {
            self.end_request();
            let what = "requests that wait for their answers".to_owned();
            return Err(WireError::TooMany {
                what,
                max: u64::try_from(max).unwrap_or(u64::MAX),
            });
        }
        Ok(())
    }

    /// Counts an answer that is still to be given, whatever the limit.
    pub(super) fn owe_answer(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a request as answered.
    pub(super) fn end_request(&self) {
        if self.requests.fetch_sub(1, Ordering::AcqRel) == 1 && self.is_leaving() {
            self.finished.notify_one();
        }
    }

    /// Whether the connection is over, and nobody waits for an answer.
    pub(super) fn is_closed(&self) -> bool {
        self.feeds.lock().closed
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Makes a feed for a request; an error if the number is in use or nothing new is taken.
    pub(super) fn open_feed(&self, request: u64, feed: &Arc<Feed>) -> Result<(), WireError> {
        let mut feeds = self.feeds.lock();
        if feeds.closed || self.is_leaving() {
            return Err(WireError::GoingAway);
        }
        match feeds.by_request.entry(request) {
            std::collections::hash_map::Entry::Occupied(_) => Err(WireError::Malformed(format!(
                "request number {request} is in use"
            ))),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Arc::clone(feed));
                Ok(())
            }
        }
    }

    /// Takes no more requests and ends the subscriptions; what was accepted goes on.
    fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.answer(NO_REQUEST, &Answer::GoingAway(Empty));
        for feed in self
            .feeds
            .lock()
            .by_request
            .values()
            .filter(|feed| feed.is_endless)
        {
            feed.cancel();
        }
        self.end_if_answered();
    }

    fn end_if_answered(&self) {
        let answered = self.requests.load(Ordering::Acquire) == 0;
        if answered && self.feeds.lock().by_request.is_empty() {
            self.end();
        }
    }

    fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What was never sent.
        self.shared
            .queued
            .fetch_sub(self.backlog(), Ordering::Relaxed);
    }
}

/// Ends the feeds of a session with it, however it ends.
struct Ends(Arc<Session>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.leaving.store(true, Ordering::Release);
        let mut feeds = self.0.feeds.lock();
        feeds.closed = true;
        for feed in feeds.by_request.values() {
            feed.cancel();
        }
    }
}

fn check_hello(hello: &Hello) -> Result<(), Option<WireError>> {
    if hello.client.len() > 256 {
        return Err(Some(WireError::Invalid(
            "a client's name has at most 256 bytes".to_owned(),
        )));
    }
    if hello.version_min > VERSION_MAX || hello.version_max < VERSION_MIN {
        return Err(Some(WireError::Version {
            min: VERSION_MIN,
            max: VERSION_MAX,
        }));
    }
    Ok(())
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Reads and forgets, until the other side ends too.
async fn drain(reader: &mut (impl AsyncRead + Unpin)) {
    let mut nothing = BytesMut::with_capacity(4096);
    while let Ok(1..) = reader.read_buf(&mut nothing).await {
        nothing.clear();
    }
}
