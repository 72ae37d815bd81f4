//! Opening a log: making one, or acting on what the survey found. Every step can be cut short and
//! done again: until the new manifest is in force nothing is changed but bytes that were never
//! acknowledged, and those are copied away first.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, Host};
use crate::format::checksum::Salt;
use crate::format::floor::{FILE_LEN_BYTES, Floor};
use crate::format::manifest::ManifestData;
use crate::format::names::FileName;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::store::{self, Identity, UNIT_ALIGN_MAX, UNIT_ALIGN_MIN};
use crate::format::unit::Place;
use crate::log::cache::Cache;
use crate::log::error::{LogOpenError, StorageError};
use crate::log::file::{read_file, write_new};
use crate::log::manifest::{Manifest, write_manifest};
use crate::log::recovery::{Survey, Torn, TornTail, survey};
use crate::log::salvage;
use crate::log::sealed::{SealedFiles, read_exact};
use crate::log::segment::{CAPACITY_MIN, Spare, create_segment, is_untouched};
use crate::log::shared::{FloorFile, Shared};
use crate::log::state::{Live, Recent, State};
use crate::log::state_file::StateFile;
use crate::log::states::States;
use crate::log::writer::ZERO_STEP_BYTES;
use crate::log::{Log, LogOptions, LogWriter, Opened};
use crate::model::{Lineage, Position, StoreId};
use crate::sync::atomic::AtomicU64;
use crate::sync::{Mutex, RwLock};

/// The largest segment, in bytes: offsets have 32 bits, and a unit and a footer must fit behind.
const SEGMENT_SIZE_MAX: u32 = 1 << 31;
const SEGMENT_SIZE_MIN: u32 = 64 * 1024;
const FIRST_SEGMENT: u32 = 0;

/// See [`Log::open`].
pub(super) fn open(
    disk: Arc<dyn Disk>,
    host: Arc<dyn Host>,
    options: LogOptions,
    create: bool,
) -> Result<Opened, LogOpenError> {
    let options = LogOptions {
        segment_size_bytes: (options.segment_size_bytes).clamp(SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX),
        ..options
    };
    let store = FileName::Store.to_string();
    let has_store = |files: &[(String, u64)]| files.iter().any(|(name, _)| *name == store);
    if !create && !has_store(&list(&*disk)?) {
        return Err(LogOpenError::NotFound);
    }
    let lock_name = FileName::Lock.to_string();
    let lock = match disk.lock(&lock_name) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(LogOpenError::Locked);
        }
        other => other.map_err(|error| StorageError::io("lock", &lock_name, error))?,
    };
    let mut files = list(&*disk)?;
    let created = !has_store(&files);
    if created {
        create_store(&*disk, &*host, &options, &files)?;
        files = list(&*disk)?;
    }
    let mut survey = match survey(&*disk, &files, true) {
        Err(LogOpenError::Damaged(refused) | LogOpenError::Storage(refused))
            if options.read_only && refused.is_damage() =>
        {
            salvage::survey(&*disk, &files)?
        }
        other => other?,
    };
    survey.report.created = created;
    repair(&*disk, &mut survey, &files)?;
    let manifest = Manifest::new(Arc::clone(&disk), Arc::clone(&survey.manifest));
    // From here on a unit of the last writer cannot be taken for one of this writer.
    manifest.update(|manifest| manifest.epoch += 1)?;
    survey.report.unknown_files = tidy(&*disk, &manifest, &files);
    let shared = share(disk, host, options, survey, manifest, lock)?;
    Ok(shared)
}

fn list(disk: &dyn Disk) -> Result<Vec<(String, u64)>, StorageError> {
    let files = disk.list();
    files.map_err(|error| StorageError::io("list", "the data directory", error))
}

/// Makes a store. The file `store` gets its name last: before it has it, nobody has written an
/// event. Under the name of a draft it comes first, and so tells what else is one.
fn create_store(
    disk: &dyn Disk,
    host: &dyn Host,
    options: &LogOptions,
    files: &[(String, u64)],
) -> Result<(), LogOpenError> {
    clear_draft(disk, files)?;
    let random = || host.random_uuid().into_bytes();
    let identity = Identity {
        store: StoreId(host.random_uuid()),
        lineage: Lineage(host.random_uuid()),
        record_salt: Salt::new(random()),
        unit_salt: Salt::new(random()),
        unit_align: (options.unit_align.max(UNIT_ALIGN_MIN).next_power_of_two())
            .min(UNIT_ALIGN_MAX),
        created_us: host.now_us(),
    };
    let (draft, store) = (
        FileName::StoreDraft.to_string(),
        FileName::Store.to_string(),
    );
    write_new(disk, &draft, &identity.encode())?;
    disk.sync_directory()
        .map_err(|error| StorageError::io("sync the directory of", &draft, error))?;
    let capacity = CAPACITY_MIN.min(options.segment_size_bytes);
    let mut segment = create_segment(disk, &identity, FIRST_SEGMENT, capacity)?;
    if options.zero_fill {
        let filled = segment.fill((capacity - HEADER_LEN_BYTES).min(ZERO_STEP_BYTES));
        filled.map_err(|error| StorageError::io("fill", &segment.name, error))?;
    }
    let place = Place {
        segment: segment.id,
        offset: HEADER_LEN_BYTES,
    };
    write_new(disk, &FileName::Floor.to_string(), &first_floor(place))?;
    let manifest = ManifestData {
        generation: 1,
        next_segment: segment.id + 1,
        unsealed: vec![segment.id],
        ..ManifestData::default()
    };
    write_manifest(disk, &manifest)?;
    disk.rename(&draft, &store)
        .and_then(|()| disk.sync_directory())
        .map_err(|error| StorageError::io("rename", &store, error))?;
    Ok(())
}

fn first_floor(end: Place) -> Vec<u8> {
    let floor = Floor {
        number: 0,
        generation: 1,
        position: Position::START,
        end,
        epoch: 0,
        clean: false,
    };
    let (_, mut file) = floor.encode();
    file.resize(FILE_LEN_BYTES, 0);
    file
}

/// Removes what a creation that was cut short left behind. Anything else means that `store` was
/// lost, and nothing is touched. Where a whole draft of `store` tells that a creation went on, the
/// segment may hold whatever the disk left in the blocks that it was writing.
fn clear_draft(disk: &dyn Disk, files: &[(String, u64)]) -> Result<(), LogOpenError> {
    let store_draft = FileName::StoreDraft.to_string();
    let has_draft = files.iter().any(|(name, _)| *name == store_draft);
    let is_creation = has_draft && {
        let len = u64::try_from(store::FILE_LEN_BYTES).unwrap_or(0);
        let draft = read_file(disk, &store_draft, len)?;
        Identity::decode(&draft).is_ok()
    };
    let lost = || {
        LogOpenError::from(StorageError::Missing {
            file: FileName::Store.to_string().into(),
            len_bytes: 0,
        })
    };
    let mut drafts = Vec::new();
    for (name, _) in files {
        match FileName::parse(name) {
            Some(FileName::Segment(FIRST_SEGMENT)) if is_creation || is_untouched(disk, name)? => {}
            Some(FileName::Manifest(1) | FileName::ManifestDraft | FileName::Floor) => {}
            Some(FileName::StoreDraft | FileName::Lock) | None => continue,
            Some(_) => return Err(lost()),
        }
        drafts.push(name);
    }
    for name in drafts {
        let removed = disk.remove(name);
        removed.map_err(|error| StorageError::io("remove", name, error))?;
    }
    // The draft of `store`, which the next one replaces, is needed until all of that is gone.
    disk.sync_directory()
        .map_err(|error| StorageError::io("sync", "the data directory", error))?;
    Ok(())
}

/// Makes sure that what was found is durable, and takes out what was never acknowledged.
fn repair(
    disk: &dyn Disk,
    survey: &mut Survey,
    files: &[(String, u64)],
) -> Result<(), LogOpenError> {
    for torn in &survey.torn {
        let spare = torn_file(survey, torn);
        let len = usize::try_from(torn.len).unwrap_or(usize::MAX);
        let bytes = read_exact(&*spare.file, &spare.name, torn.offset.into(), len)?;
        let taken = |name: &String| files.iter().any(|(file, _)| file == name);
        let quarantine = (0..=u16::MAX)
            .map(|number| {
                let (segment, offset) = (spare.id, torn.offset);
                let name = FileName::Quarantine {
                    segment,
                    offset,
                    number,
                };
                name.to_string()
            })
            .find(|name| !taken(name));
        let quarantine = quarantine.ok_or_else(|| {
            let error = io::Error::other("every name for a quarantine file is taken");
            StorageError::io("create", "quarantine", error)
        })?;
        write_new(disk, &quarantine, &bytes)?;
        let synced = disk.sync_directory();
        synced.map_err(|error| StorageError::io("sync the directory of", &quarantine, error))?;
        survey.report.torn.push(TornTail {
            file: spare.name.to_string(),
            offset: torn.offset,
            len_bytes: torn.len,
            quarantine,
        });
    }
    for torn in &survey.torn {
        let spare = torn_file(survey, torn);
        let zeros = vec![0; usize::try_from(torn.len).unwrap_or(usize::MAX)];
        let written = spare.file.write_all_at(torn.offset.into(), &zeros);
        written
            .and_then(|()| spare.file.sync_data())
            .map_err(|error| StorageError::io("clear", &spare.name, error))?;
    }
    promise_last_unit(survey)
}

/// Nobody saw the sync of the last unit succeed: the disk gave its bytes, now it promises them.
fn promise_last_unit(survey: &Survey) -> Result<(), LogOpenError> {
    let Some(last) = survey.unwitnessed else {
        return Ok(());
    };
    let Some(walked) = survey.walked.get(last.segment) else {
        return Ok(());
    };
    let spare = &walked.spare;
    // They are the same bytes in the same place, so a crash in between cannot hurt them: unless the
    // disk loses whole blocks that it is writing, for which units are aligned to its blocks. There
    // nothing is written that may be durable already; the system's memory was emptied before the
    // unit was read, so that a sync that failed in the past does not show here.
    if survey.identity.unit_align == UNIT_ALIGN_MIN {
        let len = usize::try_from(last.len).unwrap_or(usize::MAX);
        let bytes = read_exact(&*spare.file, &spare.name, last.offset.into(), len)?;
        let written = spare.file.write_all_at(last.offset.into(), &bytes);
        written.map_err(|error| StorageError::io("write again", &spare.name, error))?;
    }
    let synced = spare.file.sync_data();
    synced.map_err(|error| StorageError::io("sync", &spare.name, error))?;
    Ok(())
}

fn torn_file<'a>(survey: &'a Survey, torn: &Torn) -> &'a Spare {
    let walked = survey.walked.get(torn.segment).map(|walked| &walked.spare);
    let found = walked.or(survey.spare.as_ref());
    found.expect("torn bytes are in a segment that was looked at")
}

/// Removes derived files that nothing names, and says which other files nothing names.
fn tidy(disk: &dyn Disk, manifest: &Manifest, files: &[(String, u64)]) -> Vec<String> {
    // The generation before, which is kept, names the same files.
    let current = manifest.current();
    let named: Vec<FileName> = current.files().collect();
    let mut unknown = Vec::new();
    for (name, _) in files {
        match FileName::parse(name) {
            Some(parsed) if named.contains(&parsed) => {}
            // Of the rewritten ones, those that were written once more or not to their end.
            Some(
                FileName::Table(_)
                | FileName::Checkpoint { .. }
                | FileName::State(_)
                | FileName::ManifestDraft
                | FileName::Rewritten { .. },
            ) => {
                let _stays = disk.remove(name);
            }
            Some(FileName::Segment(id)) if current.sealed.iter().any(|one| one.id == id) => {
                let _stays = disk.remove(name);
            }
            Some(FileName::Manifest(generation)) if generation + 1 < current.generation => {
                let _stays = disk.remove(name);
            }
            Some(FileName::Segment(_) | FileName::Quarantine { .. }) | None => {
                unknown.push(name.clone());
            }
            Some(_) => {}
        }
    }
    unknown
}

fn share(
    disk: Arc<dyn Disk>,
    host: Arc<dyn Host>,
    options: LogOptions,
    survey: Survey,
    manifest: Manifest,
    lock: Box<dyn std::fmt::Debug + Send + Sync>,
) -> Result<Opened, LogOpenError> {
    let name = FileName::Floor.to_string();
    let floor = match disk.open(&name) {
        Err(error) if options.read_only && error.kind() == io::ErrorKind::NotFound => {
            disk.create(&name)
        }
        other => other,
    };
    let floor = FloorFile {
        file: floor.map_err(|error| StorageError::io("open", &name, error))?,
        number: survey.floor.map_or(0, |floor| floor.number),
        written: None,
        failed: None,
    };
    let zeroed = survey.walked.last().map_or(0, |walked| walked.spare.zeroed);
    let live = survey.walked.into_iter().map(|walked| Live {
        facts: walked.facts,
        file: walked.spare.file,
        name: walked.spare.name,
        capacity: walked.spare.capacity,
    });
    let state = State {
        live: live.collect(),
        recent: Recent::new(options.recent_bytes),
        touched_us: host.now_us(),
        idle: survey.idle,
    };
    let named = manifest.current().state.map(|state| (state.number, 0));
    let state_file = StateFile {
        written: named.filter(|_| survey.known_requests.is_some()),
        found: survey.known_requests,
    };
    let epoch = manifest.current().epoch;
    let shared = Arc::new(Shared {
        disk,
        host,
        options,
        identity: survey.identity,
        manifest,
        state: RwLock::new(state),
        states: States::new(survey.states),
        state_file: Mutex::new(state_file),
        unsaved_bytes: AtomicU64::new(survey.report.walked_bytes),
        blocks: Cache::new(options.read_cache_bytes),
        sealed: SealedFiles::new(options.open_files_max, options.read_cache_bytes),
        rescued: Mutex::default(),
        removed_keys: Mutex::new(None),
        spare: Mutex::new(survey.spare),
        sealing: Mutex::new(()),
        floor: Mutex::new(floor),
        start: survey.start,
        lost: Mutex::new(survey.report.lost.clone()),
        _lock: lock,
    });
    Ok(Opened {
        writer: LogWriter::new(Arc::clone(&shared), zeroed, epoch),
        log: Log { shared },
        report: survey.report,
    })
}
