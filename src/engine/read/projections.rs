//! The system projections: what decides how far virtual streams go.
//!
//! There is nothing to compute, so a projection that runs is always at the end of the log. One that
//! is stopped stays where it was: its streams show nothing from there on, until it runs again. That
//! it is stopped is a state record of the store, and survives a start.

use bytes::Bytes;

use crate::engine::read::Reading;
use crate::engine::{AppendError, Store};
use crate::model::{Append, Position, Projection, StateChange, StateSpace};

/// Where a system projection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectionState {
    /// Which one.
    pub projection: Projection,
    /// Whether it runs.
    pub is_running: bool,
    /// Its streams show everything in front of this position, and nothing else.
    pub position: Position,
}

fn key(projection: Projection) -> Bytes {
    Bytes::from(format!("stopped {}", projection.name()))
}

impl Reading {
    /// Where a projection was stopped; none if it runs.
    pub(crate) fn stopped_at(&self, projection: Projection) -> Option<Position> {
        let value = self
            .log
            .state(StateSpace::Projections.byte(), &key(projection))?;
        let position = std::str::from_utf8(&value).ok()?.parse().ok()?;
        Some(Position(position))
    }
}

impl Store {
    /// The five system projections, by name. In a new store all of them run.
    #[must_use]
    pub fn system_projections(&self) -> [ProjectionState; 5] {
        Projection::ALL.map(|projection| {
            let stopped_at = self.reading().stopped_at(projection);
            ProjectionState {
                projection,
                is_running: stopped_at.is_none(),
                position: stopped_at.unwrap_or_else(|| self.committed()),
            }
        })
    }

    /// Lets a system projection run, or stops it where the log ends now. Nothing changes if it is
    /// so already.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn set_system_projection(
        &self,
        projection: Projection,
        is_running: bool,
    ) -> Result<(), AppendError> {
        if self.reading().stopped_at(projection).is_none() == is_running {
            return Ok(());
        }
        let position = self.committed().to_string();
        let change = match is_running {
            true => StateChange::remove(StateSpace::Projections, key(projection)),
            false => StateChange::put(StateSpace::Projections, key(projection), position),
        };
        self.append(Append::new().state(change))?;
        self.reading().committed.changed();
        Ok(())
    }
}
