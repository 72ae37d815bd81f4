//! Who asks: what a caller shows, and who that makes him.

use std::fmt;
use std::sync::Arc;

use super::record::Record;

/// A secret text, which no log and no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Keeps a password.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Whoever asks for it takes care of where it goes.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A login and the password that is to prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who the caller says he is.
    pub login: String,
    /// The proof.
    pub password: Password,
}

impl Credentials {
    /// A login with its password.
    #[must_use]
    pub fn new(login: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            login: login.into(),
            password: Password::new(password),
        }
    }
}

/// Who a caller is. Cheap to clone.
///
/// A user's principal ends with the password that made it: when the password is changed, or the
/// user is disabled or removed, it is allowed nothing any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal(pub(super) Who);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Who {
    System,
    Anonymous,
    User(Arc<Identity>),
}

/// A user as he was authenticated.
#[derive(PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) login: String,
    pub(super) groups: Vec<String>,
    /// The hash that the password was found to fit.
    pub(super) password_hash: String,
}

impl Principal {
    /// The store itself, and everybody where there are no users: allowed everything.
    #[must_use]
    pub const fn system() -> Self {
        Self(Who::System)
    }

    /// Somebody who showed nothing.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self(Who::Anonymous)
    }

    /// A user, as he is now.
    pub(super) fn user(record: &Record) -> Self {
        Self(Who::User(Arc::new(Identity {
            login: record.login.clone(),
            groups: record.groups.clone(),
            password_hash: record.password_hash.clone(),
        })))
    }

    /// The login of a user. The other two have names that no user can have: `$system` and
    /// `$anonymous`.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Who::System => "$system",
            Who::Anonymous => "$anonymous",
            Who::User(user) => &user.login,
        }
    }

    /// The groups that the user was in when he was authenticated. What is allowed follows the
    /// groups of the moment.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        match &self.0 {
            Who::User(user) => &user.groups,
            Who::System | Who::Anonymous => &[],
        }
    }

    /// Whether this is the store itself, or anybody where there are no users.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0 == Who::System
    }

    /// Whether the caller showed nothing.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0 == Who::Anonymous
    }

    /// What request ids are told apart by: the login, and nothing for the other two.
    #[must_use]
    pub fn of_requests(&self) -> &str {
        match &self.0 {
            Who::User(user) => &user.login,
            Who::System | Who::Anonymous => "",
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.name()).finish()
    }
}
