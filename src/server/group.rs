//! Consumer groups over the native protocol: questions and changes, and one small task for each
//! member, which sleeps until its group has something for it.
//!
//! What a member may hold is counted by its group, so a delivery costs no credit in bytes: each
//! acknowledgement makes room for one more event.

use std::sync::Arc;

use uuid::Uuid;

use super::error::{Refusal, of_append, of_read};
use super::feed::Feed;
use super::permit::Permit;
use super::session::Session;
use crate::protocol::message as wire;
use crate::protocol::records::RECORDS_LEN_BYTES;
use crate::protocol::{Answer, WireError};
use crate::subscription::{
    Delivery, GroupError, GroupInfo, GroupPlace, Groups, JoinOptions, Member, MemberError,
    MemberInfo, NackAction,
};

/// The longest name of a connection, in bytes.
const CONNECTION_NAME_LEN_BYTES_MAX: usize = 256;
/// The longest reason that is kept, in bytes.
const REASON_LEN_BYTES_MAX: usize = 1_024;

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Self {
        let too_many = |what: &str, max: usize| WireError::TooMany {
            what: what.to_owned(),
            max: u64::try_from(max).unwrap_or(u64::MAX),
        };
        Self(match error {
            GroupError::NotFound { source_name, group } => WireError::GroupNotFound {
                source_name: source_name.to_string(),
                group: group.to_string(),
            },
            GroupError::Exists { source_name, group } => WireError::GroupExists {
                source_name: source_name.to_string(),
                group: group.to_string(),
            },
            GroupError::TooManyMembers(max) => too_many("members of a group", max),
            GroupError::TooManyGroups(max) => too_many("groups", max),
            GroupError::ReplayRunning => WireError::ReplayRunning,
            GroupError::Append(error) => of_append(error),
            GroupError::Read(error) => of_read(error),
            invalid @ (GroupError::Invalid(_) | GroupError::NegativeStop(_)) => {
                WireError::Invalid(invalid.to_string())
            }
        })
    }
}

/// Does what is asked. It blocks.
pub(super) fn answer(groups: &Groups, request: wire::GroupRequest) -> Result<Answer, Refusal> {
    let mut shown = Vec::new();
    match request {
        wire::GroupRequest::List(None) => shown = groups.list()?,
        wire::GroupRequest::List(Some(source)) => {
            let group = "any".to_owned();
            let (source, _) = wire::GroupId { source, group }.parts().map_err(Refusal)?;
            shown = groups.list_of(&source)?;
        }
        wire::GroupRequest::Describe(group) => {
            let (source, name) = group.parts().map_err(Refusal)?;
            shown.push(groups.info(&source, &name)?);
        }
        wire::GroupRequest::Create(definition) => {
            let (source, name, settings, start) = definition.parts().map_err(Refusal)?;
            groups.create(source, name, settings, start)?;
        }
        wire::GroupRequest::Update(definition) => {
            let (source, name, settings, start) = definition.parts().map_err(Refusal)?;
            groups.update(&source, &name, settings, start)?;
        }
        wire::GroupRequest::Delete(group) => {
            let (source, name) = group.parts().map_err(Refusal)?;
            groups.delete(&source, &name)?;
        }
        wire::GroupRequest::Replay(wire::Parked { group, before }) => {
            let (source, name) = group.parts().map_err(Refusal)?;
            groups.replay_parked(&source, &name, before.map(stop))?;
        }
        wire::GroupRequest::Truncate(wire::Parked { group, before }) => {
            let (source, name) = group.parts().map_err(Refusal)?;
            groups.truncate_parked(&source, &name, before.map(stop))?;
        }
    }
    Ok(Answer::Groups(wire::GroupList {
        groups: shown.into_iter().map(described).collect(),
    }))
}

fn stop(before: u64) -> i64 {
    i64::try_from(before).unwrap_or(i64::MAX)
}

fn figures(figures: &[(&str, u64)]) -> Vec<(String, u64)> {
    let named = figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    named.collect()
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn described(info: GroupInfo) -> wire::GroupIs {
    let place = |place: GroupPlace| wire::GroupPlace {
        position: place.position.0,
        revision: place.revision.map(|revision| revision.0),
    };
    let mut shown = figures(&[
        ("in_flight_count", count(info.in_flight_count)),
        ("parked_count", info.parked_count),
        ("parked_streams_count", count(info.parked_streams_count)),
        ("read_buffer_count", count(info.read_buffer_count)),
        ("live_buffer_count", count(info.live_buffer_count)),
        ("retry_buffer_count", count(info.retry_buffer_count)),
        ("total_count", info.total_count),
        ("since_count", info.since_count),
        ("per_second", info.per_second),
        ("lag_us", info.lag_us),
    ]);
    shown.extend(info.lag_count.map(|lag| ("lag_count".to_owned(), lag)));
    wire::GroupIs {
        definition: wire::GroupDefinition::of(&info.source, &info.name, &info.settings, info.start),
        status: info.status.text(),
        last_checkpoint: info.last_checkpoint.map(place),
        last_known: info.last_known.map(place),
        last_delivered: info.last_delivered.map(place),
        last_acknowledged: info.last_acknowledged.map(place),
        oldest_in_flight: info.oldest_in_flight.map(|oldest| wire::OldestInFlight {
            id: oldest.id.into_bytes(),
            stream: oldest.stream.to_string(),
            revision: oldest.revision.0,
            position: oldest.position.0,
            retry_count: oldest.retry_count,
            connection_name: oldest.connection_name,
            since_us: oldest.since_us,
        }),
        failure: info.failure.map(|failure| failure.to_string()),
        figures: shown,
        members: info.members.into_iter().map(member).collect(),
    }
}

fn member(info: MemberInfo) -> wire::MemberIs {
    let mut shown = figures(&[
        ("in_flight_count", count(info.in_flight_count)),
        ("available_count", count(info.available_count)),
        ("total_count", info.total_count),
        ("since_count", info.since_count),
        ("per_second", info.per_second),
    ]);
    let measured = info.measurements.into_iter();
    shown.extend(measured.map(|one| (format!("{} ms", one.name), one.value_ms)));
    wire::MemberIs {
        from: info.from,
        principal: info.principal,
        connection_name: info.connection_name,
        figures: shown,
    }
}

impl Session {
    /// Makes the connection a member of a group.
    pub(super) fn join_group(
        self: &Arc<Self>,
        correlation: u64,
        join: wire::JoinGroup,
        permit: Permit,
    ) {
        let feed = Arc::new(Feed::new(u64::MAX, u64::MAX, true));
        if let Err(error) = self.open_subscription(correlation, &feed) {
            return self.answer(correlation, &Answer::Error(error));
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let ended = session.serve_member(correlation, join, &feed, permit).await;
            session.end_subscription(correlation, ended);
        });
    }

    /// Sends a member its events until it goes or its group drops it.
    async fn serve_member(
        &self,
        correlation: u64,
        join: wire::JoinGroup,
        feed: &Feed,
        permit: Permit,
    ) -> Result<(), WireError> {
        let mut permit = self.shared.check(permit).await?;
        if join.connection_name.len() > CONNECTION_NAME_LEN_BYTES_MAX {
            let problem = "a connection's name has at most 256 bytes";
            return Err(WireError::Invalid(problem.to_owned()));
        }
        let (source, name) = join.group.parts()?;
        let options = JoinOptions {
            buffer_size: join.credit_events,
            principal: self.principal().name().to_owned(),
            connection_name: join.connection_name,
            from: self.peer.to_string(),
        };
        let shared = Arc::clone(&self.shared);
        let joined = self
            .shared
            .on_disk(move |_| Ok(shared.groups()?.join(&source, &name, options)?));
        let mut member = joined.await?;
        let handle = member.handle();
        self.feeds.lock().members.insert(correlation, handle);
        self.answer(correlation, &Answer::Joined(wire::Empty));
        loop {
            let first = tokio::select! {
                next = member.next_async() => next.map_err(of_member)?,
                () = feed.cancelled() => return Ok(()),
            };
            let Some(_allowance) = self.allowance(feed).await else {
                return Ok(());
            };
            let mut deliveries = vec![first];
            let mut len_bytes = 0;
            while len_bytes < RECORDS_LEN_BYTES {
                len_bytes += deliveries.last().map_or(0, |last| last.event.len_bytes());
                match member.try_next().map_err(of_member)? {
                    Some(next) => deliveries.push(next),
                    None => break,
                }
            }
            if !permit.is_unlimited() {
                (permit, deliveries) = self.let_see(permit, deliveries, &member).await?;
            }
            // One frame holds the longest event; more of them might not fit.
            for part in parts(deliveries) {
                let events = part.into_iter().map(sent).collect();
                self.answer(
                    correlation,
                    &Answer::Deliveries(wire::Deliveries { events }),
                );
            }
        }
    }

    /// Leaves what the member may read; the rest is parked, where somebody else finds it.
    async fn let_see(
        &self,
        permit: Permit,
        deliveries: Vec<Delivery>,
        member: &Member,
    ) -> Result<(Permit, Vec<Delivery>), WireError> {
        let looked = self.shared.on_disk(move |_| {
            let mut permit = permit;
            permit.check()?;
            let (mut shown, mut hidden) = (Vec::new(), Vec::new());
            for delivery in deliveries {
                let streams = [delivery.event.event(), delivery.event.link()];
                let mut sees = true;
                for event in streams.into_iter().flatten() {
                    sees &= permit.sees(&event.stream)?;
                }
                match sees {
                    true => shown.push(delivery),
                    false => hidden.push(delivery.event.original().id),
                }
            }
            Ok((permit, shown, hidden))
        });
        let (permit, shown, hidden) = looked.await?;
        member.nack(&hidden, NackAction::Park, "its member may not read it");
        Ok((permit, shown))
    }

    /// A member has handled events.
    pub(super) fn ack(&self, correlation: u64, ack: &wire::Ack) {
        let member = self.feeds.lock().members.get(&correlation).cloned();
        if let Some(member) = member {
            member.ack(&ids(&ack.ids));
        }
    }

    /// A member does not handle events.
    pub(super) fn nack(&self, correlation: u64, nack: &wire::Nack) {
        let member = self.feeds.lock().members.get(&correlation).cloned();
        let action = match nack.action {
            wire::NackAction::Park => NackAction::Park,
            wire::NackAction::Retry => NackAction::Retry,
            wire::NackAction::Skip => NackAction::Skip,
        };
        let end = nack.reason.floor_char_boundary(REASON_LEN_BYTES_MAX);
        let reason = nack.reason.get(..end).unwrap_or_default();
        if let Some(member) = member {
            member.nack(&ids(&nack.ids), action, reason);
        }
    }
}

fn ids(ids: &[[u8; 16]]) -> Vec<Uuid> {
    ids.iter().copied().map(Uuid::from_bytes).collect()
}

/// Deliveries in pieces that fit into a frame.
fn parts(deliveries: Vec<Delivery>) -> Vec<Vec<Delivery>> {
    let mut parts: Vec<Vec<Delivery>> = Vec::new();
    let mut len_bytes = usize::MAX;
    for delivery in deliveries {
        let len = delivery.event.len_bytes();
        match parts.last_mut() {
            Some(part) if len_bytes + len <= RECORDS_LEN_BYTES => {
                part.push(delivery);
                len_bytes += len;
            }
            _ => {
                parts.push(vec![delivery]);
                len_bytes = len;
            }
        }
    }
    parts
}

fn sent(delivery: Delivery) -> wire::GroupDelivery {
    let (event, link) = delivery.event.into_parts();
    wire::GroupDelivery {
        event: event.map(wire::GroupEvent::from),
        link: link.map(wire::GroupEvent::from),
        retry_count: delivery.retry_count,
    }
}

fn of_member(error: MemberError) -> WireError {
    match error {
        MemberError::Closed => WireError::GoingAway,
        dropped @ (MemberError::GroupUpdated
        | MemberError::GroupDeleted
        | MemberError::Restarted) => WireError::GroupDropped(dropped.to_string()),
    }
}
