//! The connection that is there when it is needed: made at the first request, made again after it
//! was lost, to the same store and lineage or not at all.

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
const PAUSE_MAX: Duration = Duration::from_secs(2);

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
    /// Why the client goes on no more.
    ended: Option<ConnectError>,
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
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(connection) = self.current()? {
                return Ok(connection);
            }
            match Connection::open(&self.options, self.tls.as_ref()).await {
                Ok(connection) => return self.take_over(connection),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) if began.elapsed() + pause > self.options.reconnect_within => {
                    return Err(error);
                }
                Err(_) => sleep(jittered(pause)).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
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

    fn take_over(&self, connection: Connection) -> Result<Arc<Connection>, ConnectError> {
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
