//! Scavenges in the middle of everything else. They need a thousand events behind what they
//! remove.

use annal::{Append, EventType, ExpectedRevision, NewEvent, ScavengeOptions, StreamName};
use uuid::Uuid;

use crate::common::reference::{Answer, Ask};
use crate::workload::{stream, tags_of};
use crate::world::World;

/// As many events as one leaf of the log's digests covers, and some more.
const FILL_EVENTS: u128 = 1_200;
const FILL_STEP: u128 = 100;

impl World {
    /// Fills the log, so that what comes next can be scavenged soon: some of it is hidden at once.
    pub(crate) fn fill_up(&mut self) {
        let event = |id: u128| {
            let id = Uuid::from_u128((1 << 64) + id);
            let event = NewEvent::json(EventType::new("Filled").unwrap(), "{}").with_id(id);
            event.with_tags(tags_of(id))
        };
        let streams: [StreamName; 2] = ["a-2", "filler"].map(stream);
        for first in (0..FILL_EVENTS).step_by(usize::try_from(FILL_STEP).unwrap()) {
            let ask = Ask::Append {
                events: (first..first + FILL_STEP)
                    .map(|id| {
                        (
                            streams[usize::try_from(id / 300 % 2).unwrap()].clone(),
                            event(id),
                        )
                    })
                    .collect(),
                expected: Vec::new(),
                states: Vec::new(),
                request: None,
            };
            let receipt = self.store().append(ask.append()).unwrap();
            assert_eq!(Answer::of(receipt), self.reference.ask(&ask));
        }
        let hidden = Ask::Delete(streams[0].clone(), ExpectedRevision::Any);
        let deleted: Append = hidden.append();
        let receipt = self.store().append(deleted).unwrap();
        assert_eq!(Answer::of(receipt), self.reference.ask(&hidden));
    }

    pub(crate) fn scavenge(&mut self) {
        self.counts.scavenges += 1;
        self.reference.scavenge();
        match self.store().scavenge(ScavengeOptions::default()) {
            Ok(handle) => {
                let info = handle.wait();
                self.say(format_args!("{info:?}"));
            }
            Err(error) => {
                let troubled = self.trouble != crate::world::Trouble::None || self.deceived;
                assert!(troubled, "{error}");
            }
        }
    }
}
