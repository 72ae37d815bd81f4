//! Staging: one request at a time is judged, numbered and encoded into the unit being built.
//!
//! Staging reads memory only, never the disk, over a state that includes everything staged before.
//! It is deterministic: the same state, request, time and ids give the same verdicts and the same
//! record bytes, so a replicated log can feed it too. A refusal is told only when its grounds are
//! durable; and where only the log can tell what the grounds mean, the request goes round again
//! behind their sync.

use smallvec::SmallVec;

use super::error::AppendError;
use super::prepare::{Prepared, PreparedEvent, Subject};
use super::receipt::{own_event_id, token};
use super::resolve::{Deleted, Facts, Resolution, standing};
use super::verdict::{Refusal, Repetition, Standing, Verdict, Wish, judge};
use crate::format::record::{Record, payload_checksum};
use crate::format::store::Identity;
use crate::format::unit::{AppendEntry, RequestEntry};
use crate::index::{Posting, StageGuard, Staged, StreamEntry};
use crate::log::UnitBuffer;
use crate::model::Receipt;
use crate::model::{
    ContentType, EventType, ExpectedRevision, NewEvent, Position, Revision, StreamMetadata,
    StreamName, Timestamp,
};

/// The most bytes of metadata that the store writes for one append, to bring deleted streams back.
const OWN_LEN_BYTES_MAX: usize = 1024 * 1024;
/// What such an event takes beside its stream's name and the metadata, in bytes, at most.
const OWN_RECORD_LEN_BYTES: usize = 128;

/// What became of a request at the stage.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the unit; the receipt holds once the unit is durable.
    Staged(Receipt),
    /// It changed nothing, and the answer rests on durable events alone.
    Answered(Result<Receipt, AppendError>),
    /// It is refused on grounds that may not be durable yet: so it is told once the unit is.
    Refused(AppendError),
    /// Something it depends on changed after it was resolved, and only the log can tell what that
    /// means. Resolve it again once the unit is durable.
    Again,
}

/// Judges a request and, if it may, puts its events into the unit and into the index.
pub(super) fn stage(
    unit: &mut UnitBuffer,
    index: &mut StageGuard<'_>,
    identity: &Identity,
    now: Timestamp,
    request: (&Prepared, &Resolution),
) -> Outcome {
    let (prepared, resolution) = request;
    let judged = match judge_all(index, prepared, resolution) {
        Ok(judged) => judged,
        Err(outcome) => return outcome,
    };
    if let Some(receipt) = judged.repeated(prepared, resolution, identity) {
        return Outcome::Answered(Ok(receipt));
    }
    if let Err(error) = judged.check_own_len(prepared) {
        return Outcome::Refused(error);
    }
    let first = unit.end_position();
    let mut writer = Writer {
        unit,
        index,
        identity,
        now,
        heads: judged.heads(),
    };
    for event in prepared.events() {
        writer.write(prepared, &event);
    }
    let mut last = (prepared.events_len() > 0).then(|| writer.last_position());
    let mut revisions = writer.revisions(prepared);
    if let Some((stream, revision)) = writer.end_stream(prepared, &judged) {
        last = Some(writer.last_position());
        revisions.push((stream, revision));
    }
    writer.bring_back(prepared, &judged);
    let records = writer.unit.end_position().0.saturating_sub(first.0);
    let records = u32::try_from(records).expect("an append has at most 65,536 events");
    let entry = prepared
        .request
        .as_ref()
        .map(|(request, content)| RequestEntry {
            principal: request.principal.as_str().into(),
            id: request.id,
            content: *content,
        });
    for state in &prepared.states {
        writer.unit.push_state(state.clone());
    }
    if let Some(entry) = &entry {
        writer.index.insert_request(first, records, entry);
    }
    unit.end_append(AppendEntry {
        records,
        request: entry,
    });
    let token = token(identity, last, first);
    Outcome::Staged(Receipt {
        first,
        last,
        revisions,
        token,
        repeated: false,
    })
}

/// Where all streams of a request stand, after all were found as expected.
struct Judged<'a> {
    entries: SmallVec<[StreamEntry; 2]>,
    verdicts: SmallVec<[Verdict; 2]>,
    deleted: SmallVec<[Option<&'a Deleted>; 2]>,
}

fn judge_all<'a>(
    index: &StageGuard<'_>,
    prepared: &Prepared,
    resolution: &'a Resolution,
) -> Result<Judged<'a>, Outcome> {
    if let Some((request, _)) = &prepared.request
        && index
            .request_since(&request.principal, request.id, resolution.at)
            .is_some()
    {
        return Err(Outcome::Again);
    }
    let mut judged = Judged {
        entries: SmallVec::with_capacity(prepared.subjects.len()),
        verdicts: SmallVec::with_capacity(prepared.subjects.len()),
        deleted: SmallVec::with_capacity(prepared.subjects.len()),
    };
    let mut changed = false;
    for (subject, facts) in prepared.subjects.iter().zip(&resolution.facts) {
        let entry = match index.head(&subject.stream, resolution.at) {
            Staged::Unchanged => facts.entry.clone(),
            Staged::Entry(newer) => {
                changed = true;
                facts.entry.clone().updated(&newer)
            }
            Staged::TooOld => return Err(Outcome::Again),
        };
        judged.deleted.push(facts.deleted.as_deref());
        judged.entries.push(entry);
    }
    if judged.lacks_facts(prepared, index, resolution) || sent_twice(index, prepared, resolution) {
        return Err(Outcome::Again);
    }
    let refuse = |error| match changed {
        false => Outcome::Answered(Err(error)),
        true if may_be_sent_again(index, prepared, resolution) => Outcome::Again,
        true => Outcome::Refused(error),
    };
    let standings = judged.entries.iter().map(standing);
    for ((subject, facts), standing) in prepared
        .subjects
        .iter()
        .zip(&resolution.facts)
        .zip(standings)
    {
        // Written streams come first. Where each has its events already, there is nothing left to
        // be done that could depend on the other ones.
        if subject.wish == Wish::Check && judged.is_retry() {
            break;
        }
        let judge = |standing| judge(standing, subject.expected, subject.wish, facts.repetition);
        let verdict =
            judge(standing).map_err(|refusal| refuse(refused(subject, standing, refusal)))?;
        // It is told of at once: so it has to be one by what is durable.
        if verdict == Verdict::Repeated && judge(self::standing(&facts.entry)) != Ok(verdict) {
            return Err(Outcome::Again);
        }
        judged.verdicts.push(verdict);
    }
    judged.refuse_a_mixture(prepared).map_err(refuse)?;
    Ok(judged)
}

/// Whether an event came in since the request was resolved that could make it a retry, or a retry
/// of something else: the last event with an id is the one that counts.
fn sent_twice(index: &StageGuard<'_>, prepared: &Prepared, resolution: &Resolution) -> bool {
    let mut asked = None;
    prepared.events().any(|event| {
        let facts = resolution.facts.get(event.subject);
        let subject = prepared.subjects.get(event.subject);
        let (Some(facts), Some(subject)) = (facts, subject) else {
            return false;
        };
        let open = matches!(
            subject.expected,
            ExpectedRevision::Any | ExpectedRevision::StreamExists
        );
        let first_tells = facts.repetition == Repetition::None;
        if !open || first_tells && asked == Some(event.subject) {
            return false;
        }
        // Later events of a stream are asked about only where other streams came between; then the
        // answer can be stricter than needed, and the request goes round once more for nothing.
        asked = Some(event.subject);
        index.id_seen_since(&subject.stream, event.event.id, resolution.at)
    })
}

/// Whether a refused request may be one whose events came in since it was resolved. Their ids tell;
/// an id of another expectation's retry does too, and then the log decides.
fn may_be_sent_again(index: &StageGuard<'_>, prepared: &Prepared, resolution: &Resolution) -> bool {
    let known = resolution
        .facts
        .iter()
        .any(|facts| facts.repetition != Repetition::None);
    known
        || prepared.events().any(|event| {
            let subject = prepared.subjects.get(event.subject);
            subject.is_some_and(|subject| {
                index.id_seen_since(&subject.stream, event.event.id, resolution.at)
            })
        })
}

fn refused(subject: &Subject, standing: Standing, refusal: Refusal) -> AppendError {
    let stream = subject.stream.clone();
    let found = standing.head();
    match refusal {
        Refusal::Deleted => AppendError::StreamDeleted { stream, found },
        Refusal::Wrong => AppendError::WrongExpectedRevision {
            stream,
            expected: subject.expected,
            found,
        },
    }
}

impl Judged<'_> {
    /// Whether a stream is to be written that is deleted, and the metadata that brings it back is
    /// not at hand: the stream was deleted, or its metadata changed, after it was resolved.
    fn lacks_facts(
        &self,
        prepared: &Prepared,
        index: &StageGuard<'_>,
        resolution: &Resolution,
    ) -> bool {
        let subjects = prepared
            .subjects
            .iter()
            .zip(&self.entries)
            .zip(&self.deleted);
        subjects.into_iter().any(|((subject, entry), deleted)| {
            if subject.wish != Wish::Write || !standing(entry).deleted {
                return false;
            }
            let Some(metadata_stream) = subject.stream.metadata_stream() else {
                return false;
            };
            let unchanged = index.head(&metadata_stream, resolution.at);
            deleted.is_none() || !matches!(unchanged, Staged::Unchanged)
        })
    }

    /// Whether all streams that were judged have the events already.
    fn is_retry(&self) -> bool {
        let verdicts = &self.verdicts;
        !verdicts.is_empty() && verdicts.iter().all(|one| *one == Verdict::Repeated)
    }

    /// A request whose events are partly there and partly not is no retry.
    fn refuse_a_mixture(&self, prepared: &Prepared) -> Result<(), AppendError> {
        let written = || {
            let subjects = prepared
                .subjects
                .iter()
                .zip(&self.verdicts)
                .zip(&self.entries);
            subjects.filter(|((subject, _), _)| subject.wish == Wish::Write)
        };
        let new = written().any(|((_, verdict), _)| *verdict == Verdict::Go);
        match written().find(|((_, verdict), _)| **verdict == Verdict::Repeated) {
            Some(((subject, _), entry)) if new => {
                Err(refused(subject, standing(entry), Refusal::Wrong))
            }
            _ => Ok(()),
        }
    }

    /// The first receipt, if every written stream has the events already.
    fn repeated(
        &self,
        prepared: &Prepared,
        resolution: &Resolution,
        identity: &Identity,
    ) -> Option<Receipt> {
        let again = |(facts, verdict): (&Facts, &Verdict)| match verdict {
            Verdict::Repeated => facts.repeated,
            Verdict::Go => None,
        };
        let repeated: SmallVec<[_; 2]> = resolution
            .facts
            .iter()
            .zip(&self.verdicts)
            .map(again)
            .collect();
        let first = repeated.iter().flatten().map(|one| one.first).min()?;
        let last = repeated.iter().flatten().map(|one| one.last).max();
        let named = prepared.subjects.iter().zip(&repeated);
        let revisions = named
            .filter_map(|(subject, one)| Some((subject.stream.clone(), one.as_ref()?.revision)))
            .collect();
        let token = token(identity, last, first);
        Some(Receipt {
            first,
            last,
            revisions,
            token,
            repeated: true,
        })
    }

    /// The store's own events come on top of what the limits of an append allow: a unit has room
    /// for so much of them.
    fn check_own_len(&self, prepared: &Prepared) -> Result<(), AppendError> {
        let own_len = |(index, subject): (usize, &Subject)| {
            let place = subject.describes.unwrap_or(index);
            let entry = self.entries.get(place);
            if subject.wish != Wish::Write || !entry.is_some_and(|one| standing(one).deleted) {
                return 0;
            }
            let mut events = prepared.events().rev();
            let json = match subject.describes {
                Some(_) => events
                    .find(|event| event.subject == index)
                    .map(|event| &event.event.data),
                None => self
                    .deleted
                    .get(index)
                    .copied()
                    .flatten()
                    .map(|one| &one.json),
            };
            json.map_or(0, |json| {
                json.len() + subject.stream.len() + OWN_RECORD_LEN_BYTES
            })
        };
        let own: usize = prepared.subjects.iter().enumerate().map(own_len).sum();
        if own <= OWN_LEN_BYTES_MAX {
            return Ok(());
        }
        let wide = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        Err(AppendError::OverLimit {
            what: "the metadata that brings deleted streams back, in bytes,",
            value: wide(own),
            max: wide(OWN_LEN_BYTES_MAX),
        })
    }

    fn heads(&self) -> SmallVec<[Option<Revision>; 2]> {
        self.entries
            .iter()
            .map(|entry| entry.last.map(|(revision, _)| revision))
            .collect()
    }
}

/// Puts events into the unit and the index, and counts revisions.
struct Writer<'a, 'g> {
    unit: &'a mut UnitBuffer,
    index: &'a mut StageGuard<'g>,
    identity: &'a Identity,
    now: Timestamp,
    heads: SmallVec<[Option<Revision>; 2]>,
}

impl Writer<'_, '_> {
    fn write(&mut self, prepared: &Prepared, event: &PreparedEvent<'_>) {
        let stream = prepared
            .subjects
            .get(event.subject)
            .map(|subject| &subject.stream);
        let head = self.heads.get_mut(event.subject);
        let (Some(stream), Some(head)) = (stream, head) else {
            return;
        };
        let revision = head.map_or(Revision::START, Revision::next);
        *head = Some(revision);
        let created = event.event.created.unwrap_or(self.now);
        let record = Record {
            stream,
            revision,
            event: event.event,
            created,
            payload_checksum: event.payload_checksum,
        };
        self.put(&record, event.metadata, event.correlation_id);
    }

    fn put(
        &mut self,
        record: &Record<'_>,
        metadata: Option<&StreamMetadata>,
        correlation_id: Option<&str>,
    ) {
        let before = self.unit.len_bytes();
        let position = self.unit.push(record, &self.identity.record_salt);
        let record_len = u32::try_from(self.unit.len_bytes() - before).unwrap_or(u32::MAX);
        self.index.insert(&Posting {
            position,
            stream: record.stream,
            revision: record.revision,
            event_type: &record.event.event_type,
            tags: &record.event.tags,
            id: record.event.id,
            metadata,
            correlation_id,
            tombstone: record.revision == Revision::TOMBSTONE,
            record_len,
        });
    }

    fn last_position(&self) -> Position {
        Position(self.unit.end_position().0.saturating_sub(1))
    }

    fn revisions(&self, prepared: &Prepared) -> Vec<(StreamName, Revision)> {
        let written = prepared.subjects.iter().zip(&self.heads);
        let written = written.filter(|(subject, _)| subject.wish == Wish::Write);
        written
            .filter_map(|(subject, head)| Some((subject.stream.clone(), (*head)?)))
            .collect()
    }

    /// Writes the event that deletes or closes the stream, if the request is to do that.
    fn end_stream(
        &mut self,
        prepared: &Prepared,
        judged: &Judged<'_>,
    ) -> Option<(StreamName, Revision)> {
        let ended = prepared.subjects.iter().zip(&judged.entries);
        let (subject, _) = ended
            .into_iter()
            .find(|(subject, _)| matches!(subject.wish, Wish::Delete | Wish::Tombstone))?;
        if subject.wish == Wish::Tombstone {
            let stream = subject.stream.clone();
            self.write_own(
                &stream,
                Revision::TOMBSTONE,
                StreamMetadata::TOMBSTONE_TYPE,
                None,
            );
            return Some((stream, Revision::TOMBSTONE));
        }
        let stream = subject.stream.metadata_stream()?;
        let revision = self.next_metadata_revision(prepared, &stream);
        let json = Some(StreamMetadata::deleting());
        self.write_own(&stream, revision, StreamMetadata::EVENT_TYPE, json);
        Some((stream, revision))
    }

    /// The next revision of a metadata stream that belongs to the request as a checked stream.
    fn next_metadata_revision(&self, prepared: &Prepared, stream: &StreamName) -> Revision {
        let place = prepared
            .subjects
            .iter()
            .position(|subject| subject.stream == *stream);
        let head = place.and_then(|place| self.heads.get(place).copied().flatten());
        head.map_or(Revision::START, Revision::next)
    }

    /// Writes the metadata that shows again a stream which was deleted and is written to now, or
    /// whose metadata is.
    fn bring_back(&mut self, prepared: &Prepared, judged: &Judged<'_>) {
        for (index, subject) in prepared.subjects.iter().enumerate() {
            if subject.wish != Wish::Write {
                continue;
            }
            if let Some(described) = subject.describes {
                self.bring_back_described(prepared, judged, (index, described));
                continue;
            }
            let deleted = judged.deleted.get(index).copied().flatten();
            let entry = judged.entries.get(index);
            let (Some(deleted), Some(entry)) = (deleted, entry) else {
                continue;
            };
            let Some(stream) = subject.stream.metadata_stream() else {
                continue;
            };
            if !standing(entry).deleted || self.heads_moved(prepared, &stream) {
                continue;
            }
            let first_new = entry.last.map_or(Revision::START, |(last, _)| last.next());
            let revision = deleted
                .entry
                .last
                .map_or(Revision::START, |(last, _)| last.next());
            let json = StreamMetadata::with_truncate_before(&deleted.json, first_new);
            self.write_own(&stream, revision, StreamMetadata::EVENT_TYPE, Some(json));
        }
    }

    /// Whether the request itself writes to this metadata stream; then that decides.
    fn heads_moved(&self, prepared: &Prepared, stream: &StreamName) -> bool {
        let writes = |one: &Subject| one.wish == Wish::Write && one.stream == *stream;
        prepared.subjects.iter().any(writes)
    }

    fn bring_back_described(
        &mut self,
        prepared: &Prepared,
        judged: &Judged<'_>,
        (metadata, described): (usize, usize),
    ) {
        let was_deleted = judged
            .entries
            .get(described)
            .is_some_and(|one| standing(one).deleted);
        let written = prepared
            .events()
            .rev()
            .find(|event| event.subject == metadata);
        let (true, Some(written)) = (was_deleted, written) else {
            return;
        };
        if written.metadata.is_some_and(StreamMetadata::is_deleted) {
            return;
        }
        let entry = judged.entries.get(described);
        let truncate_before = entry
            .and_then(|one| one.last)
            .map_or(Revision::START, |(last, _)| last.next());
        let head = self.heads.get(metadata).copied().flatten();
        let revision = head.map_or(Revision::START, Revision::next);
        let json = StreamMetadata::with_truncate_before(&written.event.data, truncate_before);
        if let Some(subject) = prepared.subjects.get(metadata) {
            let stream = subject.stream.clone();
            self.write_own(&stream, revision, StreamMetadata::EVENT_TYPE, Some(json));
        }
    }

    /// Writes an event of the store's own.
    fn write_own(
        &mut self,
        stream: &StreamName,
        revision: Revision,
        event_type: &'static str,
        json: Option<bytes::Bytes>,
    ) {
        let event_type = EventType::new(event_type).expect("the store's own types are valid");
        let mut event = match json {
            Some(json) => NewEvent::json(event_type, json),
            None => NewEvent::binary(event_type, bytes::Bytes::new()),
        };
        event.id = own_event_id(stream, revision);
        let metadata = match event.content_type {
            ContentType::Json => Some(StreamMetadata::parse(&event.data)),
            ContentType::Binary | ContentType::Other(_) => None,
        };
        let record = Record {
            stream,
            revision,
            event: &event,
            created: self.now,
            payload_checksum: payload_checksum(&event),
        };
        self.put(&record, metadata.as_ref(), None);
    }
}
