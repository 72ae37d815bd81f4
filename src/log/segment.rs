//! Segment files: how they are made, and the spare one that stands ready.

use std::io;
use std::sync::{Arc, OnceLock};

use memmap2::MmapMut;

use crate::disk::{Disk, DiskFile};
use crate::format::FormatError;
use crate::format::names::FileName;
use crate::format::segment::{HEADER_LEN_BYTES, SegmentHeader, SegmentKind};
use crate::format::store::Identity;
use crate::log::error::StorageError;
use crate::log::file::read_file;
use crate::log::writer::ZERO_STEP_BYTES;

/// The least capacity of a segment, in bytes, unless the largest is less: to go on in the next one
/// takes several syncs, and a young store that grows fast would do little else.
pub(super) const CAPACITY_MIN: u32 = 16 * 1024 * 1024;
/// How many numbers are tried for a new segment before we give up.
const ID_ATTEMPTS_MAX: u32 = 1024;

/// A segment that is named in the manifest and has no unit yet.
#[derive(Clone, Debug)]
pub(super) struct Spare {
    pub(super) id: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) name: Arc<str>,
    pub(super) capacity: u32,
    /// Up to here it holds zeros that are on the disk.
    pub(super) zeroed: u32,
}

/// Zeros to be written, as many as a step has. Memory that was never written to is one and the same
/// page, which the processor has at hand; memory that was cleared is read from further away.
fn zeros() -> io::Result<&'static [u8]> {
    static ZEROS: OnceLock<MmapMut> = OnceLock::new();
    if let Some(zeros) = ZEROS.get() {
        return Ok(zeros);
    }
    let zeros = MmapMut::map_anon(usize::try_from(ZERO_STEP_BYTES).unwrap_or(0))?;
    Ok(ZEROS.get_or_init(|| zeros))
}

impl Spare {
    /// Writes so many more zeros, at most [`ZERO_STEP_BYTES`], and syncs them.
    pub(super) fn fill(&mut self, len: u32) -> io::Result<()> {
        let zeros = zeros()?.get(..usize::try_from(len).unwrap_or(0));
        let zeros = zeros.ok_or(io::ErrorKind::InvalidInput)?;
        self.file.write_all_at(self.zeroed.into(), zeros)?;
        self.file.sync_data()?;
        self.zeroed += len;
        Ok(())
    }
}

/// Makes a durable segment file. A number whose file exists already is left alone: such a file was
/// made by somebody who did not live to name it in the manifest.
pub(super) fn create_segment(
    disk: &dyn Disk,
    identity: &Identity,
    id_first: u32,
    capacity: u32,
) -> Result<Spare, StorageError> {
    for id in id_first..id_first.saturating_add(ID_ATTEMPTS_MAX) {
        let name: Arc<str> = FileName::Segment(id).to_string().into();
        let file = match disk.create(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other.map_err(|error| StorageError::io("create", &name, error))?,
        };
        let header = SegmentHeader {
            store: identity.store,
            segment: id,
            kind: SegmentKind::Written { capacity },
        };
        let made = file
            .write_all_at(0, &header.encode())
            .and_then(|()| file.sync_data())
            .and_then(|()| disk.sync_directory());
        if let Err(error) = made {
            // So that a disk that stays full does not fill with beginnings.
            let _stays = disk.remove(&name);
            return Err(StorageError::io("make", &name, error));
        }
        return Ok(Spare {
            id,
            file,
            name,
            capacity,
            zeroed: HEADER_LEN_BYTES,
        });
    }
    let error = io::Error::other("every number for a new segment is taken");
    Err(StorageError::io("create", "segment", error))
}

/// Opens a segment file and checks whose it is.
pub(super) fn open_segment(
    disk: &dyn Disk,
    identity: &Identity,
    id: u32,
) -> Result<Spare, StorageError> {
    let name: Arc<str> = FileName::Segment(id).to_string().into();
    let file = match disk.open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StorageError::Missing {
                file: name,
                len_bytes: HEADER_LEN_BYTES.into(),
            });
        }
        other => other.map_err(|error| StorageError::io("open", &name, error))?,
    };
    let mut header = vec![0; usize::try_from(HEADER_LEN_BYTES).unwrap_or(0)];
    let read = file.read_at(0, &mut header);
    read.map_err(|error| StorageError::io("read", &name, error))?;
    let damaged = |error| StorageError::damaged(&name, 0, error);
    let header = SegmentHeader::decode(&header).map_err(damaged)?;
    let SegmentKind::Written { capacity } = header.kind else {
        return Err(damaged(FormatError::Invalid("the kind of a segment")));
    };
    if header.store != identity.store || header.segment != id {
        return Err(damaged(FormatError::Invalid("the owner of a segment")));
    }
    let len = file.len();
    let len = len.map_err(|error| StorageError::io("open", &name, error))?;
    let zeroed = u32::try_from(len);
    Ok(Spare {
        id,
        zeroed: zeroed.map_err(|_| damaged(FormatError::Invalid("the length of a segment")))?,
        file,
        capacity,
        name,
    })
}

/// Whether a segment file holds nothing behind its header.
pub(super) fn is_untouched(disk: &dyn Disk, name: &str) -> Result<bool, StorageError> {
    let bytes = read_file(disk, name, 2 * u64::from(CAPACITY_MIN))?;
    let header = usize::try_from(HEADER_LEN_BYTES).unwrap_or(0);
    Ok((bytes.iter().skip(header)).all(|byte| *byte == 0))
}
