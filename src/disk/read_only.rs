//! A disk that is only read. What is written to it goes to memory and is gone with it: so whoever
//! looks at a store can do all that opening it does, and changes nothing.
//!
//! What always holds: no call reaches the disk below that could change a byte, a name or a length
//! there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{Debug, Formatter};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskFile, MemoryDisk, check_name};

const PAGE_BYTES: usize = 4096;

/// A disk below, and what seems to be written to it.
pub struct ReadOnlyDisk {
    below: Arc<dyn Disk>,
    /// The files that were made since.
    above: MemoryDisk,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Names of files below that seem to be gone.
    removed: HashSet<String>,
    /// What seems to have become of files below.
    changed: HashMap<String, Arc<RwLock<Changes>>>,
}

/// What seems to be written to a file.
#[derive(Default)]
struct Changes {
    pages: BTreeMap<u64, Vec<u8>>,
    /// Its length, if that seems to be another one.
    len: Option<u64>,
    /// Behind this, nothing of the file below shows any more.
    below_len_max: Option<u64>,
}

impl ReadOnlyDisk {
    /// Looks at a disk.
    #[must_use]
    pub fn new(below: Arc<dyn Disk>) -> Self {
        Self {
            below,
            above: MemoryDisk::new(),
            state: Mutex::default(),
        }
    }

    fn is_above(&self, name: &str) -> io::Result<bool> {
        Ok(self.above.list()?.iter().any(|(file, _)| file == name))
    }

    /// The file below of this name, unless it seems to be gone.
    fn open_below(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.removed.contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = self.below.open_to_read(name)?;
        let changes = state.changed.entry(name.to_owned()).or_default();
        Ok(Arc::new(ReadOnlyFile {
            below,
            changes: Arc::clone(changes),
        }))
    }
}

impl Debug for ReadOnlyDisk {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnlyDisk")
            .field("below", &self.below)
            .finish_non_exhaustive()
    }
}

impl Disk for ReadOnlyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.open_below(name) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.above.create(name),
            Err(error) => Err(error),
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        match self.above.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.open_below(name),
            other => other,
        }
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = self.above.list()?;
        let state = self.state.lock();
        for (name, len) in self.below.list()? {
            if state.removed.contains(&name) || files.iter().any(|(above, _)| *above == name) {
                continue;
            }
            let changes = state.changed.get(&name);
            let changed = changes.and_then(|changes| changes.read().len);
            files.push((name, changed.unwrap_or(len)));
        }
        Ok(files)
    }

    /// Only of files that were made here: no other is ever given another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if !self.is_above(from)? {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.above.rename(from, to)?;
        let mut state = self.state.lock();
        state.changed.remove(to);
        state.removed.insert(to.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.is_above(name)? {
            return self.above.remove(name);
        }
        self.open_below(name)?;
        let mut state = self.state.lock();
        state.changed.remove(name);
        state.removed.insert(name.to_owned());
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.above.sync_directory()
    }

    fn map(&self, name: &str) -> io::Result<Bytes> {
        let file = self.open(name)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// Keeps those out who write, and lets in who reads. Where there is no file to lock, nobody who
    /// writes was ever there.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.lock_shared(name)
    }

    fn lock_shared(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        match self.below.lock_shared(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(())),
            other => other,
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.above.free_bytes()
    }
}

struct ReadOnlyFile {
    below: Arc<dyn DiskFile>,
    changes: Arc<RwLock<Changes>>,
}

impl ReadOnlyFile {
    fn len_of(&self, changes: &Changes) -> io::Result<u64> {
        match changes.len {
            Some(len) => Ok(len),
            None => self.below.len(),
        }
    }

    /// As the file seems to be.
    fn read(&self, changes: &Changes, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if changes.len.is_none() && changes.pages.is_empty() {
            return self.below.read_at(offset, buffer);
        }
        let left = self.len_of(changes)?.saturating_sub(offset);
        let len = buffer.len().min(short(left));
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        buffer.fill(0);
        let shown = changes.below_len_max.unwrap_or(u64::MAX);
        let shown = short(shown.saturating_sub(offset)).min(len);
        self.below
            .read_at(offset, buffer.get_mut(..shown).unwrap_or_default())?;
        let first = offset / wide(PAGE_BYTES);
        let end = (offset + wide(len)).div_ceil(wide(PAGE_BYTES));
        for (number, page) in changes.pages.range(first..end.max(first)) {
            let start = number * wide(PAGE_BYTES);
            let from = start.max(offset);
            let to = (start + wide(PAGE_BYTES)).min(offset + wide(len));
            let into = buffer.get_mut(short(from - offset)..short(to - offset));
            let bytes = page.get(short(from - start)..short(to - start));
            if let (Some(into), Some(bytes)) = (into, bytes) {
                into.copy_from_slice(bytes);
            }
        }
        Ok(len)
    }
}

impl Debug for ReadOnlyFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnlyFile").finish_non_exhaustive()
    }
}

impl DiskFile for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.len_of(&self.changes.read())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(&self.changes.read(), offset, buffer)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.write();
        let len = self.len_of(&changes)?;
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = at / wide(PAGE_BYTES);
            let start = number * wide(PAGE_BYTES);
            let mut page = vec![0; PAGE_BYTES];
            self.read(&changes, start, &mut page)?;
            let from = short(at - start);
            let count = rest.len().min(PAGE_BYTES - from);
            let (now, later) = rest.split_at(count);
            if let Some(into) = page.get_mut(from..from + count) {
                into.copy_from_slice(now);
            }
            changes.pages.insert(number, page);
            (at, rest) = (at + wide(count), later);
        }
        changes.len = Some(len.max(at));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes.write();
        let before = self.len_of(&changes)?;
        let shown = changes.below_len_max.unwrap_or(before);
        changes.below_len_max = Some(shown.min(len));
        let end = len.div_ceil(wide(PAGE_BYTES));
        changes.pages.retain(|number, _| *number < end);
        let last = len / wide(PAGE_BYTES);
        let kept = short(len % wide(PAGE_BYTES));
        if let Some(page) = changes.pages.get_mut(&last) {
            page.iter_mut().skip(kept).for_each(|byte| *byte = 0);
        }
        changes.len = Some(len);
        Ok(())
    }

    fn set_read_only(&self) -> io::Result<()> {
        Ok(())
    }

    /// A file system that is never written does not sync either, and has nothing to forget.
    fn drop_cache(&self, from: u64) -> io::Result<()> {
        match self.below.drop_cache(from) {
            Err(error) if is_for_writers_only(&error) => Ok(()),
            other => other,
        }
    }
}

fn is_for_writers_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
    )
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn short(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (MemoryDisk, ReadOnlyDisk) {
        let below = MemoryDisk::new();
        below.put("file", b"0123456789").unwrap();
        let disk = ReadOnlyDisk::new(Arc::new(below.clone()));
        (below, disk)
    }

    fn whole(disk: &dyn Disk, name: &str) -> Vec<u8> {
        disk.map(name).unwrap().to_vec()
    }

    #[test]
    fn what_is_written_is_seen_and_nothing_below_changes() {
        let (below, disk) = disk();
        let file = disk.open("file").unwrap();
        file.write_all_at(8, b"xyz").unwrap();
        let far = wide(PAGE_BYTES) * 2 - 1;
        file.write_all_at(far, b"ab").unwrap();
        let mut expected = b"01234567xyz".to_vec();
        expected.resize(short(far), 0);
        expected.extend_from_slice(b"ab");
        assert_eq!(
            whole(&disk, "file"),
            expected,
            "also for others who open it"
        );
        assert_eq!(disk.list().unwrap(), [("file".into(), far + 2)]);
        file.set_len(4).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(whole(&disk, "file"), b"0123\0\0");
        disk.create("new").unwrap().write_all_at(0, b"n").unwrap();
        disk.rename("new", "file").unwrap();
        assert_eq!(whole(&disk, "file"), b"n");
        disk.remove("file").unwrap();
        assert!(disk.list().unwrap().is_empty());
        assert!(disk.open("file").is_err());
        assert!(disk.remove("file").is_err());
        disk.create("file").unwrap();
        assert_eq!(whole(&below, "file"), b"0123456789");
        assert_eq!(below.list().unwrap().len(), 1);
    }

    #[test]
    fn who_reads_keeps_only_those_out_who_write() {
        let (below, disk) = disk();
        drop(below.lock("lock").unwrap());
        let first = disk.lock("lock").unwrap();
        let second = ReadOnlyDisk::new(Arc::new(below.clone()))
            .lock("lock")
            .unwrap();
        let kept_out = below.lock("lock").unwrap_err();
        assert_eq!(kept_out.kind(), io::ErrorKind::WouldBlock);
        drop((first, second));
        let writer = below.lock("lock").unwrap();
        let kept_out = disk.lock("lock").unwrap_err();
        assert_eq!(kept_out.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
    }
}
