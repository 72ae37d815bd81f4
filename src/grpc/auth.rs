//! Who calls, and whether he may: where every service asks before it does anything.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::node::Arrival;
use super::{Shared, status};
use crate::access::{Action, AuthenticationError, AuthorizeError, Call, Credentials, Principal};
use crate::model::StreamName;

/// What a caller wants to do.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Read or follow a stream.
    Read(StreamName),
    /// Append to a stream.
    Write(StreamName),
    /// Delete or tombstone a stream.
    Delete(StreamName),
    /// Read or follow the whole log.
    ReadAll,
    /// Anything else.
    Call(Call),
}

impl Wish {
    fn action(&self) -> Action<'_> {
        match self {
            Self::Read(stream) => Action::Read(stream),
            Self::Write(stream) => Action::Write(stream),
            Self::Delete(stream) => Action::Delete(stream),
            Self::ReadAll => Action::ReadAll,
            Self::Call(call) => Action::Call(*call),
        }
    }
}

impl Shared {
    /// Who makes a call: what its header says, or else the certificate of its connection.
    pub(super) async fn caller<T>(&self, request: &Request<T>) -> Result<Principal, Status> {
        if self.access.is_open() {
            return Ok(Principal::system());
        }
        let credentials = credentials(request.metadata())?;
        let arrival = request.extensions().get::<Arrival>();
        let certified = arrival.and_then(|arrival| arrival.certified.as_deref());
        if let (None, Some(login)) = (&credentials, certified) {
            let found = self.access.authenticate_certified(login);
            return found.map_err(|_| status::unauthenticated());
        }
        if let Some(principal) = self.access.recognise(credentials.as_ref()) {
            return Ok(principal);
        }
        let access = self.access.clone();
        let found = self.blocking(move || access.authenticate(credentials.as_ref()));
        found.await?.map_err(|error| match error {
            AuthenticationError::Refused => status::unauthenticated(),
            AuthenticationError::Busy => status::too_busy(),
        })
    }

    /// Refuses what a caller may not do.
    pub(super) async fn allow(&self, caller: &Principal, wish: Wish) -> Result<(), Status> {
        if self.access.is_open() {
            return Ok(());
        }
        let (access, caller) = (self.access.clone(), caller.clone());
        let judged = self.blocking(move || access.authorize(&caller, wish.action()));
        judged.await?.map_err(|error| refused(&error))
    }

    /// Who makes a call, if he may do what he wants with it.
    pub(super) async fn admit<T>(
        &self,
        request: &Request<T>,
        wish: Wish,
    ) -> Result<Principal, Status> {
        let caller = self.caller(request).await?;
        self.allow(&caller, wish).await?;
        Ok(caller)
    }

    /// What a request asks for, which the protocol wraps in options, if its caller may ask for it.
    pub(super) async fn asked<T, O>(
        &self,
        request: Request<T>,
        call: Call,
        options: impl FnOnce(T) -> Option<O>,
    ) -> Result<O, Status> {
        self.admit(&request, Wish::Call(call)).await?;
        let missing = || status::invalid("the request has no options");
        options(request.into_inner()).ok_or_else(missing)
    }
}

/// What a caller is told who may not do something, or of whom it cannot be found out.
pub(super) fn refused(error: &AuthorizeError) -> Status {
    match error {
        AuthorizeError::Denied(_) => status::access_denied(),
        AuthorizeError::Read(error) => status::of_read(error),
    }
}

/// What the caller shows; none if he shows nothing.
fn credentials(metadata: &MetadataMap) -> Result<Option<Credentials>, Status> {
    let Some(value) = metadata.get("authorization") else {
        return Ok(None);
    };
    let basic = || {
        let (scheme, encoded) = value.to_str().ok()?.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = BASE64_STANDARD.decode(encoded.trim()).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (login, password) = text.split_once(':')?;
        Some(Credentials::new(login, password))
    };
    basic().map(Some).ok_or_else(status::unauthenticated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &'static str) -> Result<Option<Credentials>, Status> {
        let mut metadata = MetadataMap::new();
        metadata.insert(
            "authorization",
            tonic::metadata::MetadataValue::from_static(value),
        );
        credentials(&metadata)
    }

    #[test]
    fn a_name_and_a_password_are_taken_from_the_header() {
        // a:b:c
        let found = shown("bAsIc  YTpiOmM=").expect("it is understood");
        assert_eq!(found, Some(Credentials::new("a", "b:c")));
        assert_eq!(
            credentials(&MetadataMap::new()).expect("it is understood"),
            None
        );
        for wrong in ["", "Basic", "Basic !", "Basic YQ==", "Bearer YTpiOmM="] {
            let refused = shown(wrong).expect_err("it is refused");
            assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{wrong:?}");
        }
    }
}
