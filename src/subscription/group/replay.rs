//! Replaying what was parked: it is read from the parked stream in batches, goes ahead of
//! everything else, and leaves that stream only when it was handled or parked again.

use std::collections::BTreeSet;

use crate::model::Revision;
use crate::subscription::group::core::Core;
use crate::subscription::group::message::{Lane, Message};

/// How many replayed events are kept in memory.
const LOADED_MAX: usize = 500;

/// How far the replay of parked events is.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// What is to be read yet: from, and up to without.
    pub(super) loading: Option<(Revision, Revision)>,
    /// Everything in front of it was read for a replay.
    pub(super) loaded_end: Revision,
    /// Read, and not handled yet.
    unresolved: BTreeSet<Revision>,
    /// In an ordered group: read, and parked again in the same place, so that the parked stream
    /// keeps the order of each sequence.
    kept: BTreeSet<Revision>,
    /// In front of this revision nothing is parked any more, and that is on stable storage.
    pub(super) first: Revision,
    /// A truncation is being written.
    pub(super) truncating: bool,
}

impl Replay {
    /// One of those read was handled, or parked again.
    pub(super) fn resolved(&mut self, revision: Revision) {
        self.unresolved.remove(&revision);
    }

    /// Whether what was replayed is not handled yet.
    pub(super) fn is_running(&self) -> bool {
        self.truncating || !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.loading.is_none() && self.unresolved.is_empty()
    }

    /// Where the parked stream begins when everything is taken out that was replayed; none if it
    /// begins there, or a replay is not over.
    pub(super) fn truncation(&self) -> Option<Revision> {
        let kept = self.kept.first().copied();
        let target = kept.unwrap_or(self.loaded_end).min(self.loaded_end);
        (!self.is_running() && target > self.first).then_some(target)
    }

    /// Whether an event was replayed and handled, though it is in the parked stream.
    pub(super) fn is_done(&self, revision: Revision) -> bool {
        revision < self.loaded_end && !self.kept.contains(&revision)
    }

    /// One that was replayed is parked again where it is.
    pub(super) fn keep(&mut self, revision: Revision) {
        self.unresolved.remove(&revision);
        self.kept.insert(revision);
    }

    /// Nothing in front of a revision is parked any more.
    pub(super) fn begin_at(&mut self, first: Revision) {
        self.first = first;
        self.kept = self.kept.split_off(&first);
    }

    /// How many events are parked, where the parked stream ends in front of a revision.
    pub(super) fn parked_count(&self, first: Revision, end: Revision) -> u64 {
        let unread = end.0.saturating_sub(self.loaded_end.max(first).0);
        let kept = self.kept.range(first..).count();
        unread + u64::try_from(kept).unwrap_or(u64::MAX)
    }

    /// The parked stream begins there, or does not yet.
    pub(super) fn truncated(&mut self, first: Revision, is_done: bool) {
        self.truncating = false;
        if is_done {
            self.first = self.first.max(first);
        }
    }
}

impl Core {
    /// Begins to replay up to a revision of the parked stream.
    pub(super) fn begin_replay(&mut self, stop: Revision) {
        let unread = self.replay.loaded_end.max(self.replay.first);
        let from = self.replay.kept.first().copied().unwrap_or(unread);
        if from < stop {
            self.replay.loading = Some((from, stop));
        }
    }

    /// Where to read on for the replay, up to where, and how many events.
    pub(super) fn wanted_replay(&self) -> Option<(Revision, Revision, usize)> {
        let (from, stop) = self.replay.loading?;
        let room = LOADED_MAX.saturating_sub(self.replay.unresolved.len());
        (self.over.is_none() && room > 0).then_some((from, stop, room))
    }

    /// Takes an event that was read from the parked stream.
    pub(super) fn admit_replayed(&mut self, revision: Revision, message: Message) {
        if self.replay.is_done(revision) {
            return;
        }
        self.replay.kept.remove(&revision);
        self.replay.unresolved.insert(revision);
        if let Some(lane) = message.lane.clone() {
            let unparked = |count: u64| count.saturating_sub(1);
            self.change_lane(&lane, |used| {
                used.parked_count = unparked(used.parked_count)
            });
        }
        self.admit(message);
    }

    /// Everything in front of a revision was read for the replay.
    pub(super) fn replay_read(&mut self, next: Revision) {
        self.replay.loaded_end = self.replay.loaded_end.max(next);
        let stop = self.replay.loading.map(|(_, stop)| stop);
        self.replay.loading = stop.filter(|stop| next < *stop).map(|stop| (next, stop));
        self.mend_lanes();
    }

    /// When a replay is over, streams that failed again may be tried in the next one.
    pub(super) fn mend_lanes(&mut self) {
        if !self.replay.is_over() {
            return;
        }
        let broken = self.lanes.iter().filter(|(_, used)| used.is_broken);
        let broken: Vec<Lane> = broken.map(|(lane, _)| lane.clone()).collect();
        for lane in broken {
            self.change_lane(&lane, |used| used.is_broken = false);
        }
    }
}
