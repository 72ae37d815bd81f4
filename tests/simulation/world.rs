//! One simulated life of a store: a disk, a clock, a store that comes and goes, the clients, and
//! the reference store that says what must be true.
//!
//! A request whose outcome nobody knows, because the disk failed or the process ended, is kept
//! until the store is open again: then all requests of the unit that was being written are there,
//! or none of them. Where the disk was full and the store went on, all that nobody knew of is
//! there; where it did not come to that, so many of them as had room. Whatever was seen once stays.

mod held;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use annal::disk::{Disk, MemoryDisk, ProbeDisk, SimulatedHost, Unsynced};
use annal::{AppendError, OpenError, Position, StateSpace, StorageError, Store, Token};
use parking_lot::Mutex;

use crate::common::reference::{Answer, Ask, Reference};
use crate::dice::Dice;
use crate::follower::{Follower, INTERESTS};
use crate::mix::{Mix, Operation};
use crate::workload::{Workload, brief};

/// More space than any disk has here.
pub(crate) const ROOMY_BYTES: u64 = 1 << 60;

/// What happened in all seeds together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) requests: u64,
    pub(crate) restarts: u64,
    pub(crate) kills: u64,
    pub(crate) power_cuts: u64,
    pub(crate) faults: u64,
    pub(crate) troubled_openings: u64,
    pub(crate) unknown_outcomes: u64,
    pub(crate) held: u64,
    pub(crate) went_on: u64,
    pub(crate) checks: u64,
    pub(crate) damages: u64,
    pub(crate) scavenges: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.requests += other.requests;
        self.restarts += other.restarts;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.faults += other.faults;
        self.troubled_openings += other.troubled_openings;
        self.unknown_outcomes += other.unknown_outcomes;
        self.held += other.held;
        self.went_on += other.went_on;
        self.checks += other.checks;
        self.damages += other.damages;
        self.scavenges += other.scavenges;
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Known(Answer, Option<Token>),
    /// It is in the log, or not.
    Unknown,
    /// The disk is full: it will be in the log, unless the store ends before.
    Held,
    /// It is certainly not in the log.
    NotMade,
}

impl Outcome {
    fn of(result: Result<annal::Receipt, AppendError>) -> Self {
        match result {
            Ok(receipt) => {
                let token = receipt.token;
                Self::Known(Answer::of(receipt), Some(token))
            }
            Err(AppendError::WrongExpectedRevision { stream, found, .. }) => {
                Self::Known(Answer::Wrong(stream, found), None)
            }
            Err(AppendError::RequestIdReused(_)) => Self::Known(Answer::Reused, None),
            Err(AppendError::StreamDeleted { stream, found }) => {
                Self::Known(Answer::Deleted(stream, found), None)
            }
            Err(AppendError::Unknown(StorageError::Full(_))) => Self::Held,
            Err(AppendError::Unknown(_)) => Self::Unknown,
            Err(
                AppendError::Storage(_) | AppendError::IndexRebuilding { .. } | AppendError::Busy,
            ) => Self::NotMade,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The values of the state records, by their keys.
pub(crate) type StateRecords = BTreeMap<u8, Vec<u8>>;

/// What is the matter with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Calls fail, or may fail soon; the process goes on.
    Faults,
    /// The process has ended, or will, at some call.
    Kill,
    /// The power is gone, or will go, at some call.
    Cut,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) mix: Mix,
    pub(crate) disk: MemoryDisk,
    pub(crate) probe: ProbeDisk,
    pub(crate) host: Arc<SimulatedHost>,
    pub(crate) store: Option<Store>,
    pub(crate) reference: Reference,
    /// Requests that may be in the log, all of them or none.
    pending: Vec<Ask>,
    /// They are held: they come into the log one unit after the other.
    held: bool,
    pub(crate) asked: Vec<Ask>,
    workload: Workload,
    pub(crate) followers: Vec<Follower>,
    pub(crate) trouble: Trouble,
    /// The disk has lied or gone astray since its last honest beginning.
    pub(crate) deceived: bool,
    /// The life ended early: the disk has lied, and the store has noticed.
    pub(crate) over: bool,
    /// Nothing in front of this position can be lost in silence, whatever is damaged.
    pub(crate) floor: Position,
    /// Where the log ended before the last requests that may share a unit.
    pub(crate) before_last: Position,
    /// What the state records were before each request that changed them, since the log was known
    /// to have a witness for all of it.
    pub(crate) states_before: Vec<StateRecords>,
    /// How many failures of the present probe belong to the past.
    forgiven: u64,
    token: Option<Token>,
    committed_us: Option<i64>,
    pub(crate) trace: String,
    pub(crate) counts: Counts,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mix = Mix::draw(&mut Dice::new(seed));
        Self::of(mix, seed)
    }

    /// The life of a seed that is as it is told.
    pub(crate) fn of(mix: Mix, seed: u64) -> Self {
        let dice = Dice::new(!seed);
        let disk = MemoryDisk::new();
        if let Some(block) = mix.fragile {
            disk.set_fragile_blocks(block);
        }
        let mut world = Self {
            probe: ProbeDisk::new(Arc::new(disk.clone())),
            host: Arc::new(SimulatedHost::new(seed)),
            disk,
            dice,
            mix,
            store: None,
            reference: Reference::default(),
            pending: Vec::new(),
            held: false,
            asked: Vec::new(),
            workload: Workload::new(),
            followers: INTERESTS.map(Follower::new).into(),
            trouble: Trouble::None,
            deceived: false,
            over: false,
            floor: Position::START,
            before_last: Position::START,
            states_before: Vec::new(),
            forgiven: 0,
            token: None,
            committed_us: None,
            trace: String::new(),
            counts: Counts::default(),
        };
        world.open_somehow();
        if world.mix.scavenges {
            world.fill_up();
        }
        world
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn say(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{what}").unwrap();
    }

    /// Lives the whole life.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.mix.steps {
            if self.over {
                return;
            }
            let operations = std::mem::take(&mut self.mix.operations);
            let operation = self.dice.weighted(&operations);
            self.mix.operations = operations;
            self.counts.operations += 1;
            self.say(format_args!("{operation:?}"));
            self.take(operation);
            self.settle();
        }
        if !self.over {
            self.end();
        }
    }

    pub(crate) fn end(&mut self) {
        if self.trouble != Trouble::None {
            self.lose();
        }
        if self.over {
            return;
        }
        self.check();
        self.restart();
        if !self.over {
            self.check();
        }
    }

    pub(crate) fn take(&mut self, operation: Operation) {
        match operation {
            Operation::Ask => {
                let ask = self.workload.ask(&mut self.dice, &self.mix);
                self.asked.push(ask.clone());
                self.ask(&ask);
            }
            Operation::Again => {
                if !self.asked.is_empty() {
                    let again = self.dice.index(self.asked.len());
                    self.ask(&self.asked[again].clone());
                }
            }
            Operation::Batch => self.batch(),
            Operation::Maintain => self.maintain(),
            Operation::Follow => self.follow(),
            Operation::Read => self.read_some(),
            Operation::Check => self.check(),
            Operation::Clock => {
                let by_us = self
                    .dice
                    .pick(&[1, 1_000, 60_000, 3_600_000_000, -5_000_000]);
                self.host.advance_us(by_us);
            }
            Operation::Merge => {
                let merged = self.store().merge_indexes();
                self.tolerate("merging", merged);
            }
            Operation::Scavenge => self.scavenge(),
            Operation::Restart => self.restart(),
            Operation::Kill => {
                self.trouble = Trouble::Kill;
                self.lose();
            }
            Operation::Cut => {
                self.trouble = Trouble::Cut;
                self.lose();
            }
            Operation::Interrupt => self.interrupt(),
            Operation::Fail => self.fail(),
            Operation::Fill => self.fill_disk(),
            Operation::Deceive => self.deceive(),
            Operation::Damage => self.damage_a_copy(),
        }
    }

    /// What fails without reason is a bug.
    pub(crate) fn tolerate<T>(&mut self, what: &str, result: Result<T, StorageError>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                let excused = self.trouble != Trouble::None || self.deceived;
                assert!(excused, "{what}: {error}");
                self.say(format_args!("{what}: {error}"));
                None
            }
        }
    }

    fn ask(&mut self, ask: &Ask) {
        self.host.advance_us(1_000);
        self.counts.requests += 1;
        let outcome = Outcome::of(self.store().append(ask.append()));
        let before = self.reference.end();
        self.hear(ask, outcome, None);
        self.note_growth(before);
    }

    /// Several requests, all before any of them is committed.
    fn batch(&mut self) {
        let count = 2 + self.dice.below(6);
        let asks: Vec<Ask> = (0..count)
            .map(|_| match self.dice.percent(20) && !self.mix.scavenges {
                true if !self.asked.is_empty() => {
                    let again = self.dice.index(self.asked.len());
                    self.asked[again].clone()
                }
                _ => self.workload.ask(&mut self.dice, &self.mix),
            })
            .collect();
        self.asked.extend(asks.iter().cloned());
        self.counts.requests += count;
        let durable = self.reference.clone();
        let answers = Arc::new(Mutex::new(BTreeMap::new()));
        for (number, ask) in asks.iter().enumerate() {
            let answers = Arc::clone(&answers);
            self.store().submit(ask.append(), move |answer| {
                answers.lock().insert(number, Outcome::of(answer));
            });
        }
        let maintained = self.store().maintain();
        self.tolerate("maintaining", maintained);
        if answers.lock().len() < asks.len() {
            // Who waits for room is answered when there is some, or when the store ends.
            let excused = self.trouble != Trouble::None || self.deceived;
            assert!(excused, "requests were left waiting");
            self.end_process();
        }
        let answers = std::mem::take(&mut *answers.lock());
        assert_eq!(answers.len(), asks.len(), "every request is answered");
        let before = self.reference.end();
        for (number, outcome) in answers {
            self.hear(&asks[number], outcome, Some(&durable));
        }
        self.note_growth(before);
        if self.store.is_none() {
            self.lose();
        }
    }

    /// Compares an answer. One that changes nothing may rest on what was durable when the request
    /// came, `durable`, or has become so since.
    fn hear(&mut self, ask: &Ask, outcome: Outcome, durable: Option<&Reference>) {
        match outcome {
            Outcome::Known(answer, token) => {
                let made = matches!(answer, Answer::Done { repeated, .. } if !repeated);
                let changes_nothing =
                    |durable: &Reference| !made && durable.clone().ask(ask) == answer;
                let rests_on_durable = durable.is_some_and(changes_nothing);
                if rests_on_durable || !self.pending.is_empty() && changes_nothing(&self.reference)
                {
                    return;
                }
                assert!(
                    self.pending.is_empty(),
                    "{} was answered out of turn: {answer:?}",
                    brief(ask)
                );
                let states = self.reference.states.clone();
                let expected = self.reference.ask(ask);
                self.say(format_args!("{} {answer:?}", brief(ask)));
                assert_eq!(answer, expected, "{}", brief(ask));
                self.note_states(states);
                self.token = token.or(self.token);
            }
            Outcome::Unknown | Outcome::Held => {
                let excused = self.trouble != Trouble::None || self.deceived;
                assert!(excused, "{} is unknown", brief(ask));
                self.counts.unknown_outcomes += 1;
                self.held |= outcome == Outcome::Held;
                self.say(format_args!("{} unknown", brief(ask)));
                self.pending.push(ask.clone());
            }
            Outcome::NotMade => {
                let busy = durable.is_some();
                let excused = self.trouble != Trouble::None || self.deceived || busy;
                assert!(excused, "{} was not made", brief(ask));
                self.say(format_args!("{} not made", brief(ask)));
            }
        }
    }

    fn maintain(&mut self) {
        let maintained = self.store().maintain();
        self.tolerate("maintaining", maintained);
    }

    fn follow(&mut self) {
        let mut followers = std::mem::take(&mut self.followers);
        for follower in &mut followers {
            if self.dice.percent(60) {
                let store = self.store.as_ref().unwrap();
                let followed = follower.follow(store, &self.reference, &mut self.dice);
                self.tolerate_read(followed);
            }
        }
        self.followers = followers;
    }

    /// The process ends; its handles are closed, which changes nothing on a disk that is gone.
    fn end_process(&mut self) {
        self.followers.iter_mut().for_each(Follower::lose);
        self.store = None;
    }

    /// Ends in order, and is not opened again.
    pub(crate) fn close(&mut self) {
        self.followers.iter_mut().for_each(Follower::lose);
        self.store.take().unwrap().close().unwrap();
    }

    /// Ends without warning, and is not opened again.
    pub(crate) fn leave(&mut self) {
        let found = self.disk.snapshot();
        self.end_process();
        self.disk = found;
    }

    /// Another life that goes on from the same place, on a disk of its own. Nobody has the store
    /// open.
    pub(crate) fn fork(&self) -> Self {
        let disk = self.disk.snapshot();
        Self {
            dice: self.dice.clone(),
            mix: self.mix.clone(),
            probe: ProbeDisk::new(Arc::new(disk.clone())),
            disk,
            host: Arc::new(SimulatedHost::new(1)),
            store: None,
            reference: self.reference.clone(),
            pending: self.pending.clone(),
            held: self.held,
            asked: self.asked.clone(),
            workload: Workload::new(),
            followers: INTERESTS.map(Follower::new).into(),
            trouble: Trouble::None,
            deceived: false,
            over: false,
            floor: self.floor,
            before_last: self.before_last,
            states_before: self.states_before.clone(),
            forgiven: 0,
            token: self.token,
            committed_us: self.committed_us,
            trace: String::new(),
            counts: Counts::default(),
        }
    }

    /// Begins anew, before there was a store.
    pub(crate) fn forget(&mut self) {
        self.end_process();
        self.disk = MemoryDisk::new();
    }

    /// After each step: if something has struck, the process ends in one of its ways, or goes on
    /// with a disk that works again.
    pub(crate) fn settle(&mut self) {
        if self.over || self.trouble == Trouble::None {
            return;
        }
        let struck = self.probe.failures() - self.forgiven;
        let stopped = self.store().failure();
        match self.trouble {
            Trouble::Cut | Trouble::Kill if struck > 0 => self.lose(),
            Trouble::Faults if struck > 0 || stopped.is_some() || self.held => {
                self.counts.faults += 1;
                self.probe.heal();
                self.disk.set_capacity(ROOMY_BYTES);
                self.say(format_args!("struck: {stopped:?}"));
                self.recover_or_lose();
            }
            _ if self.dice.percent(15) => {
                self.probe.heal();
                self.disk.set_capacity(ROOMY_BYTES);
                self.trouble = Trouble::None;
            }
            _ => {}
        }
    }

    /// The disk works again; a store that has not failed for good goes on.
    fn recover_or_lose(&mut self) {
        let poisoned = matches!(self.store().failure(), Some(StorageError::Poisoned(_)));
        self.counts.held += u64::from(self.held);
        let could = !poisoned && (self.pending.is_empty() || self.held);
        // Without a try, a held unit is what a crash finds.
        let tries = !self.held || self.dice.percent(70);
        if could && tries && self.store().maintain().is_ok() && self.dice.percent(60) {
            assert!(self.store().failure().is_none(), "what is over is not told");
            if self.held {
                self.counts.went_on += 1;
                let with = self.with_pending();
                let found = (self.store().committed(), states_of(self.store()));
                assert_eq!(
                    found,
                    (with.end(), with.states.clone()),
                    "what was held is made"
                );
                self.adopt(with);
            }
            self.trouble = Trouble::None;
            self.reset_probe();
            return;
        }
        self.trouble = match self.dice.below(3) {
            0 => Trouble::Cut,
            1 => Trouble::Kill,
            _ => {
                // A failed store can be closed too.
                let closed = self.store().clone().close();
                self.tolerate("closing", closed);
                Trouble::Kill
            }
        };
        self.lose();
    }

    /// New counts, no faults; the store goes on writing through the same probe.
    fn reset_probe(&mut self) {
        self.probe.heal();
        self.forgiven = self.probe.failures();
    }

    pub(crate) fn restart(&mut self) {
        self.counts.restarts += 1;
        self.followers.iter_mut().for_each(Follower::lose);
        let closed = self.store.take().unwrap().close();
        if self.tolerate("closing", closed).is_none() {
            if self.trouble != Trouble::Cut {
                self.trouble = Trouble::Kill;
            }
            self.lose();
            return;
        }
        if self.trouble != Trouble::None && self.probe.failures() > self.forgiven {
            self.lose();
            return;
        }
        self.trouble = Trouble::None;
        self.disk.set_capacity(ROOMY_BYTES);
        self.open_somehow();
    }

    /// The process has ended without warning, or the power went.
    pub(crate) fn lose(&mut self) {
        let found = match self.trouble {
            Trouble::Cut => {
                self.counts.power_cuts += 1;
                self.disk.power_cut(unsynced(&mut self.dice))
            }
            _ => {
                self.counts.kills += 1;
                self.disk.snapshot()
            }
        };
        let how = self.trouble;
        self.say(format_args!("{how:?}"));
        self.end_process();
        self.disk = found;
        self.disk.set_capacity(ROOMY_BYTES);
        self.trouble = Trouble::None;
        self.open_somehow();
    }

    /// Opens the store; sometimes something happens in the middle of it, again and again.
    fn open_somehow(&mut self) {
        for _ in 0..3 {
            if !self.dice.percent(self.mix.opening_trouble) {
                break;
            }
            self.counts.troubled_openings += 1;
            self.new_probe();
            let trouble = self.trouble_an_opening();
            let opened = self.try_open();
            if let Err(error) = &opened {
                self.say(format_args!("opening: {error}"));
                let struck = self.probe.failures() > 0;
                let io = matches!(error, OpenError::Storage(StorageError::Io { .. }));
                assert!(self.deceived || struck && io, "opening: {error}");
            }
            let seen = opened.as_ref().ok().map(Store::committed);
            self.disk = match trouble {
                Trouble::Cut => self.disk.power_cut(unsynced(&mut self.dice)),
                _ => self.disk.snapshot(),
            };
            drop(opened);
            self.see(seen);
        }
        self.begin();
    }

    /// What was shown once stays.
    pub(crate) fn see(&mut self, end: Option<Position>) {
        let Some(end) = end else { return };
        if self.deceived {
            return;
        }
        let with = self.with_pending();
        if end == with.end() && end != self.reference.end() {
            self.adopt(with);
        } else if self.held && end > self.reference.end() {
            let before = self.reference.end();
            let mut pending = std::mem::take(&mut self.pending).into_iter();
            while self.reference.end() < end {
                let ask = pending.next().expect("the log ends behind a request");
                let states = self.reference.states.clone();
                self.reference.ask(&ask);
                self.note_states(states);
            }
            self.pending = pending.collect();
            self.note_growth(before);
        }
    }

    pub(crate) fn with_pending(&self) -> Reference {
        let mut with = self.reference.clone();
        for ask in &self.pending {
            with.ask(ask);
        }
        with
    }

    /// Requests that may share a unit were answered, or are seen now; the log ended at `before`.
    fn note_growth(&mut self, before: Position) {
        if self.reference.end() > before {
            self.before_last = before;
        }
    }

    fn note_states(&mut self, before: StateRecords) {
        if before != self.reference.states {
            self.states_before.push(before);
        }
    }

    fn adopt(&mut self, with: Reference) {
        self.before_last = self.reference.end();
        let states = std::mem::replace(&mut self.reference, with).states;
        self.note_states(states);
        self.pending.clear();
        self.held = false;
    }

    /// Finds out what became of the requests that nobody answered: the log was found like this.
    fn find_pending(&mut self, found: (Position, &BTreeMap<u8, Vec<u8>>)) {
        let pending = std::mem::take(&mut self.pending);
        let held = std::mem::take(&mut self.held);
        let fits = |with: &Reference| found == (with.end(), &with.states);
        let mut with = self.reference.clone();
        let as_it_was = fits(&with);
        let mut fitting = None;
        for (before, ask) in pending.iter().enumerate() {
            with.ask(ask);
            let may_end_here = held || before + 1 == pending.len();
            if fitting.is_none() && may_end_here && fits(&with) {
                fitting = Some(with.clone());
            }
        }
        if held || as_it_was && fitting.is_some() {
            // Nobody can tell whether a request is known that left nothing to be seen.
            self.asked.retain(|asked| !pending.contains(asked));
        }
        match fitting {
            _ if as_it_was => {}
            Some(with) => self.adopt(with),
            None => {
                let pending: Vec<String> = pending.iter().map(brief).collect();
                let known = (self.reference.end(), &self.reference.states);
                panic!(
                    "the log is {found:?}: it ends neither behind all that was answered, \
                     {known:?}, nor behind what was being written, {pending:?}"
                );
            }
        }
    }

    pub(crate) fn new_probe(&mut self) {
        self.probe = ProbeDisk::new(Arc::new(self.disk.clone()));
        self.forgiven = 0;
    }

    pub(crate) fn try_open(&self) -> Result<Store, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(self.probe.clone());
        Store::open_on(disk, self.host.clone(), self.mix.options.clone())
    }

    /// Opens the store for good, and finds out what became of the requests that nobody answered.
    pub(crate) fn begin(&mut self) {
        self.new_probe();
        let store = match self.try_open() {
            Ok(store) => store,
            Err(error) => {
                assert!(self.deceived, "opening: {error}");
                self.say(format_args!("the lie was found out: {error}"));
                self.over = true;
                return;
            }
        };
        self.say(format_args!("open at {}", store.committed()));
        if self.deceived {
            self.store = Some(store);
            self.check_after_a_lie();
            self.over = true;
            return;
        }
        let states = states_of(&store);
        let end = store.committed();
        self.find_pending((end, &states));
        if let Some(token) = self.token {
            let covered = store.wait_for(token, std::time::Duration::ZERO);
            covered.expect("what a token covers can be read");
        }
        let committed_us = store.committed_us();
        assert!(committed_us >= self.committed_us, "time went backwards");
        self.committed_us = committed_us;
        self.store = Some(store);
        self.check();
    }
}

/// The state records, by their keys.
pub(crate) fn states_of(store: &Store) -> StateRecords {
    let states = store.states(StateSpace::Settings, b"");
    let states = states.iter();
    states
        .map(|(key, value)| (key[0], value.to_vec()))
        .collect()
}

/// What a power cut leaves.
pub(crate) fn unsynced(dice: &mut Dice) -> Unsynced {
    match dice.below(8) {
        0 => Unsynced::Lost,
        1 => Unsynced::Kept,
        2..5 => Unsynced::Torn(dice.roll()),
        _ => Unsynced::Shredded(dice.roll()),
    }
}
