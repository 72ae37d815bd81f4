//! The log as the source of the index.

use super::ids::{SeenRequest, request_fingerprint};
use super::source::Source;
use crate::log::{Log, StorageError};
use crate::model::{Position, RecordedEvent};

/// How much of the log is read at once, in bytes.
const READ_LEN_BYTES: usize = 1024 * 1024;

impl Source for Log {
    fn secret(&self) -> [u8; 16] {
        self.identity().unit_salt.bytes()
    }

    fn end(&self) -> Position {
        Self::end(self)
    }

    fn events(
        &self,
        from: Position,
        to: Position,
    ) -> Result<Vec<(RecordedEvent, u32)>, StorageError> {
        let chunk = self.read(from, to, READ_LEN_BYTES)?;
        let mut events = Vec::new();
        for run in &chunk.runs {
            for record in run.records() {
                let damaged = |error| StorageError::damaged("the log", 0, error);
                let (position, layout, bytes) = record.map_err(damaged)?;
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                events.push((layout.event(&bytes, position).map_err(damaged)?, len));
            }
        }
        Ok(events)
    }

    fn requests(
        &self,
        from: Position,
        to: Position,
    ) -> Result<Vec<([u8; 16], SeenRequest)>, StorageError> {
        let mut requests = Vec::new();
        self.units(from, &mut |unit| {
            let mut first = unit.header.first_position;
            for append in &unit.trailer.appends {
                if let Some(request) = &append.request
                    && (from..to).contains(&first)
                {
                    let fingerprint = request_fingerprint(&request.principal, request.id);
                    let seen = SeenRequest::of(first.0, append.records, request);
                    requests.push((fingerprint, seen));
                }
                first = first.plus(append.records.into());
            }
            Ok(())
        })?;
        Ok(requests)
    }
}
