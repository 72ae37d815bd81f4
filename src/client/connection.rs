//! One socket: requests go out, and every frame that comes back finds who waits for it.
//!
//! One task does the reading and the writing. It looks into no body: that is the work of whoever
//! waits. When it ends, for whatever reason, everybody who waits hears that the connection is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::codec::Decoder;

use super::link::PAUSE_MAX;
use super::{ClientOptions, ConnectError, Login};
use crate::protocol::frame::{NO_REQUEST, make_room};
use crate::protocol::message::{
    Authentication, Empty, Hello, Mark, VERSION_MAX, VERSION_MIN, Welcome,
};
use crate::protocol::outbox::Outbox;
use crate::protocol::{Answer, Frame, FrameCodec, Request, WireError};
use crate::tls::{ClientTls, HandshakeError};

/// How a server that speaks TLS begins its answer to a client that does not.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

/// The connection ended before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

/// Who waits for frames of a request.
#[derive(Debug)]
enum Waiting {
    Once(
        oneshot::Sender<Frame>,
        #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
    ),
    Feed(mpsc::UnboundedSender<Frame>),
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    wake: Notify,
    /// None once the connection has ended.
    waiting: Mutex<Option<HashMap<u64, Waiting>>>,
    /// Something was answered, and not by an error.
    answered: AtomicBool,
    leaving: AtomicBool,
    closing: AtomicBool,
    idle: watch::Sender<Option<Mark>>,
}

/// A connection that was welcomed. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    pub(super) welcome: Welcome,
    made: Instant,
    correlation: AtomicU64,
    requests: Arc<Semaphore>,
}

/// The frames that answer one read or subscription, in order.
#[derive(Debug)]
pub(super) struct Feed {
    frames: mpsc::UnboundedReceiver<Frame>,
    /// What the server says of all subscriptions at once.
    idle: watch::Receiver<Option<Mark>>,
    correlation: u64,
    shared: Arc<Shared>,
}

impl Connection {
    /// Connects and says hello.
    pub(super) async fn open(
        options: &ClientOptions,
        tls: Option<&ClientTls>,
    ) -> Result<Self, ConnectError> {
        let within = options.connect_timeout;
        let unreachable = |problem: String| ConnectError::Unreachable {
            address: options.address(),
            within,
            problem,
        };
        match timeout(within, Self::reach(options, tls)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(Greeting::Io(error))) => Err(unreachable(error.to_string())),
            Ok(Err(Greeting::Failed(error))) => Err(error),
            Err(_) => Err(unreachable("no answer in time".into())),
        }
    }

    async fn reach(options: &ClientOptions, tls: Option<&ClientTls>) -> Result<Self, Greeting> {
        let socket = TcpStream::connect((options.host.as_str(), options.port)).await?;
        socket.set_nodelay(true)?;
        let Some(tls) = tls else {
            let (reader, writer) = socket.into_split();
            return Self::greet(options, reader, writer).await;
        };
        let name = options
            .tls
            .as_ref()
            .and_then(|tls| tls.server_name.as_ref());
        let connected = tls.connect(name.unwrap_or(&options.host), socket).await;
        let stream = connected.map_err(|problem| match problem {
            HandshakeError::Lost(problem) => Greeting::Io(std::io::Error::other(problem)),
            problem => Greeting::Failed(ConnectError::Handshake {
                address: options.address(),
                problem,
            }),
        })?;
        let (reader, writer) = tokio::io::split(stream);
        Self::greet(options, reader, writer).await
    }

    async fn greet(
        options: &ClientOptions,
        mut reader: impl AsyncRead + Send + Unpin + 'static,
        mut writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, Greeting> {
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            client: options.name.clone(),
            authentication: match options.login.clone() {
                None => Authentication::None,
                Some(Login { user, password }) => Authentication::Password { user, password },
            },
        };
        let mut bytes = Vec::new();
        Request::Hello(hello).put(NO_REQUEST, &mut bytes);
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        let mut inbox = BytesMut::new();
        let frame = loop {
            if let Some(frame) = FrameCodec.decode(&mut inbox).map_err(not_the_protocol)? {
                break frame;
            }
            let read = reader.read_buf(&mut inbox).await;
            if options.tls.is_none() && inbox.starts_with(TLS_ALERT) {
                return Err(Greeting::Failed(ConnectError::Encrypted(options.address())));
            }
            if read? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        };
        match Answer::decode(frame.kind, frame.body).map_err(not_the_protocol)? {
            Answer::Welcome(welcome) => Ok(Self::start(welcome, (reader, writer), inbox)),
            Answer::Error(WireError::Authentication(problem)) => {
                Err(Greeting::Failed(ConnectError::Authentication {
                    address: options.address(),
                    problem,
                }))
            }
            Answer::Error(WireError::GoingAway | WireError::Busy) => {
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into())
            }
            Answer::Error(error) => Err(Greeting::Failed(ConnectError::Refused {
                address: options.address(),
                problem: error.to_string(),
            })),
            other => Err(not_the_protocol(format!(
                "{:#04x} answers a hello",
                other.kind()
            ))),
        }
    }

    fn start(
        welcome: Welcome,
        (reader, writer): (
            impl AsyncRead + Send + Unpin + 'static,
            impl AsyncWrite + Send + Unpin + 'static,
        ),
        inbox: BytesMut,
    ) -> Self {
        let shared = Arc::new(Shared {
            outbox: Mutex::default(),
            wake: Notify::new(),
            waiting: Mutex::new(Some(HashMap::new())),
            answered: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            idle: watch::Sender::new(None),
        });
        let milliseconds = |ms: u32| Duration::from_millis(ms.max(1).into());
        let heartbeat = milliseconds(welcome.limits.heartbeat_ms);
        let silence_max = milliseconds(welcome.limits.silence_ms_max);
        let task = Arc::clone(&shared);
        tokio::spawn(async move {
            tokio::select! {
                () = task.receive(reader, inbox, silence_max) => (),
                () = task.send(writer, heartbeat) => (),
            }
            // Whoever waits is dropped, and so hears that the connection is lost.
            drop(task.waiting.lock().take());
        });
        let requests = usize::try_from(welcome.limits.requests_max).unwrap_or(usize::MAX);
        let requests = Arc::new(Semaphore::new(requests.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            shared,
            welcome,
            made: Instant::now(),
            correlation: AtomicU64::new(NO_REQUEST + 1),
            requests,
        }
    }

    /// Whether new requests may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.shared.leaving.load(Ordering::Acquire) && self.shared.waiting.lock().is_some()
    }

    /// Whether nothing was answered, and it was made so short a time ago that whoever makes the
    /// next one has to pause.
    pub(super) fn was_of_no_use(&self) -> bool {
        !self.shared.answered.load(Ordering::Acquire) && self.made.elapsed() <= PAUSE_MAX
    }

    /// Sends a request and waits for its one answer.
    pub(super) async fn ask(&self, request: &Request) -> Result<Frame, Lost> {
        // The server would refuse more; the semaphore is never closed.
        let permit = Arc::clone(&self.requests)
            .acquire_owned()
            .await
            .map_err(|_| Lost)?;
        let (sender, receiver) = oneshot::channel();
        self.send(request, Waiting::Once(sender, permit))?;
        receiver.await.map_err(|_| Lost)
    }

    /// Sends a request that many frames answer.
    pub(super) fn open_feed(&self, request: &Request) -> Result<Feed, Lost> {
        let (sender, frames) = mpsc::unbounded_channel();
        let correlation = self.send(request, Waiting::Feed(sender))?;
        let idle = self.shared.idle.subscribe();
        Ok(Feed {
            frames,
            idle,
            correlation,
            shared: Arc::clone(&self.shared),
        })
    }

    fn send(&self, request: &Request, waiting: Waiting) -> Result<u64, Lost> {
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let mut frame = Vec::new();
        request.put(correlation, &mut frame);
        self.shared
            .waiting
            .lock()
            .as_mut()
            .ok_or(Lost)?
            .insert(correlation, waiting);
        self.shared.outbox.lock().put_bytes(frame.into());
        self.shared.wake.notify_one();
        Ok(correlation)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.leaving.store(true, Ordering::Release);
        self.shared.closing.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl Shared {
    async fn receive(
        &self,
        mut reader: impl AsyncRead + Unpin,
        mut inbox: BytesMut,
        silence_max: Duration,
    ) {
        let mut latest = Instant::now();
        let mut filled = false;
        let mut ticks = interval(silence_max / 8);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            loop {
                match FrameCodec.decode(&mut inbox) {
                    Ok(Some(frame)) => self.deliver(frame),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            make_room(&mut inbox, filled);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut inbox) => match read {
                    Ok(1..) => {
                        latest = Instant::now();
                        filled = inbox.len() == inbox.capacity();
                    }
                    Ok(0) | Err(_) => return,
                },
                _ = ticks.tick() => if latest.elapsed() > silence_max { return },
            }
        }
    }

    fn deliver(&self, frame: Frame) {
        let ends = match frame.kind {
            Answer::HEARTBEAT => return,
            Answer::GOING_AWAY => return self.leaving.store(true, Ordering::Release),
            Answer::IDLE => {
                if let Ok(Answer::Idle(mark)) = Answer::decode(frame.kind, frame.body) {
                    self.idle.send_replace(Some(mark));
                }
                return;
            }
            Answer::END | Answer::ERROR => true,
            _ => false,
        };
        if frame.kind != Answer::ERROR {
            self.answered.store(true, Ordering::Release);
        }
        let mut waiting = self.waiting.lock();
        let Some(waiting) = waiting.as_mut() else {
            return;
        };
        match waiting.get(&frame.correlation) {
            Some(Waiting::Feed(sender)) => {
                let correlation = frame.correlation;
                // Whoever has stopped listening has sent a cancel; until then frames are dropped.
                let _unheard = sender.send(frame);
                if ends {
                    waiting.remove(&correlation);
                }
            }
            Some(Waiting::Once(..)) => {
                if let Some(Waiting::Once(sender, _)) = waiting.remove(&frame.correlation) {
                    let _unheard = sender.send(frame);
                }
            }
            None => (),
        }
    }

    async fn send(&self, mut writer: impl AsyncWrite + Unpin, heartbeat: Duration) {
        let mut latest = Instant::now();
        let mut ticks = interval((heartbeat / 4).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut parts = self.outbox.lock().take();
            if parts.has_remaining() {
                // An encrypted stream may hold what it took, until it is flushed.
                if writer.write_all_buf(&mut parts).await.is_err() || writer.flush().await.is_err()
                {
                    return;
                }
                latest = Instant::now();
                continue;
            }
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            tokio::select! {
                biased;
                // Where others are at work too, they put in first what they have to send: one call
                // then sends it all.
                () = self.wake.notified() => if self.has_many() {
                    yield_now().await;
                },
                _ = ticks.tick() => if latest.elapsed() >= heartbeat {
                    self.put(&Request::Heartbeat(Empty), NO_REQUEST);
                },
            }
        }
    }

    /// Whether more than one request waits for an answer.
    fn has_many(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.as_ref().is_some_and(|waiting| waiting.len() > 1)
    }

    fn put(&self, request: &Request, correlation: u64) {
        self.outbox.lock().put(|out| request.put(correlation, out));
        self.wake.notify_one();
    }
}

impl Feed {
    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<Frame, Lost> {
        self.frames.recv().await.ok_or(Lost)
    }

    /// The next frame, or what the server says of all feeds that have caught up. What it says
    /// counts for what came before it, so it is looked at first and used only if no frame waits.
    pub(super) async fn next_or_idle(&mut self, live: bool) -> Result<Came, Lost> {
        loop {
            let changed = live && self.idle.has_changed().map_err(|_| Lost)?;
            let mark = if changed {
                *self.idle.borrow_and_update()
            } else {
                None
            };
            match (self.frames.try_recv(), mark) {
                (Ok(frame), None) => return Ok(Came::Frame(frame)),
                (Ok(frame), Some(_)) => {
                    self.idle.mark_changed();
                    return Ok(Came::Frame(frame));
                }
                (Err(_), Some(mark)) => return Ok(Came::Idle(mark)),
                (Err(_), None) => (),
            }
            tokio::select! {
                biased;
                frame = self.frames.recv() => return frame.map(Came::Frame).ok_or(Lost),
                changed = self.idle.changed(), if live => {
                    changed.map_err(|_| Lost)?;
                    self.idle.mark_changed();
                }
            }
        }
    }

    /// Tells the server something about this feed.
    pub(super) fn tell(&self, request: &Request) {
        self.shared.put(request, self.correlation);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        let unfinished = waiting
            .as_mut()
            .and_then(|waiting| waiting.remove(&self.correlation));
        drop(waiting);
        if unfinished.is_some() {
            self.tell(&Request::Cancel(Empty));
        }
    }
}

/// What came for a subscription.
#[derive(Debug)]
pub(super) enum Came {
    Frame(Frame),
    Idle(Mark),
}

/// Why a connection was not made.
enum Greeting {
    Io(std::io::Error),
    Failed(ConnectError),
}

impl From<std::io::Error> for Greeting {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn not_the_protocol(problem: impl ToString) -> Greeting {
    Greeting::Failed(ConnectError::Protocol(problem.to_string()))
}
