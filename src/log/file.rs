//! Small whole files: read at once, and written before anything depends on them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use crate::format::FormatError;
use crate::log::error::StorageError;

/// Reads a whole file that may not be longer than `len_bytes_max`.
pub(super) fn read_file(
    disk: &dyn Disk,
    name: &str,
    len_bytes_max: u64,
) -> Result<Bytes, StorageError> {
    let failed = |error| StorageError::io("read", name, error);
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StorageError::Missing {
                file: name.into(),
                len_bytes: 0,
            });
        }
        other => other.map_err(failed)?,
    };
    let len = file.len().map_err(failed)?;
    let invalid = || StorageError::damaged(name, 0, FormatError::Invalid("the length of a file"));
    let len = usize::try_from(len.min(len_bytes_max + 1)).map_err(|_| invalid())?;
    if u64::try_from(len).is_ok_and(|len| len > len_bytes_max) {
        return Err(invalid());
    }
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    bytes.truncate(read);
    Ok(bytes.into())
}

/// Makes an empty file, in place of a draft of that name.
pub(super) fn create_new(disk: &dyn Disk, name: &str) -> Result<Arc<dyn DiskFile>, StorageError> {
    let failed = |error| StorageError::io("write", name, error);
    match disk.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(name).map_err(failed)?;
            disk.create(name).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

/// Writes and syncs a file, in place of a draft of that name. The directory is the caller's to
/// sync.
pub(super) fn write_new(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let failed = |error| StorageError::io("write", name, error);
    let file = create_new(disk, name)?;
    file.write_all_at(0, bytes).map_err(failed)?;
    file.sync_data()
        .map_err(|error| StorageError::io("sync", name, error))
}
