//! The command side: load, decide, append what was decided if nobody was faster.

use annal::{
    Append, AppendError, Direction, EventType, ExpectedRevision, NewEvent, ReadError, ReadFrom,
    RecordedEvent, Store, StreamName, Token,
};
use serde::Deserialize;
use uuid::Uuid;

use super::Failure;
use super::order::{Command, Event, Order};

/// How often a command is decided anew when others keep being faster.
const ATTEMPTS_MAX: usize = 100;

/// Handles commands for orders.
pub(crate) struct Orders<'a> {
    store: &'a Store,
}

impl<'a> Orders<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Does what is wanted, or says why not. The token covers what was written.
    pub(crate) fn handle(&self, order: Uuid, command: &Command) -> Result<Token, Failure> {
        let stream = StreamName::new(format!("order-{order}"))?;
        for _ in 0..ATTEMPTS_MAX {
            let (state, expected) = self.load(&stream)?;
            let events = state.decide(command)?;
            let events = events.iter().map(to_new).collect::<Result<Vec<_>, _>>()?;
            let append = Append::to(stream.clone(), expected, events);
            match self.store.append(append) {
                Ok(receipt) => return Ok(receipt.token),
                Err(AppendError::WrongExpectedRevision { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err("others were faster each time".into())
    }

    /// Rebuilds an order from its stream, with what an append of its next events expects.
    fn load(&self, stream: &StreamName) -> Result<(Order, ExpectedRevision), Failure> {
        let (mut order, mut expected) = (Order::default(), ExpectedRevision::NoStream);
        let events = self
            .store
            .read_stream(stream, ReadFrom::Start, Direction::Forwards);
        let events = match events {
            Err(ReadError::StreamNotFound(_)) => return Ok((order, expected)),
            events => events?,
        };
        for event in events {
            let event = event?;
            order.apply(&from_recorded(&event)?);
            expected = ExpectedRevision::Exactly(event.revision);
        }
        Ok((order, expected))
    }
}

/// An event of the domain as its JSON shows it.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    name: String,
    data: serde_json::Value,
}

/// An event of the domain as one for the store: its name becomes the type, its fields the data.
fn to_new(event: &Event) -> Result<NewEvent, Failure> {
    let Named { name, data } = serde_json::from_value(serde_json::to_value(event)?)?;
    Ok(NewEvent::json(EventType::new(name)?, data.to_string()))
}

/// The same back.
pub(crate) fn from_recorded(event: &RecordedEvent) -> Result<Event, Failure> {
    let data: serde_json::Value = serde_json::from_slice(&event.data)?;
    let json = serde_json::json!({ "type": event.event_type.as_str(), "data": data });
    Ok(serde_json::from_value(json)?)
}
