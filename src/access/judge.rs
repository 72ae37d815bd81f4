//! Judging: may this caller do that, as things are now.
//!
//! Which access list holds is asked of the store's index at each call: where the stream's last
//! metadata event lies, and the last event of `$settings`. An event never changes, so what was read
//! at a place is remembered by the place, and nothing has to be forgotten when rules change.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::acl::{ADMIN, ADMINS, Acl, Defaults, EVERYBODY, OPS, built_in};
use super::action::{Action, Permission, Required, subject};
use super::principal::{Principal, Who};
use super::record::Record;
use super::{Access, AccessDenied, AuthorizeError};
use crate::engine::{ReadError, Store};
use crate::model::{Position, SETTINGS_STREAM};

/// The most access lists that are kept in memory.
const KEPT_MAX: usize = 16 * 1024;

/// Rules by the places of the events that say them.
#[derive(Debug, Default)]
pub(super) struct Rules {
    acls: Mutex<HashMap<Position, Arc<Acl>>>,
    settings: Mutex<Option<(Position, Arc<Defaults>)>>,
}

impl Rules {
    fn acl(&self, store: &Store, stream: &str) -> Result<Option<Arc<Acl>>, ReadError> {
        let Some(place) = store.acl_position(stream)? else {
            return Ok(None);
        };
        if let Some(acl) = self.acls.lock().get(&place) {
            return Ok(Some(Arc::clone(acl)));
        }
        // An event that is gone cannot say whom it allowed.
        let acl = store
            .event_at(place)?
            .map_or_else(Acl::nobody, |event| Acl::of_metadata(&event.data));
        let acl = Arc::new(acl);
        let mut acls = self.acls.lock();
        if acls.len() >= KEPT_MAX {
            acls.clear();
        }
        acls.insert(place, Arc::clone(&acl));
        Ok(Some(acl))
    }

    fn defaults(&self, store: &Store) -> Result<Arc<Defaults>, ReadError> {
        let Some(place) = store.last_position(SETTINGS_STREAM)? else {
            return Ok(Arc::default());
        };
        if let Some((of, defaults)) = &*self.settings.lock()
            && *of == place
        {
            return Ok(Arc::clone(defaults));
        }
        let event = store.event_at(place)?;
        let defaults = event.map_or_else(Defaults::default, |event| {
            Defaults::of_settings(&event.data)
        });
        let defaults = Arc::new(defaults);
        *self.settings.lock() = Some((place, Arc::clone(&defaults)));
        Ok(defaults)
    }
}

/// What a caller is at this moment.
#[derive(Debug)]
pub(super) enum Standing {
    /// Everything is allowed.
    Unlimited,
    /// Allowed what needs nothing.
    Anonymous,
    /// A user with his roles of this moment.
    User(Arc<Record>),
    /// A user whose password, or who himself, is not valid any more.
    Over,
}

impl Standing {
    fn holds(record: &Record, role: &str) -> bool {
        role == EVERYBODY || role == record.login || is_in(record, role)
    }
}

fn is_in(record: &Record, group: &str) -> bool {
    record.groups.iter().any(|of| of == group)
}

fn is_admin(record: &Record) -> bool {
    record.login == ADMIN || is_in(record, ADMINS)
}

impl Access {
    /// Whether a caller may do something now. It may wait for the disk, unless there are no users
    /// or the caller is an administrator.
    ///
    /// # Errors
    /// [`AuthorizeError::Denied`] if not; the store's, if it cannot be found out.
    pub fn authorize(
        &self,
        principal: &Principal,
        action: Action<'_>,
    ) -> Result<(), AuthorizeError> {
        let standing = self.standing(principal);
        match self.allows(&standing, action)? {
            true => Ok(()),
            false => Err(AuthorizeError::Denied(AccessDenied {
                principal: principal.name().to_owned(),
                action: action.to_string(),
            })),
        }
    }

    /// Whether a caller may do everything at this moment. It never waits.
    #[must_use]
    pub fn is_unlimited(&self, principal: &Principal) -> bool {
        matches!(self.standing(principal), Standing::Unlimited)
    }

    /// What a caller is now. Without users everybody is unlimited.
    pub(super) fn standing(&self, principal: &Principal) -> Standing {
        if self.is_open() {
            return Standing::Unlimited;
        }
        match &principal.0 {
            Who::System => Standing::Unlimited,
            Who::Anonymous => Standing::Anonymous,
            Who::User(identity) => match self.0.records.get(&identity.login) {
                Some(record)
                    if !record.disabled && record.password_hash == identity.password_hash =>
                {
                    match is_admin(&record) {
                        true => Standing::Unlimited,
                        false => Standing::User(record),
                    }
                }
                _ => Standing::Over,
            },
        }
    }

    pub(super) fn allows(
        &self,
        standing: &Standing,
        action: Action<'_>,
    ) -> Result<bool, ReadError> {
        let record = match standing {
            Standing::Unlimited => return Ok(true),
            Standing::Over => return Ok(false),
            Standing::Anonymous => None,
            Standing::User(record) => Some(record),
        };
        match (subject(action), record) {
            (Ok((permission, stream)), Some(record)) => self.holds(record, permission, stream),
            (Ok(_), None) => Ok(false),
            (Err(call), record) => Ok(match call.required() {
                Required::Nothing => true,
                Required::User => record.is_some(),
                Required::Operator => record.is_some_and(|record| is_in(record, OPS)),
                Required::Admin => false,
            }),
        }
    }

    /// Whether a user holds a permission on a stream, or on `$all`.
    fn holds(
        &self,
        record: &Record,
        permission: Permission,
        stream: &str,
    ) -> Result<bool, ReadError> {
        // What is said of a user is his own to read.
        let reads = matches!(permission, Permission::Read | Permission::ReadMetadata);
        if reads && stream.strip_prefix("$user-") == Some(&record.login) {
            return Ok(true);
        }
        let store = &self.0.store;
        let any = |roles: &[String]| roles.iter().any(|role| Standing::holds(record, role));
        if let Some(acl) = self.0.rules.acl(store, stream)?
            && let Some(roles) = acl.roles(permission)
        {
            return Ok(any(roles));
        }
        let defaults = self.0.rules.defaults(store)?;
        Ok(match defaults.acl(stream).roles(permission) {
            Some(roles) => any(roles),
            None => built_in(stream, permission)
                .iter()
                .any(|role| Standing::holds(record, role)),
        })
    }
}
