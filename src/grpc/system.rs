//! Streams in which clients look for what EventStoreDB keeps in events and this store in state
//! records: users, consumer groups and their checkpoints.
//!
//! Nothing of it is in the log. Each stream shows what is kept at this moment: `$users` an event a
//! user, the others one event, which takes the place of the one before when something changes. An
//! id stands for what its event says, so that a follower knows what he has seen.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tonic::Status;
use uuid::Uuid;

use super::persistent::told_info;
use super::wire::event_store::client::persistent_subscriptions::SubscriptionInfo;
use super::{Shared, status};
use crate::access::{Access, User, UserError};
use crate::model::{
    ContentType, EventType, InvalidText, Position, RecordedEvent, Revision, StreamName, Timestamp,
};
use crate::subscription::GroupInfo;

/// How soon a follower hears of a change.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

const GROUPS: &str = "$persistentSubscriptionConfig";
const OF_GROUP: &str = "$persistentsubscription-";
const CHECKPOINT: &str = "-checkpoint";

/// A stream that shows state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateStream {
    /// `$users`.
    Users,
    /// `$user-LOGIN`.
    User(String),
    /// `$persistentSubscriptionConfig`.
    Groups,
    /// `$persistentsubscription-STREAM::GROUP-checkpoint`, by what stands between.
    Checkpoint(String),
}

impl StateStream {
    /// The state that a stream shows, if it does.
    pub(super) fn of(stream: &StreamName) -> Option<Self> {
        if stream.as_str() == "$users" {
            return Some(Self::Users);
        }
        if stream.as_str() == GROUPS {
            return Some(Self::Groups);
        }
        if let Some(login) = stream.strip_prefix("$user-") {
            return Some(Self::User(login.to_owned()));
        }
        let key = stream.strip_prefix(OF_GROUP)?.strip_suffix(CHECKPOINT)?;
        Some(Self::Checkpoint(key.to_owned()))
    }

    /// What it shows now; nothing if there is no such thing.
    pub(super) async fn events(
        &self,
        shared: &Shared,
        stream: &StreamName,
    ) -> Result<Vec<RecordedEvent>, Status> {
        let shown = match self {
            Self::Users => users(shared).await?,
            Self::User(login) => user(shared, login).await?,
            Self::Groups => groups(shared.group_infos(None).await?),
            Self::Checkpoint(key) => checkpoint(shared.group_infos(None).await?, key),
        };
        let store = shared.store.id().0;
        let events = shown.into_iter().map(|shown| shown.event(stream, store));
        let events: Result<_, InvalidText> = events.collect();
        events.map_err(|error| status::of_text(&error))
    }
}

/// An event to be.
struct Shown {
    event_type: &'static str,
    revision: u64,
    created_us: i64,
    data: String,
    metadata: String,
}

impl Shown {
    fn event(self, stream: &StreamName, store: Uuid) -> Result<RecordedEvent, InvalidText> {
        let said = format!("{stream}\n{}\n{}", self.event_type, self.data);
        Ok(RecordedEvent {
            position: Position::START,
            stream: stream.clone(),
            revision: Revision(self.revision),
            id: Uuid::new_v5(&store, said.as_bytes()),
            event_type: EventType::new(self.event_type)?,
            content_type: ContentType::Json,
            created: Timestamp::from_micros(self.created_us),
            tags: Vec::new(),
            metadata: Bytes::from(self.metadata),
            data: Bytes::from(self.data),
        })
    }
}

/// Whom clients expect: login, name, group.
const EXPECTED: [(&str, &str, &str); 2] = [
    ("admin", "Administrator", "$admins"),
    ("ops", "Operator", "$ops"),
];

/// All users, the oldest first. Where there need be none, because everybody may do everything, the
/// two that clients expect are among them.
pub(super) fn known_users(access: &Access) -> Vec<User> {
    let mut users = access.users();
    if access.is_open() {
        for (login, full_name, group) in EXPECTED {
            if users.iter().all(|user| user.login != login) {
                users.push(User {
                    login: login.to_owned(),
                    full_name: full_name.to_owned(),
                    groups: vec![group.to_owned()],
                    disabled: false,
                    created_us: 0,
                    updated_us: 0,
                    revision: 0,
                });
            }
        }
    }
    users.sort_by(|one, other| (one.created_us, &one.login).cmp(&(other.created_us, &other.login)));
    users
}

/// One of them.
pub(super) fn known_user(access: &Access, login: &str) -> Result<User, UserError> {
    let mut users = known_users(access).into_iter();
    let user = users.find(|user| user.login == login);
    user.ok_or_else(|| UserError::NotFound(login.to_owned()))
}

async fn users(shared: &Shared) -> Result<Vec<Shown>, Status> {
    let access = shared.access.clone();
    let users = shared.blocking(move || known_users(&access)).await?;
    let shown = (0..).zip(users).map(|(revision, user)| Shown {
        event_type: "$User",
        revision,
        created_us: user.created_us,
        data: user.login,
        metadata: String::new(),
    });
    Ok(shown.collect())
}

async fn user(shared: &Shared, login: &str) -> Result<Vec<Shown>, Status> {
    let (access, login) = (shared.access.clone(), login.to_owned());
    let user = shared.blocking(move || known_user(&access, &login)).await?;
    Ok(user.ok().map(shown_user).into_iter().collect())
}

/// What is proof of a password is not shown.
fn shown_user(user: User) -> Shown {
    let data = json!({
        "loginName": user.login,
        "fullName": user.full_name,
        "groups": user.groups,
        "disabled": user.disabled,
    });
    Shown {
        event_type: match user.revision {
            0 => "$UserCreated",
            _ => "$UserUpdated",
        },
        revision: user.revision,
        created_us: user.updated_us,
        data: data.to_string(),
        metadata: String::new(),
    }
}

fn groups(infos: Vec<GroupInfo>) -> Vec<Shown> {
    if infos.is_empty() {
        return Vec::new();
    }
    let entries: Vec<Value> = infos.into_iter().map(told_info).map(entry).collect();
    let data = json!({ "version": "2", "entries": entries });
    vec![Shown {
        event_type: "$PersistentConfig",
        revision: 0,
        created_us: 0,
        data: data.to_string(),
        metadata: String::new(),
    }]
}

fn entry(info: SubscriptionInfo) -> Value {
    json!({
        "stream": info.event_source,
        "group": info.group_name,
        "resolveLinkTos": info.resolve_link_tos,
        "extraStatistics": info.extra_statistics,
        "messageTimeout": info.message_timeout_milliseconds,
        "startPosition": info.start_from,
        "liveBufferSize": info.live_buffer_size,
        "historyBufferSize": info.buffer_size,
        "maxRetryCount": info.max_retry_count,
        "readBatchSize": info.read_batch_size,
        "checkPointAfter": info.check_point_after_milliseconds,
        "minCheckPointCount": info.min_check_point_count,
        "maxCheckPointCount": info.max_check_point_count,
        "maxSubscriberCount": info.max_subscriber_count,
        "namedConsumerStrategy": info.named_consumer_strategy,
    })
}

fn checkpoint(infos: Vec<GroupInfo>, key: &str) -> Vec<Shown> {
    let of_key =
        |info: &SubscriptionInfo| format!("{}::{}", info.event_source, info.group_name) == key;
    let info = infos.into_iter().map(told_info).find(of_key);
    let place = info.map(|info| info.last_checkpointed_event_position);
    let shown = place.filter(|place| !place.is_empty()).map(|place| Shown {
        event_type: "$SubscriptionCheckpoint",
        revision: 0,
        created_us: 0,
        data: Value::from(place).to_string(),
        metadata: String::new(),
    });
    shown.into_iter().collect()
}
