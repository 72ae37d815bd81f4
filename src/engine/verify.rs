//! Verification: of a store that nobody has open, and of one that is at work.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{OpenError, Store};
use crate::disk::{Disk, OsDisk};
use crate::format::names::FileName;
use crate::log::{Log, LogOpenError, LogVerification, StorageError, VerifyProgress};

/// Reads and checks the whole log of the store in a directory, and changes nothing.
///
/// # Errors
/// [`OpenError`], where there is no store, it is in use, or not enough is left to look at. What is
/// damaged is in the answer.
pub fn verify(
    path: impl AsRef<Path>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<LogVerification, OpenError> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let of_log = |error| OpenError::of_log(&name, error);
    let disk = OsDisk::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => of_log(LogOpenError::NotFound),
        _ => StorageError::io("open", &name, error).into(),
    })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let files = disk
        .list()
        .map_err(|error| StorageError::io("list", &name, error))?;
    let store = FileName::Store.to_string();
    if !files.iter().any(|(file, _)| *file == store) {
        return Err(of_log(LogOpenError::NotFound));
    }
    let lock = FileName::Lock.to_string();
    let _lock = disk.lock(&lock).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => of_log(LogOpenError::Locked),
        _ => StorageError::io("lock", &lock, error).into(),
    })?;
    Log::inspect(&disk, progress).map_err(of_log)
}

impl Store {
    /// Reads and checks everything that is durable now, while the store goes on.
    ///
    /// # Errors
    /// Only what prevents looking at all; what is damaged is in the answer.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<LogVerification, StorageError> {
        self.0.shared.log.verify(progress)
    }
}
