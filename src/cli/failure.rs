//! How a verb fails: an exit code for scripts, and a message for people with what to do next.

use std::fmt;
use std::io;

use serde_json::json;

use crate::cli::input::InputError;
use crate::engine::{AppendError, OpenError, ReadError};
use crate::log::StorageError;
use crate::protocol::StorageKind;

/// What the exit code of the process says. Codes never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Whoever read the output has gone away; that is no failure.
    Unread,
    /// Anything without a code of its own.
    Failure,
    /// The command line, the configuration or the input is wrong.
    Usage,
    /// A stream was not where it was expected to be.
    Conflict,
    /// There is no such stream, event or store.
    NotFound,
    /// The store is damaged.
    Damaged,
    /// The server does not answer, the store is in use or only read, or it cannot serve this now.
    Unavailable,
    /// The server does not know who asks, or does not allow him this.
    Denied,
}

/// The table of exit codes, for help texts.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong command line, configuration or input
  3  a stream was not at the expected revision, or holds something else
  4  no such stream, event or store
  5  the store is damaged
  6  the server cannot be reached, the store is in use or only read, or it is too busy
  7  the server asks for a user and his password, or does not allow this user this";

impl Exit {
    /// The code of the process.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Conflict => 3,
            Self::NotFound => 4,
            Self::Damaged => 5,
            Self::Unavailable => 6,
            Self::Denied => 7,
        }
    }

    /// The same as a word, for `--json`.
    fn word(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Damaged => "damaged",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
        }
    }
}

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    advice: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub(super) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            advice: None,
        }
    }

    /// A wrong command line, configuration or input.
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same failure, saying what to do next.
    pub(super) fn advise(mut self, advice: impl fmt::Display) -> Self {
        self.advice = Some(advice.to_string());
        self
    }

    /// The same failure, with what was being done in front of the message.
    pub(super) fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What kind of failure it is.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Says it on the standard error: as text, or as one line of JSON.
    pub(super) fn print(&self, as_json: bool) {
        let text = match (as_json, &self.advice) {
            (true, advice) => json!({ "error": {
                "exit": self.exit.code(),
                "kind": self.exit.word(),
                "message": self.message,
                "advice": advice,
            }})
            .to_string(),
            (false, None) => format!("annal: {}", self.message),
            (false, Some(advice)) => format!("annal: {}\n       {advice}", self.message),
        };
        if self.exit != Exit::Unread {
            eprintln!("{text}");
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Unread, error),
            _ => Self::new(Exit::Failure, error),
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let exit = match &error {
            InputError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            InputError::Open { .. } | InputError::Read { .. } => Exit::Failure,
            InputError::LineTooLong(_)
            | InputError::BadLine(_)
            | InputError::GroupTooLarge { .. } => Exit::Usage,
        };
        Self::new(exit, error)
    }
}

impl From<StorageKind> for Exit {
    fn from(kind: StorageKind) -> Self {
        match kind {
            StorageKind::Damaged => Self::Damaged,
            StorageKind::Closed | StorageKind::ReadOnly => Self::Unavailable,
            StorageKind::Io | StorageKind::Poisoned | StorageKind::Full => Self::Failure,
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::new(StorageKind::from(&error).into(), error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::NotFound(_) => Exit::NotFound,
            OpenError::InUse(_) => Exit::Unavailable,
            OpenError::Damaged(_) => Exit::Damaged,
            OpenError::InvalidOption { .. } => Exit::Usage,
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let exit = match &error {
            AppendError::WrongExpectedRevision { .. }
            | AppendError::StreamDeleted { .. }
            | AppendError::RequestIdReused(_) => Exit::Conflict,
            AppendError::OverLimit { .. } | AppendError::Invalid(_) => Exit::Usage,
            AppendError::Busy | AppendError::IndexRebuilding { .. } => Exit::Unavailable,
            AppendError::Storage(cause) => return Self::from(cause.clone()),
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let exit = match &error {
            ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_) => Exit::NotFound,
            ReadError::ForeignToken(_) => Exit::Conflict,
            ReadError::NotReached { .. } | ReadError::IndexRebuilding { .. } => Exit::Unavailable,
            ReadError::FilterTooCostly(_) => Exit::Failure,
            ReadError::Storage(cause) => return Self::from(cause.clone()),
        };
        Self::new(exit, error)
    }
}
