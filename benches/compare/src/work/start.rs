//! Starting a server, and how long that takes: until it has acknowledged an append.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use super::append::lane;
use crate::payload::{Digest, Payloads};
use crate::peer::{Peer, Session};
use crate::process::Process;

const START_MAX: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_micros(100);

/// The next port that nobody else of this machine is supposed to use.
#[derive(Debug)]
pub struct Ports(AtomicU16);

impl Ports {
    /// From this one on.
    pub fn from(first: u16) -> Self {
        Self(AtomicU16::new(first))
    }

    /// One that is free.
    pub fn take(&self) -> u16 {
        loop {
            let port = self.0.fetch_add(1, Ordering::Relaxed);
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    }
}

/// A runtime of so many threads.
pub fn runtime(threads: usize) -> Result<Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    Ok(builder.enable_all().build()?)
}

/// A peer that runs.
pub struct Running<'a, P> {
    /// The peer.
    pub peer: &'a P,
    /// Its processes.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
    /// What it was given to keep its data in.
    pub folder: PathBuf,
}

impl<'a, P: Peer> Running<'a, P> {
    /// Starts a peer in a folder that is empty.
    pub fn first(peer: &'a P, folder: &Path, ports: &Ports) -> Result<Self> {
        peer.prepare(folder)?;
        let running = Self::start(peer, folder, ports)?;
        let began = Instant::now();
        // It listens before it is ready.
        while let Err(error) = runtime(1)?.block_on(peer.set_up(running.port)) {
            if began.elapsed() > START_MAX {
                return Err(error);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(running)
    }

    /// Starts it, and waits until it can be spoken to.
    pub fn start(peer: &'a P, folder: &Path, ports: &Ports) -> Result<Self> {
        let port = ports.take();
        let log = folder.join("server.log");
        let process = Process::start(&mut peer.server(folder, port), &log)?;
        let mut running = Self {
            peer,
            process,
            port,
            folder: folder.to_owned(),
        };
        running.wait()?;
        running.process.weigh();
        Ok(running)
    }

    /// Waits until it listens.
    fn wait(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.process.has_ended() || began.elapsed() > START_MAX {
                let said = std::fs::read_to_string(self.folder.join("server.log"));
                bail!(
                    "{} does not start: {}",
                    self.peer.name(),
                    said.unwrap_or_default()
                );
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// So many connections.
    pub async fn sessions(&self, count: usize) -> Result<Vec<P::Session>> {
        let mut sessions = Vec::with_capacity(count);
        let began = Instant::now();
        while sessions.len() < count {
            match self.peer.connect(self.port).await {
                Ok(session) => sessions.push(session),
                Err(error) if began.elapsed() > START_MAX => {
                    return Err(error.context(format!("{} cannot be reached", self.peer.name())));
                }
                // It listens before it is ready.
                Err(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
        self.process.weigh();
        Ok(sessions)
    }

    /// One connection.
    pub async fn session(&self) -> Result<P::Session> {
        self.sessions(1).await?.pop().context("one was asked for")
    }

    /// Starts it anew where it was, and says how long it took until an append was durable, with
    /// the event that was appended.
    pub fn timed(peer: &'a P, folder: &Path, ports: &Ports) -> Result<(Self, Duration, Digest)> {
        let began = Instant::now();
        let running = Self::start(peer, folder, ports)?;
        let mut digest = Digest::default();
        runtime(1)?.block_on(async {
            let lane = lane();
            let event = Payloads::new(lane).take(1);
            loop {
                let session = running.session().await?;
                match session.append(&format!("started-{lane}"), 0, &event).await {
                    Ok(()) => break,
                    Err(error) if began.elapsed() > START_MAX => return Err(error),
                    Err(_) => std::thread::sleep(LOOK_AGAIN),
                }
            }
            digest.add(&event[0]);
            anyhow::Ok(())
        })?;
        Ok((running, began.elapsed(), digest))
    }
}
