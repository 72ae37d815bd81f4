//! Where the events of a sealed segment are whose footer does not say it, in a log that is only
//! read: its units say it.

use std::sync::Arc;

use super::known::Known;
use super::{Segment, Surveyor, show_one};
use crate::disk::DiskFile;
use crate::format::footer::Mark;
use crate::format::manifest::SealedSegment;
use crate::format::rewrite::RemovedKeys;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::Place;
use crate::log::error::StorageError;
use crate::log::facts::Facts;
use crate::log::recovery::{RecoveryReport, Survey};
use crate::log::sealed::read_removed_keys;
use crate::log::shared::Shared;
use crate::log::walk::Expected;

/// A sealed segment without a whole footer.
#[derive(Debug)]
pub(in crate::log) struct Rescued {
    pub(in crate::log) entry: SealedSegment,
    pub(in crate::log) name: Arc<str>,
    pub(in crate::log) file: Arc<dyn DiskFile>,
    /// What its units say.
    pub(in crate::log) facts: Facts,
}

impl Rescued {
    /// The keys of its removed events; none if it was never written again.
    pub(in crate::log) fn read_removed_keys(&self) -> Result<RemovedKeys, StorageError> {
        let at = self.entry.units_end();
        read_removed_keys((&*self.file, &self.name), at, self.entry.rewrite)
    }
}

impl Shared {
    /// Finds out where the events of a sealed segment are whose footer does not say it, in a log
    /// that is only read; none if there is no file to find it out from.
    pub(in crate::log) fn rescue(
        &self,
        entry: &SealedSegment,
    ) -> Result<Option<Arc<Rescued>>, StorageError> {
        let manifest = self.manifest.current();
        let known = Known {
            identity: self.identity,
            manifest: (*manifest).clone(),
            manifest_damage: None,
            floor: None,
        };
        let segment = Segment::sealed(&*self.disk, entry);
        if segment.spare.is_err() {
            return Ok(None);
        }
        let before = manifest.sealed.iter().rev().find(|one| one.id < entry.id);
        let start = Expected {
            place: Place {
                segment: entry.id,
                offset: HEADER_LEN_BYTES,
            },
            position: entry.first_position,
            mark: before.map_or(Mark::START, |before| before.mark),
        };
        let mut surveyor = Surveyor {
            disk: &*self.disk,
            survey: Survey::new(known.identity, manifest, RecoveryReport::default()),
            facts: None,
        };
        show_one(&segment, &known, start, entry.end_position(), &mut surveyor)?;
        let found = surveyor.survey.walked.pop().map(|walked| {
            Arc::new(Rescued {
                entry: entry.clone(),
                name: walked.spare.name,
                file: walked.spare.file,
                facts: walked.facts,
            })
        });
        let mut rescued = self.rescued.lock();
        rescued.extend(found.iter().map(|found| (entry.id, Arc::clone(found))));
        Ok(found)
    }
}
