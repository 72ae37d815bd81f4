//! Answers on their way to a client: a chunk at hand, and more to come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::grpc::status;

/// Messages that belong together, or why there are no more.
pub(super) type Chunk<T> = Result<Vec<T>, Status>;

/// The messages of a call.
#[derive(Debug)]
pub(in crate::grpc) struct Replies<T> {
    at_hand: vec::IntoIter<T>,
    more: Option<mpsc::Receiver<Chunk<T>>>,
    /// Whether a clean end is none: whoever sends must say why he stops.
    endless: bool,
}

impl<T> Replies<T> {
    /// These messages and no others.
    pub(super) fn whole(messages: Vec<T>) -> Self {
        Self {
            at_hand: messages.into_iter(),
            more: None,
            endless: false,
        }
    }

    /// These messages, and those that follow until the sender goes.
    pub(super) fn followed(messages: Vec<T>, more: mpsc::Receiver<Chunk<T>>) -> Self {
        Self {
            more: Some(more),
            ..Self::whole(messages)
        }
    }

    /// The same, but the end is an error, whoever forgets to say which.
    pub(super) fn endless(messages: Vec<T>, more: mpsc::Receiver<Chunk<T>>) -> Self {
        Self {
            endless: true,
            ..Self::followed(messages, more)
        }
    }
}

impl<T: Unpin> Stream for Replies<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(message) = this.at_hand.next() {
                return Poll::Ready(Some(Ok(message)));
            }
            let Some(more) = &mut this.more else {
                return Poll::Ready(None);
            };
            match ready!(more.poll_recv(context)) {
                Some(Ok(chunk)) => this.at_hand = chunk.into_iter(),
                Some(Err(error)) => {
                    this.more = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.more = None;
                    let forgotten = this.endless.then(|| Err(status::not_ready()));
                    return Poll::Ready(forgotten);
                }
            }
        }
    }
}
