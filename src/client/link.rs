//! The connection that is there when it is needed: made at the first request, made again after it
//! was lost, to the same store and lineage or not at all.
//!
//! Everybody who sends again what he has sent asks for a connection here, so the pauses between
//! tries are kept here, and a connection that is lost before it has answered anything counts as a
//! try that failed.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, Lost};
use super::{ClientOptions, ConnectError};
use crate::format::checksum::Salt;
use crate::model::{Lineage, StoreId};
use crate::protocol::message::Welcome;
use crate::protocol::{Answer, Request, WireError};
use crate::tls::ClientTls;

const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause. A connection that was there for longer was of use.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What all clones of a client share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) options: ClientOptions,
    tls: Option<ClientTls>,
    current: Mutex<State>,
    /// Held by the one who connects.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    connection: Option<Arc<Connection>>,
    welcome: Welcome,
    /// Where the tries stand that have led to the connection.
    tries: Tries,
    /// Why the client goes on no more.
    ended: Option<ConnectError>,
}

/// Tries to connect, one after the other, since a connection was of use.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    /// When the first of them began.
    began: Option<Instant>,
    /// What is waited for before the next one.
    pause: Duration,
}

impl Tries {
    /// Waits as long as has to be waited for before the next try; no if there is to be none.
    async fn wait(&mut self, within: Duration) -> bool {
        let began = *self.began.get_or_insert_with(Instant::now);
        let pause = self.pause;
        if !pause.is_zero() {
            if began.elapsed() + pause > within {
                return false;
            }
            sleep(jittered(pause)).await;
        }
        self.pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        true
    }
}

/// How a request that has one answer ended without it.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// It was never sent.
    Connection(ConnectError),
    /// It may have been sent.
    Lost,
    /// The server's answer is an error.
    Answer(WireError),
}

impl Link {
    pub(super) async fn open(options: ClientOptions) -> Result<Self, ConnectError> {
        let tls = match &options.tls {
            Some(tls) => Some(super::tls::load(tls).await?),
            None => None,
        };
        let connection = Connection::open(&options, tls.as_ref()).await?;
        let welcome = connection.welcome.clone();
        let state = State {
            connection: Some(Arc::new(connection)),
            welcome,
            tries: Tries::default(),
            ended: None,
        };
        Ok(Self {
            options,
            tls,
            current: Mutex::new(state),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    /// What the server said at the last connection.
    pub(super) fn welcome(&self) -> Welcome {
        self.current.lock().welcome.clone()
    }

    /// What the header checksums of this store's records begin with.
    pub(super) fn salt(&self) -> Salt {
        Salt::new(self.current.lock().welcome.record_salt)
    }

    /// Ends the connection and every later request.
    pub(super) fn close(&self) {
        let mut current = self.current.lock();
        current.ended = Some(ConnectError::Closed);
        current.connection = None;
    }

    /// An open connection, made if there is none.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, ConnectError> {
        if let Some(connection) = self.current()? {
            return Ok(connection);
        }
        let _connecting = self.connecting.lock().await;
        let mut tries = self.tries();
        let mut problem = ConnectError::Unreachable {
            address: self.options.address(),
            within: self.options.reconnect_within,
            problem: "connections are made, and lost before anything is answered".to_owned(),
        };
        loop {
            if let Some(connection) = self.current()? {
                return Ok(connection);
            }
            if !tries.wait(self.options.reconnect_within).await {
                // Whoever comes next begins anew.
                self.current.lock().tries = Tries::default();
                return Err(problem);
            }
            match Connection::open(&self.options, self.tls.as_ref()).await {
                Ok(connection) => return self.take_over(connection, tries),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => problem = error,
            }
        }
    }

    /// Where the tries to connect stand, now that there is no connection.
    fn tries(&self) -> Tries {
        let current = self.current.lock();
        match &current.connection {
            Some(lost) if lost.was_of_no_use() => current.tries,
            _ => Tries::default(),
        }
    }

    fn current(&self) -> Result<Option<Arc<Connection>>, ConnectError> {
        let current = self.current.lock();
        match &current.ended {
            Some(error) => Err(error.clone()),
            None => Ok(current
                .connection
                .clone()
                .filter(|connection| connection.is_open())),
        }
    }

    fn take_over(
        &self,
        connection: Connection,
        tries: Tries,
    ) -> Result<Arc<Connection>, ConnectError> {
        let mut current = self.current.lock();
        if let Some(error) = &current.ended {
            return Err(error.clone());
        }
        let found = &connection.welcome;
        if (found.store, found.lineage) != (current.welcome.store, current.welcome.lineage) {
            let error = ConnectError::OtherStore {
                store: StoreId(uuid::Uuid::from_bytes(found.store)),
                lineage: Lineage(uuid::Uuid::from_bytes(found.lineage)),
            };
            current.ended = Some(error.clone());
            current.connection = None;
            return Err(error);
        }
        let connection = Arc::new(connection);
        current.welcome = connection.welcome.clone();
        current.connection = Some(Arc::clone(&connection));
        current.tries = tries;
        Ok(connection)
    }

    /// Sends a request once and waits for its one answer.
    pub(super) async fn ask_once(&self, request: &Request) -> Result<Answer, Trouble> {
        let connection = self.connection().await.map_err(Trouble::Connection)?;
        let frame = connection
            .ask(request)
            .await
            .map_err(|Lost| Trouble::Lost)?;
        match Answer::decode(frame.kind, frame.body) {
            Ok(Answer::Error(error)) => Err(Trouble::Answer(error)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Trouble::Connection(ConnectError::Protocol(
                error.to_string(),
            ))),
        }
    }

    /// Sends a request that changes nothing, again if the connection was lost.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, Trouble> {
        loop {
            match self.ask_once(request).await {
                Err(Trouble::Lost | Trouble::Answer(WireError::GoingAway)) => (),
                ended => return ended,
            }
        }
    }
}

/// Whether trying again cannot help.
fn is_final(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Refused { .. }
            | ConnectError::Authentication { .. }
            | ConnectError::Handshake { .. }
            | ConnectError::Encrypted(_)
            | ConnectError::Protocol(_)
    )
}

/// Half to all of a pause, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let [byte, ..] = uuid::Uuid::new_v4().into_bytes();
    pause / 2 + pause * u32::from(byte) / 512
}
