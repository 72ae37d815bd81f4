//! A disk in memory that keeps the promises of [`Disk`] and not one more: what is written, how long
//! a file is and what it is called become durable separately, and the power can be cut.
//!
//! It is the harshest disk that the promises allow. After [`MemoryDisk::power_cut`]
//!
//! * each 512-byte sector written since its file's last sync is as it was synced, or as it was
//!   after any of the writes to it; with [`Unsynced::Shredded`], torn at any byte;
//! * the length is the synced one, or any that the file had since, whatever became of the bytes;
//!   a part that was never written is zeros;
//! * each creation, rename and removal since the last [`Disk::sync_directory`] happened or did not,
//!   on its own: a later one may be there without an earlier one. A rename is whole; a file has one
//!   name;
//! * the mark of [`DiskFile::set_read_only`] may be gone;
//! * where [`MemoryDisk::set_fragile_blocks`] says so, and only there, whole blocks may be lost
//!   that were being written.
//!
//! Everything is in the open: no method is hidden behind a test configuration, because those who
//! embed the store test their programs with it too.

mod content;
mod directory;
mod page;
mod space;
mod survival;

pub use survival::Unsynced;

use std::fmt::{Debug, Formatter};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::disk::memory::content::Content;
use crate::disk::memory::directory::{Directory, Inode};
use crate::disk::memory::space::Space;
use crate::disk::memory::survival::Survival;
use crate::disk::{Disk, DiskFile, check_name};

/// A directory in memory. Clones are handles to the same directory.
///
/// ```
/// use annal::disk::{Disk, MemoryDisk, Unsynced};
///
/// let disk = MemoryDisk::new();
/// let file = disk.create("log")?;
/// disk.sync_directory()?;
/// file.write_all_at(0, b"synced")?;
/// file.sync_data()?;
/// file.write_all_at(6, b" or not")?;
///
/// let found = disk.power_cut(Unsynced::Lost).map("log")?;
/// assert_eq!(&found[..], b"synced");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

/// How large the blocks are that a disk can lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragileBlock {
    /// 512 bytes.
    Sector,
    /// 4,096 bytes.
    Page,
}

impl FragileBlock {
    const fn len_bytes(self) -> usize {
        match self {
            Self::Sector => content::SECTOR_BYTES,
            Self::Page => page::PAGE_BYTES,
        }
    }
}

struct Shared {
    /// Held for reading by every call, so that a cut or a copy sees none of them half done.
    powered: RwLock<bool>,
    directory: Mutex<Directory>,
    space: Arc<Space>,
    /// How many have the directory: any number of readers, or one who writes.
    locked: Mutex<usize>,
    /// See [`MemoryDisk::set_fragile_blocks`].
    fragile_block: Mutex<Option<usize>>,
}

impl Shared {
    fn power(&self) -> io::Result<RwLockReadGuard<'_, bool>> {
        let powered = self.powered.read();
        match *powered {
            true => Ok(powered),
            false => Err(io::Error::other("the power of this disk was cut")),
        }
    }
}

impl MemoryDisk {
    /// An empty directory on a disk without limit.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Directory::default(), Space::new(Space::UNLIMITED), true)
    }

    fn with(directory: Directory, space: Arc<Space>, powered: bool) -> Self {
        let shared = Shared {
            powered: RwLock::new(powered),
            directory: Mutex::new(directory),
            space,
            locked: Mutex::default(),
            fragile_block: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Cuts the power: every later call on this disk and its open files fails, and the disk that is
    /// returned holds what is found when the power is back. See the module for what that can be.
    ///
    /// Can be called again: each call is another way in which the same cut might have ended.
    #[must_use]
    pub fn power_cut(&self, unsynced: Unsynced) -> Self {
        let mut powered = self.shared.powered.write();
        *powered = false;
        let space = Space::new(self.shared.space.capacity());
        let mut survival = Survival::new(unsynced);
        let fragile = *self.shared.fragile_block.lock();
        let directory = self.shared.directory.lock();
        let directory = directory.survivor(&space, &mut survival, fragile);
        let found = Self::with(directory, space, true);
        *found.shared.fragile_block.lock() = fragile;
        found
    }

    /// Makes it a disk without powersafe overwrite: when the power is cut, any block of so many
    /// bytes that was being written may be lost as a whole, also what was synced in it. With
    /// [`Unsynced::Torn`] and [`Unsynced::Shredded`]. Nothing but the alignment of a store's units
    /// to blocks helps against that.
    pub fn set_fragile_blocks(&self, block: FragileBlock) {
        *self.shared.fragile_block.lock() = Some(block.len_bytes());
    }

    /// A copy that shares nothing with this disk, with what is synced and what is not. Nobody has
    /// locked it.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let powered = self.shared.powered.write();
        let space = Space::new(self.shared.space.capacity());
        let directory = self.shared.directory.lock().copy(&space);
        let copy = Self::with(directory, space, *powered);
        *copy.shared.fragile_block.lock() = *self.shared.fragile_block.lock();
        copy
    }

    /// Sets how many bytes fit, in pages of 4 KiB; a write that needs more writes what fits and
    /// fails with [`io::ErrorKind::StorageFull`]. A removed file takes its space until nobody has
    /// it open and its removal is durable.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.shared.space.limit(capacity_bytes);
    }

    /// Does to a file what a failed write-back does: its unsynced bytes are forgotten. They can be
    /// read until [`DiskFile::drop_cache`], but no later sync makes them durable, unless a later
    /// write touches the same 4 KiB page.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name.
    pub fn lose_unsynced(&self, name: &str) -> io::Result<()> {
        self.with_content(name, Content::lose_unsynced)
    }

    /// Makes or replaces a file, durably, behind everybody's back.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] at the limit of the disk; then nothing changes.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        check_name(name)?;
        let _powered = self.shared.power()?;
        let mut content = Content::new(Arc::clone(&self.shared.space));
        content.write(0, bytes)?;
        content.sync();
        self.shared
            .directory
            .lock()
            .put(name, Arc::new(RwLock::new(content)));
        Ok(())
    }

    /// Removes a file, durably, behind everybody's back.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name.
    pub fn destroy(&self, name: &str) -> io::Result<()> {
        let _powered = self.shared.power()?;
        self.shared.directory.lock().destroy(name)
    }

    /// Cuts a file, durably, behind everybody's back. A file that is shorter stays as it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name.
    pub fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.with_content(name, |content| content.truncate(len))
    }

    /// Overwrites bytes of a file as rot does: durably, read-only or not. What is mapped already
    /// does not change.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name, [`io::ErrorKind::UnexpectedEof`]
    /// if the file ends before; then the bytes before are changed.
    pub fn corrupt(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with_content(name, |content| {
            let mut places = (offset..).zip(bytes);
            places.try_for_each(|(place, byte)| content.corrupt(place, |_| *byte))
        })?
    }

    /// Flips one bit of a file as rot does, counted from the lowest bit of the first byte.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name, [`io::ErrorKind::UnexpectedEof`]
    /// if the file ends before.
    pub fn flip_bit(&self, name: &str, bit: u64) -> io::Result<()> {
        self.with_content(name, |content| {
            content.corrupt(bit / 8, |byte| byte ^ (1 << (bit % 8)))
        })?
    }

    fn with_content<T>(&self, name: &str, act: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let _powered = self.shared.power()?;
        let inode = Arc::clone(self.shared.directory.lock().find(name)?);
        let mut content = inode.write();
        Ok(act(&mut content))
    }

    fn file(&self, inode: &Inode) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            shared: Arc::clone(&self.shared),
            inode: Arc::clone(inode),
        })
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for MemoryDisk {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("files", &self.list())
            .finish_non_exhaustive()
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let _powered = self.shared.power()?;
        let inode = Arc::new(RwLock::new(Content::new(Arc::clone(&self.shared.space))));
        self.shared
            .directory
            .lock()
            .create(name, Arc::clone(&inode))?;
        Ok(self.file(&inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let _powered = self.shared.power()?;
        Ok(self.file(self.shared.directory.lock().find(name)?))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let _powered = self.shared.power()?;
        Ok(self.shared.directory.lock().list())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let _powered = self.shared.power()?;
        self.shared.directory.lock().rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let _powered = self.shared.power()?;
        self.shared.directory.lock().remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let _powered = self.shared.power()?;
        self.shared.directory.lock().sync();
        Ok(())
    }

    fn map(&self, name: &str) -> io::Result<Bytes> {
        check_name(name)?;
        self.with_content(name, Content::map)?
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        check_name(name)?;
        let _powered = self.shared.power()?;
        let lock = Lock::take(&self.shared, Lock::WRITER)?;
        let inode = Arc::new(RwLock::new(Content::new(Arc::clone(&self.shared.space))));
        match self.shared.directory.lock().create(name, inode) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(Box::new(lock)),
        }
    }

    fn lock_shared(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        check_name(name)?;
        let _powered = self.shared.power()?;
        self.shared.directory.lock().find(name)?;
        Ok(Box::new(Lock::take(&self.shared, 1)?))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let _powered = self.shared.power()?;
        Ok(self.shared.space.free())
    }
}

/// A share of the directory.
struct Lock {
    shared: Arc<Shared>,
    share: usize,
}

impl Lock {
    /// All there is.
    const WRITER: usize = usize::MAX;

    fn take(shared: &Arc<Shared>, share: usize) -> io::Result<Self> {
        let mut locked = shared.locked.lock();
        let taken = locked.checked_add(share);
        *locked = taken.ok_or(io::ErrorKind::WouldBlock)?;
        Ok(Self {
            shared: Arc::clone(shared),
            share,
        })
    }
}

impl Debug for Lock {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        *self.shared.locked.lock() -= self.share;
    }
}

struct MemoryFile {
    shared: Arc<Shared>,
    inode: Inode,
}

impl MemoryFile {
    fn look<T>(&self, look: impl FnOnce(&Content) -> T) -> io::Result<T> {
        let _powered = self.shared.power()?;
        Ok(look(&self.inode.read()))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let _powered = self.shared.power()?;
        Ok(change(&mut self.inode.write()))
    }
}

impl Debug for MemoryFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFile").finish_non_exhaustive()
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.look(Content::len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.look(|content| content.read(offset, buffer))
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|content| content.write(offset, bytes))?
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Content::sync)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|content| content.set_len(len))?
    }

    fn set_read_only(&self) -> io::Result<()> {
        self.change(Content::set_read_only)
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        self.change(|content| content.drop_cache(from))
    }
}

#[cfg(test)]
mod tests;
