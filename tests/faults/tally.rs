//! What happened in a campaign, in numbers.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use annal::RecordedEvent;

use super::history::{History, Outcome};

/// What happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) strikes: u64,
    pub(crate) while_opening: u64,
    /// Servers that said why they could not open the store.
    pub(crate) not_opened: u64,
    pub(crate) done: u64,
    /// How many of them over gRPC.
    pub(crate) done_over_grpc: u64,
    pub(crate) conflicts: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// How many of the unknown ones are in the log.
    pub(crate) unknown_there: u64,
    /// Appends that were answered as done before.
    pub(crate) repeated: u64,
    pub(crate) events: u64,
    pub(crate) looks: u64,
    pub(crate) given: u64,
    pub(crate) resumed: u64,
    pub(crate) slowest_open: Duration,
    pub(crate) took: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.strikes += other.strikes;
        self.while_opening += other.while_opening;
        self.not_opened += other.not_opened;
        self.done += other.done;
        self.done_over_grpc += other.done_over_grpc;
        self.conflicts += other.conflicts;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.unknown_there += other.unknown_there;
        self.repeated += other.repeated;
        self.events += other.events;
        self.looks += other.looks;
        self.given += other.given;
        self.resumed += other.resumed;
        self.slowest_open = self.slowest_open.max(other.slowest_open);
        self.took += other.took;
    }

    /// Counts what clients saw in a life with this log.
    pub(crate) fn count(&mut self, history: &History, log: &[RecordedEvent]) {
        let there: HashSet<_> = log.iter().map(|event| event.id).collect();
        for asked in &history.asked {
            match &asked.outcome {
                Outcome::Done(receipt) => {
                    self.done += 1;
                    self.done_over_grpc += u64::from(asked.over_grpc);
                    self.repeated += u64::from(receipt.repeated);
                }
                Outcome::Conflict { .. } => self.conflicts += 1,
                Outcome::Refused(_) => self.refused += 1,
                Outcome::Unknown(_) => {
                    self.unknown += 1;
                    let mut events = asked.append.events.iter();
                    let is_there = events.any(|(_, event)| there.contains(&event.id));
                    self.unknown_there += u64::from(is_there);
                }
            }
        }
        self.events += u64::try_from(log.len()).unwrap();
        self.looks += u64::try_from(history.looks.len()).unwrap();
        for followed in &history.followed {
            self.given += u64::try_from(followed.given.len()).unwrap();
            self.resumed += followed.resumed;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} strikes, {} more while opening, {} openings refused, in {} lives and {:.0} s; \
             {} appends acknowledged ({} of them over gRPC, {} again), {} conflicts, {} refused, \
             {} unknown ({} of them there); {} events in the logs, {} looks, {} notices to \
             followers, which resumed {} times; slowest opening {:.0} ms",
            self.strikes,
            self.while_opening,
            self.not_opened,
            self.lives,
            self.took.as_secs_f64(),
            self.done,
            self.done_over_grpc,
            self.repeated,
            self.conflicts,
            self.refused,
            self.unknown,
            self.unknown_there,
            self.events,
            self.looks,
            self.given,
            self.resumed,
            self.slowest_open.as_secs_f64() * 1_000.0,
        )
    }
}
