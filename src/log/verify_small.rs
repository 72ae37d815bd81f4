//! Verification of the files that are no segments. All but the identity and the manifest are made
//! again by the store when they are lost; and those two are there twice.

use crate::disk::Disk;
use crate::format::FormatError;
use crate::format::floor::{FILE_LEN_BYTES, Floor};
use crate::format::manifest::{CheckpointEntry, LEN_BYTES_MAX, ManifestData, TableEntry};
use crate::format::names::FileName;
use crate::format::store::{self, Identity};
use crate::log::error::StorageError;
use crate::log::facts::Facts;
use crate::log::file::read_file;
use crate::log::manifest::read_manifest;
use crate::log::recovery::{newest_generation, read_state_file};
use crate::log::seal::digest_of;
use crate::log::verify::{FileFinding, FileRole, LogVerification};
use crate::model::Position;

/// The beginning of what a repair puts aside.
const ASIDE: &str = "damaged-";

/// Checks all files beside the segments, and says which others there are.
pub(super) fn verify(
    disk: &dyn Disk,
    files: &[(String, u64)],
    found: &mut LogVerification,
) -> Result<(), StorageError> {
    let mut checked = Vec::new();
    let store = FileName::Store.to_string();
    let len = u64::try_from(store::FILE_LEN_BYTES).unwrap_or(0);
    checked.push(about(FileRole::Identity, &store, copies(disk, &store, len)));
    let newest = newest_generation(files);
    let manifest = newest.and_then(|generation| {
        let name = FileName::Manifest(generation).to_string();
        let read = read_manifest(disk, generation);
        let whole = read.as_ref().map(drop).map_err(Clone::clone);
        let whole = whole.and_then(|()| copies(disk, &name, LEN_BYTES_MAX));
        checked.push(about(FileRole::Manifest, &name, whole));
        read.ok()
    });
    let floor = FileName::Floor.to_string();
    let whole = read_file(disk, &floor, u64::try_from(FILE_LEN_BYTES).unwrap_or(0));
    let whole = whole.and_then(|bytes| damaged(&floor, Floor::decode(&bytes).map(drop)));
    checked.push(about(FileRole::Floor, &floor, whole));
    if let Some(manifest) = &manifest {
        derived(disk, manifest, found, &mut checked)?;
        found.tables.clone_from(&manifest.tables);
    }
    found.files.extend(checked);
    let before = newest.and_then(|newest| read_manifest(disk, newest.checked_sub(1)?).ok());
    let manifests = manifest.iter().chain(&before);
    let named: Vec<FileName> = manifests.flat_map(ManifestData::files).collect();
    for (name, _) in files {
        match FileName::parse(name) {
            Some(FileName::Quarantine { .. }) => found.kept_files.push(name.clone()),
            None if name.starts_with(ASIDE) => found.kept_files.push(name.clone()),
            None => found.unknown_files.push(name.clone()),
            Some(FileName::Segment(id)) if !named.contains(&FileName::Segment(id)) => {
                found.unknown_files.push(name.clone());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The files that are made again from the log.
fn derived(
    disk: &dyn Disk,
    manifest: &ManifestData,
    found: &mut LogVerification,
    checked: &mut Vec<FileFinding>,
) -> Result<(), StorageError> {
    if let Some(entry) = &manifest.checkpoint {
        let name = entry.file_name().to_string();
        let whole = checkpoint(disk, &name, entry);
        checked.push(about(FileRole::Checkpoint, &name, whole));
        found.checked_bytes += u64::from(entry.len_bytes);
    }
    if let Some(entry) = &manifest.state
        && let Some(name) = entry.file_name()
    {
        let name = name.to_string();
        let whole = match read_state_file(disk, entry)? {
            Some(_) => Ok(()),
            None => damaged(&name, Err(FormatError::Checksum("a state file"))),
        };
        checked.push(about(FileRole::State, &name, whole));
        found.checked_bytes += entry.len_bytes;
    }
    for entry in &manifest.tables {
        let name = FileName::Table(entry.id).to_string();
        checked.push(FileFinding {
            first: entry.first,
            events: entry.end.0.saturating_sub(entry.first.0),
            ..about(FileRole::Table, &name, table(disk, &name, entry))
        });
        found.checked_bytes += entry.len_bytes;
    }
    Ok(())
}

fn about(role: FileRole, file: &str, whole: Result<(), StorageError>) -> FileFinding {
    FileFinding {
        file: file.to_owned(),
        role,
        first: Position::START,
        events: 0,
        damage: whole.err(),
    }
}

fn damaged(name: &str, checked: Result<(), FormatError>) -> Result<(), StorageError> {
    checked.map_err(|error| StorageError::damaged(name, 0, error))
}

/// A file that holds the same twice.
fn copies(disk: &dyn Disk, name: &str, len_bytes_max: u64) -> Result<(), StorageError> {
    let bytes = read_file(disk, name, len_bytes_max)?;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let error = FormatError::Invalid("one of the two copies in the file");
    damaged(name, if first == second { Ok(()) } else { Err(error) })
}

fn checkpoint(disk: &dyn Disk, name: &str, entry: &CheckpointEntry) -> Result<(), StorageError> {
    let store = FileName::Store.to_string();
    let len = u64::try_from(store::FILE_LEN_BYTES).unwrap_or(0);
    let identity = Identity::decode(&read_file(disk, &store, len)?);
    let identity = identity.map_err(|error| StorageError::damaged(&store, 0, error))?;
    let bytes = read_file(disk, name, entry.len_bytes.into())?;
    let facts = Facts::from_checkpoint(&bytes, identity.record_salt);
    damaged(name, facts.map(drop))
}

fn table(disk: &dyn Disk, name: &str, entry: &TableEntry) -> Result<(), StorageError> {
    let missing = || StorageError::Missing {
        file: name.into(),
        len_bytes: entry.len_bytes,
    };
    let file = disk.open_to_read(name).map_err(|_| missing())?;
    let len = file.len();
    if len.map_err(|error| StorageError::io("read", name, error))? != entry.len_bytes {
        return Err(missing());
    }
    let same = digest_of(&*file, name, entry.len_bytes)? == entry.digest;
    let error = FormatError::Invalid("the digest of a table's file");
    damaged(name, if same { Ok(()) } else { Err(error) })
}
