//! Which calls fail, how, and what is done of them all the same.

use std::fmt::{Debug, Formatter};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::memory::{MemoryDisk, Unsynced};

/// What is asked of a disk or a file: one for each method of the two traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "the methods of Disk and DiskFile say what each does"
)]
pub enum Operation {
    Create,
    Open,
    List,
    Rename,
    Remove,
    SyncDirectory,
    Map,
    Lock,
    FreeBytes,
    Len,
    Read,
    Write,
    Sync,
    SetLen,
    SetReadOnly,
    DropCache,
}

impl Operation {
    /// All that change something, or make a change durable: the moments at which a power cut makes
    /// a difference.
    pub const CHANGES: &'static [Self] = &[
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncDirectory,
        Self::Write,
        Self::Sync,
        Self::SetLen,
        Self::SetReadOnly,
    ];
}

/// One call, as faults and holds see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    /// Empty if the call names no file. A rename goes by the new name.
    pub(super) name: &'a str,
    pub(super) offset: u64,
    pub(super) len: usize,
}

impl<'a> Call<'a> {
    pub(super) const fn of(operation: Operation, name: &'a str) -> Self {
        Self {
            operation,
            name,
            offset: 0,
            len: 0,
        }
    }
}

/// How a call is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// A write writes so many of its bytes at most.
    pub(super) share: usize,
    /// Nothing is done at all, and nobody learns of it.
    pub(super) lies: bool,
    /// A read or write goes so many bytes further on.
    pub(super) shift: u64,
    /// A read finds this bit of what it reads, or of a repetition of it, flipped.
    pub(super) flip: Option<u64>,
}

impl Way {
    /// As it is asked for.
    pub(super) const HONEST: Self = Self {
        share: usize::MAX,
        lies: false,
        shift: 0,
        flip: None,
    };

    /// Flips what a read found.
    pub(super) fn spoil(self, found: &mut [u8]) {
        let bits = u64::try_from(found.len()).unwrap_or(0) * 8;
        let bit = self.flip.and_then(|bit| bit.checked_rem(bits));
        let Some(bit) = bit else { return };
        let at = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        if let Some(byte) = found.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

/// What becomes of the disk when a fault strikes a call to the file of this name.
type Consequence = Arc<dyn Fn(&str) + Send + Sync>;

/// A failure to come. Fails the first call that fits, once, with [`io::ErrorKind::Other`], and does
/// nothing of what was asked, unless told otherwise.
#[derive(Clone)]
pub struct Fault {
    operations: Vec<Operation>,
    name_prefix: String,
    /// The name ends where the prefix does.
    whole_name: bool,
    range: Option<Range<u64>>,
    passes: u64,
    forever: bool,
    spent: bool,
    error: io::ErrorKind,
    share: Option<usize>,
    /// The call succeeds, as far as anybody can tell.
    deceit: Option<Way>,
    consequence: Option<Consequence>,
}

impl Fault {
    /// Fails calls of one kind.
    #[must_use]
    pub fn at(operation: Operation) -> Self {
        Self::at_any(&[operation])
    }

    /// Fails calls of several kinds, counted together.
    #[must_use]
    pub fn at_any(operations: &[Operation]) -> Self {
        Self {
            operations: operations.to_vec(),
            name_prefix: String::new(),
            whole_name: false,
            range: None,
            passes: 0,
            forever: false,
            spent: false,
            error: io::ErrorKind::Other,
            share: None,
            deceit: None,
            consequence: None,
        }
    }

    /// Only for files whose name begins so; a rename goes by the new name, an open file by the name
    /// it was opened by.
    #[must_use]
    pub fn named(self, name_prefix: &str) -> Self {
        Self {
            name_prefix: name_prefix.to_owned(),
            whole_name: false,
            ..self
        }
    }

    /// Only for the file of this name, and none whose name goes on, as that of a segment does that
    /// was written again.
    #[must_use]
    pub fn of_file(self, name: &str) -> Self {
        Self {
            whole_name: true,
            ..self.named(name)
        }
    }

    /// Only reads and writes that touch one of these bytes: a bad sector.
    #[must_use]
    pub fn touching(self, range: Range<u64>) -> Self {
        Self {
            range: Some(range),
            ..self
        }
    }

    /// Lets so many calls that fit pass before.
    #[must_use]
    pub fn after(self, passes: u64) -> Self {
        Self { passes, ..self }
    }

    /// Fails all the calls that fit, not only one.
    #[must_use]
    pub fn forever(self) -> Self {
        Self {
            forever: true,
            ..self
        }
    }

    /// Fails with this kind of error.
    #[must_use]
    pub fn error(self, error: io::ErrorKind) -> Self {
        Self { error, ..self }
    }

    /// A write that fails has written so many of its bytes.
    #[must_use]
    pub fn landing(self, bytes: usize) -> Self {
        Self {
            share: Some(bytes),
            ..self
        }
    }

    /// What was asked for is done, and reported as a failure all the same.
    #[must_use]
    pub fn done(self) -> Self {
        self.landing(usize::MAX)
    }

    /// Reports success and does nothing of what was asked: a write that never reaches its place, a
    /// flush that the drive only says it has done. For calls that give nothing back: writes, syncs
    /// of files and of the directory, new lengths, the mark of a read-only file.
    #[must_use]
    pub fn lying(self) -> Self {
        self.deceiving(Way {
            lies: true,
            ..Way::HONEST
        })
    }

    /// Reports success, and a read or write goes to a place so many bytes further on.
    #[must_use]
    pub fn misplaced(self, by_bytes: u64) -> Self {
        self.deceiving(Way {
            shift: by_bytes,
            ..Way::HONEST
        })
    }

    /// Reports success, and a read or map finds one bit flipped: this one of its bytes, counted
    /// from the lowest bit of the first, and again from the start if there are less.
    #[must_use]
    pub fn flipping(self, bit: u64) -> Self {
        self.deceiving(Way {
            flip: Some(bit),
            ..Way::HONEST
        })
    }

    fn deceiving(self, way: Way) -> Self {
        Self {
            deceit: Some(way),
            ..self
        }
    }

    /// The file's unsynced bytes are forgotten, as after a failed write-back: see
    /// [`MemoryDisk::lose_unsynced`].
    #[must_use]
    pub fn losing_unsynced(self, disk: &MemoryDisk) -> Self {
        let disk = disk.clone();
        self.then(move |name| drop(disk.lose_unsynced(name)))
    }

    /// The power goes at this call: [`MemoryDisk::power_cut`] then says what is left. The call
    /// itself came too late; with [`Self::done`] it came just in time, but nobody learned of it.
    #[must_use]
    pub fn cutting_power(self, disk: &MemoryDisk) -> Self {
        let disk = disk.clone();
        self.then(move |_| drop(disk.power_cut(Unsynced::Lost)))
    }

    fn then(self, consequence: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            consequence: Some(Arc::new(consequence)),
            ..self
        }
    }

    /// Whether it strikes this call.
    pub(super) fn strikes(&mut self, call: &Call<'_>) -> bool {
        if self.spent || !self.fits(call) {
            return false;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return false;
        }
        self.spent = !self.forever;
        true
    }

    fn fits(&self, call: &Call<'_>) -> bool {
        let end = call
            .offset
            .saturating_add(u64::try_from(call.len).unwrap_or(u64::MAX));
        self.operations.contains(&call.operation)
            && match self.whole_name {
                true => call.name == self.name_prefix,
                false => call.name.starts_with(&self.name_prefix),
            }
            && self
                .range
                .as_ref()
                .is_none_or(|range| call.offset < range.end && end > range.start)
    }

    /// Does to the disk what belongs to the failure, and says how it is reported. `perform` does
    /// what was asked, in some way.
    pub(super) fn strike<T>(
        &self,
        call: &Call<'_>,
        perform: impl FnOnce(Way) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(way) = self.deceit {
            let performed = perform(way);
            if let Some(consequence) = &self.consequence {
                consequence(call.name);
            }
            return performed;
        }
        let share = self.share.map(|share| Way {
            share,
            ..Way::HONEST
        });
        let performed = share.map(perform);
        if let Some(consequence) = &self.consequence {
            consequence(call.name);
        }
        Err(match performed {
            Some(Err(error)) => error,
            Some(Ok(_)) | None => {
                let Call {
                    operation, name, ..
                } = call;
                io::Error::new(
                    self.error,
                    format!("a fault was asked for: {operation:?} {name:?}"),
                )
            }
        })
    }
}

impl Debug for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fault")
            .field("operations", &self.operations)
            .field("name_prefix", &self.name_prefix)
            .field("whole_name", &self.whole_name)
            .field("passes", &self.passes)
            .field("spent", &self.spent)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
