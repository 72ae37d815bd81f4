//! What each request needs its sender to be allowed, in one table; and what he is shown of feeds.
//!
//! A request that has no row here does not compile.

use super::error::Refusal;
use super::session::Session;
use crate::access::{Access, Action, Call, Principal, Visibility};
use crate::engine::Batch;
use crate::model::{Append, InvalidText, StreamName};
use crate::protocol::message as wire;
use crate::protocol::{Request, WireError};

/// One thing that the sender must be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read(StreamName),
    Write(StreamName),
    Delete(StreamName),
    ReadMetadata(StreamName),
    ReadAll,
    Call(Call),
}

impl Need {
    fn action(&self) -> Action<'_> {
        match self {
            Self::Read(stream) => Action::Read(stream),
            Self::Write(stream) => Action::Write(stream),
            Self::Delete(stream) => Action::Delete(stream),
            Self::ReadMetadata(stream) => Action::ReadMetadata(stream),
            Self::ReadAll => Action::ReadAll,
            Self::Call(call) => Action::Call(*call),
        }
    }
}

/// The table.
fn needs(request: &Request) -> Result<Vec<Need>, InvalidText> {
    Ok(match request {
        // They change nothing that was not allowed before.
        Request::Hello(_)
        | Request::Heartbeat(_)
        | Request::Credit(_)
        | Request::Cancel(_)
        | Request::Ack(_)
        | Request::Nack(_) => Vec::new(),
        Request::Append(append) => of_append(append),
        Request::Read(read) => vec![of_source(&read.source)?],
        Request::Subscribe(subscribe) => vec![of_source(&subscribe.source)?],
        Request::Event(wire::EventAt::Position(_)) => vec![Need::ReadAll],
        Request::Event(wire::EventAt::Revision { stream, .. }) => {
            vec![Need::Read(StreamName::try_from(&**stream)?)]
        }
        Request::DescribeStream(describe) => {
            let stream = StreamName::try_from(&*describe.stream)?;
            vec![Need::Read(stream.clone()), Need::ReadMetadata(stream)]
        }
        Request::ListStreams(_) => vec![Need::Read(StreamName::try_from("$streams")?)],
        Request::Groups(request) => vec![Need::Call(of_groups(request))],
        Request::JoinGroup(join) => vec![of_group(&join.group)?, Need::Call(Call::InspectGroups)],
        Request::Users(request) => vec![Need::Call(of_users(request))],
        Request::PositionAt(_) | Request::WaitFor(_) | Request::Status(_) => {
            vec![Need::Call(Call::Status)]
        }
    })
}

/// Events are written, what is only expected is found out by it, and an end is a deletion.
fn of_append(append: &Append) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let mut written: Vec<&StreamName> = append.events.iter().map(|(stream, _)| stream).collect();
    written.sort_unstable();
    written.dedup();
    let ended = append.ending.as_ref().map(|(stream, _)| stream);
    for (stream, _) in &append.expectations {
        if written.binary_search(&stream).is_err() && ended != Some(stream) {
            needs.push(Need::Read(stream.clone()));
        }
    }
    needs.extend(written.into_iter().cloned().map(Need::Write));
    needs.extend(ended.cloned().map(Need::Delete));
    needs
}

/// To change a password, the one before is what has to be shown.
fn of_users(request: &wire::UserRequest) -> Call {
    match request {
        wire::UserRequest::List(_) => Call::InspectUsers,
        wire::UserRequest::ChangePassword { .. } => Call::ChangePassword,
        wire::UserRequest::Create { .. }
        | wire::UserRequest::Update { .. }
        | wire::UserRequest::Delete(_)
        | wire::UserRequest::Enable(_)
        | wire::UserRequest::Disable(_)
        | wire::UserRequest::ResetPassword { .. } => Call::ManageUsers,
    }
}

fn of_groups(request: &wire::GroupRequest) -> Call {
    match request {
        wire::GroupRequest::List(_) | wire::GroupRequest::Describe(_) => Call::InspectGroups,
        wire::GroupRequest::Create(_)
        | wire::GroupRequest::Update(_)
        | wire::GroupRequest::Delete(_)
        | wire::GroupRequest::Replay(_)
        | wire::GroupRequest::Truncate(_) => Call::ManageGroups,
    }
}

/// A member reads the source of its group, and has to be somebody.
fn of_group(group: &wire::GroupId) -> Result<Need, InvalidText> {
    Ok(match &*group.source {
        "$all" => Need::ReadAll,
        stream => Need::Read(StreamName::try_from(stream)?),
    })
}

/// What is computed is judged like the system stream that shows the same.
fn of_source(source: &wire::Source) -> Result<Need, InvalidText> {
    Ok(match source {
        wire::Source::All | wire::Source::Tag(_) | wire::Source::Filtered(_) => Need::ReadAll,
        wire::Source::Stream(stream) => Need::Read(StreamName::try_from(&**stream)?),
        wire::Source::Category(category) => {
            Need::Read(StreamName::try_from(format!("$ce-{category}"))?)
        }
        wire::Source::EventType(of) => Need::Read(StreamName::try_from(format!("$et-{of}"))?),
    })
}

/// What the sender of a request must be allowed, as long as the request is worked at.
#[derive(Debug)]
pub(super) struct Permit {
    needs: Vec<Need>,
    access: Access,
    principal: Principal,
    visibility: Visibility,
}

impl Session {
    /// What a request needs.
    pub(super) fn permit(&self, request: &Request) -> Result<Permit, WireError> {
        let principal = self.principal();
        let access = &self.shared.access;
        let needs = match access.is_open() {
            true => Vec::new(),
            false => needs(request)?,
        };
        Ok(Permit {
            needs,
            visibility: access.visibility(&principal),
            access: access.clone(),
            principal,
        })
    }
}

impl Permit {
    /// Whether nothing has to be asked at this moment.
    pub(super) fn is_unlimited(&self) -> bool {
        self.access.is_unlimited(&self.principal)
    }

    /// Whether the sender is allowed it now. It may wait for the disk.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        for need in &self.needs {
            self.access.authorize(&self.principal, need.action())?;
        }
        Ok(())
    }

    /// Leaves of a batch what the sender may see; returns how many events he may not.
    pub(super) fn show(&mut self, batch: &mut Batch) -> Result<u64, Refusal> {
        match self.is_unlimited() {
            true => Ok(0),
            false => {
                let visibility = &mut self.visibility;
                batch.retain_streams(|stream| Ok(visibility.sees(stream)?))
            }
        }
    }

    /// Whether the sender sees a stream.
    pub(super) fn sees(&mut self, stream: &StreamName) -> Result<bool, Refusal> {
        Ok(self.visibility.sees(stream)?)
    }
}
