//! Who asks over HTTP, and what a refusal looks like there.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use super::Shared;
use crate::access::Call;
use crate::grpc::auth::Wish;

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

/// Refuses whoever may not make a call. Who shows nothing is asked to show something.
pub(super) async fn admit(shared: &Shared, headers: &HeaderMap, call: Call) -> Result<(), Refused> {
    let mut request = Request::new(());
    *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
    let caller = shared.caller(&request).await?;
    match shared.allow(&caller, Wish::Call(call)).await {
        Err(_) if caller.is_anonymous() => Err(Status::unauthenticated("Unauthenticated").into()),
        Err(refused) => Err(refused.into()),
        Ok(()) => Ok(()),
    }
}
