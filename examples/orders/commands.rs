//! The command side: load, decide, append what was decided if nobody was faster.

use annal::{
    Append, AppendError, Direction, EventType, ExpectedRevision, NewEvent, ReadError, ReadFrom,
    RecordedEvent, Store, StreamName, Token,
};
use uuid::Uuid;

use crate::Failure;
use crate::order::{Command, Event, Order};

/// How often a command is decided anew when others keep being faster.
const ATTEMPTS_MAX: usize = 100;

/// Handles commands for orders.
pub struct Orders<'a> {
    store: &'a Store,
}

impl<'a> Orders<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Does what is wanted, or says why not. The token covers what was written.
    pub fn handle(&self, order: Uuid, command: &Command) -> Result<Token, Failure> {
        let stream = StreamName::new(format!("order-{order}"))?;
        for _ in 0..ATTEMPTS_MAX {
            let (state, expected) = self.load(&stream)?;
            let events = state.decide(command)?;
            let events = events.iter().map(to_new).collect::<Result<Vec<_>, _>>()?;
            match self.store.append(Append::to(stream.clone(), expected, events)) {
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
        let events = match self.store.read_stream(stream, ReadFrom::Start, Direction::Forwards) {
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

/// An event of the domain as one for the store: its name becomes the type, its fields the data.
fn to_new(event: &Event) -> Result<NewEvent, Failure> {
    let json = serde_json::to_value(event)?;
    let event_type = json["type"].as_str().unwrap_or_default().to_owned();
    Ok(NewEvent::json(EventType::new(event_type)?, json["data"].to_string()))
}

/// The same back.
pub fn from_recorded(event: &RecordedEvent) -> Result<Event, Failure> {
    let data: serde_json::Value = serde_json::from_slice(&event.data)?;
    let json = serde_json::json!({ "type": event.event_type.as_str(), "data": data });
    Ok(serde_json::from_value(json)?)
}
