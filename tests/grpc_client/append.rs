//! Appending, deleting and tombstoning as clients do it.

use tokio_stream::iter;
use tonic::Status;
use uuid::Uuid;

use super::v1::recorded_event::Entry;
use super::v1::streams::append_req::options::ExpectedStreamRevision as Expected;
use super::v1::streams::append_req::{Content, Options};
use super::v1::streams::append_resp::success::{CurrentRevisionOption, PositionOption};
use super::v1::streams::append_resp::wrong_expected_version as wev;
use super::v1::streams::append_resp::{Result as Answer, WrongExpectedVersion};
use super::v1::streams::delete_req::options::ExpectedStreamRevision as ExpectedEnd;
use super::v1::streams::{
    AppendReq, AppendResp, DeleteReq, TombstoneReq, delete_req, delete_resp, tombstone_resp,
};
use super::v1::{Empty, ProposedMessage};
use super::{Served, identifier, text_id};

pub(crate) const ANY: Expected = Expected::Any(Empty {});
pub(crate) const NO_STREAM: Expected = Expected::NoStream(Empty {});
pub(crate) const EXISTS: Expected = Expected::StreamExists(Empty {});

pub(crate) const fn exactly(revision: u64) -> Expected {
    Expected::Revision(revision)
}

pub(crate) fn entries(map: &[(&str, &str)]) -> Vec<Entry> {
    let bytes = |text: &str| text.as_bytes().to_vec().into();
    map.iter()
        .map(|(key, value)| Entry {
            key: bytes(key),
            value: bytes(value),
        })
        .collect()
}

/// A JSON event of a type with an id.
pub(crate) fn event(id: Uuid, event_type: &str) -> ProposedMessage {
    ProposedMessage {
        id: Some(text_id(id)),
        metadata: entries(&[("type", event_type), ("content-type", "application/json")]),
        custom_metadata: Default::default(),
        data: b"{}".to_vec().into(),
    }
}

/// So many events with new ids.
pub(crate) fn events(count: usize) -> Vec<ProposedMessage> {
    (0..count)
        .map(|_| event(Uuid::new_v4(), "Counted"))
        .collect()
}

/// How an append ended, in the words of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The current revision, if there is one, and the position, if there is one.
    Success(Option<u64>, Option<u64>),
    /// The current revision, if there is one.
    Wrong(Option<u64>),
}

impl Appended {
    pub(crate) fn of(response: AppendResp) -> Self {
        match response.result.expect("the result is set") {
            Answer::Success(success) => {
                let revision = match success.current_revision_option.expect("it is set") {
                    CurrentRevisionOption::CurrentRevision(revision) => Some(revision),
                    CurrentRevisionOption::NoStream(_) => None,
                };
                let position = match success.position_option.expect("it is set") {
                    PositionOption::Position(at) => {
                        assert_eq!(at.commit_position, at.prepare_position);
                        Some(at.commit_position)
                    }
                    PositionOption::NoPosition(_) => None,
                };
                Self::Success(revision, position)
            }
            Answer::WrongExpectedVersion(WrongExpectedVersion {
                current_revision_option,
                current_revision_option_20_6_0,
                expected_revision_option,
                expected_revision_option_20_6_0,
            }) => {
                expected_revision_option.expect("it is set");
                expected_revision_option_20_6_0.expect("it is set");
                let current = match current_revision_option.expect("it is set") {
                    wev::CurrentRevisionOption::CurrentRevision(revision) => Some(revision),
                    wev::CurrentRevisionOption::CurrentNoStream(_) => None,
                };
                let old = match current_revision_option_20_6_0.expect("it is set") {
                    wev::CurrentRevisionOption2060::CurrentRevision2060(revision) => Some(revision),
                    wev::CurrentRevisionOption2060::NoStream2060(_) => None,
                };
                assert_eq!(current, old);
                Self::Wrong(current)
            }
        }
    }

    pub(crate) fn position(&self) -> u64 {
        match self {
            Self::Success(_, Some(position)) => *position,
            other => panic!("{other:?}"),
        }
    }
}

/// The messages of one append.
pub(crate) fn messages(
    stream: &str,
    expected: Option<Expected>,
    events: Vec<ProposedMessage>,
) -> Vec<AppendReq> {
    let options = Content::Options(Options {
        stream_identifier: Some(identifier(stream)),
        expected_stream_revision: expected,
    });
    let events = events.into_iter().map(Content::ProposedMessage);
    std::iter::once(options)
        .chain(events)
        .map(|content| AppendReq {
            content: Some(content),
        })
        .collect()
}

impl Served {
    pub(crate) async fn append(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<ProposedMessage>,
    ) -> Result<Appended, Status> {
        let messages = messages(stream, Some(expected), events);
        let response = self.streams().append(iter(messages)).await?;
        Ok(Appended::of(response.into_inner()))
    }

    /// Appends so many events and returns the position of the last one.
    pub(crate) async fn fill(&self, stream: &str, count: usize) -> u64 {
        self.append(stream, ANY, events(count))
            .await
            .unwrap()
            .position()
    }

    /// Replaces the metadata of a stream.
    pub(crate) async fn set_metadata(&self, stream: &str, json: &str) {
        let mut event = event(Uuid::new_v4(), "$metadata");
        event.data = json.as_bytes().to_vec().into();
        self.append(&format!("$${stream}"), ANY, vec![event])
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, stream: &str, expected: Expected) -> Result<u64, Status> {
        let options = Some(ending(stream, expected));
        let response = self.streams().delete(DeleteReq { options }).await?;
        match response.into_inner().position_option.expect("it is set") {
            delete_resp::PositionOption::Position(at) => Ok(at.commit_position),
            delete_resp::PositionOption::NoPosition(_) => panic!("no position"),
        }
    }

    pub(crate) async fn tombstone(&self, stream: &str, expected: Expected) -> Result<u64, Status> {
        let options = Some(ending(stream, expected));
        let response = self.streams().tombstone(TombstoneReq { options }).await?;
        match response.into_inner().position_option.expect("it is set") {
            tombstone_resp::PositionOption::Position(at) => Ok(at.commit_position),
            tombstone_resp::PositionOption::NoPosition(_) => panic!("no position"),
        }
    }
}

fn ending(stream: &str, expected: Expected) -> delete_req::Options {
    delete_req::Options {
        stream_identifier: Some(identifier(stream)),
        expected_stream_revision: Some(match expected {
            Expected::Revision(revision) => ExpectedEnd::Revision(revision),
            Expected::NoStream(empty) => ExpectedEnd::NoStream(empty),
            Expected::Any(empty) => ExpectedEnd::Any(empty),
            Expected::StreamExists(empty) => ExpectedEnd::StreamExists(empty),
        }),
    }
}
