//! Users, and who may do what: every front asks here before it does anything.
//!
//! [`Access::authenticate`] makes a [`Principal`] of what a caller shows, and
//! [`Access::authorize`] says whether the principal may do an [`Action`]. Both may block.
//!
//! # The rules
//!
//! * Where there are no users ([`AccessMode::Open`]) nothing is checked: everybody is the system.
//! * Members of `$admins`, and the user `admin`, may do everything.
//! * Everybody else needs a role for each [`Permission`] on a stream. A user's roles are his login,
//!   his groups, and `$all`. The roles that hold a permission are those of the stream's `$acl` in
//!   its metadata, if it names the permission; else those of the last event of `$settings`
//!   (`$userStreamAcl`, and `$systemStreamAcl` for names that begin with `$`); else everybody on
//!   streams of the users, and `$admins` on those of the store. An empty list holds nobody.
//! * `$all` is a system stream, with its metadata in `$$$all`. What is computed, like `$ce-order`,
//!   is judged like the system stream of that name.
//! * `$user-LOGIN` is readable by LOGIN; `$scavenges` and `$scavenges-ID` are by `$ops`.
//! * An access list that cannot be understood grants nothing; keys that are not known are ignored.
//! * Who shows no credentials may only ask what the server is: also a permission that `$all` holds
//!   is a permission of users.
//!
//! # What always holds
//!
//! A changed rule, user, group or password holds for the next call, and for the next event of what
//! runs already: nothing here is remembered longer than it is true. A password is in no log, no
//! error and no debug output.

mod acl;
mod action;
mod judge;
mod principal;
mod record;
mod secret;
mod user;
mod visibility;

pub use action::{Action, Call, Permission, Required};
pub use principal::{Credentials, Password, Principal};
pub use user::{FirstUser, NewUser, User, UserError};
pub use visibility::Visibility;

use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use crate::engine::{ReadError, Store};
use judge::Rules;
use record::Records;
use secret::Secrets;

/// Whether a server has users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// No checks: whatever credentials somebody shows, or none, he is the system.
    #[default]
    Open,
    /// Callers show who they are, and may do what their roles allow.
    Users,
}

/// How users are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// Whether there are users. Default: no.
    pub mode: AccessMode,
    /// What hashing a password takes, in KiB of memory. Default: 19,456 (19 MiB).
    pub hash_memory_kib: u32,
    /// How often it goes over them. Default: 2.
    pub hash_passes: u32,
    /// How many passwords are hashed at once. Default: 2.
    pub verify_parallel_max: usize,
    /// How many callers wait for that; more are turned away. Default: 64.
    pub verify_waiting_max: usize,
    /// How many passwords are remembered that were found right. Default: 4,096.
    pub verified_max: usize,
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self {
            mode: AccessMode::Open,
            hash_memory_kib: 19 * 1024,
            hash_passes: 2,
            verify_parallel_max: 2,
            verify_waiting_max: 64,
            verified_max: 4096,
        }
    }
}

/// Nobody was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// There is no such user, or the password is not his, or he is disabled: which, is not said.
    #[error("unknown user or wrong password")]
    Refused,
    /// Too many passwords are being checked. Try again later.
    #[error("too many passwords are being checked; try again later")]
    Busy,
}

/// A caller may not do what he asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{principal} may not {action}")]
pub struct AccessDenied {
    /// Who asked.
    pub principal: String,
    /// What for, in words.
    pub action: String,
}

/// Why something was not allowed.
#[derive(Clone, Debug, Error)]
pub enum AuthorizeError {
    /// The caller may not do it.
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    /// The store cannot say whether he may.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Users and rules of one store. Cheap to clone; make one for a store, and give it to every front.
#[derive(Clone, Debug)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    mode: AccessMode,
    records: Records,
    secrets: Secrets,
    rules: Rules,
    /// Held while a user is changed.
    changing: Mutex<()>,
}

impl Access {
    /// The users and rules of a store.
    #[must_use]
    pub fn new(store: Store, options: &AccessOptions) -> Self {
        Self(Arc::new(Shared {
            records: Records::new(store.clone()),
            secrets: Secrets::new(options),
            rules: Rules::default(),
            changing: Mutex::default(),
            mode: options.mode,
            store,
        }))
    }

    /// Everybody may do everything.
    #[must_use]
    pub fn open(store: Store) -> Self {
        Self::new(store, &AccessOptions::default())
    }

    /// The store whose users and rules these are.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Whether nothing is checked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.mode == AccessMode::Open
    }

    /// Who a caller is. It blocks, for as long as hashing a password takes; what was found right
    /// lately costs nothing.
    ///
    /// # Errors
    /// See [`AuthenticationError`]. Showing nothing is no error.
    pub fn authenticate(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Principal, AuthenticationError> {
        if let Some(known) = self.recognise(credentials) {
            return Ok(known);
        }
        let Some(Credentials { login, password }) = credentials else {
            return Ok(Principal::anonymous());
        };
        let busy = |_| AuthenticationError::Busy;
        let secrets = &self.0.secrets;
        let Some(record) = self.0.records.get(login) else {
            secrets.pretend(password).map_err(busy)?;
            return Err(AuthenticationError::Refused);
        };
        let hash = &record.password_hash;
        let fits = secrets.fits(login, password, hash).map_err(busy)?;
        match fits && !record.disabled {
            true => Ok(Principal::user(&record)),
            false => Err(AuthenticationError::Refused),
        }
    }

    /// Who a caller is whose certificate names him: its issuer has vouched for that, and no
    /// password is asked for.
    ///
    /// # Errors
    /// [`AuthenticationError::Refused`] if there is no such user, or he is disabled.
    pub fn authenticate_certified(&self, login: &str) -> Result<Principal, AuthenticationError> {
        if self.is_open() {
            return Ok(Principal::system());
        }
        let record = self.0.records.get(login).filter(|user| !user.disabled);
        let user = record.map(|user| Principal::user(&user));
        user.ok_or(AuthenticationError::Refused)
    }

    /// Who a caller is, if that can be said at once: there are no users, nothing is shown, or the
    /// password was found right lately. Otherwise [`Self::authenticate`] says it.
    #[must_use]
    pub fn recognise(&self, credentials: Option<&Credentials>) -> Option<Principal> {
        if self.is_open() {
            return Some(Principal::system());
        }
        let Some(Credentials { login, password }) = credentials else {
            return Some(Principal::anonymous());
        };
        let record = self.0.records.get(login)?;
        let hash = &record.password_hash;
        let known = !record.disabled && self.0.secrets.is_known(login, password, hash);
        known.then(|| Principal::user(&record))
    }
}
