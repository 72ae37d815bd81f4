//! The manifest: which files belong to the store, and what is known of them without opening them.
//!
//! Each change writes a new generation: the whole manifest, as two copies in one file. What names
//! other files can be trusted to the last bit or not at all, so an older generation never stands in
//! for a newer one that is damaged.

use super::codec::{Reader, to_u64};
use super::envelope;
use super::footer::{CreatedRange, Digest, Mark};
use super::names::FileName;
use super::unit::Place;
use super::{Field, FormatError};
use crate::model::Position;

const WHAT: &str = "a manifest";
const MAGIC: [u8; 4] = *b"AnMf";
const VERSION: u32 = 2;

/// The length of one copy without the zeros behind it.
pub const LENGTH: Field = envelope::VERSION.then("length, bytes", 4);
/// Counts the manifests of the store.
pub const GENERATION: Field = LENGTH.then("generation", 8);
/// How many times the store was opened for writing.
pub const EPOCH: Field = GENERATION.then("epoch", 4);
/// The number of the next segment.
pub const NEXT_SEGMENT: Field = EPOCH.then("next segment", 4);
/// The number of the next table.
pub const NEXT_TABLE: Field = NEXT_SEGMENT.then("next table", 4);
/// The position behind the last event that the tables cover.
pub const INDEXED_TO: Field = NEXT_TABLE.then("indexed to", 8);
/// How many sealed segments are listed.
pub const SEALED: Field = INDEXED_TO.then("sealed segments", 4);
/// How many segments that are not sealed are listed.
pub const UNSEALED: Field = SEALED.then("unsealed segments", 4);
/// How many checkpoints are listed: 0 or 1.
pub const CHECKPOINTS: Field = UNSEALED.then("checkpoints", 4);
/// How many tables are listed.
pub const TABLES: Field = CHECKPOINTS.then("tables", 4);
/// How many extensions are listed.
pub const EXTENSIONS: Field = TABLES.then("extensions", 4);
/// All fields in front of the lists.
pub const FIELDS: [Field; 14] = [
    envelope::MAGIC,
    envelope::CHECKSUM,
    envelope::VERSION,
    LENGTH,
    GENERATION,
    EPOCH,
    NEXT_SEGMENT,
    NEXT_TABLE,
    INDEXED_TO,
    SEALED,
    UNSEALED,
    CHECKPOINTS,
    TABLES,
    EXTENSIONS,
];

const SEALED_ID: Field = Field::first("segment", 4);
const SEALED_FIRST: Field = SEALED_ID.then("first position", 8);
const SEALED_EVENTS: Field = SEALED_FIRST.then("events", 4);
const SEALED_LEN: Field = SEALED_EVENTS.then("length of the file, bytes", 4);
const SEALED_FOOTER: Field = SEALED_LEN.then("offset of the footer", 4);
const SEALED_MIN: Field = SEALED_FOOTER.then("least created, microseconds since 1970", 8);
const SEALED_MAX: Field = SEALED_MIN.then("greatest created, microseconds since 1970", 8);
const SEALED_UNIT: Field = SEALED_MAX.then("last unit's header checksum", 4);
const SEALED_EPOCH: Field = SEALED_UNIT.then("last unit's epoch", 4);
const SEALED_COMMITTED: Field = SEALED_EPOCH.then("last unit's commit time", 8);
const SEALED_DIGEST: Field = SEALED_COMMITTED.then("digest of the file", 32);
/// All fields of a sealed segment's entry.
pub const SEALED_FIELDS: [Field; 11] = [
    SEALED_ID,
    SEALED_FIRST,
    SEALED_EVENTS,
    SEALED_LEN,
    SEALED_FOOTER,
    SEALED_MIN,
    SEALED_MAX,
    SEALED_UNIT,
    SEALED_EPOCH,
    SEALED_COMMITTED,
    SEALED_DIGEST,
];

const CHECKPOINT_SEGMENT: Field = Field::first("segment", 4);
const CHECKPOINT_NUMBER: Field = CHECKPOINT_SEGMENT.then("number", 2);
const CHECKPOINT_LEN: Field = CHECKPOINT_NUMBER.then("length of the file, bytes", 4);
const CHECKPOINT_OFFSET: Field = CHECKPOINT_LEN.then("end offset of the units", 4);
const CHECKPOINT_POSITION: Field = CHECKPOINT_OFFSET.then("end position", 8);
/// All fields of a checkpoint's entry.
pub const CHECKPOINT_FIELDS: [Field; 5] = [
    CHECKPOINT_SEGMENT,
    CHECKPOINT_NUMBER,
    CHECKPOINT_LEN,
    CHECKPOINT_OFFSET,
    CHECKPOINT_POSITION,
];

const TABLE_ID: Field = Field::first("table", 4);
const TABLE_LEVEL: Field = TABLE_ID.then("level", 4);
const TABLE_FIRST: Field = TABLE_LEVEL.then("first position", 8);
const TABLE_END: Field = TABLE_FIRST.then("end position", 8);
const TABLE_LEN: Field = TABLE_END.then("length of the file, bytes", 8);
const TABLE_DIGEST: Field = TABLE_LEN.then("digest of the file", 32);
/// All fields of a table's entry.
pub const TABLE_FIELDS: [Field; 6] = [
    TABLE_ID,
    TABLE_LEVEL,
    TABLE_FIRST,
    TABLE_END,
    TABLE_LEN,
    TABLE_DIGEST,
];

const STATE_SINCE: Field = Field::first("first segment with a state record", 4);
const STATE_NUMBER: Field = STATE_SINCE.then("number of the file", 4);
const STATE_LEN: Field = STATE_NUMBER.then("length of the file, bytes", 8);
const STATE_SEGMENT: Field = STATE_LEN.then("segment", 4);
const STATE_OFFSET: Field = STATE_SEGMENT.then("offset", 4);
const STATE_POSITION: Field = STATE_OFFSET.then("position", 8);
const STATE_UNIT: Field = STATE_POSITION.then("last unit's header checksum", 4);
const STATE_EPOCH: Field = STATE_UNIT.then("last unit's epoch", 4);
const STATE_COMMITTED: Field = STATE_EPOCH.then("last unit's commit time", 8);
/// All fields of the extension that names the state file.
pub const STATE_FIELDS: [Field; 9] = [
    STATE_SINCE,
    STATE_NUMBER,
    STATE_LEN,
    STATE_SEGMENT,
    STATE_OFFSET,
    STATE_POSITION,
    STATE_UNIT,
    STATE_EPOCH,
    STATE_COMMITTED,
];

const REWRITE_SEGMENT: Field = Field::first("segment", 4);
const REWRITE_NUMBER: Field = REWRITE_SEGMENT.then("number of the rewrite", 4);
const REWRITE_LEN: Field = REWRITE_NUMBER.then("length of the removed keys, bytes", 4);
const REWRITE_CHECKSUM: Field = REWRITE_LEN.then("checksum of the removed keys", 4);
/// All fields of an entry in the extension that lists the segments that were written again.
pub const REWRITE_FIELDS: [Field; 4] = [
    REWRITE_SEGMENT,
    REWRITE_NUMBER,
    REWRITE_LEN,
    REWRITE_CHECKSUM,
];

/// Each copy takes a multiple of this many bytes.
pub const COPY_ALIGN_BYTES: usize = 4096;
/// An extension of this kind or a higher one is refused by a program that does not know it.
pub const EXTENSION_MANDATORY_MIN: u8 = 128;
/// The extension that names the state file.
pub const EXTENSION_STATE: u8 = 128;
/// The extension that lists the segments that were written again.
pub const EXTENSION_REWRITES: u8 = 129;
/// The longest manifest that is read, in bytes.
pub const LEN_BYTES_MAX: u64 = 1 << 30;

/// A segment that is never written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its number.
    pub id: u32,
    /// The position of its first event.
    pub first_position: Position,
    /// How many events it has.
    pub events: u32,
    /// The length of its file, in bytes.
    pub len_bytes: u32,
    /// Where its footer begins.
    pub footer_offset: u32,
    /// When its events were created.
    pub created: CreatedRange,
    /// Its last unit.
    pub mark: Mark,
    /// The BLAKE3 digest of its file.
    pub digest: Digest,
    /// Where it is, if it was written again without some of its events.
    pub rewrite: Option<Rewrite>,
}

/// A segment that was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// How often it was; from 1 on.
    pub number: u32,
    /// How long the keys of the removed events are that stand in front of the footer, in bytes.
    pub keys_len: u32,
    /// Their checksum.
    pub keys_checksum: u32,
}

impl SealedSegment {
    /// Its file.
    #[must_use]
    pub fn file_name(&self) -> FileName {
        match self.rewrite {
            None => FileName::Segment(self.id),
            Some(Rewrite { number, .. }) => FileName::Rewritten {
                segment: self.id,
                number,
            },
        }
    }

    /// Which of the files that it had.
    #[must_use]
    pub fn key(&self) -> (u32, u32) {
        (self.id, self.rewrite.map_or(0, |rewrite| rewrite.number))
    }

    /// Where its units end.
    #[must_use]
    pub fn units_end(&self) -> u32 {
        let keys_len = self.rewrite.map_or(0, |rewrite| rewrite.keys_len);
        self.footer_offset.saturating_sub(keys_len)
    }

    /// The position behind its last event.
    #[must_use]
    pub fn end_position(&self) -> Position {
        self.first_position.plus(self.events.into())
    }
}

/// A checkpoint of the log: opening the store walks only what lies behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// Counts the checkpoints of the segment.
    pub number: u16,
    /// The length of its file, in bytes.
    pub len_bytes: u32,
    /// Everything in front of this place is durable.
    pub place: Place,
    /// The position at that place.
    pub position: Position,
}

impl CheckpointEntry {
    /// Its file.
    #[must_use]
    pub fn file_name(&self) -> FileName {
        FileName::Checkpoint {
            segment: self.place.segment,
            number: self.number,
        }
    }
}

/// A table of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its number.
    pub id: u32,
    /// How often its contents were merged.
    pub level: u32,
    /// The first position it covers.
    pub first: Position,
    /// The position behind the last one it covers.
    pub end: Position,
    /// The length of its file, in bytes.
    pub len_bytes: u64,
    /// The BLAKE3 digest of its file.
    pub digest: Digest,
}

/// The state records of the log, and up to where they were gathered. Without it the log holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// No segment in front of this one holds a state record.
    pub since: u32,
    /// The number of the file that holds what there was at the place; 0 before the first one.
    pub number: u32,
    /// The length of the file, in bytes; 0 if there is no file, because there was nothing.
    pub len_bytes: u64,
    /// Everything in front of this place is in the file; with number 0, the place of the first
    /// state record or in front of it.
    pub place: Place,
    /// The position at that place.
    pub position: Position,
    /// The last unit in front of it.
    pub mark: Mark,
}

impl StateEntry {
    /// Its file, if it has one.
    #[must_use]
    pub fn file_name(&self) -> Option<FileName> {
        (self.len_bytes > 0).then_some(FileName::State(self.number))
    }
}

/// What later versions may add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What it is; from [`EXTENSION_MANDATORY_MIN`] on it must be known.
    pub kind: u8,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// What a manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestData {
    /// Counts the manifests of the store, from 1.
    pub generation: u64,
    /// How many times the store was opened for writing.
    pub epoch: u32,
    /// The number of the next segment.
    pub next_segment: u32,
    /// The number of the next table.
    pub next_table: u32,
    /// The position behind the last event that the tables cover.
    pub indexed_to: Position,
    /// The sealed segments, in the order of their positions.
    pub sealed: Vec<SealedSegment>,
    /// The segments behind them, in the order in which they are written: perhaps one that is full,
    /// the active one, perhaps a spare.
    pub unsealed: Vec<u32>,
    /// The last checkpoint.
    pub checkpoint: Option<CheckpointEntry>,
    /// The tables of the index, in the order of their positions.
    pub tables: Vec<TableEntry>,
    /// The state file; none if there never was a state record.
    pub state: Option<StateEntry>,
    /// What later versions added.
    pub extensions: Vec<Extension>,
}

impl ManifestData {
    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut content = vec![0; LENGTH.len];
        content.extend_from_slice(&self.generation.to_le_bytes());
        content.extend_from_slice(&self.epoch.to_le_bytes());
        content.extend_from_slice(&self.next_segment.to_le_bytes());
        content.extend_from_slice(&self.next_table.to_le_bytes());
        content.extend_from_slice(&self.indexed_to.0.to_le_bytes());
        let rewrites = rewrites_bytes(&self.sealed);
        let counts = [
            self.sealed.len(),
            self.unsealed.len(),
            usize::from(self.checkpoint.is_some()),
            self.tables.len(),
            self.extensions.len()
                + usize::from(self.state.is_some())
                + usize::from(rewrites.is_some()),
        ];
        for count in counts {
            content.extend_from_slice(&short(count).to_le_bytes());
        }
        for segment in &self.sealed {
            put_sealed(segment, &mut content);
        }
        for id in &self.unsealed {
            content.extend_from_slice(&id.to_le_bytes());
        }
        if let Some(checkpoint) = &self.checkpoint {
            put_checkpoint(checkpoint, &mut content);
        }
        for table in &self.tables {
            put_table(table, &mut content);
        }
        if let Some(state) = &self.state {
            content.push(EXTENSION_STATE);
            super::codec::put_bytes(&mut content, &state_bytes(state));
        }
        if let Some(rewrites) = rewrites {
            content.push(EXTENSION_REWRITES);
            super::codec::put_bytes(&mut content, &rewrites);
        }
        for extension in &self.extensions {
            content.push(extension.kind);
            super::codec::put_bytes(&mut content, &extension.bytes);
        }
        let len = short(content.len() + envelope::VERSION.end());
        if let Some(length) = content.first_chunk_mut() {
            *length = len.to_le_bytes();
        }
        let mut copy = envelope::enclose(MAGIC, VERSION, &content);
        copy.resize(copy.len().next_multiple_of(COPY_ALIGN_BYTES), 0);
        copy.repeat(2)
    }

    /// Reads the whole file, from the first copy that is whole.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if neither is, [`FormatError::Invalid`] if it contradicts itself,
    /// [`FormatError::Newer`] if a newer program wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let manifest = super::first_whole([first, second].into_iter(), WHAT, decode_copy)?;
        match manifest.is_consistent() {
            true => Ok(manifest),
            false => Err(FormatError::Invalid(WHAT)),
        }
    }

    fn is_consistent(&self) -> bool {
        let follows = |pair: &[SealedSegment]| match pair {
            [before, after] => {
                before.end_position() == after.first_position && before.id < after.id
            }
            _ => true,
        };
        let ids = || (self.sealed.iter().map(|sealed| sealed.id)).chain(self.unsealed.clone());
        (1..=3).contains(&self.unsealed.len())
            && self.sealed.windows(2).all(follows)
            && ids()
                .zip(ids().skip(1))
                .all(|(before, after)| before < after)
            && ids().all(|id| id < self.next_segment)
            && self.tables.iter().all(|table| table.id < self.next_table)
    }

    /// The position behind the last event of the sealed segments.
    #[must_use]
    pub fn sealed_end(&self) -> Position {
        (self.sealed.last()).map_or(Position::START, SealedSegment::end_position)
    }

    /// The files it names, beside itself.
    pub fn files(&self) -> impl Iterator<Item = FileName> {
        let sealed = self.sealed.iter().map(SealedSegment::file_name);
        let unsealed = self.unsealed.iter().map(|id| FileName::Segment(*id));
        let tables = self.tables.iter().map(|table| FileName::Table(table.id));
        let checkpoint = self.checkpoint.iter().map(CheckpointEntry::file_name);
        let state = self.state.iter().filter_map(StateEntry::file_name);
        sealed
            .chain(unsealed)
            .chain(tables)
            .chain(checkpoint)
            .chain(state)
    }
}

fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn put_sealed(segment: &SealedSegment, out: &mut Vec<u8>) {
    out.extend_from_slice(&segment.id.to_le_bytes());
    out.extend_from_slice(&segment.first_position.0.to_le_bytes());
    out.extend_from_slice(&segment.events.to_le_bytes());
    out.extend_from_slice(&segment.len_bytes.to_le_bytes());
    out.extend_from_slice(&segment.footer_offset.to_le_bytes());
    out.extend_from_slice(&segment.created.min_us.to_le_bytes());
    out.extend_from_slice(&segment.created.max_us.to_le_bytes());
    out.extend_from_slice(&segment.mark.checksum.to_le_bytes());
    out.extend_from_slice(&segment.mark.epoch.to_le_bytes());
    out.extend_from_slice(&segment.mark.committed_us.to_le_bytes());
    out.extend_from_slice(&segment.digest);
}

fn sealed(reader: &mut Reader<'_>) -> Result<SealedSegment, FormatError> {
    Ok(SealedSegment {
        id: reader.u32()?,
        first_position: Position(reader.u64()?),
        events: reader.u32()?,
        len_bytes: reader.u32()?,
        footer_offset: reader.u32()?,
        created: CreatedRange {
            min_us: reader.i64()?,
            max_us: reader.i64()?,
        },
        mark: Mark {
            checksum: reader.u32()?,
            epoch: reader.u32()?,
            committed_us: reader.i64()?,
        },
        digest: reader.array()?,
        rewrite: None,
    })
}

/// The list of the segments that were written again, if there are any.
fn rewrites_bytes(sealed: &[SealedSegment]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for segment in sealed {
        if let Some(rewrite) = segment.rewrite {
            bytes.extend_from_slice(&segment.id.to_le_bytes());
            bytes.extend_from_slice(&rewrite.number.to_le_bytes());
            bytes.extend_from_slice(&rewrite.keys_len.to_le_bytes());
            bytes.extend_from_slice(&rewrite.keys_checksum.to_le_bytes());
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn rewrites(bytes: &[u8], sealed: &mut [SealedSegment]) -> Result<(), FormatError> {
    let mut reader = Reader::new(bytes, WHAT);
    let mut rest = sealed.iter_mut();
    while reader.remaining() > 0 {
        let id = reader.u32()?;
        let rewrite = Rewrite {
            number: reader.u32()?,
            keys_len: reader.u32()?,
            keys_checksum: reader.u32()?,
        };
        let segment = rest.find(|sealed| sealed.id == id);
        let segment = segment.ok_or(FormatError::Invalid(WHAT))?;
        if rewrite.number == 0 || rewrite.keys_len > segment.footer_offset {
            return Err(FormatError::Invalid(WHAT));
        }
        segment.rewrite = Some(rewrite);
    }
    Ok(())
}

fn put_checkpoint(checkpoint: &CheckpointEntry, out: &mut Vec<u8>) {
    out.extend_from_slice(&checkpoint.place.segment.to_le_bytes());
    out.extend_from_slice(&checkpoint.number.to_le_bytes());
    out.extend_from_slice(&checkpoint.len_bytes.to_le_bytes());
    out.extend_from_slice(&checkpoint.place.offset.to_le_bytes());
    out.extend_from_slice(&checkpoint.position.0.to_le_bytes());
}

fn checkpoint(reader: &mut Reader<'_>) -> Result<CheckpointEntry, FormatError> {
    let segment = reader.u32()?;
    Ok(CheckpointEntry {
        number: reader.u16()?,
        len_bytes: reader.u32()?,
        place: Place {
            segment,
            offset: reader.u32()?,
        },
        position: Position(reader.u64()?),
    })
}

fn put_table(table: &TableEntry, out: &mut Vec<u8>) {
    out.extend_from_slice(&table.id.to_le_bytes());
    out.extend_from_slice(&table.level.to_le_bytes());
    out.extend_from_slice(&table.first.0.to_le_bytes());
    out.extend_from_slice(&table.end.0.to_le_bytes());
    out.extend_from_slice(&table.len_bytes.to_le_bytes());
    out.extend_from_slice(&table.digest);
}

fn table(reader: &mut Reader<'_>) -> Result<TableEntry, FormatError> {
    Ok(TableEntry {
        id: reader.u32()?,
        level: reader.u32()?,
        first: Position(reader.u64()?),
        end: Position(reader.u64()?),
        len_bytes: reader.u64()?,
        digest: reader.array()?,
    })
}

fn state_bytes(state: &StateEntry) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&state.since.to_le_bytes());
    bytes.extend_from_slice(&state.number.to_le_bytes());
    bytes.extend_from_slice(&state.len_bytes.to_le_bytes());
    bytes.extend_from_slice(&state.place.segment.to_le_bytes());
    bytes.extend_from_slice(&state.place.offset.to_le_bytes());
    bytes.extend_from_slice(&state.position.0.to_le_bytes());
    bytes.extend_from_slice(&state.mark.checksum.to_le_bytes());
    bytes.extend_from_slice(&state.mark.epoch.to_le_bytes());
    bytes.extend_from_slice(&state.mark.committed_us.to_le_bytes());
    bytes
}

fn state(bytes: &[u8]) -> Result<StateEntry, FormatError> {
    let mut reader = Reader::new(bytes, WHAT);
    let entry = StateEntry {
        since: reader.u32()?,
        number: reader.u32()?,
        len_bytes: reader.u64()?,
        place: Place {
            segment: reader.u32()?,
            offset: reader.u32()?,
        },
        position: Position(reader.u64()?),
        mark: Mark {
            checksum: reader.u32()?,
            epoch: reader.u32()?,
            committed_us: reader.i64()?,
        },
    };
    match reader.remaining() {
        0 => Ok(entry),
        _ => Err(FormatError::Invalid(WHAT)),
    }
}

fn decode_copy(copy: &[u8]) -> Result<ManifestData, FormatError> {
    let mut front = Reader::new(copy, WHAT);
    front.take(LENGTH.offset)?;
    // Not believed before the checksum is found right; a wrong length has a wrong checksum.
    let len = usize::try_from(front.u32()?).map_err(|_| FormatError::Truncated(WHAT))?;
    let copy = copy.get(..len).ok_or(FormatError::Truncated(WHAT))?;
    let mut reader = envelope::open(copy, MAGIC, VERSION, WHAT)?;
    reader.take(LENGTH.len)?;
    let mut manifest = ManifestData {
        generation: reader.u64()?,
        epoch: reader.u32()?,
        next_segment: reader.u32()?,
        next_table: reader.u32()?,
        indexed_to: Position(reader.u64()?),
        ..ManifestData::default()
    };
    let [
        sealed_count,
        unsealed_count,
        checkpoints,
        tables,
        extensions,
    ] = [
        reader.u32()?,
        reader.u32()?,
        reader.u32()?,
        reader.u32()?,
        reader.u32()?,
    ];
    // Every entry takes at least a byte, so a count beyond the bytes left ends in `Truncated`.
    for _ in 0..sealed_count {
        manifest.sealed.push(sealed(&mut reader)?);
    }
    for _ in 0..unsealed_count {
        manifest.unsealed.push(reader.u32()?);
    }
    for _ in 0..checkpoints {
        manifest.checkpoint = Some(checkpoint(&mut reader)?);
    }
    for _ in 0..tables {
        manifest.tables.push(table(&mut reader)?);
    }
    for _ in 0..extensions {
        let kind = reader.u8()?;
        let bytes = reader.bytes_at_most(reader.remaining())?;
        match kind {
            EXTENSION_STATE if manifest.state.is_none() => manifest.state = Some(state(bytes)?),
            EXTENSION_REWRITES => rewrites(bytes, &mut manifest.sealed)?,
            EXTENSION_MANDATORY_MIN.. => return Err(FormatError::Newer(WHAT)),
            _ => manifest.extensions.push(Extension {
                kind,
                bytes: bytes.to_vec(),
            }),
        }
    }
    match to_u64(reader.remaining()) {
        0 => Ok(manifest),
        _ => Err(FormatError::Invalid(WHAT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest(segments: u32) -> ManifestData {
        let segment = |id| SealedSegment {
            id,
            first_position: Position(u64::from(id) * 10),
            events: 10,
            len_bytes: 9999,
            footer_offset: 8192,
            created: CreatedRange {
                min_us: -1,
                max_us: 5,
            },
            mark: Mark {
                checksum: 1,
                epoch: 2,
                committed_us: 3,
            },
            digest: [7; 32],
            rewrite: id.is_multiple_of(2).then_some(Rewrite {
                number: id + 1,
                keys_len: 9,
                keys_checksum: 8,
            }),
        };
        ManifestData {
            generation: 9,
            epoch: 4,
            next_segment: segments + 2,
            next_table: 6,
            indexed_to: Position(3),
            sealed: (0..segments).map(segment).collect(),
            unsealed: vec![segments, segments + 1],
            checkpoint: Some(CheckpointEntry {
                number: 2,
                len_bytes: 77,
                place: Place {
                    segment: segments,
                    offset: 5000,
                },
                position: Position(12),
            }),
            tables: vec![TableEntry {
                id: 5,
                level: 1,
                first: Position(0),
                end: Position(3),
                len_bytes: 1 << 40,
                digest: [8; 32],
            }],
            state: (segments > 0).then_some(StateEntry {
                since: 1,
                number: 2,
                len_bytes: 3,
                place: Place {
                    segment: 4,
                    offset: 5,
                },
                position: Position(6),
                mark: Mark::START,
            }),
            extensions: vec![Extension {
                kind: 3,
                bytes: b"later".to_vec(),
            }],
        }
    }

    #[test]
    fn a_manifest_survives_the_loss_of_either_copy() {
        for segments in [0, 3, 100] {
            let manifest = manifest(segments);
            let bytes = manifest.encode();
            assert_eq!(ManifestData::decode(&bytes), Ok(manifest.clone()));
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert_eq!(
                    ManifestData::decode(&damaged).as_ref(),
                    Ok(&manifest),
                    "{at}"
                );
            }
            let mut damaged = bytes.clone();
            damaged[20] ^= 1;
            damaged[bytes.len() / 2 + 20] ^= 1;
            assert!(ManifestData::decode(&damaged).is_err());
        }
    }

    #[test]
    fn a_mandatory_extension_that_is_unknown_is_refused() {
        let mut newer = manifest(1);
        newer.extensions[0].kind = EXTENSION_REWRITES + 1;
        assert_eq!(
            ManifestData::decode(&newer.encode()),
            Err(FormatError::Newer(WHAT))
        );
    }

    #[test]
    fn the_tables_of_the_document_have_the_lengths_that_are_written() {
        let sealed = manifest(1).encode().len() - manifest(0).encode().len();
        assert!(sealed.is_multiple_of(COPY_ALIGN_BYTES));
        let mut out = Vec::new();
        put_sealed(&manifest(1).sealed[0], &mut out);
        assert_eq!(out.len(), SEALED_DIGEST.end());
        out.clear();
        put_checkpoint(&manifest(1).checkpoint.unwrap(), &mut out);
        assert_eq!(out.len(), CHECKPOINT_POSITION.end());
        out.clear();
        put_table(&manifest(1).tables[0], &mut out);
        assert_eq!(out.len(), TABLE_DIGEST.end());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300), enclosed: bool,
        ) {
            if enclosed {
                let len = short(bytes.len() + envelope::VERSION.end());
                if let Some(length) = bytes.first_chunk_mut() {
                    *length = len.to_le_bytes();
                }
                bytes = envelope::enclose(MAGIC, VERSION, &bytes).repeat(2);
            }
            let _outcome = ManifestData::decode(&bytes);
        }
    }
}
