//! The life of one store: a server under load is struck down again and again, started again, and
//! at the end everything that its clients saw is judged by the log.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annal::client::{ClientOptions, Read};
use annal::{
    Append, Client, EventType, ExpectedRevision, NewEvent, Position, RecordedEvent, Token,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::follow::Follower;
use super::grpc::{Grpc, GrpcFollower};
use super::history::{Asked, Followed, Followings, History, Look, Outcome, Saw};
use super::judge::judge;
use super::load::{Clock, Counts, Means, Notes, SHARED, Speaks, Writer, shared};
use super::server::{Ports, Process, Program, verify};
use super::tally::Tally;

/// How long writers may take for their last request.
const LAST_WITHIN: Duration = Duration::from_secs(300);
/// How many violations are told.
const TOLD_MAX: usize = 12;

/// What strikes, and where the store is.
pub(crate) trait Fault {
    /// Where the store is.
    fn at(&self) -> &At;
    /// Strikes a server, which need not listen yet, and leaves everything ready for the next one.
    fn strike(&mut self, server: Process, dice: &mut Dice, load: &Load<'_>) -> Result<(), String>;

    /// How the next server is to run, if not as the others of its life.
    fn under(&mut self, _: &mut Dice) -> Option<Program> {
        None
    }

    /// Whether a server may have failed to open its store with these words.
    fn excuses(&self, _complaint: &str) -> bool {
        false
    }

    /// Whether an append may have been refused with these words.
    fn explains(&self, _refusal: &str) -> bool {
        true
    }

    /// Takes away what still stands in the way of a server.
    fn relent(&mut self) {}
}

/// The load on a server, for those who strike it.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    runtime: &'a Runtime,
    counts: &'a Counts,
}

impl Load<'_> {
    /// Lets the clients work so long: the instant of a strike is nothing but a time.
    pub(crate) fn wait(&self, moment: Duration) {
        self.runtime.block_on(async { sleep(moment).await });
    }

    /// Waits until so many more appends are acknowledged. Says whether they were.
    pub(crate) fn is_acknowledged(&self, appends: u64, within: Duration) -> bool {
        self.grows(&self.counts.acknowledged, appends, within)
    }

    /// Waits until one more append is refused, conflicts aside. Says whether one was.
    pub(crate) fn is_refused(&self, within: Duration) -> bool {
        self.grows(&self.counts.refused, 1, within)
    }

    fn grows(&self, count: &AtomicU64, by: u64, within: Duration) -> bool {
        let until = count.load(Ordering::Relaxed) + by;
        let began = Instant::now();
        while began.elapsed() < within {
            if count.load(Ordering::Relaxed) >= until {
                return true;
            }
            self.wait(Duration::from_millis(2));
        }
        false
    }
}

/// Where a store is.
#[derive(Clone, Debug)]
pub(crate) struct At {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Where its servers complain, which is outside of what is struck.
    pub(crate) log: PathBuf,
}

/// How a life is led.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) program: Program,
    pub(crate) writers: u64,
    pub(crate) strikes: u64,
    /// How long a server lives, in milliseconds.
    pub(crate) lives_ms: Range<u64>,
    /// How many of a hundred strikes hit the next server too, while it opens the store.
    pub(crate) twice_percent: u64,
    /// The longest that a writer waits for an answer.
    pub(crate) patience: Option<Duration>,
    /// Whether answers that the storage failed are what the fault explains.
    pub(crate) storage_fails: bool,
    /// How many of a thousand events are large.
    pub(crate) large_permille: u64,
}

/// Leads one life. An error says which promise was broken.
pub(crate) fn live(fault: &mut dyn Fault, shape: &Shape, seed: u64) -> Result<Tally, String> {
    let began = Instant::now();
    let runtime = Runtime::new().unwrap();
    let mut life = Life::begin(fault, shape, seed, &runtime)?;
    let mut tally = Tally::default();
    for left in (0..shape.strikes).rev() {
        life.strike(fault, &mut tally)?;
        // The last server is to show everything.
        life.start(fault, left > 0, &mut tally)?;
    }
    let (history, log) = life.end(fault)?;
    tally.lives = 1;
    tally.count(&history, &log);
    tally.took = began.elapsed();
    let found = judge(&history, &log);
    if found.is_empty() {
        return Ok(tally);
    }
    let told: Vec<_> = found
        .iter()
        .take(TOLD_MAX)
        .map(ToString::to_string)
        .collect();
    let (count, told) = (found.len(), told.join("\n  "));
    Err(format!(
        "{count} violations in {}:\n  {told}",
        fault.at().folder.display()
    ))
}

/// A server with its clients.
struct Life<'a> {
    shape: &'a Shape,
    runtime: &'a Runtime,
    dice: Dice,
    clock: Clock,
    ports: Ports,
    server: Option<Process>,
    client: Client,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    last: watch::Sender<Option<Vec<Position>>>,
    writers: Vec<JoinHandle<Notes>>,
    followers: Vec<JoinHandle<Followings>>,
    history: History,
}

impl<'a> Life<'a> {
    fn begin(
        fault: &dyn Fault,
        shape: &'a Shape,
        seed: u64,
        runtime: &'a Runtime,
    ) -> Result<Self, String> {
        let mut dice = Dice::new(seed);
        // Connections of gRPC are looked after by tasks.
        let _inside = runtime.enter();
        let ports = Ports::free();
        let clock = Clock::start();
        let mut server = Process::spawn(&shape.program, &fault.at().folder, ports, &fault.at().log);
        server.listening()?;
        let (stop, stopped) = watch::channel(false);
        let (last, last_is) = watch::channel(None);
        let connect = || {
            let mut options = ClientOptions::new("127.0.0.1", ports.native);
            options.reconnect_within = LAST_WITHIN;
            let client = runtime.block_on(Client::connect(options));
            client.map_err(|error| error.to_string())
        };
        let client = connect()?;
        let token = Token {
            store: client.store(),
            lineage: client.lineage(),
            end: Position::START,
        };
        let counts = Arc::new(Counts::default());
        let mut writers = Vec::new();
        for number in 0..shape.writers {
            let means = Means {
                patience: shape.patience,
                large_permille: shape.large_permille,
                counts: Arc::clone(&counts),
                clock: clock.clone(),
            };
            // One of three speaks the other protocol.
            let client = match number % 3 {
                2 => Speaks::Grpc(Grpc::new(ports.grpc, token)),
                _ => Speaks::Native(connect()?),
            };
            let writer = Writer::new(client, number, seed, means);
            writers.push(runtime.spawn(writer.run(stopped.clone())));
        }
        let mut followers = Vec::new();
        for (of, restless) in [
            (Followed::All, false),
            (Followed::All, true),
            (Followed::Stream(shared(0)), true),
            (Followed::Stream(shared(1)), false),
            (Followed::Category("shared".to_owned()), true),
        ] {
            let (client, clock) = (connect()?, clock.clone());
            let dice = Dice::new(dice.roll());
            let follower = Follower {
                client,
                of,
                restless,
                dice,
                clock,
            };
            followers.push(runtime.spawn(follower.run(last_is.clone())));
        }
        for of in [Followed::All, Followed::Stream(shared(0))] {
            let follower = GrpcFollower {
                client: Grpc::new(ports.grpc, token),
                of,
                dice: Dice::new(dice.roll()),
                clock: clock.clone(),
            };
            followers.push(runtime.spawn(follower.run(last_is.clone())));
        }
        Ok(Self {
            shape,
            runtime,
            dice,
            clock,
            ports,
            server: Some(server),
            client,
            counts,
            stop,
            last,
            writers,
            followers,
            history: History::default(),
        })
    }

    /// Lets the server live a moment, strikes it, and starts the next one.
    fn strike(&mut self, fault: &mut dyn Fault, tally: &mut Tally) -> Result<(), String> {
        let Range { start, end } = self.shape.lives_ms;
        let moment = Duration::from_micros(start * 1_000 + self.dice.below((end - start) * 1_000));
        self.runtime.block_on(async { sleep(moment).await });
        if let Some(server) = self.server.take() {
            self.hit(fault, server)?;
            tally.strikes += 1;
        }
        while self.dice.percent(self.shape.twice_percent) {
            let program = &self.shape.program;
            let server = Process::spawn(program, &fault.at().folder, self.ports, &fault.at().log);
            let moment = Duration::from_micros(self.dice.below(40_000));
            self.runtime.block_on(async { sleep(moment).await });
            self.hit(fault, server)?;
            tally.while_opening += 1;
        }
        Ok(())
    }

    fn hit(&mut self, fault: &mut dyn Fault, server: Process) -> Result<(), String> {
        let load = Load {
            runtime: self.runtime,
            counts: &self.counts,
        };
        fault.strike(server, &mut self.dice, &load)
    }

    /// Starts the next server, if need be until one opens the store.
    fn start(&mut self, fault: &mut dyn Fault, any: bool, tally: &mut Tally) -> Result<(), String> {
        let mut under = fault.under(&mut self.dice).filter(|_| any);
        let mut excused = false;
        if !any {
            fault.relent();
        }
        loop {
            let program = under.as_ref().unwrap_or(&self.shape.program);
            let mut server =
                Process::spawn(program, &fault.at().folder, self.ports, &fault.at().log);
            match server.listening() {
                Ok((took, _)) => {
                    tally.slowest_open = tally.slowest_open.max(took);
                    self.server = Some(server);
                    break;
                }
                Err(problem) if any && !excused && fault.excuses(&problem) => {
                    tally.not_opened += 1;
                    (under, excused) = (None, true);
                    fault.relent();
                }
                Err(problem) => return Err(format!("the store does not open: {problem}")),
            }
        }
        match under {
            // It may not be able to.
            Some(_) => Ok(()),
            None => self.look_at_all(),
        }
    }

    /// Everything that a server shows after a restart is a look like others.
    fn look_at_all(&mut self) -> Result<(), String> {
        let invoked = self.clock.now();
        let all = self.client.read(Read::all()).collect();
        let read = self
            .runtime
            .block_on(async { timeout(LAST_WITHIN, all).await });
        let events = read.map_err(|_| "a read of everything hangs".to_owned())?;
        let events = events.map_err(|error| format!("a read of everything: {error}"))?;
        let returned = self.clock.now();
        self.history.looks.push(Look {
            invoked,
            returned,
            saw: Saw::Log(Position::START, events),
        });
        Ok(())
    }

    /// Ends the load, waits until every follower has everything, stops the server in order, and
    /// checks its files; the history and the log.
    fn end(mut self, fault: &dyn Fault) -> Result<(History, Vec<RecordedEvent>), String> {
        self.stop.send_replace(true);
        let mut complaints = Vec::new();
        for writer in std::mem::take(&mut self.writers) {
            let notes = self
                .runtime
                .block_on(async { timeout(LAST_WITHIN, writer).await });
            let notes = notes.map_err(|_| "a writer hangs".to_owned())?;
            let notes = notes.map_err(|error| format!("a writer ended: {error}"))?;
            self.history.asked.extend(notes.asked);
            self.history.looks.extend(notes.looks);
            complaints.extend(notes.complaints);
        }
        for asked in &self.history.asked {
            if let Outcome::Refused(why) = &asked.outcome
                && !fault.explains(why)
            {
                return Err(format!("a refusal that explains nothing: {why}"));
            }
        }
        self.append_the_last()?;
        for follower in std::mem::take(&mut self.followers) {
            let followed = self.runtime.block_on(follower);
            self.history
                .followed
                .push(followed.map_err(|error| error.to_string())?);
        }
        self.look_at_all()?;
        let log = self.history.looks.last().map(|look| match &look.saw {
            Saw::Log(_, events) => events.clone(),
            Saw::Head(..) | Saw::Stream(..) => Vec::new(),
        });
        if let Some(server) = self.server.take() {
            server.stop()?;
        }
        verify(&fault.at().folder)?;
        let said = fs::read_to_string(&fault.at().log).unwrap_or_default();
        if let Some(panic) = said.lines().find(|line| line.contains("panicked")) {
            return Err(format!("a server panicked: {panic}"));
        }
        if !self.shape.storage_fails && !complaints.is_empty() {
            return Err(format!(
                "answers that a kill does not explain: {complaints:?}"
            ));
        }
        Ok((self.history, log.unwrap_or_default()))
    }

    /// One event more in every stream that is followed, so that each follower knows the end.
    fn append_the_last(&mut self) -> Result<(), String> {
        let mut append = Append::new();
        for number in 0..SHARED {
            let event = NewEvent::json(EventType::new("Last").unwrap(), "{}");
            append = append.event(shared(number), event);
            append = append.expect(shared(number), ExpectedRevision::Any);
        }
        let invoked = self.clock.now();
        let done = self.runtime.block_on(self.client.append(append.clone()));
        let receipt = done.map_err(|error| format!("the last append: {error}"))?;
        let positions = (0..SHARED).map(|nth| receipt.first.plus(nth)).collect();
        self.last.send_replace(Some(positions));
        let returned = self.clock.now();
        self.history.asked.push(Asked {
            append,
            over_grpc: false,
            invoked,
            returned,
            outcome: Outcome::Done(receipt),
        });
        Ok(())
    }
}

impl Shape {
    /// A life under a plain kill, to be changed where another one is wanted.
    pub(crate) fn plain() -> Self {
        Self {
            program: Program::Binary,
            writers: 8,
            strikes: 1,
            lives_ms: 10..400,
            twice_percent: 0,
            patience: None,
            storage_fails: false,
            large_permille: 1,
        }
    }
}
