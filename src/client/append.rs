//! Appending, and the rule that says when an append may be sent again.

use super::AppendError;
use super::ConnectError;
use super::link::{Link, Trouble};
use crate::model::{Append, Receipt};
use crate::protocol::frame::FRAME_LEN_BYTES_MAX;
use crate::protocol::{Answer, Request, WireError};

pub(super) async fn append(link: &Link, append: Append) -> Result<Receipt, AppendError> {
    refuse_what_cannot_be_sent(&append)?;
    let may_repeat = may_repeat(&append);
    let request = Request::Append(append);
    let mut in_doubt = false;
    loop {
        let trouble = match link.ask_once(&request).await {
            Ok(answer) => return receipt(answer),
            Err(trouble) => trouble,
        };
        match trouble {
            // The server took nothing of it.
            Trouble::Answer(WireError::GoingAway) => (),
            Trouble::Answer(error) if in_doubt && !speaks_of_the_log(&error) => {
                return Err(AppendError::Unknown(format!(
                    "the connection was lost, and when the append was sent again: {error}"
                )));
            }
            Trouble::Connection(error) if in_doubt => {
                return Err(AppendError::Unknown(format!(
                    "the connection was lost; {error}"
                )));
            }
            Trouble::Lost if may_repeat => in_doubt = true,
            trouble => return Err(sent_once(trouble)),
        }
    }
}

pub(super) async fn append_once(link: &Link, append: Append) -> Result<Receipt, AppendError> {
    refuse_what_cannot_be_sent(&append)?;
    match link.ask_once(&Request::Append(append)).await {
        Ok(answer) => receipt(answer),
        Err(trouble) => Err(sent_once(trouble)),
    }
}

fn receipt(answer: Answer) -> Result<Receipt, AppendError> {
    match answer {
        Answer::Receipt(receipt) => {
            let misnamed = |error| AppendError::Unknown(format!("{error}"));
            Receipt::try_from(receipt).map_err(misnamed)
        }
        other => {
            let problem = format!("an answer of kind {:#04x} to an append", other.kind());
            Err(AppendError::Unknown(problem))
        }
    }
}

/// What the trouble means if nothing was sent before.
fn sent_once(trouble: Trouble) -> AppendError {
    match trouble {
        Trouble::Answer(error) => error.into(),
        Trouble::Connection(error) => error.into(),
        Trouble::Lost => AppendError::Unknown("the connection was lost".to_owned()),
    }
}

/// Whether an answer to a second sending says that the first did nothing: only if the store looked
/// for its work and found other events in its place. A store that is too busy, does not write any
/// more or does not allow it any more did not look; and a stream can have been deleted in between.
fn speaks_of_the_log(error: &WireError) -> bool {
    matches!(
        error,
        WireError::WrongExpectedRevision { .. } | WireError::RequestIdReused(_)
    )
}

/// Whether an append that was sent twice does its work once, and is answered by what is true.
fn may_repeat(append: &Append) -> bool {
    if append.request.is_some() {
        return true;
    }
    append.ending.is_none() && !append.events.is_empty()
}

/// What would not fit into a frame is not sent; the server's own limits are lower. State records,
/// and appends of nothing, are for programs that have the store themselves.
fn refuse_what_cannot_be_sent(append: &Append) -> Result<(), AppendError> {
    if !append.states.is_empty() {
        let problem = "a client cannot change state records";
        return Err(AppendError::Invalid(problem.to_owned()));
    }
    if append.brought_back.is_some() {
        let problem = "a client brings a stream back by appending to it";
        return Err(AppendError::Invalid(problem.to_owned()));
    }
    let events = append.events.iter();
    let payloads = events.map(|(_, event)| event.data.len() + event.metadata.len());
    let len_bytes: usize = payloads.sum();
    match len_bytes > FRAME_LEN_BYTES_MAX {
        false => Ok(()),
        true => Err(AppendError::OverLimit {
            what: "an append, in bytes,".to_owned(),
            value: len_bytes.try_into().unwrap_or(u64::MAX),
            max: FRAME_LEN_BYTES_MAX.try_into().unwrap_or(u64::MAX),
        }),
    }
}

impl From<std::convert::Infallible> for ConnectError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventType, ExpectedRevision, NewEvent, Request, StreamName};
    use crate::protocol::StorageKind;
    use crate::protocol::message::{Expected, StreamHead};

    fn stream(name: &str) -> StreamName {
        StreamName::new(name.to_owned()).unwrap()
    }

    fn one() -> Append {
        let event = NewEvent::json(EventType::new("T").unwrap(), "{}");
        Append::to(stream("a"), ExpectedRevision::NoStream, [event])
    }

    #[test]
    fn a_second_sending_that_was_not_looked_for_in_the_log_leaves_the_doubt() {
        let (kind, text) = (
            StorageKind::Poisoned,
            "it does not write any more".to_owned(),
        );
        let (stream, found) = ("a".to_owned(), StreamHead::At(7));
        let of = || "an append".to_owned();
        for error in [
            WireError::Storage { kind, text },
            WireError::Busy,
            WireError::IndexRebuilding { done: 1, of: 2 },
            WireError::Denied("not any more".to_owned()),
            WireError::OverLimit {
                what: of(),
                value: 2,
                max: 1,
            },
            WireError::StreamDeleted {
                stream: stream.clone(),
                found,
            },
            WireError::Unknown("the sync failed".to_owned()),
        ] {
            assert!(!speaks_of_the_log(&error), "{error}");
        }
        assert!(speaks_of_the_log(&WireError::RequestIdReused([7; 16])));
        let expected = Expected::NoStream;
        assert!(speaks_of_the_log(&WireError::WrongExpectedRevision {
            stream,
            expected,
            found,
        }));
    }

    #[test]
    fn only_what_the_store_knows_again_is_sent_again() {
        assert!(may_repeat(&one()));
        let named = Request {
            principal: String::new(),
            id: uuid::Uuid::nil(),
        };
        let checks = one().expect(stream("b"), ExpectedRevision::StreamExists);
        assert!(may_repeat(&checks));
        let only_checks = Append::new().expect(stream("b"), ExpectedRevision::StreamExists);
        assert!(!may_repeat(&only_checks));
        assert!(may_repeat(&only_checks.request(named.clone())));
        let deletes = Append::delete(stream("a"), ExpectedRevision::Any);
        assert!(!may_repeat(&deletes));
        assert!(may_repeat(&deletes.request(named)));
        assert!(!may_repeat(&Append::new()));
    }
}
