//! Consumer groups of a server: making and looking at them, and being a member.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::connection::{Connection, Feed};
use super::link::{Link, Trouble};
use super::{Client, ConnectError, GroupError, unexpected};
use crate::model::{GroupName, GroupSettings, GroupSource, GroupStart, RecordedEvent, Revision};
use crate::protocol::message::{self as wire, GroupRequest};
use crate::protocol::{Answer, Request, WireError};

pub use crate::protocol::message::{GroupPlace, MemberIs, NackAction, OldestInFlight};

/// The consumer groups of a server. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Groups(Arc<Link>);

/// A group, as a server shows it.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it goes through, with its filter.
    pub source: GroupSource,
    /// Its name.
    pub name: GroupName,
    /// How it is set.
    pub settings: GroupSettings,
    /// Where it began.
    pub start: GroupStart,
    /// What it is doing, such as `Live`.
    pub status: String,
    /// The last event in front of which everything is handled for good.
    pub last_checkpoint: Option<GroupPlace>,
    /// The last event that it has read.
    pub last_known: Option<GroupPlace>,
    /// The last event that went to a member for the first time.
    pub last_delivered: Option<GroupPlace>,
    /// The last event that was acknowledged.
    pub last_acknowledged: Option<GroupPlace>,
    /// The event that is at a member for the longest time.
    pub oldest_in_flight: Option<OldestInFlight>,
    /// What went wrong last, if the server tries it again.
    pub failure: Option<String>,
    /// Figures by name.
    pub figures: Vec<(String, u64)>,
    /// Its members.
    pub members: Vec<MemberIs>,
}

impl Group {
    /// A figure.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<u64> {
        let figure = self.figures.iter().find(|(figure, _)| figure == name);
        figure.map(|(_, value)| *value)
    }
}

/// An event as a member gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event; none if a link points to what is gone.
    pub event: Option<RecordedEvent>,
    /// The link through which it came.
    pub link: Option<RecordedEvent>,
    /// How often it was delivered before.
    pub retry_count: u32,
}

impl Delivery {
    /// The id by which it is acknowledged: that of the link, if it came through one.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let original = self.link.as_ref().or(self.event.as_ref());
        original.map(|event| event.id).unwrap_or_default()
    }
}

impl Client {
    /// The consumer groups of the server.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups(Arc::clone(&self.0))
    }
}

/// A question is asked again after a lost connection, and a change is sent once.
impl Groups {
    /// Makes a group.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn create(
        &self,
        source: &GroupSource,
        name: &GroupName,
        settings: &GroupSettings,
        start: GroupStart,
    ) -> Result<(), GroupError> {
        let definition = wire::GroupDefinition::of(source, name, settings, start);
        self.change(GroupRequest::Create(definition)).await
    }

    /// Changes a group: everything but its filter. Its members are dropped, and join again.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn update(
        &self,
        source: &GroupSource,
        name: &GroupName,
        settings: &GroupSettings,
        start: GroupStart,
    ) -> Result<(), GroupError> {
        let definition = wire::GroupDefinition::of(source, name, settings, start);
        self.change(GroupRequest::Update(definition)).await
    }

    /// Deletes a group and what it has parked.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn delete(&self, source: &GroupSource, name: &GroupName) -> Result<(), GroupError> {
        let group = wire::GroupId::of(source, name);
        self.change(GroupRequest::Delete(group)).await
    }

    /// All groups, or those of one source.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn list(&self, source: Option<&GroupSource>) -> Result<Vec<Group>, GroupError> {
        let source = source.map(ToString::to_string);
        self.ask(GroupRequest::List(source)).await
    }

    /// One group.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn describe(
        &self,
        source: &GroupSource,
        name: &GroupName,
    ) -> Result<Group, GroupError> {
        let group = wire::GroupId::of(source, name);
        let mut shown = self.ask(GroupRequest::Describe(group)).await?;
        shown.pop().ok_or_else(|| GroupError::NotFound {
            source_name: source.to_string(),
            group: name.to_string(),
        })
    }

    /// Delivers again what is parked: everything, or what lies in front of a revision of the parked
    /// stream.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn replay_parked(
        &self,
        source: &GroupSource,
        name: &GroupName,
        before: Option<Revision>,
    ) -> Result<(), GroupError> {
        self.change(GroupRequest::Replay(parked(source, name, before)))
            .await
    }

    /// Forgets what is parked: everything, or what lies in front of a revision of the parked
    /// stream.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn truncate_parked(
        &self,
        source: &GroupSource,
        name: &GroupName,
        before: Option<Revision>,
    ) -> Result<(), GroupError> {
        self.change(GroupRequest::Truncate(parked(source, name, before)))
            .await
    }

    /// Becomes a member of a group, which holds so many events at most that it has not
    /// acknowledged.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn join(
        &self,
        source: &GroupSource,
        name: &GroupName,
        credit_events: u32,
    ) -> Result<GroupMember, GroupError> {
        let mut member = GroupMember {
            link: Arc::clone(&self.0),
            join: wire::JoinGroup {
                group: wire::GroupId::of(source, name),
                credit_events,
                connection_name: self.0.options.name.clone(),
            },
            running: None,
            ready: VecDeque::new(),
        };
        member.start().await?;
        Ok(member)
    }

    async fn ask(&self, request: GroupRequest) -> Result<Vec<Group>, GroupError> {
        groups(self.0.ask(&Request::Groups(request)).await)
    }

    async fn change(&self, request: GroupRequest) -> Result<(), GroupError> {
        groups(self.0.ask_once(&Request::Groups(request)).await).map(drop)
    }
}

fn parked(source: &GroupSource, name: &GroupName, before: Option<Revision>) -> wire::Parked {
    wire::Parked {
        group: wire::GroupId::of(source, name),
        before: before.map(|revision| revision.0),
    }
}

fn groups(answered: Result<Answer, Trouble>) -> Result<Vec<Group>, GroupError> {
    match answered {
        Ok(Answer::Groups(list)) => list.groups.into_iter().map(Group::try_from).collect(),
        Ok(other) => Err(unexpected(&other).into()),
        Err(Trouble::Lost) => Err(GroupError::Unknown),
        Err(Trouble::Connection(error)) => Err(error.into()),
        Err(Trouble::Answer(error)) => Err(error.into()),
    }
}

impl TryFrom<wire::GroupIs> for Group {
    type Error = GroupError;

    fn try_from(group: wire::GroupIs) -> Result<Self, GroupError> {
        let (source, name, settings, start) = group.definition.parts()?;
        Ok(Self {
            source,
            name,
            settings,
            start,
            status: group.status,
            last_checkpoint: group.last_checkpoint,
            last_known: group.last_known,
            last_delivered: group.last_delivered,
            last_acknowledged: group.last_acknowledged,
            oldest_in_flight: group.oldest_in_flight,
            failure: group.failure,
            figures: group.figures,
            members: group.members,
        })
    }
}

/// A member of a group. When the connection is lost it joins again; what it had at hand goes to
/// others, or comes again. Dropping it ends the membership.
#[derive(Debug)]
pub struct GroupMember {
    link: Arc<Link>,
    join: wire::JoinGroup,
    running: Option<Running>,
    /// Events that arrived together and were not given yet.
    ready: VecDeque<Delivery>,
}

/// A membership that the server knows of; the connection is held so that it stays.
#[derive(Debug)]
struct Running {
    feed: Feed,
    _connection: Arc<Connection>,
}

impl GroupMember {
    /// The next event. It waits until there is one; dropping the future loses nothing.
    ///
    /// # Errors
    /// [`GroupError::Dropped`] when the group was changed, deleted or restarted: asked again, the
    /// member joins again. See [`GroupError`].
    pub async fn next(&mut self) -> Result<Delivery, GroupError> {
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Ok(delivery);
            }
            let Some(running) = &mut self.running else {
                self.start().await?;
                continue;
            };
            let Ok(frame) = running.feed.next().await else {
                self.stop();
                continue;
            };
            match Answer::decode(frame.kind, frame.body).map_err(not_the_protocol)? {
                Answer::Deliveries(deliveries) => {
                    for delivery in deliveries.events {
                        self.ready.push_back(taken(delivery)?);
                    }
                }
                Answer::Error(WireError::GoingAway) => self.stop(),
                Answer::Error(error) => {
                    self.stop();
                    return Err(error.into());
                }
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// These events are handled. It returns at once; an acknowledgement that is lost with the
    /// connection lets its event come again.
    pub fn ack(&self, deliveries: &[&Delivery]) {
        let ids = ids(deliveries);
        self.tell(&Request::Ack(wire::Ack { ids }));
    }

    /// These events are not handled, for a reason that is kept with those that are parked.
    pub fn nack(&self, deliveries: &[&Delivery], action: NackAction, reason: &str) {
        let ids = ids(deliveries);
        let reason = reason.to_owned();
        self.tell(&Request::Nack(wire::Nack {
            ids,
            action,
            reason,
        }));
    }

    fn tell(&self, request: &Request) {
        if let Some(running) = &self.running {
            running.feed.tell(request);
        }
    }

    /// What was at hand belongs to others now.
    fn stop(&mut self) {
        self.running = None;
        self.ready.clear();
    }

    /// Joins, and waits until the server says so.
    async fn start(&mut self) -> Result<(), GroupError> {
        loop {
            let connection = self.link.connection().await?;
            let request = Request::JoinGroup(self.join.clone());
            let Ok(mut feed) = connection.open_feed(&request) else {
                continue;
            };
            let Ok(frame) = feed.next().await else {
                continue;
            };
            match Answer::decode(frame.kind, frame.body).map_err(not_the_protocol)? {
                Answer::Joined(_) => {
                    self.running = Some(Running {
                        feed,
                        _connection: connection,
                    });
                    return Ok(());
                }
                Answer::Error(WireError::GoingAway) => (),
                Answer::Error(error) => return Err(error.into()),
                other => return Err(unexpected(&other).into()),
            }
        }
    }
}

fn ids(deliveries: &[&Delivery]) -> Vec<[u8; 16]> {
    let ids = deliveries.iter().map(|delivery| delivery.id().into_bytes());
    ids.collect()
}

fn taken(delivery: wire::GroupDelivery) -> Result<Delivery, GroupError> {
    Ok(Delivery {
        event: delivery.event.map(RecordedEvent::try_from).transpose()?,
        link: delivery.link.map(RecordedEvent::try_from).transpose()?,
        retry_count: delivery.retry_count,
    })
}

fn not_the_protocol(error: impl ToString) -> ConnectError {
    ConnectError::Protocol(error.to_string())
}
