//! Users of a server, over the native protocol.

use super::link::Trouble;
use super::{Client, UserError, unexpected};
use crate::protocol::message::{Secret, UserIs, UserRequest};
use crate::protocol::{Answer, Request};

/// A user, as a server shows him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What he is called.
    pub login: String,
    /// His name for people.
    pub full_name: String,
    /// His groups.
    pub groups: Vec<String>,
    /// Whether he is kept out.
    pub disabled: bool,
    /// When he was made, in microseconds since 1970.
    pub created_us: i64,
    /// When he was changed last, in microseconds since 1970.
    pub updated_us: i64,
    /// How often he was changed since he was made.
    pub revision: u64,
}

impl From<UserIs> for User {
    fn from(user: UserIs) -> Self {
        Self {
            login: user.login,
            full_name: user.full_name,
            groups: user.groups,
            disabled: user.disabled,
            created_us: user.created_us,
            updated_us: user.updated_us,
            revision: user.revision,
        }
    }
}

/// A question is asked again after a lost connection, and a change is sent once.
impl Client {
    /// All users, in the order of their logins.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn users(&self) -> Result<Vec<User>, UserError> {
        self.ask_users(UserRequest::List(None)).await
    }

    /// One user.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn user(&self, login: &str) -> Result<User, UserError> {
        let listed = self.ask_users(UserRequest::List(Some(login.to_owned())));
        let not_found = || UserError::NotFound(login.to_owned());
        listed.await?.pop().ok_or_else(not_found)
    }

    /// Makes a user. One who is there with the same password is left as he is.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn create_user(
        &self,
        login: &str,
        full_name: &str,
        groups: Vec<String>,
        password: &str,
    ) -> Result<(), UserError> {
        self.change(UserRequest::Create {
            login: login.to_owned(),
            full_name: full_name.to_owned(),
            groups,
            password: Secret(password.to_owned()),
        })
        .await
    }

    /// Gives a user another full name and other groups.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn update_user(
        &self,
        login: &str,
        full_name: &str,
        groups: Vec<String>,
    ) -> Result<(), UserError> {
        self.change(UserRequest::Update {
            login: login.to_owned(),
            full_name: full_name.to_owned(),
            groups,
        })
        .await
    }

    /// Removes a user.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn delete_user(&self, login: &str) -> Result<(), UserError> {
        self.change(UserRequest::Delete(login.to_owned())).await
    }

    /// Lets a user in again.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn enable_user(&self, login: &str) -> Result<(), UserError> {
        self.change(UserRequest::Enable(login.to_owned())).await
    }

    /// Keeps a user out, also on the connections that he has.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn disable_user(&self, login: &str) -> Result<(), UserError> {
        self.change(UserRequest::Disable(login.to_owned())).await
    }

    /// Changes a password by showing the one before. Connections that were made with that one are
    /// allowed nothing any more, this one too if it is the user's own.
    ///
    /// # Errors
    /// [`UserError::Denied`] if it is the wrong one; see [`UserError`].
    pub async fn change_password(
        &self,
        login: &str,
        current: &str,
        new: &str,
    ) -> Result<(), UserError> {
        self.change(UserRequest::ChangePassword {
            login: login.to_owned(),
            current: Secret(current.to_owned()),
            new: Secret(new.to_owned()),
        })
        .await
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn reset_password(&self, login: &str, new: &str) -> Result<(), UserError> {
        self.change(UserRequest::ResetPassword {
            login: login.to_owned(),
            new: Secret(new.to_owned()),
        })
        .await
    }

    async fn ask_users(&self, request: UserRequest) -> Result<Vec<User>, UserError> {
        users(self.0.ask(&Request::Users(request)).await)
    }

    async fn change(&self, request: UserRequest) -> Result<(), UserError> {
        users(self.0.ask_once(&Request::Users(request)).await).map(drop)
    }
}

fn users(answered: Result<Answer, Trouble>) -> Result<Vec<User>, UserError> {
    match answered {
        Ok(Answer::Users(list)) => Ok(list.users.into_iter().map(User::from).collect()),
        Ok(other) => Err(unexpected(&other).into()),
        Err(Trouble::Lost) => Err(UserError::Unknown),
        Err(Trouble::Connection(error)) => Err(error.into()),
        Err(Trouble::Answer(error)) => Err(error.into()),
    }
}
