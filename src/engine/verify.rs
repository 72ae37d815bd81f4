//! Verification: of a store that nobody has open, and of one that is at work.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{OpenError, Store};
use crate::disk::{Disk, OsDisk, ReadOnlyDisk};
use crate::format::manifest::TableEntry;
use crate::format::names::FileName;
use crate::index::streams_between;
use crate::log::{Log, LogOpenError, LogVerification, LostRange, StorageError, VerifyProgress};

/// Reads and checks every file of the store in a directory, and changes nothing. A store that is
/// open for writing is left alone.
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
    verify_in(&name, Arc::new(disk), progress)
}

/// The same for a store on a disk of the caller's own.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(
    disk: Arc<dyn Disk>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<LogVerification, OpenError> {
    verify_in("the directory", disk, progress)
}

fn verify_in(
    name: &str,
    disk: Arc<dyn Disk>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<LogVerification, OpenError> {
    let of_log = |error| OpenError::of_log(name, error);
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::new(disk));
    let files = disk
        .list()
        .map_err(|error| StorageError::io("list", name, error))?;
    let store = FileName::Store.to_string();
    if !files.iter().any(|(file, _)| *file == store) {
        return Err(of_log(LogOpenError::NotFound));
    }
    let lock = FileName::Lock.to_string();
    let _lock = disk.lock(&lock).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => of_log(LogOpenError::Locked),
        _ => StorageError::io("lock", &lock, error).into(),
    })?;
    let mut found = Log::inspect(&disk, progress).map_err(of_log)?;
    name_streams(&*disk, &found.tables, &mut found.lost);
    Ok(found)
}

/// Adds what the index knows of lost events.
pub(super) fn name_streams(disk: &dyn Disk, tables: &[TableEntry], lost: &mut [LostRange]) {
    for lost in lost {
        let known = streams_between(disk, tables, lost.first, lost.end);
        lost.streams.extend(known);
        lost.streams.sort_unstable();
        lost.streams.dedup();
    }
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
