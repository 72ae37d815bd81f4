//! Appends on their way: many at once, answered in order.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::cli::failure::{Exit, Failure};
use crate::cli::import::plan::{BLOCK_GROUPS, BLOCK_LEN_BYTES, Planned};
use crate::cli::target::{Sending, Target};
use crate::model::{Append, ExpectedRevision, Receipt, Revision, StreamName};

/// Lines that need not be together are put together, up to so many and so many bytes: a store takes
/// one large append faster than many small ones.
const APPEND_GROUPS: usize = 64;
const APPEND_LEN_BYTES: usize = 256 * 1024;

/// The most appends on their way: well within what a server takes from one connection, and, as long
/// as groups are sent one by one, within a block, which bounds how far back gaps can be.
const ON_THEIR_WAY_MAX: usize = 512;
const _: () = assert!(ON_THEIR_WAY_MAX <= BLOCK_GROUPS);

/// What to do about a conflict.
pub(super) const CONFLICT_ADVICE: &str = "the n-th line of a stream becomes its revision n - 1: \
    import streams that are new, or run the same input with the same --atomic-by again";

/// What became of the events that were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Events that are new in the store.
    pub(super) appended: u64,
    /// Events that were there already.
    pub(super) repeated: u64,
    /// Appends that were answered.
    pub(super) appends: u64,
}

impl Tally {
    /// Both.
    pub(super) fn events(self) -> u64 {
        self.appended + self.repeated
    }
}

/// Sends groups in order, and keeps within one block what is on its way.
pub(super) struct Sender<'t> {
    target: &'t Target,
    /// Whether groups stay as they are.
    apart: bool,
    building: Vec<Planned>,
    building_len_bytes: usize,
    on_its_way: VecDeque<OnItsWay>,
    bytes_on_their_way: usize,
    tally: Tally,
    failed: bool,
    chained: bool,
    /// A stream that the latest append wrote, and where that ended it.
    latest: Option<(StreamName, Revision)>,
}

/// An append that was sent, and what its receipt must say.
struct OnItsWay {
    sending: Sending,
    first_line: u64,
    events: u64,
    len_bytes: usize,
    /// One stream and where it must end, to see that the store counts as we do.
    check: Option<(StreamName, Revision)>,
}

impl<'t> Sender<'t> {
    /// Sends groups as they are if `apart`, else several together.
    pub(super) fn new(target: &'t Target, apart: bool) -> Self {
        Self {
            target,
            apart,
            building: Vec::new(),
            building_len_bytes: 0,
            on_its_way: VecDeque::new(),
            bytes_on_their_way: 0,
            tally: Tally::default(),
            failed: false,
            chained: false,
            latest: None,
        }
    }

    /// Where the groups go.
    pub(super) fn target(&self) -> &'t Target {
        self.target
    }

    /// What was answered so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// From here on nothing that is sent is in the store yet. Each append then also states where
    /// the one before it ended a stream, so that after a refusal, of a busy server say, everything
    /// behind it is refused as well, and the order of the log stays that of the lines.
    pub(super) fn chain(&mut self) {
        self.chained = true;
    }

    /// Takes one group; sends it at once, or soon.
    pub(super) async fn add(&mut self, group: Planned) -> Result<(), Failure> {
        let len_bytes = self.building_len_bytes + group.len_bytes;
        if !self.building.is_empty() && (self.apart || len_bytes > APPEND_LEN_BYTES) {
            self.flush().await?;
        }
        self.building_len_bytes += group.len_bytes;
        self.building.push(group);
        match self.building.len() >= APPEND_GROUPS {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Sends what was taken.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let building = std::mem::take(&mut self.building);
        let len_bytes = std::mem::take(&mut self.building_len_bytes);
        let Some(first_line) = building.first().map(|group| group.first_line) else {
            return Ok(());
        };
        while self.on_its_way.len() >= ON_THEIR_WAY_MAX
            || (self.bytes_on_their_way > 0
                && self.bytes_on_their_way + len_bytes > BLOCK_LEN_BYTES)
        {
            self.answer().await?;
        }
        let latest = self.latest.take().filter(|_| self.chained);
        let Together {
            append,
            events,
            check,
        } = together(building, latest);
        self.latest.clone_from(&check);
        self.bytes_on_their_way += len_bytes;
        let sending = self.target.send(append);
        self.on_its_way.push_back(OnItsWay {
            sending,
            first_line,
            events,
            len_bytes,
            check,
        });
        Ok(())
    }

    /// Waits for everything that is on its way. Behind a failure nothing is waited for: what has
    /// not been sent yet must not be, and what has been is found by the next run.
    pub(super) async fn settle(&mut self) -> Result<(), Failure> {
        while !self.failed && !self.on_its_way.is_empty() {
            self.answer().await?;
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<(), Failure> {
        let Some(oldest) = self.on_its_way.pop_front() else {
            return Ok(());
        };
        self.bytes_on_their_way -= oldest.len_bytes;
        let answer = oldest.sending.await;
        let line = oldest.first_line;
        self.failed = answer.is_err();
        let receipt = answer.map_err(|failure| {
            let failure = failure.during(format!("line {line}"));
            match failure.exit() {
                Exit::Conflict => failure.advise(CONFLICT_ADVICE),
                _ => failure,
            }
        })?;
        self.tally.appends += 1;
        match receipt.repeated {
            true => self.tally.repeated += oldest.events,
            false => self.tally.appended += oldest.events,
        }
        check_place(&receipt, oldest.check, line)
    }
}

/// Groups put together.
struct Together {
    append: Append,
    events: u64,
    check: Option<(StreamName, Revision)>,
}

/// One append of all groups, with the exact place of every stream in it, and of one more.
fn together(groups: Vec<Planned>, behind: Option<(StreamName, Revision)>) -> Together {
    let mut append = Append::new();
    let mut known: HashSet<StreamName> = HashSet::new();
    let mut events = 0;
    let mut check = None;
    for (stream, revision, event) in groups.into_iter().flat_map(|group| group.events) {
        if known.insert(stream.clone()) {
            let expected = match revision.0.checked_sub(1) {
                Some(last) => ExpectedRevision::Exactly(Revision(last)),
                None => ExpectedRevision::NoStream,
            };
            append = append.expect(stream.clone(), expected);
        }
        match &mut check {
            None => check = Some((stream.clone(), revision)),
            Some((of, last)) if *of == stream => *last = revision,
            Some(_) => {}
        }
        append = append.event(stream, event);
        events += 1;
    }
    if let Some((stream, revision)) = behind.filter(|(stream, _)| !known.contains(stream)) {
        append = append.expect(stream, ExpectedRevision::Exactly(revision));
    }
    Together {
        append,
        events,
        check,
    }
}

/// A stream that was deleted before goes on counting where it ended.
fn check_place(
    receipt: &Receipt,
    check: Option<(StreamName, Revision)>,
    line: u64,
) -> Result<(), Failure> {
    let Some((stream, revision)) = check else {
        return Ok(());
    };
    let found = receipt.revisions.iter().find(|(named, _)| *named == stream);
    match found {
        Some((_, found)) if *found != revision && !receipt.repeated => {
            let message = format!(
                "line {line}: {stream} was deleted before and goes on at revision {found}, where \
                 revision {revision} was meant"
            );
            Err(Failure::new(Exit::Conflict, message).advise(CONFLICT_ADVICE))
        }
        _ => Ok(()),
    }
}
