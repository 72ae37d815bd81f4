//! The log as the source of the index.

use crate::index::ids::{SeenRequest, request_fingerprint};
use crate::index::source::{Source, TableSet};
use crate::log::{Log, StorageError};
use crate::model::{Position, RecordedEvent};

/// How many bytes of the log are read at once.
const READ_LEN_BYTES: usize = 256 * 1024;

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
        let mut events = Vec::new();
        for run in self.read(from, to, READ_LEN_BYTES)?.runs {
            for record in run.records() {
                let event = record.and_then(|(position, layout, bytes)| {
                    let event = layout.event(&bytes, position)?;
                    Ok((event, u32::try_from(bytes.len()).unwrap_or(u32::MAX)))
                });
                events.push(event.map_err(|source| StorageError::damaged("the log", 0, source))?);
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
        let mut enough = false;
        let walked = self.units(from, &mut |unit| {
            if unit.header.first_position >= to {
                enough = true;
                return Err(StorageError::Closed);
            }
            let mut first = unit.header.first_position;
            for append in &unit.trailer.appends {
                if let Some(request) = &append.request
                    && first >= from
                    && first < to
                {
                    let fingerprint = request_fingerprint(&request.principal, request.id);
                    let seen = SeenRequest::of(first.0, append.records, request);
                    requests.push((fingerprint, seen));
                }
                first = first.plus(append.records.into());
            }
            Ok(())
        });
        match walked {
            Err(StorageError::Closed) if enough => Ok(requests),
            other => other.map(|()| requests),
        }
    }

    fn tables(&self) -> TableSet {
        let manifest = self.manifest().current();
        TableSet {
            tables: manifest.tables.clone(),
            next_id: manifest.next_table,
        }
    }

    fn put_tables(&self, tables: TableSet, checkpoint: bool) -> Result<(), StorageError> {
        let checkpoint = match checkpoint {
            true => Some(self.checkpoint()?.entry()),
            false => None,
        };
        self.manifest().update(|manifest| {
            manifest.indexed_to = tables.end();
            manifest.tables = tables.tables;
            manifest.next_table = tables.next_id;
            manifest.checkpoint = checkpoint.or(manifest.checkpoint.take());
        })
    }
}
