//! Keeping users: making, changing and removing them.

use thiserror::Error;

use super::Access;
use super::principal::Password;
use super::record::Record;
use super::secret::Busy;
use crate::engine::AppendError;

/// A user, as everybody who may look at users sees him. His password is known to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What he is called, and the role that is his alone.
    pub login: String,
    /// His name for people.
    pub full_name: String,
    /// His other roles.
    pub groups: Vec<String>,
    /// Whether he is kept out.
    pub disabled: bool,
    /// When he was made, in microseconds since 1970.
    pub created_us: i64,
    /// When he was changed last.
    pub updated_us: i64,
    /// How often he was changed since he was made.
    pub revision: u64,
}

/// A user to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// 1 to 256 bytes, without control characters and `:`, and not beginning with `$`.
    pub login: String,
    /// At most 1,024 bytes.
    pub full_name: String,
    /// At most 64, each 1 to 256 bytes.
    pub groups: Vec<String>,
    /// 1 to 1,024 bytes.
    pub password: Password,
}

/// Why a user was not made, changed or removed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum UserError {
    /// There is no such user.
    #[error("there is no user {0:?}")]
    NotFound(String),
    /// There is a user of this name, with another password.
    #[error("there is a user {0:?} already")]
    Conflict(String),
    /// The password shown is not the user's.
    #[error("this is not the password of {0:?}")]
    WrongPassword(String),
    /// A value is not allowed.
    #[error("{0}")]
    Invalid(&'static str),
    /// Too many passwords are being checked. Try again later.
    #[error("too many passwords are being checked; try again later")]
    Busy,
    /// The store did not take the change.
    #[error(transparent)]
    Store(#[from] AppendError),
}

impl From<Busy> for UserError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<&Record> for User {
    fn from(record: &Record) -> Self {
        Self {
            login: record.login.clone(),
            full_name: record.full_name.clone(),
            groups: record.groups.clone(),
            disabled: record.disabled,
            created_us: record.created_us,
            updated_us: record.updated_us,
            revision: record.revision,
        }
    }
}

/// A first user with the password that was generated for him, to be shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstUser {
    /// The login.
    pub login: String,
    /// The password, if it was generated; none if it was given.
    pub generated: Option<Password>,
}

/// Who may change users is not asked here: see [`Access::authorize`] and
/// [`super::Call::ManageUsers`]. All of these block: hashing takes its time, and so does the disk.
impl Access {
    /// All users, in the order of their logins.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        let records = self.0.records.all();
        records.iter().map(|record| User::from(&**record)).collect()
    }

    /// One user.
    ///
    /// # Errors
    /// [`UserError::NotFound`].
    pub fn user(&self, login: &str) -> Result<User, UserError> {
        match self.0.records.get(login) {
            Some(record) => Ok(User::from(&*record)),
            None => Err(UserError::NotFound(login.to_owned())),
        }
    }

    /// Makes a user. One who is there with the same password is left as he is, which is success.
    ///
    /// # Errors
    /// [`UserError::Conflict`] if he is there with another one; see [`UserError`].
    pub fn create_user(&self, new: NewUser) -> Result<(), UserError> {
        check_login(&new.login)?;
        check_names(&new.full_name, &new.groups)?;
        check_password(&new.password)?;
        let _changing = self.0.changing.lock();
        if let Some(record) = self.0.records.get(&new.login) {
            let secrets = &self.0.secrets;
            return match secrets.fits(&new.login, &new.password, &record.password_hash)? {
                true => Ok(()),
                false => Err(UserError::Conflict(new.login)),
            };
        }
        let now_us = self.0.records.now_us();
        self.0.records.put(&Record {
            password_hash: self.0.secrets.make(&new.password)?,
            login: new.login,
            full_name: new.full_name,
            groups: new.groups,
            disabled: false,
            created_us: now_us,
            updated_us: now_us,
            revision: 0,
        })
    }

    /// Gives a user another full name and other groups.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn update_user(
        &self,
        login: &str,
        full_name: &str,
        groups: Vec<String>,
    ) -> Result<(), UserError> {
        check_names(full_name, &groups)?;
        self.change(login, |record| {
            full_name.clone_into(&mut record.full_name);
            record.groups = groups;
            Ok(())
        })
    }

    /// Lets a user in again.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn enable_user(&self, login: &str) -> Result<(), UserError> {
        self.change(login, |record| {
            record.disabled = false;
            Ok(())
        })
    }

    /// Keeps a user out, at once and also on the connections that he has.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn disable_user(&self, login: &str) -> Result<(), UserError> {
        self.change(login, |record| {
            record.disabled = true;
            Ok(())
        })
    }

    /// Removes a user.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn delete_user(&self, login: &str) -> Result<(), UserError> {
        let _changing = self.0.changing.lock();
        match self.0.records.get(login) {
            Some(_) => self.0.records.remove(login),
            None => Err(UserError::NotFound(login.to_owned())),
        }
    }

    /// Changes a password for whoever knows the one before.
    ///
    /// # Errors
    /// [`UserError::WrongPassword`], also for a user who is disabled; see [`UserError`].
    pub fn change_password(
        &self,
        login: &str,
        current: &Password,
        new: &Password,
    ) -> Result<(), UserError> {
        check_password(new)?;
        self.change(login, |record| {
            let secrets = &self.0.secrets;
            let fits = secrets.fits(login, current, &record.password_hash)?;
            if record.disabled || !fits {
                return Err(UserError::WrongPassword(login.to_owned()));
            }
            record.password_hash = secrets.make(new)?;
            Ok(())
        })
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn reset_password(&self, login: &str, new: &Password) -> Result<(), UserError> {
        check_password(new)?;
        self.change(login, |record| {
            record.password_hash = self.0.secrets.make(new)?;
            Ok(())
        })
    }

    /// In a store without users, makes the first two: `admin` in `$admins`, and `ops` in `$ops`,
    /// with the passwords given, or else with generated ones, which are returned. Does nothing, and
    /// returns nothing, where there are users.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn create_first_users(
        &self,
        admin: Option<Password>,
        ops: Option<Password>,
    ) -> Result<Vec<FirstUser>, UserError> {
        if !self.0.records.is_empty() {
            return Ok(Vec::new());
        }
        let first = [
            ("admin", "Administrator", "$admins", admin),
            ("ops", "Operator", "$ops", ops),
        ];
        let make = |(login, full_name, group, given): (&str, &str, &str, Option<Password>)| {
            let generated = given.is_none().then(Password::generate);
            if let Some(password) = given.as_ref().or(generated.as_ref()) {
                self.create_user(NewUser {
                    login: login.to_owned(),
                    full_name: full_name.to_owned(),
                    groups: vec![group.to_owned()],
                    password: password.clone(),
                })?;
            }
            Ok(FirstUser {
                login: login.to_owned(),
                generated,
            })
        };
        first.into_iter().map(make).collect()
    }

    /// Changes a record, one at a time.
    fn change(
        &self,
        login: &str,
        change: impl FnOnce(&mut Record) -> Result<(), UserError>,
    ) -> Result<(), UserError> {
        let _changing = self.0.changing.lock();
        let Some(record) = self.0.records.get(login) else {
            return Err(UserError::NotFound(login.to_owned()));
        };
        let mut changed = Record::clone(&record);
        change(&mut changed)?;
        if changed == *record {
            return Ok(());
        }
        changed.updated_us = self.0.records.now_us();
        changed.revision += 1;
        self.0.records.put(&changed)
    }
}

/// The longest login and the longest name of a group, in bytes.
const NAME_LEN_BYTES_MAX: usize = 256;
const TEXT_LEN_BYTES_MAX: usize = 1024;
const GROUPS_MAX: usize = 64;

fn is_name(text: &str) -> bool {
    (1..=NAME_LEN_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

fn check_login(login: &str) -> Result<(), UserError> {
    match is_name(login) && !login.contains(':') && !login.starts_with('$') {
        true => Ok(()),
        false => Err(UserError::Invalid(
            "a login has 1 to 256 bytes, no control characters and no colon, \
             and does not begin with $",
        )),
    }
}

fn check_names(full_name: &str, groups: &[String]) -> Result<(), UserError> {
    if full_name.len() > TEXT_LEN_BYTES_MAX {
        return Err(UserError::Invalid("a full name has at most 1,024 bytes"));
    }
    match groups.len() <= GROUPS_MAX && groups.iter().all(|group| is_name(group)) {
        true => Ok(()),
        false => Err(UserError::Invalid(
            "a user is in at most 64 groups, and a group's name has 1 to 256 bytes \
             without control characters",
        )),
    }
}

fn check_password(password: &Password) -> Result<(), UserError> {
    match (1..=TEXT_LEN_BYTES_MAX).contains(&password.reveal().len()) {
        true => Ok(()),
        false => Err(UserError::Invalid("a password has 1 to 1,024 bytes")),
    }
}
