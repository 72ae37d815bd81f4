//! A real directory. The only file of the crate that touches the file system, and the only one with
//! `unsafe`: the memory map of an immutable file.
//!
//! The directory is made for its owner alone (0700, files 0600).

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use memmap2::Mmap;
use rustix::fs::{Advice, fadvise, fstatvfs};

use crate::disk::{Disk, DiskFile, check_name};

/// No page of the system's memory is longer, in bytes.
const PAGE_LEN_BYTES_MAX: u64 = 64 * 1024;
/// Only reads of so much are worth reading ahead, in bytes.
const STEP_LEN_BYTES_MIN: usize = 64 * 1024;
/// How often a lock file may vanish between opening and locking it before we give up.
const LOCK_ATTEMPTS_MAX: u32 = 16;

/// One directory of the file system.
#[derive(Debug)]
pub struct OsDisk {
    path: PathBuf,
    directory: File,
}

impl OsDisk {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it does not exist, [`io::ErrorKind::NotADirectory`] if it is
    /// something else, and what the system says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        // Absolute, so that the process may change its own directory.
        let path = fs::canonicalize(path)?;
        let directory = File::open(&path)?;
        match directory.metadata()?.is_dir() {
            true => Ok(Self { path, directory }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Opens a directory, and makes it first if it does not exist, with those above it. It is
    /// durable when this returns.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] if it is something else, and what the system says.
    pub fn open_or_create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        make(&path)?;
        Self::open(path)
    }

    /// The directory's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.path.join(name))
    }
}

fn make(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    if !path.is_dir() {
        make(parent)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other?,
        }
    }
    // Even if it was there: who made it may have been stopped before making it durable.
    match File::open(parent) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other?.sync_all(),
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.at(name)?)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.at(name)?;
        // Asked beforehand, because the system lets root write to what is marked read-only.
        let writable = !fs::metadata(&path)?.permissions().readonly();
        let file = match OpenOptions::new().read(true).write(writable).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            other => other,
        }?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::open(self.at(name)?)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    /// Only regular files, and only those whose names are UTF-8: the engine makes no others.
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name)?)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    #[expect(
        unsafe_code,
        reason = "mapping a file cannot be checked by the compiler"
    )]
    fn map(&self, name: &str) -> io::Result<Bytes> {
        let file = File::open(self.at(name)?)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: The engine maps only files that it has marked as never written again, in a
        // directory that it has locked and that belongs to its user alone, and it copies a value
        // out of the map before it believes it. Whoever cuts the file from outside all the same
        // ends the process by SIGBUS, which is the fail-stop we document.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Bytes::from_owner(map))
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        self.lock_by(name, &options, File::try_lock)
    }

    fn lock_shared(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let mut options = OpenOptions::new();
        options.read(true);
        self.lock_by(name, &options, File::try_lock_shared)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = fstatvfs(&self.directory)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

impl OsDisk {
    fn lock_by(
        &self,
        name: &str,
        options: &OpenOptions,
        try_lock: fn(&File) -> Result<(), TryLockError>,
    ) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let path = self.at(name)?;
        for _ in 0..LOCK_ATTEMPTS_MAX {
            let file = options.open(&path)?;
            match try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // A lock on a file that was removed meanwhile keeps nobody out.
            let ours = file.metadata()?;
            match fs::metadata(&path) {
                Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(Box::new(file));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the lock file is removed again and again"))
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// Whether what is read comes from the disk, in steps: see [`OsFile::drop_cache`].
    in_steps: AtomicBool,
}

impl OsFile {
    fn new(file: File) -> Self {
        let in_steps = AtomicBool::new(false);
        Self { file, in_steps }
    }

    /// Has the system read the next piece while the caller looks at this one. Only a help.
    fn read_ahead(&self, offset: u64, len: usize) {
        let len = u64::try_from(len).ok().and_then(NonZeroU64::new);
        let _read_when_asked = fadvise(&self.file, offset, len, Advice::WillNeed);
    }
}

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = buffer.len();
        let mut rest = buffer;
        let mut offset = offset;
        while !rest.is_empty() {
            match self.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => {
                    rest = rest
                        .split_at_mut_checked(read)
                        .map_or(&mut [], |(_, after)| after);
                    offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if asked >= STEP_LEN_BYTES_MIN && self.in_steps.load(Ordering::Relaxed) {
            self.read_ahead(offset, asked);
        }
        Ok(asked - rest.len())
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn set_read_only(&self) -> io::Result<()> {
        let mut permissions = self.file.metadata()?.permissions();
        permissions.set_readonly(true);
        self.file.set_permissions(permissions)
    }

    /// Linux forgets only pages that are clean and mapped by nobody, so what is dirty is written
    /// first. That is as sure as it gets without direct reads: a page in use at this moment, or a
    /// cache inside the disk, may still answer. After a write-back that failed the pages count as
    /// clean, and it is those that must not be believed. A page that the range begins within would
    /// be kept, so the range begins with the page.
    ///
    /// From then on the handle reads one piece ahead and no further: the system's own reading ahead
    /// takes megabytes at once, and who syncs another file meanwhile would wait behind them.
    fn drop_cache(&self, from: u64) -> io::Result<()> {
        self.file.sync_data()?;
        let page_start = from - from % PAGE_LEN_BYTES_MAX;
        fadvise(&self.file, page_start, None, Advice::DontNeed)?;
        self.in_steps.store(true, Ordering::Relaxed);
        Ok(fadvise(&self.file, 0, None, Advice::Random)?)
    }
}

/// Memory that this process takes, in bytes; none if the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_belongs_to_its_owner_alone() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("data").join("deep");
        assert_eq!(
            OsDisk::open(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let disk = OsDisk::open_or_create(&path).unwrap();
        OsDisk::open_or_create(&path).unwrap();
        assert_eq!(disk.path(), fs::canonicalize(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&above.path().join("data")), 0o700);
        let file = disk.create("a").unwrap();
        let _lock = disk.lock("lock").unwrap();
        assert_eq!(mode(&path.join("a")), 0o600);
        assert_eq!(mode(&path.join("lock")), 0o600);
        file.set_read_only().unwrap();
        assert_eq!(mode(&path.join("a")), 0o400);
    }

    #[test]
    fn a_file_is_no_directory() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("file");
        fs::write(&path, "").unwrap();
        assert_eq!(
            OsDisk::open(&path).unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
        OsDisk::open_or_create(&path).unwrap_err();
        OsDisk::open_or_create(path.join("below")).unwrap_err();
    }

    #[test]
    fn the_process_takes_some_memory() {
        if cfg!(target_os = "linux") {
            assert!(resident_bytes().unwrap() > 100_000);
        }
    }

    #[test]
    fn only_regular_files_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        disk.create("a").unwrap();
        fs::create_dir(directory.path().join("b")).unwrap();
        std::os::unix::fs::symlink("a", directory.path().join("c")).unwrap();
        assert_eq!(disk.list().unwrap(), [("a".to_owned(), 0)]);
    }

    #[test]
    fn a_lock_file_that_was_removed_and_made_again_locks() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        drop(disk.lock("lock").unwrap());
        disk.remove("lock").unwrap();
        let _held = disk.lock("lock").unwrap();
        assert_eq!(
            disk.lock("lock").unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
}
