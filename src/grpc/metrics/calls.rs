//! Counts calls: a layer around all services, which sees how each ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Code;

use super::{Held, Metrics};

/// A call whose caller went away before the end.
const GONE: &str = "gone";
/// What is counted for methods that do not exist.
const UNKNOWN: &str = "unknown";
/// How the route of a service ends, behind which its method is named.
const ANY_METHOD: &str = "/{*rest}";

/// Measures a call.
pub(in crate::grpc) async fn count(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let method = match request.extensions().get::<MatchedPath>() {
        // Elsewhere a path has parts that the caller chooses.
        Some(path) if is_grpc && path.as_str().ends_with(ANY_METHOD) => {
            request.uri().path().to_owned()
        }
        Some(path) => path.as_str().to_owned(),
        None => UNKNOWN.to_owned(),
    };
    let mut call = Call {
        running: metrics.began(),
        metrics,
        method,
        status: None,
    };
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    let early = grpc_status(response.headers());
    if early == Some(Code::Unimplemented) {
        // Of paths that nobody serves there is no end.
        call.method = UNKNOWN.to_owned();
    }
    call.metrics.answered(&call.method, began.elapsed());
    call.status = match (is_grpc && status == StatusCode::OK, early) {
        (true, early) => early.map(name),
        (false, _) => Some(status.as_u16().to_string()),
    };
    response.map(|inner| Body::new(Watched { inner, call }))
}

fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// As the protocol spells it, but for the case.
fn name(code: Code) -> String {
    format!("{code:?}")
}

/// A call, counted when it is let go.
#[derive(Debug)]
struct Call {
    metrics: Metrics,
    method: String,
    status: Option<String>,
    #[expect(dead_code, reason = "it counts by being there")]
    running: Held,
}

impl Drop for Call {
    fn drop(&mut self) {
        let status = self.status.take().unwrap_or_else(|| GONE.to_owned());
        self.metrics.ended(&self.method, status);
    }
}

/// A body that tells how the call ended.
#[derive(Debug)]
struct Watched {
    inner: Body,
    call: Call,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(code) = frame.trailers_ref().and_then(grpc_status)
        {
            self.call.status = Some(name(code));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
