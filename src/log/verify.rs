//! Verification: everything durable is read and checked, and each file gets a plain answer. It
//! changes nothing.

use std::fmt;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::format::FormatError;
use crate::format::footer::{Footer, LEAF_EVENTS, Mark};
use crate::format::manifest::{SealedSegment, TableEntry};
use crate::format::segment::{HEADER_LEN_BYTES, SegmentHeader, SegmentKind};
use crate::format::store::Identity;
use crate::format::unit::Place;
use crate::log::error::{LogOpenError, StorageError};
use crate::log::facts::{ContentDigests, Facts, Offsets, Page};
use crate::log::manifest::Manifest;
use crate::log::recovery::{Survey, survey};
use crate::log::salvage::{LostRange, examine};
use crate::log::seal::{ContentHasher, digest_of};
use crate::log::sealed::{SealedFile, read_exact};
use crate::log::shared::Shared;
use crate::log::verify_small;
use crate::log::walk::{Expected, Walker, fill};
use crate::model::Position;

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes of segments that were checked.
    pub done_bytes: u64,
    /// Bytes of segments there are.
    pub of_bytes: u64,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileRole {
    /// What the store is.
    Identity,
    /// Which files there are.
    Manifest,
    /// How far the log is known to be durable.
    Floor,
    /// A part of the log.
    Segment,
    /// What opening the store need not find out again.
    Checkpoint,
    /// The state records up to some place.
    State,
    /// A part of the index.
    Table,
}

impl FileRole {
    /// What it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Identity => "the identity of the store",
            Self::Manifest => "the list of files",
            Self::Floor => "the witness of what is durable",
            Self::Segment => "a part of the log",
            Self::Checkpoint => "a shortcut for opening",
            Self::State => "state records",
            Self::Table => "a part of the index",
        }
    }

    /// What damage to it means for acknowledged events.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Identity => "no event is affected while one of its two copies is whole",
            Self::Manifest => "no event is affected; the segments are what counts",
            Self::Floor => "no event is affected; it is written anew when the store is opened",
            Self::Segment => "acknowledged events in it cannot be read",
            Self::Checkpoint => "no event is affected; the store opens a little slower once",
            Self::State => "no event is affected; it is made again from the log",
            Self::Table => "no event is affected; it is made again from the log",
        }
    }
}

/// What was found in one file.
#[derive(Clone, Debug)]
pub struct FileFinding {
    /// The file.
    pub file: String,
    /// What it is for.
    pub role: FileRole,
    /// The position of the first event that it is about.
    pub first: Position,
    /// How many events it must have, or be about; 0 where it is about all.
    pub events: u64,
    /// What is wrong with it, if anything is.
    pub damage: Option<StorageError>,
}

impl fmt::Display for FileFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.role.words())?;
        if self.events > 0 {
            write!(f, ", {} events from {}", self.events, self.first)?;
        }
        match &self.damage {
            None => write!(f, ", whole"),
            Some(damage) => write!(f, "; {damage}; {}", self.role.meaning()),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct LogVerification {
    /// Each segment, in order, and then the other files.
    pub files: Vec<FileFinding>,
    /// Why the store does not open for writing, if it does not.
    pub refused: Option<StorageError>,
    /// Acknowledged events that cannot be read, in order.
    pub lost: Vec<LostRange>,
    /// The position behind the last event.
    pub end: Position,
    /// Bytes of segments that were checked.
    pub checked_bytes: u64,
    /// Files that nothing names.
    pub unknown_files: Vec<String>,
    /// What a crash had cut short and what repairs have put aside. Nothing reads them.
    pub kept_files: Vec<String>,
    /// The tables of the index.
    pub(crate) tables: Vec<TableEntry>,
}

impl LogVerification {
    /// Whether no damage was found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.refused.is_none() && self.files.iter().all(|file| file.damage.is_none())
    }

    /// How many acknowledged events cannot be read.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        lost_events(&self.lost)
    }
}

/// How many events some ranges have.
pub(crate) fn lost_events(lost: &[LostRange]) -> u64 {
    lost.iter().map(|lost| lost.end.0 - lost.first.0).sum()
}

/// What was found and what it means, in words; one line for each thing.
impl fmt::Display for LogVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_whole() {
            true => write!(f, "Every file is whole, with {} events.", self.end)?,
            false => write!(f, "Not every file is whole.")?,
        }
        for file in self.files.iter().filter(|file| file.damage.is_some()) {
            write!(f, "\n{file}.")?;
        }
        if let Some(refused) = &self.refused {
            write!(f, "\nThe store does not open for writing: {refused}.")?;
        }
        for lost in &self.lost {
            write!(f, "\n{lost}")?;
        }
        if !self.is_whole() {
            match self.lost_events() {
                0 => write!(f, "\nNo acknowledged event is lost.")?,
                lost => write!(
                    f,
                    "\n{lost} acknowledged events are lost; the others are whole."
                )?,
            }
        }
        for file in &self.kept_files {
            write!(f, "\n{file} is kept for you to look at; nothing reads it.")?;
        }
        for file in &self.unknown_files {
            write!(f, "\n{file} does not belong to the store.")?;
        }
        Ok(())
    }
}

/// The part of a segment that holds units.
struct Part {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    start: Expected,
    end_offset: u32,
    events: u32,
    rewritten: bool,
}

impl Part {
    /// The units of a segment that is not sealed.
    fn live(file: &Arc<dyn DiskFile>, name: &Arc<str>, facts: &Facts) -> Self {
        Self {
            file: Arc::clone(file),
            name: Arc::clone(name),
            start: Expected {
                place: Place {
                    segment: facts.segment,
                    offset: HEADER_LEN_BYTES,
                },
                position: facts.first,
                mark: Mark::START,
            },
            end_offset: facts.end_offset,
            events: facts.events,
            rewritten: false,
        }
    }
}

/// See [`crate::log::Log::verify`].
pub(super) fn verify(
    shared: &Shared,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<LogVerification, StorageError> {
    let live: Vec<Part> = {
        let state = shared.state.read();
        let parts = state.live.iter();
        parts
            .map(|live| Part::live(&live.file, &live.name, &live.facts))
            .collect()
    };
    let manifest = shared.manifest.current();
    let first_live = live.first().map(|part| part.start.place.segment);
    let sealed: Vec<&SealedSegment> = (manifest
        .sealed
        .iter()
        .take_while(|sealed| first_live.is_none_or(|first| sealed.id < first)))
    .collect();
    let sealed_bytes = sealed.iter().map(|sealed| u64::from(sealed.len_bytes));
    let live_bytes = live.iter().map(|part| u64::from(part.end_offset));
    let mut verifier = Verifier {
        disk: &*shared.disk,
        identity: &shared.identity,
        manifest: Some(&shared.manifest),
        of_bytes: sealed_bytes.sum::<u64>() + live_bytes.sum::<u64>(),
        found: LogVerification::default(),
        content: None,
        complete: true,
        progress,
    };
    verifier.segments(&sealed, live);
    Ok(verifier.found)
}

/// See [`crate::log::Log::inspect`].
pub(super) fn inspect(
    disk: &Arc<dyn Disk>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<LogVerification, LogOpenError> {
    let listed = disk.list();
    let files = listed.map_err(|error| StorageError::io("list", "the data directory", error))?;
    let mut found = match survey(&**disk, &files, false) {
        Ok(survey) => of_survey(disk, &survey, progress),
        Err(LogOpenError::Damaged(refused) | LogOpenError::Storage(refused))
            if refused.is_damage() =>
        {
            LogVerification {
                refused: Some(refused),
                ..LogVerification::default()
            }
        }
        Err(error) => return Err(error),
    };
    if !found.is_whole() {
        let examined = examine(&**disk, &files)?;
        if found.refused.is_some() {
            found.files = examined.files;
            found.end = examined.end;
        }
        found.lost = examined.lost;
    }
    verify_small::verify(&**disk, &files, &mut found)?;
    Ok(found)
}

fn of_survey(
    disk: &Arc<dyn Disk>,
    survey: &Survey,
    progress: &mut dyn FnMut(VerifyProgress),
) -> LogVerification {
    let sealed: Vec<&SealedSegment> = survey.manifest.sealed.iter().collect();
    let sealed_bytes = sealed.iter().map(|sealed| u64::from(sealed.len_bytes));
    let live = survey
        .walked
        .iter()
        .map(|walked| u64::from(walked.facts.end_offset));
    let mut verifier = Verifier {
        disk: &**disk,
        identity: &survey.identity,
        manifest: None,
        of_bytes: sealed_bytes.sum::<u64>() + live.sum::<u64>(),
        found: LogVerification::default(),
        content: None,
        complete: true,
        progress,
    };
    let live = survey.walked.iter();
    let live = live.map(|walked| {
        let spare = &walked.spare;
        Part::live(&spare.file, &spare.name, &walked.facts)
    });
    verifier.segments(&sealed, live.collect());
    verifier.found.end = survey.report.end;
    verifier.found
}

/// Checks whose segment a file is.
fn check_header(
    opened: &SealedFile,
    entry: &SealedSegment,
    identity: &Identity,
) -> Result<(), StorageError> {
    let len = usize::try_from(HEADER_LEN_BYTES).unwrap_or(0);
    let bytes = read_exact(&*opened.file, &opened.name, 0, len)?;
    let damaged = |error| StorageError::damaged(&opened.name, 0, error);
    let header = SegmentHeader::decode(&bytes).map_err(damaged)?;
    let number = match header.kind {
        SegmentKind::Written { .. } => 0,
        SegmentKind::Rewritten { number } => number,
    };
    match header.store == identity.store && (header.segment, number) == entry.key() {
        true => Ok(()),
        false => Err(damaged(FormatError::Invalid("the owner of a segment"))),
    }
}

struct Verifier<'a> {
    disk: &'a dyn Disk,
    identity: &'a Identity,
    /// The manifest of an open store.
    manifest: Option<&'a Manifest>,
    of_bytes: u64,
    found: LogVerification,
    /// Digests up to the end of the last segment, while all of them were whole.
    content: Option<ContentHasher>,
    /// Whether all that the digests depend on was read: events that were removed are not there.
    complete: bool,
    progress: &'a mut dyn FnMut(VerifyProgress),
}

impl Verifier<'_> {
    fn segments(&mut self, sealed: &[&SealedSegment], live: Vec<Part>) {
        let mut mark = self.sealed(sealed);
        for mut part in live {
            part.start.mark = mark;
            mark = self.live(&part);
        }
    }

    /// Checks the sealed segments and gives the mark behind them.
    fn sealed(&mut self, sealed: &[&SealedSegment]) -> Mark {
        let mut mark = Mark::START;
        self.content = Some(ContentHasher::new(
            &ContentDigests::default(),
            Position::START,
        ));
        for entry in sealed {
            let mut entry = SealedSegment::clone(entry);
            let damage = loop {
                let damage = self.sealed_segment(&entry, mark).err();
                match self.newer(&entry) {
                    Some(newer) if matches!(damage, Some(StorageError::Missing { .. })) => {
                        entry = newer;
                    }
                    _ => break damage,
                }
            };
            if damage.is_some() {
                self.content = None;
            }
            self.report(
                entry.file_name().to_string(),
                (entry.first_position, entry.events),
                entry.len_bytes,
                damage,
            );
            mark = entry.mark;
        }
        mark
    }

    /// The entry of a segment that was written again since.
    fn newer(&self, entry: &SealedSegment) -> Option<SealedSegment> {
        let current = self.manifest?.current();
        let mut sealed = current.sealed.iter();
        let newer = sealed.find(|one| one.id == entry.id)?;
        (newer.key() != entry.key()).then(|| newer.clone())
    }

    fn report(
        &mut self,
        file: String,
        (first, events): (Position, u32),
        len_bytes: u32,
        damage: Option<StorageError>,
    ) {
        self.found.files.push(FileFinding {
            file,
            role: FileRole::Segment,
            first,
            events: events.into(),
            damage,
        });
        self.found.end = first.plus(events.into());
        self.found.checked_bytes += u64::from(len_bytes);
        (self.progress)(VerifyProgress {
            done_bytes: self.found.checked_bytes,
            of_bytes: self.of_bytes,
        });
    }

    fn sealed_segment(&mut self, entry: &SealedSegment, mark: Mark) -> Result<(), StorageError> {
        let opened = SealedFile::open(self.disk, entry)?;
        check_header(&opened, entry, self.identity)?;
        let part = Part {
            file: Arc::clone(&opened.file),
            name: Arc::clone(&opened.name),
            start: Expected {
                place: Place {
                    segment: entry.id,
                    offset: HEADER_LEN_BYTES,
                },
                position: entry.first_position,
                mark,
            },
            end_offset: entry.units_end(),
            events: entry.events,
            rewritten: entry.rewrite.is_some(),
        };
        let mut facts = self.walk(&part)?;
        if entry.rewrite.is_some() {
            opened.read_removed_keys()?;
            fill(&mut facts, entry.end_position());
            // The unit behind the segment continues its last one as it was written first.
            facts.mark = entry.mark;
        }
        let damaged = |what| {
            let error = FormatError::Invalid(what);
            StorageError::damaged(&opened.name, entry.footer_offset.into(), error)
        };
        self.compare(&facts, &opened, &damaged)?;
        let digest = digest_of(&*opened.file, &opened.name, entry.len_bytes.into())?;
        match digest == entry.digest {
            true => {
                self.go_on_with_content(&opened);
                Ok(())
            }
            false => Err(damaged("the digest of a segment's file")),
        }
    }

    /// Compares the footer with what the units say.
    fn compare(
        &mut self,
        facts: &Facts,
        opened: &SealedFile,
        damaged: &dyn Fn(&'static str) -> StorageError,
    ) -> Result<(), StorageError> {
        let footer: &Footer = &opened.footer;
        if facts.mark != footer.mark
            || facts.events != footer.events
            || facts.created() != footer.created
        {
            return Err(damaged("a segment's footer"));
        }
        let salt = &self.identity.record_salt;
        for number in 0..footer.pages.len() {
            let written = Page::Closed(opened.read_page(number, salt)?);
            let known = facts.page(number)?;
            let per_page = crate::format::footer::PAGE_EVENTS;
            let count = (facts.events() - number * per_page).min(per_page);
            if (0..count).any(|index| written.offset(index) != known.offset(index)) {
                return Err(damaged("a page of offsets"));
            }
        }
        let Some(content) = self.content.as_mut() else {
            return Ok(());
        };
        let found = content.take();
        let same = found.chain == footer.chain
            && found.blocks == footer.blocks
            && found.leaves == footer.leaves;
        match same || !self.complete || opened.rewrite.is_some() {
            true => Ok(()),
            false => Err(damaged("the digests of a segment's events")),
        }
    }

    /// Goes on behind a segment. The digests of one that was written again are as they were, but
    /// cannot be found out any more, nor can others before a leaf begins anew.
    fn go_on_with_content(&mut self, opened: &SealedFile) {
        let footer = &opened.footer;
        let Some(content) = &mut self.content else {
            return;
        };
        let end = footer.end_position();
        if opened.rewrite.is_some() {
            self.complete = false;
            *content = ContentHasher::new(&ContentDigests::default(), end);
            content.lacks_start = !end.0.is_multiple_of(LEAF_EVENTS);
        }
        if !self.complete && !content.lacks_start {
            content.adopt(footer.chain, footer.leaves.clone());
            self.complete = true;
        }
    }

    /// Checks a segment that is not sealed, up to the end of its durable units.
    fn live(&mut self, part: &Part) -> Mark {
        let (damage, mark) = match self.walk(part) {
            Ok(facts) if facts.events == part.events => (None, facts.mark),
            Ok(facts) => {
                let error = FormatError::Invalid("the number of a segment's events");
                let damage = StorageError::damaged(&part.name, part.end_offset.into(), error);
                (Some(damage), facts.mark)
            }
            Err(damage) => (Some(damage), part.start.mark),
        };
        let events = (part.start.position, part.events);
        self.report(part.name.to_string(), events, part.end_offset, damage);
        mark
    }

    fn walk(&mut self, part: &Part) -> Result<Facts, StorageError> {
        let (file, name) = (Arc::clone(&part.file), Arc::clone(&part.name));
        let mut walker = Walker::new(self.identity, file, name, part.end_offset.into());
        walker.rewritten = part.rewritten;
        let mut expected = part.start;
        let salt = self.identity.record_salt;
        let mut facts = Facts::new(
            expected.place.segment,
            expected.position,
            expected.mark,
            salt,
        );
        while expected.place.offset < part.end_offset {
            let offset = expected.place.offset.into();
            let unit = walker.unit(&expected)?;
            let unit = unit.map_err(|error| StorageError::damaged(&part.name, offset, error))?;
            if let Some(content) = &mut self.content {
                content.push_unit(&unit);
            }
            unit.add_to(&mut facts);
            expected = unit.expected();
        }
        Ok(facts)
    }
}
