//! `Users`: the users of the server, over [`Access`].
//!
//! Each of these blocks: hashing a password takes its time, and so does the disk.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use crate::access::{Access, Call, NewUser, Password, User, UserError};
use crate::grpc::Shared;
use crate::grpc::status::{self, exception};
use crate::grpc::system::{known_user, known_users};
use crate::grpc::wire::event_store::client::users as wire;
use wire::details_resp::UserDetails;
use wire::details_resp::user_details::DateTime;
use wire::users_server;

/// The service.
#[derive(Debug)]
pub(in crate::grpc) struct Users {
    pub(in crate::grpc) shared: Shared,
}

impl Users {
    /// Does something with the users, on a thread that may wait.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Access) -> Result<T, UserError> + Send + 'static,
    ) -> Result<T, Status> {
        let access = self.shared.access.clone();
        let done = self.shared.blocking(move || work(&access)).await?;
        done.map_err(|error| of_user(&error))
    }
}

/// What clients know the failures of users by.
fn of_user(error: &UserError) -> Status {
    match error {
        UserError::NotFound(login) => exception(
            Code::NotFound,
            format!("User '{login}' is not found."),
            "user-not-found",
            &[("login-name", login)],
        ),
        UserError::Conflict(login) => exception(
            Code::FailedPrecondition,
            "Conflict.".to_owned(),
            "user-conflict",
            &[("login-name", login)],
        ),
        UserError::WrongPassword(_) => status::access_denied(),
        UserError::Invalid(problem) => status::invalid(*problem),
        UserError::Busy => status::too_busy(),
        UserError::Store(error) => status::of_append(error),
    }
}

fn details(user: User) -> wire::DetailsResp {
    let ticks_since_epoch = user.updated_us.saturating_mul(10);
    wire::DetailsResp {
        user_details: Some(UserDetails {
            login_name: user.login,
            full_name: user.full_name,
            groups: user.groups,
            last_updated: Some(DateTime { ticks_since_epoch }),
            disabled: user.disabled,
        }),
    }
}

#[tonic::async_trait]
impl users_server::Users for Users {
    type DetailsStream = Pin<Box<dyn Stream<Item = Result<wire::DetailsResp, Status>> + Send>>;

    async fn create(
        &self,
        request: Request<wire::CreateReq>,
    ) -> Result<Response<wire::CreateResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ManageUsers, |asked| asked.options)
            .await?;
        let user = NewUser {
            login: asked.login_name,
            full_name: asked.full_name,
            groups: asked.groups,
            password: Password::new(asked.password),
        };
        self.with(move |access| access.create_user(user)).await?;
        Ok(Response::new(wire::CreateResp {}))
    }

    async fn update(
        &self,
        request: Request<wire::UpdateReq>,
    ) -> Result<Response<wire::UpdateResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ManageUsers, |asked| asked.options)
            .await?;
        self.with(move |access| {
            access.update_user(&asked.login_name, &asked.full_name, asked.groups)
        })
        .await?;
        Ok(Response::new(wire::UpdateResp {}))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteReq>,
    ) -> Result<Response<wire::DeleteResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ManageUsers, |asked| asked.options)
            .await?;
        self.with(move |access| access.delete_user(&asked.login_name))
            .await?;
        Ok(Response::new(wire::DeleteResp {}))
    }

    async fn disable(
        &self,
        request: Request<wire::DisableReq>,
    ) -> Result<Response<wire::DisableResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ManageUsers, |asked| asked.options)
            .await?;
        self.with(move |access| access.disable_user(&asked.login_name))
            .await?;
        Ok(Response::new(wire::DisableResp {}))
    }

    async fn enable(
        &self,
        request: Request<wire::EnableReq>,
    ) -> Result<Response<wire::EnableResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ManageUsers, |asked| asked.options)
            .await?;
        self.with(move |access| access.enable_user(&asked.login_name))
            .await?;
        Ok(Response::new(wire::EnableResp {}))
    }

    async fn details(
        &self,
        request: Request<wire::DetailsReq>,
    ) -> Result<Response<Self::DetailsStream>, Status> {
        let asked = self
            .shared
            .asked(request, Call::InspectUsers, |asked| asked.options)
            .await?;
        let login = asked.login_name;
        let users = match login.trim().is_empty() {
            true => self.with(|access| Ok(known_users(access))).await?,
            false => vec![self.with(move |access| known_user(access, &login)).await?],
        };
        let told = users.into_iter().map(|user| Ok(details(user)));
        Ok(Response::new(Box::pin(tokio_stream::iter(told))))
    }

    async fn change_password(
        &self,
        request: Request<wire::ChangePasswordReq>,
    ) -> Result<Response<wire::ChangePasswordResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ChangePassword, |asked| asked.options)
            .await?;
        let current = Password::new(asked.current_password);
        let new = Password::new(asked.new_password);
        self.with(move |access| access.change_password(&asked.login_name, &current, &new))
            .await?;
        Ok(Response::new(wire::ChangePasswordResp {}))
    }

    async fn reset_password(
        &self,
        request: Request<wire::ResetPasswordReq>,
    ) -> Result<Response<wire::ResetPasswordResp>, Status> {
        let asked = self
            .shared
            .asked(request, Call::ManageUsers, |asked| asked.options)
            .await?;
        let new = Password::new(asked.new_password);
        self.with(move |access| access.reset_password(&asked.login_name, &new))
            .await?;
        Ok(Response::new(wire::ResetPasswordResp {}))
    }
}
