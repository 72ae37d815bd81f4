//! The manifest: which files belong to the store, and what is known of them without opening them.
//!
//! Each change writes a new generation: the whole manifest, as two copies in one file. What names
//! other files can be trusted to the last bit or not at all, so an older generation never stands in
//! for a newer one that is damaged.

mod checkpoint;
mod sealed;
mod state;
mod table;

pub use checkpoint::{CHECKPOINT_FIELDS, CheckpointEntry};
pub use sealed::{REWRITE_FIELDS, Rewrite, SEALED_FIELDS, SealedSegment};
pub use state::{STATE_FIELDS, StateEntry};
pub use table::{TABLE_FIELDS, TableEntry};

use super::codec::{Reader, put_bytes, to_u64};
use super::envelope;
use super::names::FileName;
use super::{Field, FormatError};
use crate::model::Position;
use sealed::{rewrites_bytes, take_rewrites};

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
            segment.put(&mut content);
        }
        for id in &self.unsealed {
            content.extend_from_slice(&id.to_le_bytes());
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.put(&mut content);
        }
        for table in &self.tables {
            table.put(&mut content);
        }
        if let Some(state) = &self.state {
            content.push(EXTENSION_STATE);
            put_bytes(&mut content, &state.bytes());
        }
        if let Some(rewrites) = rewrites {
            content.push(EXTENSION_REWRITES);
            put_bytes(&mut content, &rewrites);
        }
        for extension in &self.extensions {
            content.push(extension.kind);
            put_bytes(&mut content, &extension.bytes);
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
            [before, after] => before.end_position() == after.first_position,
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
        manifest.sealed.push(SealedSegment::take(&mut reader)?);
    }
    for _ in 0..unsealed_count {
        manifest.unsealed.push(reader.u32()?);
    }
    for _ in 0..checkpoints {
        manifest.checkpoint = Some(CheckpointEntry::take(&mut reader)?);
    }
    for _ in 0..tables {
        manifest.tables.push(TableEntry::take(&mut reader)?);
    }
    for _ in 0..extensions {
        let kind = reader.u8()?;
        let bytes = reader.bytes_at_most(reader.remaining())?;
        match kind {
            EXTENSION_STATE if manifest.state.is_none() => {
                manifest.state = Some(StateEntry::decode(bytes)?)
            }
            EXTENSION_REWRITES => take_rewrites(bytes, &mut manifest.sealed)?,
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
mod tests;
