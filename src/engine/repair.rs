//! Repairing a damaged store: what is sound is kept, and what is not is taken out, with the consent
//! of whoever keeps the store.
//!
//! A store whose acknowledged bytes are damaged does not open for writing, and nothing of Annal
//! changes that by itself. The better way back is a backup. Where there is none,
//! [`examine`] says what a repair would lose, and [`repair_with_loss`] does it:
//!
//! * every event that is whole stays, under its position and revision;
//! * a lost event leaves a hole, as an event does that was scavenged: reads and subscriptions pass
//!   over it, and its position is never given out again;
//! * of each damaged file the only copy is kept, under the name `damaged-<when>-<file>`, beside
//!   `damaged-<when>-report.txt` and the same in `.json`;
//! * the index is made again from what is left: lists count without the lost events, and where a
//!   stream lost its last events, its revisions go on behind the last one that is left;
//! * if an event was lost, the store has another lineage, so that tokens from before are refused.
//!
//! `log/salvage/mend.rs` says how it is done, and what holds when it is cut short. To read a
//! damaged store without changing it, open it with `StoreOptions::read_only`.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::verify::{name_streams, verify_on};
use super::{Background, OpenError, Store, StoreOptions};
use crate::disk::{Disk, Host, OsDisk, OsHost};
use crate::format::names::FileName;
use crate::log::{Examined, LogOpenError, LogVerification, LostRange, Mended, StorageError, mend};
use crate::model::{Lineage, Position, Timestamp};

/// What a repair did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The acknowledged events that are lost, in order.
    pub lost: Vec<LostRange>,
    /// The position behind the last event.
    pub end: Position,
    /// Damaged stretches that may have held state records: those are as they were before.
    pub unknown_states: u64,
    /// The names of files that were put aside.
    pub kept_files: Vec<String>,
    /// The report in words; the same in JSON is beside it.
    pub report_file: String,
    /// The lineage before and after, if it is another one now.
    pub lineage: Option<(Lineage, Lineage)>,
}

impl Repair {
    /// How many events are lost.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        crate::log::lost_events(&self.lost)
    }
}

/// In words, what was lost and what follows from it.
impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The store was repaired. It ends at position {}; {} acknowledged events are lost.",
            self.end,
            self.lost_events()
        )?;
        for lost in &self.lost {
            write!(f, "\n{lost}")?;
        }
        if self.unknown_states > 0 {
            write!(
                f,
                "\nUsers, consumer groups and other state that {} damaged stretches may have \
                 changed are as they were before.",
                self.unknown_states
            )?;
        }
        if self.lineage.is_some() {
            write!(
                f,
                "\nThe store has another lineage now: tokens from before the repair are refused."
            )?;
        }
        for file in &self.kept_files {
            write!(f, "\nThe damaged file is kept as {file}.")?;
        }
        write!(f, "\nAll of this is kept in {}.", self.report_file)
    }
}

/// Says what a repair of the store in a directory would lose, and changes nothing. A store that is
/// whole, or whose derived files alone are damaged, needs none.
///
/// # Errors
/// [`OpenError`], where there is no store, it is in use, or its identity is lost: then nothing can
/// be told from anything.
pub fn examine(path: impl AsRef<Path>) -> Result<LogVerification, OpenError> {
    super::verify(path, &mut |_| {})
}

/// Whether there is something that only a repair can put right.
#[must_use]
pub fn is_needed(found: &LogVerification) -> bool {
    found.refused.is_some() || !found.lost.is_empty() || {
        let segments = found.files.iter();
        let mut segments = segments.filter(|file| file.role == crate::log::FileRole::Segment);
        segments.any(|file| file.damage.is_some())
    }
}

/// Repairs the store in a directory. To call it is to consent to the loss of what [`examine`] says.
/// None if there is nothing to repair.
///
/// # Errors
/// [`OpenError`]. The store is as it was then, or the next call goes on.
pub fn repair_with_loss(path: impl AsRef<Path>) -> Result<Option<Repair>, OpenError> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let disk = OsDisk::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => OpenError::NotFound(name.as_str().into()),
        _ => StorageError::io("open", &name, error).into(),
    })?;
    repair_in(&name, Arc::new(disk), Arc::new(OsHost))
}

/// The same for a store on a disk and a host of the caller's own.
///
/// # Errors
/// As [`repair_with_loss`].
pub fn repair_with_loss_on(
    disk: Arc<dyn Disk>,
    host: Arc<dyn Host>,
) -> Result<Option<Repair>, OpenError> {
    repair_in("the directory", disk, host)
}

fn repair_in(
    name: &str,
    disk: Arc<dyn Disk>,
    host: Arc<dyn Host>,
) -> Result<Option<Repair>, OpenError> {
    let of_log = |error| OpenError::of_log(name, error);
    if !is_needed(&verify_on(Arc::clone(&disk), &mut |_| {})?) {
        return Ok(None);
    }
    let lock = FileName::Lock.to_string();
    let locked = disk.lock(&lock).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => of_log(LogOpenError::Locked),
        _ => StorageError::io("lock", &lock, error).into(),
    })?;
    let now = Timestamp::from_micros(host.now_us()).to_string();
    let to_seconds = now.split(['.', 'Z']).next().unwrap_or_default();
    let digits = to_seconds.chars().filter(char::is_ascii_alphanumeric);
    let stamp: String = digits.chain(['Z']).collect();
    let mended = mend(&*disk, &*host, &stamp, &mut |examined| {
        reports(&*disk, &stamp, examined)
    });
    let mended = mended.map_err(of_log)?;
    drop(locked);
    // The index is made again, and the store shows that it opens.
    let options = StoreOptions {
        create: false,
        background: Background::Manual,
        ..StoreOptions::default()
    };
    let store = Store::open_on(Arc::clone(&disk), host, options)?;
    store.maintain()?;
    store.close()?;
    let Mended {
        examined,
        kept,
        lineage,
    } = mended;
    Ok(Some(Repair {
        lost: examined.lost,
        end: examined.end,
        unknown_states: examined.unknown_states,
        kept_files: kept,
        report_file: format!("damaged-{stamp}-report.txt"),
        lineage,
    }))
}

/// The report, in words and as JSON.
fn reports(disk: &dyn Disk, stamp: &str, examined: &mut Examined) -> Vec<(String, Vec<u8>)> {
    name_streams(disk, &examined.tables, &mut examined.lost);
    let lost_events = crate::log::lost_events(&examined.lost);
    let damaged = || {
        let files = examined.files.iter();
        let files = files.filter_map(|file| file.damage.as_ref());
        files.chain(&examined.damage).map(ToString::to_string)
    };
    let mut text = format!(
        "Repair of {stamp}: {lost_events} acknowledged events are lost of {}.\n\nDamaged:\n",
        examined.end
    );
    for damage in damaged() {
        text.push_str(&format!("  {damage}\n"));
    }
    text.push_str("\nLost:\n");
    for lost in &examined.lost {
        text.push_str(&format!("  {lost}\n"));
    }
    text.push_str(&format!(
        "\nDamaged stretches that may have changed state (users, consumer groups): {}. It is as it \
         was before.\n\nThe damaged files lie beside this one, under names that \
         begin with damaged-{stamp}-. Keep them until nobody misses what they held.\n",
        examined.unknown_states
    ));
    let lost = examined.lost.iter().map(|lost| {
        json!({
            "first_position": lost.first.0,
            "end_position": lost.end.0,
            "damage": lost.damage.to_string(),
            "streams": lost.streams,
        })
    });
    let report = json!({
        "time": stamp,
        "lost_events": lost_events,
        "end_position": examined.end.0,
        "lost": lost.collect::<Vec<_>>(),
        "damaged": damaged().collect::<Vec<_>>(),
        "unknown_states": examined.unknown_states,
    });
    vec![
        ("report.txt".to_owned(), text.into_bytes()),
        (
            "report.json".to_owned(),
            format!("{report:#}\n").into_bytes(),
        ),
    ]
}
