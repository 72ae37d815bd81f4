//! How far a group is for good: what it does not deliver again after a restart.

use serde_json::{Value, json};

use crate::model::{Position, Revision};
use crate::subscription::group::core::{Core, place};
use crate::subscription::group::message::{Message, Seat};

/// A checkpoint is due, whatever was handled, when the group has passed so many events of the log.
const PASSED_MAX: u64 = 10_000;

/// How far everything is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Everything in front of this position is handled.
    pub(super) end: Position,
    /// The revision of the last event in front of it, in a group of one stream.
    pub(super) revision: Option<Revision>,
}

impl Checkpoint {
    /// As it is stored.
    pub(super) fn encode(self) -> String {
        json!({"end": self.end.0, "revision": self.revision.map(|revision| revision.0)}).to_string()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            end: Position(value.get("end")?.as_u64()?),
            revision: value.get("revision").and_then(Value::as_u64).map(Revision),
        })
    }
}

impl Core {
    /// How far everything is handled: in front of the lowest event that is not.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        match self.lowest().and_then(place) {
            Some(place) => Checkpoint {
                end: place.position,
                revision: place.revision.0.checked_sub(1).map(Revision),
            },
            None => Checkpoint {
                end: self.read_end,
                revision: match self.last_read {
                    Some(last) => Some(last.revision),
                    None => self.written.and_then(|written| written.revision),
                },
            },
        }
    }

    /// The lowest event of the source that was read and is not handled.
    pub(super) fn lowest(&self) -> Option<&Message> {
        let start = Seat::Source(Position::START);
        let lowest = [
            self.waiting.range(start..).next().map(|(_, one)| one),
            self.in_flight
                .range(start..)
                .next()
                .map(|(_, one)| &one.message),
            self.parking.range(start..).next().map(|(_, (one, _))| one),
        ];
        lowest.into_iter().flatten().min_by_key(|one| one.seat)
    }

    /// The checkpoint to be written, if one is due.
    pub(super) fn checkpoint_due(&self, now_us: i64) -> Option<Checkpoint> {
        let checkpoint = self.checkpoint_changed()?;
        let settings = &self.settings;
        let after_us = i64::try_from(settings.checkpoint_after.as_micros()).unwrap_or(i64::MAX);
        let written = self.written.map_or(Position::START, |written| written.end);
        let passed = checkpoint.end.0.saturating_sub(written.0);
        let enough =
            self.handled_count >= settings.min_checkpoint_count.into() || passed >= PASSED_MAX;
        let in_time = now_us.saturating_sub(self.written_us) >= after_us;
        let at_once = self.has_handled_many();
        (at_once || (enough && in_time)).then_some(checkpoint)
    }

    /// The checkpoint, if it is another than the one on stable storage and none is on its way.
    pub(super) fn checkpoint_changed(&self) -> Option<Checkpoint> {
        self.checkpoint_last().filter(|_| !self.writing)
    }

    /// The checkpoint, if it is another than the one on stable storage.
    pub(super) fn checkpoint_last(&self) -> Option<Checkpoint> {
        let written = self.written.map_or(Position::START, |written| written.end);
        let has_begun = self.over.is_none() && self.ready;
        Some(self.checkpoint()).filter(|checkpoint| has_begun && checkpoint.end > written)
    }

    /// Whether so many events were handled that a checkpoint is due at once.
    pub(super) fn has_handled_many(&self) -> bool {
        self.handled_count >= self.settings.max_checkpoint_count.into()
    }

    /// A checkpoint is on its way.
    pub(super) fn begin_checkpoint(&mut self) -> u64 {
        self.writing = true;
        self.handled_count
    }

    /// It is on stable storage, or was not written.
    pub(super) fn end_checkpoint(
        &mut self,
        checkpoint: Checkpoint,
        counted: Option<u64>,
        now_us: i64,
    ) {
        self.writing = false;
        if let Some(counted) = counted {
            self.handled_count = self.handled_count.saturating_sub(counted);
            self.written = Some(checkpoint);
            self.written_us = now_us;
        }
    }
}
