//! Users over the native protocol: a question for them, or one change.

use super::error::Refusal;
use crate::access::{Access, NewUser, Password, User, UserError};
use crate::protocol::message::{Secret, UserIs, UserList, UserRequest};
use crate::protocol::{Answer, WireError};

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        Self(match error {
            UserError::NotFound(login) => WireError::UserNotFound(login),
            UserError::Conflict(login) => WireError::UserConflict(login),
            wrong @ UserError::WrongPassword(_) => WireError::Denied(wrong.to_string()),
            UserError::Invalid(problem) => WireError::Invalid(problem.to_owned()),
            UserError::Busy => WireError::Busy,
            UserError::Store(error) => super::error::of_append(error),
        })
    }
}

impl From<User> for UserIs {
    fn from(user: User) -> Self {
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

fn password(Secret(text): Secret) -> Password {
    Password::new(text)
}

/// Does what is asked. It blocks.
pub(super) fn answer(access: &Access, request: UserRequest) -> Result<Answer, Refusal> {
    let mut users = Vec::new();
    match request {
        UserRequest::List(None) => users = access.users(),
        UserRequest::List(Some(login)) => users.push(access.user(&login)?),
        UserRequest::Create {
            login,
            full_name,
            groups,
            password: secret,
        } => access.create_user(NewUser {
            login,
            full_name,
            groups,
            password: password(secret),
        })?,
        UserRequest::Update {
            login,
            full_name,
            groups,
        } => access.update_user(&login, &full_name, groups)?,
        UserRequest::Delete(login) => access.delete_user(&login)?,
        UserRequest::Enable(login) => access.enable_user(&login)?,
        UserRequest::Disable(login) => access.disable_user(&login)?,
        UserRequest::ChangePassword {
            login,
            current,
            new,
        } => access.change_password(&login, &password(current), &password(new))?,
        UserRequest::ResetPassword { login, new } => {
            access.reset_password(&login, &password(new))?;
        }
    }
    Ok(Answer::Users(UserList {
        users: users.into_iter().map(UserIs::from).collect(),
    }))
}
