//! Users as clients manage them, through the wire.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use grpc_client::v1::users::details_resp::UserDetails;
use grpc_client::v1::users::users_client::UsersClient;
use grpc_client::v1::users::*;
use grpc_client::{Served, trailer};
use tonic::transport::Channel;
use tonic::{Code, Status};

struct Users(UsersClient<Channel>);

impl Users {
    fn of(node: &Served) -> Self {
        Self(UsersClient::new(node.channel()))
    }

    async fn create(&mut self, login: &str, password: &str) -> Result<(), Status> {
        let options = create_req::Options {
            login_name: login.to_owned(),
            password: password.to_owned(),
            full_name: format!("The {login}"),
            groups: vec!["clerks".to_owned()],
        };
        let options = Some(options);
        self.0.create(CreateReq { options }).await.map(drop)
    }

    async fn details(&mut self, login: &str) -> Result<Vec<UserDetails>, Status> {
        let login_name = login.to_owned();
        let options = Some(details_req::Options { login_name });
        let mut told = self.0.details(DetailsReq { options }).await?.into_inner();
        let mut found = Vec::new();
        while let Some(message) = told.message().await? {
            found.push(message.user_details.unwrap());
        }
        Ok(found)
    }

    async fn change(&mut self, login: &str, current: &str, new: &str) -> Result<(), Status> {
        let options = change_password_req::Options {
            login_name: login.to_owned(),
            current_password: current.to_owned(),
            new_password: new.to_owned(),
        };
        let options = Some(options);
        let request = ChangePasswordReq { options };
        self.0.change_password(request).await.map(drop)
    }
}

#[tokio::test]
async fn a_user_is_made_changed_disabled_and_removed() {
    let node = Served::start().await;
    let mut users = Users::of(&node);
    users.create("greta", "secret").await.unwrap();
    let [made] = &users.details("greta").await.unwrap()[..] else {
        panic!("one user");
    };
    assert_eq!(made.full_name, "The greta");
    assert_eq!(made.groups, ["clerks"]);
    assert!(!made.disabled);
    assert!(made.last_updated.unwrap().ticks_since_epoch > 0);

    let login_name = "greta".to_owned();
    let options = update_req::Options {
        login_name: login_name.clone(),
        password: "ignored".to_owned(),
        full_name: "Greta".to_owned(),
        groups: vec!["$ops".to_owned()],
    };
    let options = Some(options);
    users.0.update(UpdateReq { options }).await.unwrap();
    let options = Some(disable_req::Options {
        login_name: login_name.clone(),
    });
    users.0.disable(DisableReq { options }).await.unwrap();
    let changed = users.details("greta").await.unwrap().remove(0);
    assert_eq!((&*changed.full_name, changed.disabled), ("Greta", true));
    assert_eq!(changed.groups, ["$ops"]);

    let options = Some(enable_req::Options {
        login_name: login_name.clone(),
    });
    users.0.enable(EnableReq { options }).await.unwrap();
    assert!(!users.details("greta").await.unwrap().remove(0).disabled);

    let options = Some(delete_req::Options { login_name });
    users.0.delete(DeleteReq { options }).await.unwrap();
    let gone = users.details("greta").await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(gone.message(), "User 'greta' is not found.");
    assert_eq!(trailer(&gone, "exception"), Some("user-not-found"));
    assert_eq!(trailer(&gone, "login-name"), Some("greta"));
}

#[tokio::test]
async fn a_user_is_made_again_with_the_same_password_only() {
    let node = Served::start().await;
    let mut users = Users::of(&node);
    users.create("greta", "secret").await.unwrap();
    users.create("greta", "secret").await.unwrap();
    let conflict = users.create("greta", "other").await.unwrap_err();
    assert_eq!(conflict.code(), Code::FailedPrecondition);
    assert_eq!(conflict.message(), "Conflict.");
    assert_eq!(trailer(&conflict, "exception"), Some("user-conflict"));
    assert_eq!(trailer(&conflict, "login-name"), Some("greta"));
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    let node = Served::start().await;
    let mut users = Users::of(&node);
    users.create("greta", "secret").await.unwrap();
    let wrong = users.change("greta", "guess", "new").await.unwrap_err();
    assert_eq!(wrong.code(), Code::PermissionDenied);
    assert_eq!(trailer(&wrong, "exception"), Some("access-denied"));
    users.change("greta", "secret", "new").await.unwrap();
    let options = reset_password_req::Options {
        login_name: "greta".to_owned(),
        new_password: "newer".to_owned(),
    };
    let options = Some(options);
    users
        .0
        .reset_password(ResetPasswordReq { options })
        .await
        .unwrap();
    users.change("greta", "newer", "newest").await.unwrap();
}

#[tokio::test]
async fn a_blank_login_stands_for_all_users() {
    let node = Served::start().await;
    let mut users = Users::of(&node);
    users.create("greta", "secret").await.unwrap();
    users.create("anna", "secret").await.unwrap();
    let all = users.details("").await.unwrap();
    let logins: Vec<&str> = all.iter().map(|user| &*user.login_name).collect();
    // Behind the two that are there where everybody may do everything.
    assert_eq!(logins, ["admin", "ops", "greta", "anna"]);
}

#[tokio::test]
async fn where_everybody_may_do_everything_the_two_that_clients_expect_are_there() {
    let node = Served::start().await;
    let mut users = Users::of(&node);
    let logins = |found: Vec<UserDetails>| -> Vec<String> {
        found.into_iter().map(|user| user.login_name).collect()
    };
    assert_eq!(logins(users.details("").await.unwrap()), ["admin", "ops"]);
    users.create("greta", "secret").await.unwrap();
    let all = users.details("").await.unwrap();
    assert_eq!(logins(all), ["admin", "ops", "greta"]);
    let ops = &users.details("ops").await.unwrap()[0];
    assert_eq!(ops.groups, ["$ops"]);
    // One that is made takes the place of the one that was expected.
    users.create("admin", "secret").await.unwrap();
    let admin = users.details("admin").await.unwrap();
    assert_eq!((admin.len(), &*admin[0].groups[0]), (1, "clerks"));
    assert_eq!(users.details("").await.unwrap().len(), 3);
}
