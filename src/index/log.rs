//! The log as the source of the index.

use std::ops::Range;

use crate::format::rewrite::IndexKey;
use crate::format::state::KnownRequest;
use crate::format::table::Kind;
use crate::index::ids::SeenRequest;
use crate::index::source::{RemovedEvent, Source, TableSet};
use crate::log::{Log, StorageError, Unit};
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

    fn removed(&self, from: Position, to: Position) -> Result<Vec<RemovedEvent>, StorageError> {
        let mut removed = Vec::new();
        Self::removed(self, from, to, &mut |position, keys| {
            // Kinds of a later version are not ours to count.
            let known = |(byte, text): &IndexKey| Some((Kind::from_byte(*byte)?, text.clone()));
            removed.push((position, keys.filter_map(known).collect()));
        })?;
        Ok(removed)
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
            push_requests(&unit, from..to, &mut requests);
            Ok(())
        });
        match walked {
            Err(StorageError::Closed) if enough => Ok(requests),
            other => other.map(|()| requests),
        }
    }

    fn requests_behind(
        &self,
        from: Position,
    ) -> Result<Vec<([u8; 16], SeenRequest)>, StorageError> {
        let to = Position(u64::MAX);
        // What the state file knows begins where the tables ended when it was written.
        if from < self.manifest().current().indexed_to {
            return self.requests(from, to);
        }
        let mut walked = Vec::new();
        let known = self.requests_found(&mut |unit| {
            push_requests(&unit, from..to, &mut walked);
            Ok(())
        })?;
        let Some(known) = known else {
            // Without a state file there was none in front of the place where opening begins.
            self.units_behind_start(from, &mut |unit| {
                push_requests(&unit, from..to, &mut walked);
                Ok(())
            })?;
            return Ok(walked);
        };
        let known = known.iter().filter(|known| known.first >= from.0);
        Ok(known
            .map(|known| (known.fingerprint, SeenRequest::known(known)))
            .chain(walked)
            .collect())
    }

    fn damaged(&self) -> Vec<(Position, Position, StorageError)> {
        let lost = self.lost().into_iter();
        lost.map(|lost| (lost.first, lost.end, lost.damage))
            .collect()
    }

    fn tables(&self) -> TableSet {
        let manifest = self.manifest().current();
        TableSet {
            tables: manifest.tables.clone(),
            next_id: manifest.next_table,
        }
    }

    fn put_tables(
        &self,
        tables: TableSet,
        checkpoint: Option<&dyn Fn(Position) -> Vec<KnownRequest>>,
    ) -> Result<(), StorageError> {
        let checkpoint = checkpoint.map(|known| self.checkpoint(known));
        let checkpoint = checkpoint.transpose()?;
        self.manifest().update(|manifest| {
            manifest.indexed_to = tables.end();
            manifest.tables = tables.tables;
            manifest.next_table = tables.next_id;
            if let Some(checkpoint) = checkpoint {
                checkpoint.name_in(manifest);
            }
        })
    }
}

/// The named requests of a unit whose appends begin in a range.
fn push_requests(unit: &Unit, range: Range<Position>, requests: &mut Vec<([u8; 16], SeenRequest)>) {
    let mut first = unit.header.first_position;
    for append in &unit.trailer.appends {
        if let Some(known) = KnownRequest::of(first, append)
            && range.contains(&first)
        {
            requests.push((known.fingerprint, SeenRequest::known(&known)));
        }
        first = first.plus(append.records.into());
    }
}
