//! The manifest in force, and how the next one takes its place: written under another name, synced,
//! renamed, and the directory synced. The generation before it is kept.

use std::sync::Arc;

use crate::disk::Disk;
use crate::format::FormatError;
use crate::format::manifest::{LEN_BYTES_MAX, ManifestData};
use crate::format::names::FileName;
use crate::log::error::StorageError;
use crate::log::file::{read_file, write_new};
use crate::sync::{Mutex, RwLock};

/// The manifest of an open store.
#[derive(Debug)]
pub(crate) struct Manifest {
    disk: Arc<dyn Disk>,
    current: RwLock<Arc<ManifestData>>,
    updating: Mutex<Updating>,
}

#[derive(Debug, Default)]
struct Updating {
    /// The generation before the current one, whose files are kept.
    before: Option<Arc<ManifestData>>,
    failed: Option<Arc<StorageError>>,
}

impl Manifest {
    /// The manifest that is in force. What older ones name is removed by whoever opens the store.
    pub(super) fn new(disk: Arc<dyn Disk>, current: Arc<ManifestData>) -> Self {
        Self {
            disk,
            current: RwLock::new(current),
            updating: Mutex::new(Updating::default()),
        }
    }

    /// What the manifest says.
    pub(crate) fn current(&self) -> Arc<ManifestData> {
        Arc::clone(&self.current.read())
    }

    /// Changes the manifest; durable when this returns. Tables and checkpoints that neither the new
    /// manifest nor the one before it names are removed.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it could not be written. Where that leaves open which manifest is in
    /// force, every later call is [`StorageError::Poisoned`].
    pub(crate) fn update(
        &self,
        change: impl FnOnce(&mut ManifestData),
    ) -> Result<(), StorageError> {
        let mut updating = self.updating.lock();
        if let Some(cause) = &updating.failed {
            return Err(StorageError::Poisoned(Arc::clone(cause)));
        }
        let current = self.current();
        let mut next = ManifestData::clone(&current);
        change(&mut next);
        next.generation = current.generation + 1;
        // Until the draft is given its name, the present manifest stays in force.
        write_draft(&*self.disk, &next)?;
        if let Err(error) = name_draft(&*self.disk, &next) {
            updating.failed = Some(Arc::new(error.clone()));
            return Err(error);
        }
        let next = Arc::new(next);
        *self.current.write() = Arc::clone(&next);
        let oldest = updating.before.replace(Arc::clone(&current));
        if let Some(oldest) = oldest {
            self.drop_generation(&oldest, [&current, &next]);
        }
        Ok(())
    }

    /// The failure after which nothing can be changed any more, if there was one.
    pub(crate) fn failure(&self) -> Option<StorageError> {
        let failed = self.updating.lock().failed.clone();
        failed.map(StorageError::Poisoned)
    }

    /// Segments are given up only where a rewritten one takes their place: that is done by whoever
    /// rewrites them. What cannot be removed stays, in nobody's way; opening the store says so.
    fn drop_generation(&self, oldest: &ManifestData, kept: [&ManifestData; 2]) {
        let derived = |name: &FileName| {
            let derived = matches!(
                name,
                FileName::Table(_) | FileName::Checkpoint { .. } | FileName::State(_)
            );
            derived
                && !kept
                    .iter()
                    .any(|kept| kept.files().any(|file| file == *name))
        };
        let manifest = FileName::Manifest(oldest.generation);
        for name in oldest.files().filter(derived).chain([manifest]) {
            let _stays = self.disk.remove(&name.to_string());
        }
    }
}

/// Writes a manifest and makes it the newest.
pub(super) fn write_manifest(disk: &dyn Disk, data: &ManifestData) -> Result<(), StorageError> {
    write_draft(disk, data)?;
    name_draft(disk, data)
}

fn write_draft(disk: &dyn Disk, data: &ManifestData) -> Result<(), StorageError> {
    write_new(disk, &FileName::ManifestDraft.to_string(), &data.encode())
}

fn name_draft(disk: &dyn Disk, data: &ManifestData) -> Result<(), StorageError> {
    let draft = FileName::ManifestDraft.to_string();
    let name = FileName::Manifest(data.generation).to_string();
    disk.rename(&draft, &name)
        .map_err(|error| StorageError::io("rename", &name, error))?;
    disk.sync_directory()
        .map_err(|error| StorageError::io("sync the directory of", &name, error))
}

/// Reads the manifest of a generation.
pub(super) fn read_manifest(
    disk: &dyn Disk,
    generation: u64,
) -> Result<ManifestData, StorageError> {
    let name = FileName::Manifest(generation).to_string();
    let bytes = read_file(disk, &name, LEN_BYTES_MAX)?;
    let damaged = |error| StorageError::damaged(&name, 0, error);
    let manifest = ManifestData::decode(&bytes).map_err(damaged)?;
    match manifest.generation == generation {
        true => Ok(manifest),
        false => Err(damaged(FormatError::Invalid(
            "the generation of a manifest",
        ))),
    }
}
