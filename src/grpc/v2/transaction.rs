//! Records of one append, within the limits, and the append itself.

use tokio::time::timeout;
use tonic::Code;

use super::record;
use super::refused::{Refused, invalid};
use crate::access::Principal;
use crate::grpc::auth::Wish;
use crate::grpc::incoming::Incoming;
use crate::grpc::streams::is_made;
use crate::grpc::wire::kurrentdb::protocol::v2::streams::AppendRecord;
use crate::grpc::{Shared, status};
use crate::model::{Append, ExpectedRevision, Receipt, Revision, StreamName};

/// An append that is put together.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    append: Append,
    len_bytes: usize,
    incoming: Incoming,
}

impl Transaction {
    /// Adds a record to a stream.
    pub(super) fn add(
        &mut self,
        shared: &Shared,
        stream: &StreamName,
        record: AppendRecord,
    ) -> Result<(), Refused> {
        let (event, len_bytes) = record::event(record)?;
        let limits = shared.store.options();
        if len_bytes > limits.event_len_bytes_max {
            return Err(Refused::RecordTooLarge {
                stream: stream.to_string(),
                record_id: event.id.to_string(),
                size: len_bytes,
                max: limits.event_len_bytes_max,
            });
        }
        self.len_bytes += len_bytes;
        if self.len_bytes > limits.append_len_bytes_max {
            let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
            return Err(Refused::TransactionTooLarge {
                size: number(self.len_bytes),
                max: number(limits.append_len_bytes_max),
            });
        }
        if self.append.events.len() >= limits.append_events_max {
            return Err(invalid("records", "a transaction has fewer records"));
        }
        self.incoming.hold(shared, self.len_bytes)?;
        self.append.events.push((stream.clone(), event));
        Ok(())
    }

    /// Adds an expectation.
    pub(super) fn expect(&mut self, stream: StreamName, expected: ExpectedRevision) {
        self.append.expectations.push((stream, expected));
    }

    /// Makes the append.
    pub(super) async fn commit(self, shared: &Shared) -> Result<Receipt, Refused> {
        let answered = timeout(shared.options.write_within, shared.submit(self.append)).await;
        let done = answered.map_err(|_| Refused::Timeout)?;
        let done = done.map_err(|_| Refused::Status(status::not_ready()))?;
        Ok(done?)
    }
}

/// What a number of the protocol expects of a stream, where it names no state.
pub(super) fn expected(number: i64) -> Option<ExpectedRevision> {
    match number {
        -1 => Some(ExpectedRevision::NoStream),
        -2 => Some(ExpectedRevision::Any),
        -4 => Some(ExpectedRevision::StreamExists),
        number => u64::try_from(number)
            .ok()
            .map(|revision| ExpectedRevision::Exactly(Revision(revision))),
    }
}

/// Refuses what the caller may not do, and to write what is computed.
pub(super) async fn allow(
    shared: &Shared,
    caller: &Principal,
    wish: Wish,
    operation: &'static str,
) -> Result<(), Refused> {
    let denied = || Refused::AccessDenied {
        caller: caller.name().to_owned(),
        operation,
    };
    if let Wish::Write(stream) = &wish
        && is_made(stream)
    {
        return Err(denied());
    }
    let allowed = shared.allow(caller, wish).await;
    allowed.map_err(|status| match status.code() {
        Code::PermissionDenied => denied(),
        _ => Refused::Status(status),
    })
}
