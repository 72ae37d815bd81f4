//! The client of the bare server: one thread, so many connections, so many requests under way on
//! each, the next one as soon as an answer has come.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::bare::ANSWER_LEN_BYTES;
use super::sync::RECORD_LEN_BYTES;
use crate::tally::Tally;
use crate::work::Load;

struct Connection {
    stream: TcpStream,
    /// When the requests under way were sent, the oldest first.
    sent: std::collections::VecDeque<Instant>,
    /// Bytes of an answer that is not whole.
    partial: usize,
    /// Bytes that the connection did not take yet.
    unsent: Vec<u8>,
}

/// Asks for so long, or until so many events are there.
pub fn run(port: u16, load: Load, time: Duration, events_max: u64) -> Result<Tally> {
    let request = request(load.batch);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::new();
    for at in 0..load.connections {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&epoll, &stream, EventData::new_u64(at as u64), flags)?;
        connections.push(Connection {
            stream,
            sent: std::collections::VecDeque::new(),
            partial: 0,
            unsent: Vec::new(),
        });
    }
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut asked = 0;
    let mut may_ask = |count: usize| {
        let left = events_max.saturating_sub(asked) / load.batch as u64;
        let granted = match began.elapsed() < time {
            true => count.min(usize::try_from(left).unwrap_or(usize::MAX)),
            false => 0,
        };
        asked += (granted * load.batch) as u64;
        granted
    };
    for connection in &mut connections {
        connection.ask(&request, may_ask(load.in_flight))?;
    }
    let mut events: Vec<epoll::Event> = Vec::with_capacity(2048);
    let mut piece = vec![0; 64 * 1024];
    while connections
        .iter()
        .any(|connection| !connection.sent.is_empty())
    {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let at = usize::try_from(event.data.u64())?;
            let connection = &mut connections[at];
            connection.flush()?;
            let answers = connection.answers(&mut piece, &mut tally)?;
            tally.digest.count += (answers * load.batch) as u64;
            connection.ask(&request, may_ask(answers))?;
        }
    }
    tally.took = began.elapsed();
    Ok(tally)
}

fn request(batch: usize) -> Vec<u8> {
    let len = RECORD_LEN_BYTES * batch;
    let mut request = u32::try_from(len)
        .unwrap_or(u32::MAX)
        .to_le_bytes()
        .to_vec();
    request.resize(4 + len, 0x5a);
    request
}

impl Connection {
    fn ask(&mut self, request: &[u8], count: usize) -> Result<()> {
        for _ in 0..count {
            self.unsent.extend_from_slice(request);
            self.sent.push_back(Instant::now());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn answers(&mut self, piece: &mut [u8], tally: &mut Tally) -> Result<usize> {
        let mut answers = 0;
        loop {
            match self.stream.read(piece) {
                Ok(0) => bail!("the bare server has gone"),
                Ok(read) => {
                    self.partial += read;
                    if read < piece.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        while self.partial >= ANSWER_LEN_BYTES {
            self.partial -= ANSWER_LEN_BYTES;
            answers += 1;
            if let Some(sent) = self.sent.pop_front() {
                tally.latencies.add(sent.elapsed());
            }
        }
        Ok(answers)
    }
}
