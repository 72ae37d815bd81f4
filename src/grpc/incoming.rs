//! Memory and time for what is still arriving: small appends are free, larger ones take of a budget
//! that all connections share; and whoever owes the next message of a call has so long for it.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{Shared, status};

/// What an append takes without being counted, in bytes.
pub(super) const UNCOUNTED_LEN_BYTES: usize = 64 * 1024;

/// What one append has taken. Dropping it gives it back.
#[derive(Debug, Default)]
pub(super) struct Incoming(Option<OwnedSemaphorePermit>);

impl Incoming {
    /// Takes as much as is needed for so many bytes together, or says that there is not so much.
    pub(super) fn hold(&mut self, shared: &Shared, len_bytes: usize) -> Result<(), Status> {
        if len_bytes <= UNCOUNTED_LEN_BYTES {
            return Ok(());
        }
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(len_bytes.saturating_sub(held)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&shared.incoming).try_acquire_many_owned(more);
        let taken = taken.map_err(|_| status::too_busy())?;
        match &mut self.0 {
            Some(held) => held.merge(taken),
            None => self.0 = Some(taken),
        }
        Ok(())
    }
}

impl Shared {
    /// The next message of a caller who owes one; none if that was all.
    pub(super) async fn owed<T>(&self, heard: &mut Streaming<T>) -> Result<Option<T>, Status> {
        let message = timeout(self.options.message_within, heard.message()).await;
        let message = message.map_err(|_| status::too_slow())?;
        message.map_err(status::of_incoming)
    }
}
