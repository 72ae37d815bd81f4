//! Redis: one Redis stream for each stream, and one for the log, written by a script that looks at
//! the stream's length first. Each event is in both, so that the whole can be read in order.
//!
//! The client is written for this: requests of one turn go out in one write, and what is read is
//! looked at where it arrived.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use super::{Each, Feed, Peer, Session};
use crate::payload::TYPE;
use crate::process;

const LOG: &[u8] = b"all";
const PAGE_EVENTS: usize = 10_000;
const SCRIPT: &str = "\
if redis.call('XLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
    return redis.error_reply('another version')
end
for i = 3, #ARGV do
    redis.call('XADD', KEYS[1], '*', 't', ARGV[2], 'd', ARGV[i])
    redis.call('XADD', KEYS[2], '*', 's', KEYS[1], 't', ARGV[2], 'd', ARGV[i])
end
return #ARGV - 2";

/// A server of Debian's package.
#[derive(Debug)]
pub struct Redis;

impl Peer for Redis {
    type Session = RedisSession;

    fn name(&self) -> &'static str {
        "Redis"
    }

    fn server(&self, folder: &Path, port: u16) -> Command {
        let mut command = process::command("redis-server", None);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]);
        command
            .arg(folder)
            .args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.args(["--save", "", "--aof-use-rdb-preamble", "no"]);
        command.args([
            "--auto-aof-rewrite-percentage",
            "0",
            "--maxclients",
            "20000",
        ]);
        command
    }

    async fn connect(&self, port: u16) -> Result<RedisSession> {
        let mut reader = Connection::open(port).await?;
        reader
            .send(&[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()])
            .await?;
        let Token::Bulk(script) = reader.token().await? else {
            bail!("the script was not taken");
        };
        let mux = Mux::open(port).await?;
        Ok(RedisSession(Arc::new(Shared {
            mux,
            port,
            script,
            reader: tokio::sync::Mutex::new(reader),
        })))
    }
}

/// What a reply is made of.
#[derive(Debug)]
enum Token {
    Array(usize),
    Bulk(Bytes),
    Number(i64),
    Text,
    Nothing,
}

/// Replies as they come.
struct Replies {
    from: OwnedReadHalf,
    bytes: BytesMut,
}

impl Replies {
    async fn fill(&mut self) -> Result<()> {
        self.bytes.reserve(256 * 1024);
        ensure!(
            self.from.read_buf(&mut self.bytes).await? > 0,
            "the connection was lost"
        );
        Ok(())
    }

    async fn token(&mut self) -> Result<Token> {
        loop {
            if let Some(token) = self.parse()? {
                return Ok(token);
            }
            self.fill().await?;
        }
    }

    /// Takes one token from what is there, if it is whole.
    fn parse(&mut self) -> Result<Option<Token>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&self.bytes[..end])?.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("an empty reply")?;
        let token = match kind {
            "$" | "*" if rest == "-1" => Token::Nothing,
            "$" => {
                let len: usize = rest.parse()?;
                if self.bytes.len() < end + 1 + len + 2 {
                    return Ok(None);
                }
                self.bytes.advance(end + 1);
                let bulk = self.bytes.split_to(len).freeze();
                self.bytes.advance(2);
                return Ok(Some(Token::Bulk(bulk)));
            }
            "*" => Token::Array(rest.parse()?),
            ":" => Token::Number(rest.parse()?),
            "+" => Token::Text,
            _ => bail!("{line}"),
        };
        self.bytes.advance(end + 1);
        Ok(Some(token))
    }

    async fn array(&mut self) -> Result<usize> {
        match self.token().await? {
            Token::Array(len) => Ok(len),
            Token::Nothing => Ok(0),
            other => bail!("{other:?} instead of a list"),
        }
    }

    async fn bulk(&mut self) -> Result<Bytes> {
        match self.token().await? {
            Token::Bulk(bytes) => Ok(bytes),
            other => bail!("{other:?} instead of bytes"),
        }
    }

    /// Entries of a stream; the data is the last field of each. Returns the last id.
    async fn entries(&mut self, each: Each<'_>) -> Result<(usize, Option<Bytes>)> {
        let count = self.array().await?;
        let mut last = None;
        for _ in 0..count {
            ensure!(self.array().await? == 2, "an entry has an id and fields");
            last = Some(self.bulk().await?);
            let fields = self.array().await?;
            for _ in 1..fields {
                self.bulk().await?;
            }
            each(&self.bulk().await?);
        }
        Ok((count, last))
    }
}

fn write_command(to: &mut Vec<u8>, head: &[&[u8]], tail: &[Bytes]) {
    let head_line = |mark: char, number: usize, to: &mut Vec<u8>| {
        to.extend_from_slice(format!("{mark}{number}\r\n").as_bytes());
    };
    head_line('*', head.len() + tail.len(), to);
    for part in head
        .iter()
        .copied()
        .chain(tail.iter().map(|part| &part[..]))
    {
        head_line('$', part.len(), to);
        to.extend_from_slice(part);
        to.extend_from_slice(b"\r\n");
    }
}

async fn open(port: u16) -> Result<(OwnedWriteHalf, Replies)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (from, to) = stream.into_split();
    let bytes = BytesMut::new();
    Ok((to, Replies { from, bytes }))
}

/// A connection with one request at a time.
struct Connection {
    to: OwnedWriteHalf,
    replies: Replies,
}

impl Connection {
    async fn open(port: u16) -> Result<Self> {
        let (to, replies) = open(port).await?;
        Ok(Self { to, replies })
    }

    async fn send(&mut self, command: &[&[u8]]) -> Result<()> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, command, &[]);
        Ok(self.to.write_all(&bytes).await?)
    }

    async fn token(&mut self) -> Result<Token> {
        self.replies.token().await
    }
}

type Answer = Result<i64, String>;

/// What is to be sent, and who waits for what was.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    waiting: VecDeque<oneshot::Sender<Answer>>,
}

/// A connection with many requests under way.
struct Mux {
    outgoing: Arc<Mutex<Outgoing>>,
    wake: Arc<Notify>,
}

impl Mux {
    async fn open(port: u16) -> Result<Self> {
        let (mut to, mut replies) = open(port).await?;
        let outgoing = Arc::new(Mutex::new(Outgoing::default()));
        let wake = Arc::new(Notify::new());
        let (mine, woken) = (Arc::clone(&outgoing), Arc::clone(&wake));
        tokio::spawn(async move {
            loop {
                woken.notified().await;
                let bytes = std::mem::take(&mut lock(&mine).bytes);
                if Arc::strong_count(&mine) == 2 && bytes.is_empty() {
                    return;
                }
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        let mine = Arc::clone(&outgoing);
        tokio::spawn(async move {
            loop {
                let answer = match replies.token().await {
                    Ok(Token::Number(number)) => Ok(number),
                    Ok(other) => Err(format!("{other:?}")),
                    Err(error) => Err(error.to_string()),
                };
                let lost = answer.is_err();
                let Some(asked) = lock(&mine).waiting.pop_front() else {
                    return;
                };
                // Whoever has stopped waiting does not care.
                let _unheard = asked.send(answer);
                if lost {
                    lock(&mine).waiting.clear();
                    return;
                }
            }
        });
        Ok(Self { outgoing, wake })
    }

    async fn ask(&self, head: &[&[u8]], tail: &[Bytes]) -> Result<i64> {
        let (tell, told) = oneshot::channel();
        {
            let mut outgoing = lock(&self.outgoing);
            write_command(&mut outgoing.bytes, head, tail);
            outgoing.waiting.push_back(tell);
        }
        self.wake.notify_one();
        told.await?.map_err(|error| anyhow!(error))
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection for appends, and one for reads.
#[derive(Clone)]
pub struct RedisSession(Arc<Shared>);

struct Shared {
    mux: Mux,
    port: u16,
    script: Bytes,
    reader: tokio::sync::Mutex<Connection>,
}

impl Session for RedisSession {
    type Feed = RedisFeed;

    async fn append(&self, stream: &str, expected: u64, events: &[Bytes]) -> Result<()> {
        let expected = expected.to_string();
        let (stream, expected) = (stream.as_bytes(), expected.as_bytes());
        let head = [b"EVALSHA", &self.0.script[..], b"2", stream, LOG, expected];
        let head = [&head[..], &[TYPE.as_bytes()]].concat();
        let added = self.0.mux.ask(&head, events).await?;
        ensure!(added == events.len() as i64, "{added} events were added");
        Ok(())
    }

    async fn read_stream(&self, stream: &str, each: Each<'_>) -> Result<()> {
        let mut reader = self.0.reader.lock().await;
        reader
            .send(&[b"XRANGE", stream.as_bytes(), b"-", b"+"])
            .await?;
        reader.replies.entries(each).await?;
        Ok(())
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        let mut reader = self.0.reader.lock().await;
        let mut from = b"-".to_vec();
        let page = PAGE_EVENTS.to_string();
        loop {
            reader
                .send(&[b"XRANGE", LOG, &from, b"+", b"COUNT", page.as_bytes()])
                .await?;
            let (count, last) = reader.replies.entries(each).await?;
            match last {
                Some(last) if count == PAGE_EVENTS => from = [b"(", &last[..]].concat(),
                _ => return Ok(()),
            }
        }
    }

    async fn follow(&self) -> Result<RedisFeed> {
        let mut connection = Connection::open(self.0.port).await?;
        connection
            .send(&[b"XREVRANGE", LOG, b"+", b"-", b"COUNT", b"1"])
            .await?;
        let (_, last) = connection.replies.entries(&mut |_| ()).await?;
        let after = last.unwrap_or(Bytes::from_static(b"0"));
        Ok(RedisFeed { connection, after })
    }
}

/// Waits for what stands behind an id.
pub struct RedisFeed {
    connection: Connection,
    after: Bytes,
}

impl Feed for RedisFeed {
    async fn next(&mut self, each: Each<'_>) -> Result<()> {
        let command = [
            b"XREAD" as &[u8],
            b"BLOCK",
            b"0",
            b"STREAMS",
            LOG,
            &self.after,
        ];
        self.connection.send(&command).await?;
        let replies = &mut self.connection.replies;
        let streams = replies.array().await?;
        ensure!(
            streams == 1 && replies.array().await? == 2,
            "one stream was asked for"
        );
        replies.bulk().await?;
        if let (_, Some(last)) = replies.entries(each).await? {
            self.after = last;
        }
        Ok(())
    }
}
