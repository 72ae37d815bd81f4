//! Which events a reader of more than one stream sees.
//!
//! Whoever may read `$all`, or a stream of links, sees of it the events of the streams that he may
//! read, and metadata events where he may read the metadata. The others are passed over as a filter
//! passes over events: reads and checkpoints go on behind them. A link is shown to whoever may read
//! the stream it lies in, and what it refers to only where that stream may be read, too.

use std::collections::HashMap;

use super::action::Action;
use super::judge::Standing;
use super::principal::Principal;
use super::{Access, AccessDenied, AuthorizeError};
use crate::model::{Position, StreamName};

/// The most verdicts that one reader keeps.
const VERDICTS_MAX: usize = 4096;

/// What one reader sees. It follows every change of the rules and of the user at once: a verdict is
/// kept only as long as nothing was written that could change it.
#[derive(Debug)]
pub struct Visibility {
    access: Access,
    principal: Principal,
    verdicts: HashMap<String, bool>,
    /// Nothing in front of this position can change what stands in `verdicts`.
    as_of: Position,
    /// The user as he was then.
    standing: Standing,
}

impl Access {
    /// What a caller sees of many streams.
    #[must_use]
    pub fn visibility(&self, principal: &Principal) -> Visibility {
        Visibility {
            access: self.clone(),
            principal: principal.clone(),
            verdicts: HashMap::new(),
            as_of: Position::START,
            standing: Standing::Over,
        }
    }
}

impl Visibility {
    /// Whether the caller sees everything at this moment, so that nobody has to look at events.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        matches!(self.access.standing(&self.principal), Standing::Unlimited)
    }

    /// Whether the caller sees the events of a stream. It may wait for the disk.
    ///
    /// # Errors
    /// [`AuthorizeError::Denied`] if the caller is nobody any more: disabled, removed, or with
    /// another password; the store's, if it cannot be found out.
    pub fn sees(&mut self, stream: &str) -> Result<bool, AuthorizeError> {
        let standing = self.access.standing(&self.principal);
        match (&standing, &self.standing) {
            (Standing::Unlimited, _) => return Ok(true),
            (Standing::Over | Standing::Anonymous, _) => {
                return Err(AuthorizeError::Denied(AccessDenied {
                    principal: self.principal.name().to_owned(),
                    action: format!("read {stream}"),
                }));
            }
            (Standing::User(now), Standing::User(then)) if now == then => (),
            (Standing::User(_), _) => {
                self.verdicts.clear();
                self.standing = standing;
            }
        }
        let store = &self.access.0.store;
        if store.rules_end() > self.as_of {
            self.verdicts.clear();
            self.as_of = store.committed();
        }
        if let Some(seen) = self.verdicts.get(stream) {
            return Ok(*seen);
        }
        // What lies in the log was a name when it was written.
        let seen = match StreamName::new(stream) {
            Ok(stream) => self.access.allows(&self.standing, Action::Read(&stream))?,
            Err(_) => false,
        };
        if self.verdicts.len() >= VERDICTS_MAX {
            self.verdicts.clear();
        }
        self.verdicts.insert(stream.to_owned(), seen);
        Ok(seen)
    }
}
