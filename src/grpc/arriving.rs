//! Memory for messages that are still arriving: a layer around all services, which sees the bytes
//! of a call before they are gathered.
//!
//! A message is kept by the library until it is whole, as many of them as there are calls. Small
//! ones are free; for a larger one its whole length is taken out of the budget that appends share,
//! when its first bytes are seen, and given back when its reader asks for what is behind it: then
//! whoever handles it holds what it needs itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Buf;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::incoming::UNCOUNTED_LEN_BYTES;
use super::{Shared, status};

/// One byte that says whether it is compressed, and four for its length.
const HEADER_LEN_BYTES: usize = 5;

/// Refuses a call that is too many, and watches what the caller of another sends.
pub(super) async fn hold(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return next.run(request).await;
    }
    if shared.metrics.running() > shared.options.all_calls_max {
        return status::too_busy().into_http();
    }
    let (budget, len_max) = (&shared.incoming, shared.options.message_len_bytes_max);
    let arriving = |inner| Arriving::new(inner, Arc::clone(budget), len_max);
    next.run(request.map(|inner| Body::new(arriving(inner))))
        .await
}

/// The messages of one call.
struct Arriving {
    inner: Body,
    budget: Arc<Semaphore>,
    /// Whoever gathers the bytes refuses a longer message at its header.
    len_max: usize,
    /// The bytes of a header that is not whole.
    header: Vec<u8>,
    /// How many bytes of the message are still to come.
    missing: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Arriving {
    fn new(inner: Body, budget: Arc<Semaphore>, len_max: usize) -> Self {
        Self {
            inner,
            budget,
            len_max,
            header: Vec::with_capacity(HEADER_LEN_BYTES),
            missing: 0,
            held: None,
        }
    }

    /// Counts bytes, and takes of the budget for each message that begins in them.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            let (of_message, rest) = bytes.split_at(self.missing.min(bytes.len()));
            self.missing -= of_message.len();
            let lacking = HEADER_LEN_BYTES - self.header.len();
            let (of_header, rest) = rest.split_at(lacking.min(rest.len()));
            self.header.extend_from_slice(of_header);
            bytes = rest;
            if let [_, len @ ..] = &*self.header
                && len.len() == HEADER_LEN_BYTES - 1
            {
                let mut len = len;
                self.missing = usize::try_from(len.get_u32()).unwrap_or(usize::MAX);
                self.header.clear();
                self.take()?;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), Status> {
        if (UNCOUNTED_LEN_BYTES + 1..=self.len_max).contains(&self.missing) {
            let len = u32::try_from(self.missing).unwrap_or(u32::MAX);
            let taken = Arc::clone(&self.budget).try_acquire_many_owned(len);
            self.held = Some(taken.map_err(|_| status::too_busy())?);
        }
        Ok(())
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.missing == 0 {
            self.held = None;
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
            && let Err(status) = self.pass(bytes)
        {
            return Poll::Ready(Some(Err(axum::Error::new(status))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    fn arriving(budget: &Arc<Semaphore>) -> Arriving {
        Arriving::new(Body::empty(), Arc::clone(budget), 1 << 20)
    }

    fn message(len: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.put_u32(u32::try_from(len).unwrap());
        message.resize(HEADER_LEN_BYTES + len, 7);
        message
    }

    #[test]
    fn messages_are_told_apart_however_their_bytes_are_cut() {
        let large = UNCOUNTED_LEN_BYTES + 1;
        let bytes = [message(0), message(9), message(large), message(3)].concat();
        for step in [1, 2, 5, 7, 1000, bytes.len()] {
            let budget = Arc::new(Semaphore::new(large));
            let mut arriving = arriving(&budget);
            bytes
                .chunks(step)
                .for_each(|part| arriving.pass(part).unwrap());
            assert_eq!((arriving.missing, arriving.header.len()), (0, 0), "{step}");
            assert_eq!(budget.available_permits(), 0, "{step}");
        }
    }

    #[test]
    fn what_is_announced_is_taken_at_once_and_beyond_the_budget_refused() {
        let budget = Arc::new(Semaphore::new(200_000));
        let (mut first, mut second) = (arriving(&budget), arriving(&budget));
        first.pass(&message(150_000)[..5]).unwrap();
        assert_eq!(budget.available_permits(), 50_000);
        second.pass(&message(UNCOUNTED_LEN_BYTES)).unwrap();
        assert!(second.pass(&message(100_000)[..5]).is_err());
        let mut longer = arriving(&budget);
        longer.pass(&[0, 0xff, 0xff, 0xff, 0xff]).unwrap();
        drop((first, longer));
        assert_eq!(budget.available_permits(), 200_000);
    }
}
