//! An append on its way, sent in the order of the calls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::cli::failure::{Exit, Failure};
use crate::client::Client;
use crate::engine::Store;
use crate::model::{Append, Receipt};

type Answer = Result<Receipt, Failure>;

/// The answer to an append that was sent. Dropping it does not take the append back.
pub(in crate::cli) enum Sending {
    /// Somebody will say.
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// It was answered at once.
    Answered(Option<Answer>),
}

impl Sending {
    pub(super) fn to_server(client: &Client, append: Append) -> Self {
        let client = client.clone();
        let mut sending: Pin<Box<dyn Future<Output = Answer> + Send>> =
            Box::pin(async move { Ok(client.append_once(append).await?) });
        // The first look sends it. Nobody is to be woken: whoever waits will look again.
        match sending
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(answer) => Self::Answered(Some(answer)),
            Poll::Pending => Self::Waiting(sending),
        }
    }

    pub(super) fn to_folder(store: &Store, append: Append) -> Self {
        let (tell, told) = oneshot::channel();
        store.submit(append, move |answer| {
            // Whoever has stopped listening does not care.
            let _unheard = tell.send(answer);
        });
        Self::Waiting(Box::pin(async move {
            match told.await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(Failure::new(
                    Exit::Failure,
                    "the store was closed meanwhile",
                )),
            }
        }))
    }
}

impl Future for Sending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match &mut *self {
            Self::Waiting(answer) => answer.as_mut().poll(context),
            Self::Answered(answer) => {
                let twice = || Err(Failure::new(Exit::Failure, "an answer is given once"));
                Poll::Ready(answer.take().unwrap_or_else(twice))
            }
        }
    }
}
