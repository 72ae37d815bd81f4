//! Sealing: a full segment gets its footer, is read back as a whole, and is never written again.
//! And checkpoints: the same facts, in a file of their own, for a segment that is still written.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::codec::to_u64;
use crate::format::footer::{BLOCK_EVENTS, Digest, LEAF_EVENTS, Mark};
use crate::format::manifest::{CheckpointEntry, ManifestData, SealedSegment, StateEntry};
use crate::format::names::FileName;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::state::KnownRequest;
use crate::format::unit::Place;
use crate::log::error::StorageError;
use crate::log::facts::ContentDigests;
use crate::log::shared::Shared;
use crate::log::walk::{Expected, READ_BYTES, WalkedUnit, Walker};
use crate::model::Position;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// A checkpoint whose file is durable and which the manifest does not name yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreparedCheckpoint {
    entry: CheckpointEntry,
    state: Option<StateEntry>,
}

impl PreparedCheckpoint {
    /// Puts it into a manifest, and what belongs to it.
    pub(crate) fn name_in(&self, manifest: &mut ManifestData) {
        manifest.checkpoint = Some(self.entry);
        // None means that there was nothing to keep; the first state record may have come since.
        manifest.state = self.state.or(manifest.state);
    }
}

/// Digests of records in the order of their positions.
pub(super) struct ContentHasher {
    digests: ContentDigests,
    leaf: blake3::Hasher,
    position: u64,
    /// Whether the records in front of the first one of the present leaf are missing.
    pub(super) lacks_start: bool,
}

impl ContentHasher {
    /// Goes on behind the leaves of `before`; the records from there on come next.
    pub(super) fn new(before: &ContentDigests, position: Position) -> Self {
        Self {
            digests: ContentDigests {
                chain: before.chain,
                blocks: Vec::new(),
                leaves: before.leaves.clone(),
            },
            leaf: blake3::Hasher::new(),
            position: position.0,
            lacks_start: false,
        }
    }

    /// Takes what a footer says of everything in front of the present leaf.
    pub(super) fn adopt(&mut self, chain: Digest, leaves: Vec<Digest>) {
        self.digests = ContentDigests {
            chain,
            blocks: Vec::new(),
            leaves,
        };
    }

    /// Takes `count` records that lie one behind the other; they end no later than the leaf.
    pub(super) fn push(&mut self, records: &[u8], count: u64) {
        self.leaf.update(records);
        self.position += count;
        if !self.position.is_multiple_of(LEAF_EVENTS) {
            return;
        }
        self.lacks_start = false;
        self.digests.leaves.push(self.leaf.finalize().into());
        self.leaf.reset();
        if self.position.is_multiple_of(BLOCK_EVENTS) {
            let mut block = blake3::Hasher::new();
            block.update(&self.digests.chain);
            for leaf in self.digests.leaves.drain(..) {
                block.update(&leaf);
            }
            self.digests.chain = block.finalize().into();
            self.digests.blocks.push(self.digests.chain);
        }
    }

    /// Takes the records of a unit in as long pieces as there are: hashing many short ones takes
    /// five times as long.
    pub(super) fn push_unit(&mut self, unit: &WalkedUnit<'_>) {
        let events = to_u64(unit.records.len());
        let mut taken = 0;
        while taken < events {
            let room = LEAF_EVENTS - self.position % LEAF_EVENTS;
            let count = room.min(events - taken);
            self.push(unit.record_range(taken, taken + count), count);
            taken += count;
        }
    }

    /// Passes over events that are not there, up to a position.
    pub(super) fn skip_to(&mut self, position: Position) {
        while self.position < position.0 {
            let room = LEAF_EVENTS - self.position % LEAF_EVENTS;
            self.push(&[], room.min(position.0 - self.position));
        }
    }

    /// What a footer says at this place; the hasher goes on behind it.
    pub(super) fn take(&mut self) -> ContentDigests {
        let footer = self.digests.clone();
        self.digests.blocks.clear();
        footer
    }
}

/// What to seal.
struct Full {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    segment: u32,
    first: Position,
    end_offset: u32,
}

impl Shared {
    /// Seals the full segment if the one behind it has a unit: that unit bears witness that all of
    /// the full one was durable, so that a footer that a crash cuts short is not taken for its end.
    /// False if there is nothing to seal.
    pub(super) fn seal_witnessed_segment(&self) -> Result<bool, StorageError> {
        let sealing = self.sealing.lock();
        match self.is_seal_due() {
            true => self.seal_full_segment(&sealing),
            false => Ok(false),
        }
    }

    /// The same for the writer, before he goes on in another segment: he alone writes units, and
    /// does not while this lasts.
    pub(super) fn seal_before_roll(&self) -> Result<bool, StorageError> {
        self.seal_full_segment(&self.sealing.lock())
    }

    fn seal_full_segment(&self, _sealing: &MutexGuard<'_, ()>) -> Result<bool, StorageError> {
        let full = {
            let state = self.state.read();
            match &*state.live {
                [full, _active, ..] => Full {
                    file: Arc::clone(&full.file),
                    name: Arc::clone(&full.name),
                    segment: full.facts.segment,
                    first: full.facts.first,
                    end_offset: full.facts.end_offset,
                },
                _ => return Ok(false),
            }
        };
        let mut hasher = blake3::Hasher::new();
        let digests = self.walk_full(&full, &mut hasher)?;
        let (footer_bytes, footer) = {
            let state = self.state.read();
            let facts = state.live.first().map(|live| live.facts.footer(&digests));
            facts.expect("nobody else removes segments while we seal")
        };
        let len_bytes = self.write_footer(&full, &footer_bytes)?;
        hasher.update(&footer_bytes);
        let digest: Digest = hasher.finalize().into();
        let entry = SealedSegment {
            id: full.segment,
            first_position: full.first,
            events: footer.events,
            len_bytes,
            footer_offset: full.end_offset,
            created: footer.created_range(),
            mark: footer.mark,
            digest,
            rewrite: None,
        };
        self.manifest.update(|manifest| {
            manifest.unsealed.retain(|id| *id != full.segment);
            manifest.sealed.push(entry);
            let behind = |checkpoint: &CheckpointEntry| checkpoint.place.segment != full.segment;
            manifest.checkpoint = manifest.checkpoint.filter(behind);
        })?;
        self.state.write().live.remove(0);
        // Only a help against accidents: the store does without.
        let _mark_may_be_missing = full.file.set_read_only();
        Ok(true)
    }

    /// Reads all units of the segment back from the disk and checks them.
    fn walk_full(
        &self,
        full: &Full,
        hasher: &mut blake3::Hasher,
    ) -> Result<ContentDigests, StorageError> {
        let manifest = self.manifest.current();
        let mark = manifest.sealed.last().map_or(Mark::START, |last| last.mark);
        let mut content = self.content_before(full.first)?;
        let (file, name) = (Arc::clone(&full.file), Arc::clone(&full.name));
        let dropped = file.drop_cache(0);
        dropped.map_err(|error| StorageError::io("read back", &name, error))?;
        let limit = u64::from(full.end_offset);
        let mut walker = Walker::new(&self.identity, file, name, limit);
        let header_len = usize::try_from(HEADER_LEN_BYTES).unwrap_or(0);
        hasher.update(walker.window(0, header_len)?);
        let mut expected = Expected {
            place: Place {
                segment: full.segment,
                offset: HEADER_LEN_BYTES,
            },
            position: full.first,
            mark,
        };
        while expected.place.offset < full.end_offset {
            let offset = expected.place.offset.into();
            let unit = walker.unit(&expected)?;
            let unit = unit.map_err(|error| StorageError::damaged(&full.name, offset, error))?;
            hasher.update(unit.bytes);
            content.push_unit(&unit);
            expected = unit.expected();
        }
        Ok(content.take())
    }

    /// The digests in front of a sealed end, and the records of the leaf that it cuts.
    pub(super) fn content_before(&self, first: Position) -> Result<ContentHasher, StorageError> {
        let manifest = self.manifest.current();
        let before = match manifest.sealed.last() {
            None => ContentDigests::default(),
            Some(last) => {
                let footer = &self.open_sealed(last)?.footer;
                ContentDigests {
                    chain: footer.chain,
                    blocks: Vec::new(),
                    leaves: footer.leaves.clone(),
                }
            }
        };
        let mut from = Position(first.0 - first.0 % LEAF_EVENTS);
        let mut content = ContentHasher::new(&before, from);
        while from < first {
            let chunk = self.read(from, first, READ_BYTES)?;
            if chunk.runs.is_empty() {
                break;
            }
            for run in &chunk.runs {
                content.skip_to(run.first);
                for record in run.records() {
                    let (position, _, bytes) = record
                        .map_err(|error| StorageError::damaged("an event in memory", 0, error))?;
                    content.push(&bytes, 1);
                    from = position.next();
                }
            }
        }
        content.skip_to(first);
        Ok(content)
    }

    /// Cuts the file to its units, puts the footer behind them, and reads that back from the disk.
    /// Gives the length of the file.
    fn write_footer(&self, full: &Full, footer: &[u8]) -> Result<u32, StorageError> {
        let failed = |operation| {
            let name = Arc::clone(&full.name);
            move |error| StorageError::io(operation, &name, error)
        };
        let end = u64::from(full.end_offset);
        full.file.set_len(end).map_err(failed("cut"))?;
        full.file
            .write_all_at(end, footer)
            .map_err(failed("write"))?;
        full.file.sync_data().map_err(failed("sync"))?;
        full.file.drop_cache(end).map_err(failed("read back"))?;
        // One byte more than there should be.
        let mut read = vec![0; footer.len() + 1];
        let len = full.file.read_at(end, &mut read);
        let len = len.map_err(failed("read back"))?;
        if read.get(..len) != Some(footer) {
            let error = io::Error::other("what was read back is not what was written");
            return Err(failed("seal")(error));
        }
        Ok(full.end_offset + u32::try_from(footer.len()).unwrap_or(u32::MAX))
    }

    /// Writes what is known of the active segment beside it, so that opening the store need not
    /// find it out again; and the state file. `known` gives the named requests with events that no
    /// table has and that stand in front of a position.
    pub(super) fn checkpoint(
        &self,
        known: &dyn Fn(Position) -> Vec<KnownRequest>,
    ) -> Result<PreparedCheckpoint, StorageError> {
        self.seal_witnessed_segment()?;
        let (bytes, footer, idle) = {
            let state = self.state.read();
            // Behind a full segment that is not sealed, one without units has nothing to say.
            let last = state.last_with_units();
            let (bytes, footer) = last.facts.footer(&ContentDigests::default());
            self.unsaved_bytes.store(0, Ordering::Relaxed);
            (bytes, footer, state.idle.clone())
        };
        let place = Place {
            segment: footer.segment,
            offset: footer.end_offset,
        };
        let last = self.manifest.current().checkpoint;
        let number = match last {
            Some(last) if last.place.segment == place.segment => last.number.wrapping_add(1),
            Some(_) | None => 0,
        };
        let entry = CheckpointEntry {
            number,
            len_bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            place,
            position: footer.end_position(),
        };
        let name = FileName::to_string(&entry.file_name());
        crate::log::file::write_new(&*self.disk, &name, &bytes)?;
        let mut requests = known(entry.position);
        requests.extend_from_slice(idle.requests());
        let at = Expected {
            place,
            position: entry.position,
            mark: footer.mark,
        };
        let state = self.prepare_state(&at, &requests)?;
        self.disk
            .sync_directory()
            .map_err(|error| StorageError::io("sync the directory of", &name, error))?;
        Ok(PreparedCheckpoint { entry, state })
    }
}

/// The BLAKE3 digest of a file's first bytes, as many as the file must have.
pub(super) fn digest_of(file: &dyn DiskFile, name: &str, len: u64) -> Result<Digest, StorageError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    while offset < len {
        let read = file.read_at(offset, &mut buffer);
        let read = read.map_err(|error| StorageError::io("read", name, error))?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        offset += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok(hasher.finalize().into())
}
