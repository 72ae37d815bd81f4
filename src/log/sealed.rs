//! Sealed segments: opened when they are first read, checked against the manifest, and closed when
//! others were read more lately.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use crate::format::FormatError;
use crate::format::checksum::{Salt, checksum};
use crate::format::footer::{CreatedRange, FIXED_LEN_BYTES, Footer, OffsetPage};
use crate::format::manifest::{Rewrite, SealedSegment};
use crate::format::rewrite::RemovedKeys;
use crate::log::cache::Cache;
use crate::log::error::StorageError;
use crate::log::facts::{Offsets, Page};
use crate::log::salvage::Rescued;
use crate::model::Position;

/// The part of the read cache that pages of offsets may take beside it: 1 to 8.
const PAGES_SHARE: usize = 8;

/// A segment's number, and how often it was written again.
pub(super) type FileKey = (u32, u32);

/// An open sealed segment.
#[derive(Debug)]
pub(super) struct SealedFile {
    pub(super) id: u32,
    /// Which of the files that the segment had.
    pub(super) key: FileKey,
    /// Whether it was written again without some of its events.
    pub(super) rewrite: Option<Rewrite>,
    pub(super) name: Arc<str>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) footer: Footer,
    pages_at: u64,
}

/// Reads exactly so many bytes.
pub(super) fn read_exact(
    file: &dyn DiskFile,
    name: &str,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![0; len];
    let read = file.read_at(offset, &mut bytes);
    match read.map_err(|error| StorageError::io("read", name, error))? == len {
        true => Ok(bytes),
        false => {
            let error = FormatError::Truncated("a segment");
            Err(StorageError::damaged(name, offset, error))
        }
    }
}

/// The keys of removed events, which stand there in a file; none if it was never written again.
pub(super) fn read_removed_keys(
    (file, name): (&dyn DiskFile, &str),
    at: u32,
    rewrite: Option<Rewrite>,
) -> Result<RemovedKeys, StorageError> {
    let Some(rewrite) = rewrite else {
        return Ok(RemovedKeys::default());
    };
    let len = usize::try_from(rewrite.keys_len).unwrap_or(usize::MAX);
    let bytes = read_exact(file, name, at.into(), len)?;
    let damaged = |error| StorageError::damaged(name, at.into(), error);
    match checksum(&bytes) == rewrite.keys_checksum {
        true => RemovedKeys::decode(&bytes).map_err(damaged),
        false => Err(damaged(FormatError::Checksum("the keys of removed events"))),
    }
}

impl SealedFile {
    pub(super) fn open(disk: &dyn Disk, entry: &SealedSegment) -> Result<Self, StorageError> {
        let name: Arc<str> = entry.file_name().to_string().into();
        let missing = || StorageError::Missing {
            file: Arc::clone(&name),
            len_bytes: entry.len_bytes.into(),
        };
        let file = disk.open(&name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(),
            _ => StorageError::io("open", &name, error),
        })?;
        let len = file.len();
        if len.map_err(|error| StorageError::io("open", &name, error))?
            != u64::from(entry.len_bytes)
        {
            return Err(missing());
        }
        let len = u64::from(entry.len_bytes);
        let damaged = |error| StorageError::damaged(&name, entry.footer_offset.into(), error);
        let fixed_len = FIXED_LEN_BYTES;
        let fixed_at = len.saturating_sub(u64::try_from(fixed_len).unwrap_or(u64::MAX));
        let fixed = read_exact(&*file, &name, fixed_at, fixed_len)?;
        let tail_len = Footer::tail_len(&fixed).map_err(damaged)?;
        let tail_at = len
            .checked_sub(u64::try_from(tail_len).unwrap_or(u64::MAX))
            .filter(|at| *at >= u64::from(entry.footer_offset))
            .ok_or(damaged(FormatError::Truncated("a segment's footer")))?;
        let tail = read_exact(&*file, &name, tail_at, tail_len)?;
        let footer = Footer::decode(&tail).map_err(damaged)?;
        let fits = footer.segment == entry.id
            && footer.first_position == entry.first_position
            && footer.events == entry.events
            && footer.end_offset == entry.units_end()
            && footer.mark == entry.mark;
        match fits {
            true => Ok(Self {
                id: entry.id,
                key: entry.key(),
                rewrite: entry.rewrite,
                file,
                footer,
                pages_at: entry.footer_offset.into(),
                name,
            }),
            false => Err(damaged(FormatError::Invalid("a segment's footer"))),
        }
    }

    /// The keys of its removed events; none if it was never written again.
    pub(super) fn read_removed_keys(&self) -> Result<RemovedKeys, StorageError> {
        let at = self.footer.end_offset;
        read_removed_keys((&*self.file, &self.name), at, self.rewrite)
    }

    pub(super) fn read_page(&self, number: usize, salt: &Salt) -> Result<OffsetPage, StorageError> {
        let place = self.footer.page(number);
        let damaged = |at, error| StorageError::damaged(&self.name, at, error);
        let (count, range) = place
            .ok_or_else(|| damaged(self.pages_at, FormatError::Invalid("a segment's footer")))?;
        let at = self.pages_at + range.start;
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = Bytes::from(read_exact(&*self.file, &self.name, at, len)?);
        OffsetPage::decode(bytes, count, self.id, number, salt).map_err(|error| damaged(at, error))
    }
}

/// The sealed segments that are open, and pages of their offsets.
#[derive(Debug)]
pub(super) struct SealedFiles {
    files: Cache<FileKey, Arc<SealedFile>>,
    pages: Cache<(FileKey, usize), OffsetPage>,
}

impl SealedFiles {
    pub(super) fn new(open_files_max: usize, read_cache_bytes: usize) -> Self {
        Self {
            files: Cache::new(open_files_max),
            pages: Cache::new(read_cache_bytes / PAGES_SHARE),
        }
    }

    pub(super) fn open(
        &self,
        disk: &dyn Disk,
        entry: &SealedSegment,
        check: impl FnOnce(&SealedFile) -> Result<(), StorageError>,
    ) -> Result<Arc<SealedFile>, StorageError> {
        let key = entry.key();
        if let Some(file) = self.files.find(key) {
            return Ok(file);
        }
        let file = Arc::new(SealedFile::open(disk, entry)?);
        check(&file)?;
        self.files.insert(key, Arc::clone(&file), 1);
        Ok(file)
    }

    /// Lets a file go that the segment does not have any more.
    pub(super) fn close(&self, key: FileKey) {
        self.files.remove(key);
    }
}

/// A sealed segment, and what says where its events are.
pub(super) enum Contents {
    /// Its footer.
    Footer(Arc<SealedFile>),
    /// Its units.
    Units(Arc<Rescued>),
}

impl Contents {
    pub(super) fn key(&self) -> FileKey {
        match self {
            Self::Footer(sealed) => sealed.key,
            Self::Units(rescued) => rescued.entry.key(),
        }
    }

    pub(super) fn file(&self) -> (&Arc<str>, &Arc<dyn DiskFile>) {
        match self {
            Self::Footer(sealed) => (&sealed.name, &sealed.file),
            Self::Units(rescued) => (&rescued.name, &rescued.file),
        }
    }

    pub(super) fn first(&self) -> Position {
        match self {
            Self::Footer(sealed) => sealed.footer.first_position,
            Self::Units(rescued) => rescued.entry.first_position,
        }
    }

    pub(super) fn end(&self) -> Position {
        match self {
            Self::Footer(sealed) => sealed.footer.end_position(),
            Self::Units(rescued) => rescued.entry.end_position(),
        }
    }

    /// Where the units end.
    pub(super) fn units_end(&self) -> u32 {
        match self {
            Self::Footer(sealed) => sealed.footer.end_offset,
            Self::Units(rescued) => rescued.entry.units_end(),
        }
    }

    /// When its events were created.
    pub(super) fn created(&self) -> &[CreatedRange] {
        match self {
            Self::Footer(sealed) => &sealed.footer.created,
            Self::Units(rescued) => rescued.facts.created(),
        }
    }

    pub(super) fn read_removed_keys(&self) -> Result<RemovedKeys, StorageError> {
        match self {
            Self::Footer(sealed) => sealed.read_removed_keys(),
            Self::Units(rescued) => rescued.read_removed_keys(),
        }
    }
}

/// The offsets of a sealed segment, its pages cached.
pub(super) struct SealedOffsets<'a> {
    pub(super) files: &'a SealedFiles,
    pub(super) sealed: &'a SealedFile,
    pub(super) salt: &'a Salt,
}

impl Offsets for SealedOffsets<'_> {
    fn events(&self) -> usize {
        usize::try_from(self.sealed.footer.events).unwrap_or(usize::MAX)
    }

    fn end_offset(&self) -> u32 {
        self.sealed.footer.end_offset
    }

    fn has_holes(&self) -> bool {
        self.sealed.rewrite.is_some()
    }

    fn page_first_offset(&self, page: usize) -> Option<u32> {
        let entry = self.sealed.footer.pages.get(page)?;
        Some(entry.first_offset)
    }

    fn page(&self, page: usize) -> Result<Page, StorageError> {
        let key = (self.sealed.key, page);
        if let Some(page) = self.files.pages.find(key) {
            return Ok(Page::Closed(page));
        }
        let read = self.sealed.read_page(page, self.salt)?;
        let weight = read.bytes().len();
        self.files.pages.insert(key, read.clone(), weight);
        Ok(Page::Closed(read))
    }
}
