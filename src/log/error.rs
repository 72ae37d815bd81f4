//! What can go wrong between the store and its files. Every enum of the layers above carries it.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::format::FormatError;

/// A failure of the disk, or damage on it. It can be cloned, because one failed sync answers many.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file it was tried on.
        file: Arc<str>,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes on the disk are not those that were written.
    #[error(
        "{file} is damaged at byte {offset}: {source}; run `annal verify` for the whole picture"
    )]
    Damaged {
        /// The damaged file.
        file: Arc<str>,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        #[source]
        source: FormatError,
    },
    /// A file that must be there is not, or has another length.
    #[error("{file} is missing or has another length than the {len_bytes} bytes it must have")]
    Missing {
        /// The file.
        file: Arc<str>,
        /// The length it must have, in bytes.
        len_bytes: u64,
    },
    /// The disk has no space for what is to be written. The store writes again when it has.
    #[error("the disk is full, and the store writes nothing until it has room: {0}")]
    Full(Arc<Self>),
    /// An earlier write or sync failed. The store takes no more appends until it is opened again;
    /// only then is it known what reached the disk.
    #[error("the store stopped writing after a failure; open it again to go on ({0})")]
    Poisoned(Arc<Self>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The store was opened for reading only.
    #[error("the store is open for reading only; open it without that option to write to it")]
    ReadOnly,
}

impl StorageError {
    /// An error of the operating system.
    pub(crate) fn io(operation: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io {
            operation,
            file: file.into(),
            source: Arc::new(source),
        }
    }

    /// Whether something is damaged or missing, or cannot be read, as a bad sector: the rest may be
    /// whole.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } => true,
            Self::Io { operation, .. } => *operation == "read",
            Self::Full(_) | Self::Poisoned(_) | Self::Closed | Self::ReadOnly => false,
        }
    }

    /// Whether the disk has no space left: then the same may succeed later.
    pub(crate) fn is_for_want_of_space(&self) -> bool {
        let full = |kind| {
            matches!(
                kind,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        match self {
            Self::Io { source, .. } => full(source.kind()),
            Self::Full(_) => true,
            _ => false,
        }
    }

    /// This error as the answer to an append: [`Self::Full`] if it is for want of space.
    pub(crate) fn or_full(self) -> Self {
        match self {
            Self::Io { .. } if self.is_for_want_of_space() => Self::Full(Arc::new(self)),
            other => other,
        }
    }

    /// Damage found in a file.
    pub(crate) fn damaged(file: &str, offset: u64, source: FormatError) -> Self {
        Self::Damaged {
            file: file.into(),
            offset,
            source,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Clone, Debug, Error)]
pub(crate) enum LogOpenError {
    /// There is none.
    #[error("there is no store in this directory")]
    NotFound,
    /// Another process has it open.
    #[error("another process has the store open; stop it first")]
    Locked,
    /// A newer program wrote it.
    #[error("{0} was written by a newer version of Annal; use that version")]
    NewerFormat(&'static str),
    /// Durable data is damaged. Nothing was changed.
    #[error("{0}")]
    Damaged(StorageError),
    /// The operating system refused.
    #[error("{0}")]
    Storage(StorageError),
}

impl From<StorageError> for LogOpenError {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::Damaged {
                source: FormatError::Newer(what),
                ..
            } => Self::NewerFormat(what),
            StorageError::Damaged { .. } | StorageError::Missing { .. } => Self::Damaged(error),
            StorageError::Io { .. }
            | StorageError::Full(_)
            | StorageError::Poisoned(_)
            | StorageError::Closed
            | StorageError::ReadOnly => Self::Storage(error),
        }
    }
}
