//! The seam to the operating system: files of one directory, the clock, and random numbers.
//!
//! Nothing above this layer calls `std::fs` or asks for the time. The promises below are what the
//! engine builds on; [`OsDisk`] keeps them on a real file system, [`MemoryDisk`] in memory, where
//! the power can be cut. [`ProbeDisk`] goes before either, counts the calls and fails some;
//! [`ReadOnlyDisk`] lets no change through.
//!
//! What may be lost when the power goes:
//!
//! * bytes written, and a length changed, since the file's last [`DiskFile::sync_data`]: any subset
//!   of them, each byte old or new;
//! * names created, renamed or removed since the last [`Disk::sync_directory`];
//! * the mark of [`DiskFile::set_read_only`].
//!
//! Nothing else may be. A sync that failed says nothing about what is on the disk, and is never
//! repeated.

mod host;
mod memory;
mod os;
mod probe;
mod random;
mod read_only;

pub use host::{Host, OsHost, SimulatedHost};
pub use memory::{FragileBlock, MemoryDisk, Unsynced};
pub use os::{OsDisk, resident_bytes};
pub use probe::{Fault, Hold, Operation, ProbeDisk, Tally};
pub use read_only::ReadOnlyDisk;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// The files of one flat directory.
///
/// Names are plain file names, made by the engine, never by its users.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Makes an empty file, open for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one of that name, and what the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing; one that the system marks read-only, for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name, and what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading alone: also one that its owner may not write.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open(name)
    }

    /// The names and lengths in bytes of all files, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Gives a file another name, replacing a file that has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Files that are open stay readable until they are closed.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable. No other call implies it.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self) -> io::Result<()>;

    /// The whole of a file that nobody will write again, mapped into memory where that is cheap.
    ///
    /// The bytes can change under the reader if the disk fails: copy a value out, then check it.
    ///
    /// # Errors
    /// What the system says.
    fn map(&self, name: &str) -> io::Result<Bytes>;

    /// Takes the directory for this process alone, until the returned guard is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody else has it, and what the system says.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>>;

    /// Takes the directory together with others who only read it. It changes nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody has it for himself, [`io::ErrorKind::NotFound`] if
    /// nobody ever took it, and what the system says.
    fn lock_shared(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One open file. All calls name their place, so readers and one writer can share it.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// The length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into the buffer; returns fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// What the system says; interrupted calls are repeated.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all the bytes, at any place; the file grows if it must.
    ///
    /// # Errors
    /// What the system says; then any part may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    /// What the system says; then nothing is known of what was written since the last success.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros that take no space.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Marks the file as one that is never written again.
    ///
    /// # Errors
    /// What the system says.
    fn set_read_only(&self) -> io::Result<()>;

    /// Forgets what the system keeps of the file in memory from an offset on, so that the next read
    /// there asks the disk. Recovery calls it: after a failed write the memory may hold what the
    /// disk does not.
    ///
    /// # Errors
    /// What the system says.
    fn drop_cache(&self, from: u64) -> io::Result<()>;
}

/// Refuses what would lead out of the directory.
fn check_name(name: &str) -> io::Result<()> {
    match name {
        "" | "." | ".." => Err(io::ErrorKind::InvalidInput.into()),
        name if name.contains(['/', '\0']) => Err(io::ErrorKind::InvalidInput.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
