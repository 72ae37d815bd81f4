//! Lines become numbered events, in blocks.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cli::groups::Groups;
use crate::cli::input::InputError;
use crate::cli::ndjson::Line;
use crate::model::{NewEvent, Revision, StreamName};

/// A block ends with this many groups, or with this many bytes. No more than that is on its way to
/// the store at once, which is what makes gaps short.
pub(super) const BLOCK_GROUPS: usize = 1_024;
/// See [`BLOCK_GROUPS`].
pub(super) const BLOCK_LEN_BYTES: usize = 16 * 1024 * 1024;
/// What an event takes beside its own bytes, about.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// Lines that are appended together, with the places that their events are meant for.
#[derive(Debug)]
pub(super) struct Planned {
    /// In the order of the lines.
    pub(super) events: Vec<(StreamName, Revision, NewEvent)>,
    /// The number of the first line, from 1.
    pub(super) first_line: u64,
    /// The number of the last line.
    pub(super) last_line: u64,
    /// About how long they are in an append.
    pub(super) len_bytes: usize,
}

/// Groups one behind the other.
#[derive(Debug, Default)]
pub(super) struct Block {
    groups: Vec<Planned>,
    len_bytes: usize,
}

impl Block {
    /// Its last group.
    pub(super) fn last(&self) -> Option<&Planned> {
        self.groups.last()
    }

    /// How many events are in it.
    pub(super) fn events(&self) -> u64 {
        let events = self
            .groups
            .iter()
            .map(|group| group.events.len())
            .sum::<usize>();
        u64::try_from(events).unwrap_or(u64::MAX)
    }

    /// Its groups, in order.
    pub(super) fn into_groups(self) -> impl Iterator<Item = Planned> {
        self.groups.into_iter()
    }
}

/// Reads everything, and hands over blocks and the error that ends the input, if one does. Ends
/// early if nobody takes them.
pub(super) fn run<I>(groups: Groups<I>, blocks: &mpsc::Sender<Result<Block, InputError>>)
where
    I: Iterator<Item = Result<(u64, Bytes), InputError>>,
{
    let mut numbering = Numbering::default();
    let mut block = Block::default();
    for group in groups {
        let group = match group {
            Ok(group) => numbering.plan(group),
            Err(error) => {
                let rest = std::mem::take(&mut block);
                if rest.groups.is_empty() || blocks.blocking_send(Ok(rest)).is_ok() {
                    let _nobody = blocks.blocking_send(Err(error));
                }
                return;
            }
        };
        block.len_bytes += group.len_bytes;
        block.groups.push(group);
        if block.groups.len() >= BLOCK_GROUPS || block.len_bytes >= BLOCK_LEN_BYTES {
            let full = std::mem::take(&mut block);
            if blocks.blocking_send(Ok(full)).is_err() {
                return;
            }
        }
    }
    if !block.groups.is_empty() {
        let _nobody = blocks.blocking_send(Ok(block));
    }
}

/// How many lines each stream has had. Streams are known by a hash, so that memory does not depend
/// on their names. Its key is random, and if two streams had the same, the store would refuse an
/// append and the next run would succeed.
#[derive(Debug, Default)]
struct Numbering {
    next: HashMap<u64, Revision>,
    hasher: RandomState,
}

impl Numbering {
    fn plan(&mut self, lines: Vec<Line>) -> Planned {
        let first_line = lines.first().map_or(0, |line| line.number);
        let last_line = lines.last().map_or(0, |line| line.number);
        let mut len_bytes = 0;
        let mut events = Vec::with_capacity(lines.len());
        for line in lines {
            len_bytes += line.len_bytes() + EVENT_OVERHEAD_BYTES;
            let key = self.hasher.hash_one(&*line.stream);
            let next = self.next.entry(key).or_default();
            let revision = *next;
            *next = revision.next();
            let (stream, event) = line.into_event(revision);
            events.push((stream, revision, event));
        }
        Planned {
            events,
            first_line,
            last_line,
            len_bytes,
        }
    }
}
