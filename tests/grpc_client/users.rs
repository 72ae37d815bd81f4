//! A server with users, and requests in their names.

use annal::access::{Access, AccessMode, AccessOptions, NewUser, Password};
use annal::{GrpcOptions, Store, StoreOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tonic::Request;

use super::Served;

/// The password of everybody.
pub(crate) const PASSWORD: &str = "secret";

pub(crate) const ADMIN: &str = "admin";
pub(crate) const OPS: &str = "ops";
/// Nothing but a user, one of the clerks.
pub(crate) const GRETA: &str = "greta";
/// Shows nothing.
pub(crate) const NOBODY: &str = "";

/// `admin`, `ops`, and `greta`.
pub(crate) fn users_of(store: Store) -> Access {
    let options = AccessOptions {
        mode: AccessMode::Users,
        hash_memory_kib: 8,
        hash_passes: 1,
        ..AccessOptions::default()
    };
    let access = Access::new(store, &options);
    let secret = || Some(Password::new(PASSWORD));
    access.create_first_users(secret(), secret()).unwrap();
    let greta = NewUser {
        login: GRETA.to_owned(),
        full_name: GRETA.to_owned(),
        groups: vec!["clerks".to_owned()],
        password: Password::new(PASSWORD),
    };
    access.create_user(greta).unwrap();
    access
}

impl Served {
    /// Starts one with [`users_of`].
    pub(crate) async fn with_users() -> Self {
        Self::guarded(StoreOptions::default(), GrpcOptions::default(), users_of).await
    }
}

/// The header of somebody.
pub(crate) fn basic(login: &str, password: &str) -> String {
    let shown = BASE64_STANDARD.encode(format!("{login}:{password}"));
    format!("Basic {shown}")
}

/// A request as a user sends it.
pub(crate) fn signed<T>(message: T, login: &str) -> Request<T> {
    match login {
        NOBODY => Request::new(message),
        login => signed_with(message, login, PASSWORD),
    }
}

/// The same with another password.
pub(crate) fn signed_with<T>(message: T, login: &str, password: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = basic(login, password).parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}
