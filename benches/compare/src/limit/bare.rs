//! A server that does nothing but group commit: it reads what is ready, writes it to the log in one
//! piece, syncs once, and answers. No checks, no index, no second thread: no durable store that
//! takes one request by one call of the system answers faster on this machine.
//!
//! A request is its length in four bytes and so many bytes; the answer is 32 bytes.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::sync::zeroed;

/// Bytes of an answer.
pub const ANSWER_LEN_BYTES: usize = 32;
const LOG_LEN_BYTES: u64 = 512 << 20;
const READ_LEN_BYTES: usize = 256 * 1024;
/// The number of what is no connection.
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Requests that wait for the sync.
    waiting: usize,
    ended: bool,
}

/// The log and what goes there next.
struct Log {
    file: File,
    at: u64,
    next: Vec<u8>,
}

impl Log {
    fn commit(&mut self) -> Result<()> {
        if self.at + self.next.len() as u64 > LOG_LEN_BYTES {
            // Over what was written before: a log that goes on would have another zeroed file.
            self.at = 0;
        }
        self.file.write_all_at(&self.next, self.at)?;
        self.file.sync_data()?;
        self.at += self.next.len() as u64;
        self.next.clear();
        Ok(())
    }
}

/// Serves until it is killed.
pub fn serve(folder: &Path, port: u16) -> Result<()> {
    let file = zeroed(&folder.join("log"), LOG_LEN_BYTES)?;
    let next = Vec::new();
    let mut log = Log { file, at: 0, next };
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections: Vec<Connection> = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(2048);
    let mut piece = vec![0; READ_LEN_BYTES];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        let mut ready = Vec::with_capacity(events.len());
        for event in &events {
            match event.data.u64() {
                LISTENER => accept(&listener, &epoll, &mut connections)?,
                at => ready.push(usize::try_from(at)?),
            }
        }
        for at in &ready {
            read(&mut connections[*at], &mut piece, &mut log.next)?;
        }
        if !log.next.is_empty() {
            log.commit()?;
        }
        for at in ready {
            answer(&mut connections[at], &epoll)?;
        }
    }
}

fn accept(listener: &TcpListener, epoll: &OwnedFd, to: &mut Vec<Connection>) -> Result<()> {
    let stream = listener.accept()?.0;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll::add(
        epoll,
        &stream,
        EventData::new_u64(to.len() as u64),
        EventFlags::IN,
    )?;
    to.push(Connection {
        stream,
        unread: Vec::new(),
        waiting: 0,
        ended: false,
    });
    Ok(())
}

/// Reads once, and takes the requests that are whole.
fn read(from: &mut Connection, piece: &mut [u8], log: &mut Vec<u8>) -> Result<()> {
    match from.stream.read(piece) {
        Ok(0) => from.ended = true,
        Ok(len) => from.unread.extend_from_slice(&piece[..len]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => from.ended = true,
    }
    let mut taken = 0;
    while let Some((head, rest)) = from.unread[taken..].split_first_chunk() {
        let len = usize::try_from(u32::from_le_bytes(*head))?;
        let Some(request) = rest.get(..len) else {
            break;
        };
        log.extend_from_slice(request);
        from.waiting += 1;
        taken += 4 + len;
    }
    from.unread.drain(..taken);
    Ok(())
}

fn answer(to: &mut Connection, epoll: &OwnedFd) -> Result<()> {
    if to.ended {
        epoll::delete(epoll, &to.stream)?;
        return Ok(());
    }
    if to.waiting > 0 {
        let answers = vec![0; ANSWER_LEN_BYTES * std::mem::take(&mut to.waiting)];
        // Answers are small, and whoever asked reads them: they always fit.
        to.ended = to.stream.write_all(&answers).is_err();
    }
    Ok(())
}
