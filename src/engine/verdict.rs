//! The rules of expectations: what is answered to a writer, given where a stream stands.
//!
//! Pure, and in one place: the decision tables of the EventStoreDB protocol, for appends, checks,
//! deletions and tombstones.

use crate::model::{ExpectedRevision, Revision, StreamHead};

/// Where a stream stands at the moment of judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The revision of its last event, readable or not.
    pub(super) last: Option<Revision>,
    /// Whether it has metadata of its own.
    pub(super) has_metadata: bool,
    /// Whether it was deleted and may be written again.
    pub(super) deleted: bool,
    /// Whether it is closed for ever.
    pub(super) tombstoned: bool,
}

impl Standing {
    /// The same as readers and writers see it.
    pub(super) fn head(self) -> StreamHead {
        match self.last {
            _ if self.tombstoned => StreamHead::Tombstoned,
            last if self.deleted => StreamHead::Deleted(last),
            Some(last) => StreamHead::At(last),
            None => StreamHead::Absent,
        }
    }
}

/// What a request wants of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// That its expectation holds; nothing is written to it.
    Check,
    /// Write events.
    Write,
    /// Delete it; it may be written again.
    Delete,
    /// Close it for ever.
    Tombstone,
}

/// How the ids of the events to be written compare with events that the stream already has: for an
/// expectation that names no revision, with recent ones; else with those behind the named revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// The first is not there: the events are new.
    None,
    /// The first is there and a later one is not: no retry looks like this.
    Part,
    /// All are there: a retry.
    Whole,
}

/// A request that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Do it.
    Go,
    /// It was done before; answer as then.
    Repeated,
}

/// A request that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The stream is not where it was expected.
    Wrong,
    /// The stream is deleted or tombstoned.
    Deleted,
}

/// Judges one stream of a request.
pub(super) fn judge(
    standing: Standing,
    expected: ExpectedRevision,
    wish: Wish,
    repetition: Repetition,
) -> Result<Verdict, Refusal> {
    match wish {
        Wish::Check => check(standing, expected).map(|()| Verdict::Go),
        Wish::Write => write(standing, expected, repetition),
        Wish::Delete | Wish::Tombstone => end(standing, expected, wish).map(|()| Verdict::Go),
    }
}

fn check(standing: Standing, expected: ExpectedRevision) -> Result<(), Refusal> {
    let gone = standing.deleted || standing.tombstoned;
    let holds = match expected {
        ExpectedRevision::Any => true,
        ExpectedRevision::NoStream => standing.last.is_none() || gone,
        ExpectedRevision::StreamExists => {
            !gone && (standing.last.is_some() || standing.has_metadata)
        }
        ExpectedRevision::Exactly(revision) => {
            !standing.tombstoned && standing.last == Some(revision)
        }
    };
    if holds { Ok(()) } else { Err(Refusal::Wrong) }
}

fn write(
    standing: Standing,
    expected: ExpectedRevision,
    repetition: Repetition,
) -> Result<Verdict, Refusal> {
    if standing.tombstoned {
        return Err(Refusal::Deleted);
    }
    let expected_last = match expected {
        ExpectedRevision::Exactly(revision) => Some(revision),
        ExpectedRevision::NoStream => None,
        ExpectedRevision::StreamExists if standing.deleted => return Err(Refusal::Deleted),
        ExpectedRevision::StreamExists if standing.last.is_none() && !standing.has_metadata => {
            return Err(Refusal::Wrong);
        }
        ExpectedRevision::Any | ExpectedRevision::StreamExists => {
            return match repetition {
                Repetition::None => Ok(Verdict::Go),
                Repetition::Whole => Ok(Verdict::Repeated),
                Repetition::Part => Err(Refusal::Wrong),
            };
        }
    };
    if expected_last == standing.last {
        return Ok(Verdict::Go);
    }
    match repetition {
        Repetition::Whole if expected_last < standing.last => Ok(Verdict::Repeated),
        Repetition::None if expected_last.is_none() && standing.deleted => Ok(Verdict::Go),
        Repetition::None | Repetition::Part | Repetition::Whole => Err(Refusal::Wrong),
    }
}

/// Deletion and tombstone differ only for a stream that was never there: a tombstone can be put on
/// it, and there is nothing to delete.
fn end(standing: Standing, expected: ExpectedRevision, wish: Wish) -> Result<(), Refusal> {
    if standing.tombstoned {
        return Err(Refusal::Deleted);
    }
    let never = standing.last.is_none() && !standing.has_metadata && !standing.deleted;
    let holds = match expected {
        ExpectedRevision::Any => !never || wish == Wish::Tombstone,
        ExpectedRevision::NoStream if never => wish == Wish::Tombstone,
        ExpectedRevision::NoStream => standing.last.is_none() || standing.deleted,
        ExpectedRevision::StreamExists if standing.deleted => return Err(Refusal::Deleted),
        ExpectedRevision::StreamExists => !never,
        ExpectedRevision::Exactly(revision) => standing.last == Some(revision),
    };
    if holds { Ok(()) } else { Err(Refusal::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Standing = Standing {
        last: None,
        has_metadata: false,
        deleted: false,
        tombstoned: false,
    };
    const METADATA: Standing = Standing {
        has_metadata: true,
        ..ABSENT
    };
    const LIVE: Standing = Standing {
        last: Some(Revision(4)),
        ..ABSENT
    };
    const DELETED: Standing = Standing {
        has_metadata: true,
        deleted: true,
        ..LIVE
    };
    const TOMBSTONED: Standing = Standing {
        tombstoned: true,
        ..LIVE
    };
    const STANDINGS: [Standing; 5] = [ABSENT, METADATA, LIVE, DELETED, TOMBSTONED];

    const ANY: ExpectedRevision = ExpectedRevision::Any;
    const NONE: ExpectedRevision = ExpectedRevision::NoStream;
    const EXISTS: ExpectedRevision = ExpectedRevision::StreamExists;
    const FOUR: ExpectedRevision = ExpectedRevision::Exactly(Revision(4));
    const THREE: ExpectedRevision = ExpectedRevision::Exactly(Revision(3));
    const FIVE: ExpectedRevision = ExpectedRevision::Exactly(Revision(5));

    const OK: Result<Verdict, Refusal> = Ok(Verdict::Go);
    const AGAIN: Result<Verdict, Refusal> = Ok(Verdict::Repeated);
    const WRONG: Result<Verdict, Refusal> = Err(Refusal::Wrong);
    const GONE: Result<Verdict, Refusal> = Err(Refusal::Deleted);

    fn row(
        expected: ExpectedRevision,
        wish: Wish,
        repetition: Repetition,
        answers: [Result<Verdict, Refusal>; 5],
    ) {
        for (standing, answer) in STANDINGS.into_iter().zip(answers) {
            let judged = judge(standing, expected, wish, repetition);
            assert_eq!(
                judged, answer,
                "{wish:?} {expected} {repetition:?} on {standing:?}"
            );
        }
    }

    // Columns: absent, only metadata, live at 4, deleted at 4, tombstoned.

    #[test]
    fn new_events_are_judged_by_the_expectation() {
        let new = Repetition::None;
        row(ANY, Wish::Write, new, [OK, OK, OK, OK, GONE]);
        row(NONE, Wish::Write, new, [OK, OK, WRONG, OK, GONE]);
        row(EXISTS, Wish::Write, new, [WRONG, OK, OK, GONE, GONE]);
        row(FOUR, Wish::Write, new, [WRONG, WRONG, OK, OK, GONE]);
        row(THREE, Wish::Write, new, [WRONG, WRONG, WRONG, WRONG, GONE]);
        row(FIVE, Wish::Write, new, [WRONG, WRONG, WRONG, WRONG, GONE]);
    }

    #[test]
    fn repeated_events_are_answered_as_the_first_time() {
        let whole = Repetition::Whole;
        row(ANY, Wish::Write, whole, [AGAIN, AGAIN, AGAIN, AGAIN, GONE]);
        row(
            EXISTS,
            Wish::Write,
            whole,
            [WRONG, AGAIN, AGAIN, GONE, GONE],
        );
        row(NONE, Wish::Write, whole, [OK, OK, AGAIN, AGAIN, GONE]);
        row(
            THREE,
            Wish::Write,
            whole,
            [WRONG, WRONG, AGAIN, AGAIN, GONE],
        );
        // The same ids with the latest revision are new events: the writer says so.
        row(FOUR, Wish::Write, whole, [WRONG, WRONG, OK, OK, GONE]);
    }

    #[test]
    fn a_retry_that_fits_only_in_part_is_refused() {
        let part = Repetition::Part;
        row(ANY, Wish::Write, part, [WRONG, WRONG, WRONG, WRONG, GONE]);
        row(NONE, Wish::Write, part, [OK, OK, WRONG, WRONG, GONE]);
        row(THREE, Wish::Write, part, [WRONG, WRONG, WRONG, WRONG, GONE]);
    }

    #[test]
    fn a_stream_that_is_only_checked_must_be_as_expected() {
        let new = Repetition::None;
        row(ANY, Wish::Check, new, [OK, OK, OK, OK, OK]);
        row(NONE, Wish::Check, new, [OK, OK, WRONG, OK, OK]);
        row(EXISTS, Wish::Check, new, [WRONG, OK, OK, WRONG, WRONG]);
        row(FOUR, Wish::Check, new, [WRONG, WRONG, OK, OK, WRONG]);
        row(FIVE, Wish::Check, new, [WRONG, WRONG, WRONG, WRONG, WRONG]);
    }

    #[test]
    fn a_stream_that_was_never_there_cannot_be_deleted() {
        let new = Repetition::None;
        row(ANY, Wish::Delete, new, [WRONG, OK, OK, OK, GONE]);
        row(NONE, Wish::Delete, new, [WRONG, OK, WRONG, OK, GONE]);
        row(EXISTS, Wish::Delete, new, [WRONG, OK, OK, GONE, GONE]);
        row(FOUR, Wish::Delete, new, [WRONG, WRONG, OK, OK, GONE]);
        row(FIVE, Wish::Delete, new, [WRONG, WRONG, WRONG, WRONG, GONE]);
    }

    #[test]
    fn a_stream_that_was_never_there_can_be_tombstoned() {
        let new = Repetition::None;
        row(ANY, Wish::Tombstone, new, [OK, OK, OK, OK, GONE]);
        row(NONE, Wish::Tombstone, new, [OK, OK, WRONG, OK, GONE]);
        row(EXISTS, Wish::Tombstone, new, [WRONG, OK, OK, GONE, GONE]);
        row(FOUR, Wish::Tombstone, new, [WRONG, WRONG, OK, OK, GONE]);
    }
}
