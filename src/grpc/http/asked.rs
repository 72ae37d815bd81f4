//! Who asks over HTTP, and what a refusal looks like there.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use super::Shared;
use crate::access::Call;
use crate::grpc::auth::Wish;
use crate::grpc::node::Arrival;

/// How a caller may show who he is.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Annal\"");

/// Why something is not answered, by the status that a call would get.
#[derive(Debug)]
pub(super) struct Refused(Status);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let code = match self.0.code() {
            Code::InvalidArgument | Code::Internal => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists => StatusCode::CONFLICT,
            // The store is open for reading only.
            Code::FailedPrecondition => StatusCode::CONFLICT,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let text = self.0.message().to_owned();
        match code {
            StatusCode::UNAUTHORIZED => {
                (code, [(header::WWW_AUTHENTICATE, CHALLENGE)], text).into_response()
            }
            code => (code, text).into_response(),
        }
    }
}

/// What a request shows of who sends it, as a call would show it.
#[derive(Debug)]
pub(super) struct Asked(Request<()>);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut request = Request::new(());
        *request.metadata_mut() = MetadataMap::from_headers(parts.headers.clone());
        if let Some(arrival) = parts.extensions.get::<Arrival>() {
            request.extensions_mut().insert(arrival.clone());
        }
        Ok(Self(request))
    }
}

/// Refuses whoever may not make a call. Who shows nothing is asked to show something.
pub(super) async fn admit(shared: &Shared, asked: &Asked, call: Call) -> Result<(), Refused> {
    let Asked(request) = asked;
    let caller = shared.caller(request).await?;
    match shared.allow(&caller, Wish::Call(call)).await {
        Err(_) if caller.is_anonymous() => Err(Status::unauthenticated("Unauthenticated").into()),
        Err(refused) => Err(refused.into()),
        Ok(()) => Ok(()),
    }
}
