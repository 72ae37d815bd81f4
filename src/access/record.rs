//! A user as he is kept: JSON under his login.
//!
//! Where the records lie is said in this file only. They are read at every call, from memory, so
//! what the store says now is what holds.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::user::UserError;
use crate::engine::Store;
use crate::model::{Append, StateChange, StateSpace};

/// Everything that is kept of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) login: String,
    pub(super) full_name: String,
    pub(super) groups: Vec<String>,
    pub(super) password_hash: String,
    pub(super) disabled: bool,
    pub(super) created_us: i64,
    pub(super) updated_us: i64,
    /// How often the user was changed since he was made.
    pub(super) revision: u64,
}

impl Record {
    fn encode(&self) -> Bytes {
        let json = json!({
            "fullName": self.full_name,
            "groups": self.groups,
            "hash": self.password_hash,
            "disabled": self.disabled,
            "createdUs": self.created_us,
            "updatedUs": self.updated_us,
            "revision": self.revision,
        });
        Bytes::from(json.to_string())
    }

    /// None for what is no record; such a user cannot be authenticated.
    fn decode(login: &str, json: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(json).ok()?;
        let text = |key: &str| json.get(key)?.as_str().map(str::to_owned);
        let groups = json.get("groups")?.as_array()?.iter();
        Some(Self {
            login: login.to_owned(),
            full_name: text("fullName")?,
            groups: groups
                .map(|group| group.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
            password_hash: text("hash")?,
            disabled: json.get("disabled")?.as_bool()?,
            created_us: json.get("createdUs")?.as_i64()?,
            updated_us: json.get("updatedUs")?.as_i64()?,
            revision: json.get("revision")?.as_u64()?,
        })
    }
}

/// The records of a store.
#[derive(Debug)]
pub(super) struct Records {
    store: Store,
    decoded: Mutex<HashMap<String, Decoded>>,
}

/// A record with the bytes that it was decoded from; none if they are no record.
type Decoded = (Bytes, Option<Arc<Record>>);

impl Records {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            decoded: Mutex::default(),
        }
    }

    pub(super) fn now_us(&self) -> i64 {
        self.store.reading().host.now_us()
    }

    /// The record of a user, if there is one.
    pub(super) fn get(&self, login: &str) -> Option<Arc<Record>> {
        let bytes = self.store.state(StateSpace::Users, login.as_bytes())?;
        self.decode(login, bytes)
    }

    /// A record, decoded if it is not the one that was decoded last.
    fn decode(&self, login: &str, bytes: Bytes) -> Option<Arc<Record>> {
        let mut decoded = self.decoded.lock();
        if let Some((from, record)) = decoded.get(login)
            && *from == bytes
        {
            return record.clone();
        }
        let record = Record::decode(login, &bytes).map(Arc::new);
        decoded.insert(login.to_owned(), (bytes, record.clone()));
        record
    }

    /// All records, in the order of their logins.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        let all = self.store.states(StateSpace::Users, b"");
        all.into_iter()
            .filter_map(|(login, bytes)| self.decode(std::str::from_utf8(&login).ok()?, bytes))
            .collect()
    }

    /// Whether there is no user at all.
    pub(super) fn is_empty(&self) -> bool {
        self.store.states(StateSpace::Users, b"").is_empty()
    }

    /// Keeps a record; it is on stable storage when this returns.
    pub(super) fn put(&self, record: &Record) -> Result<(), UserError> {
        let login = record.login.clone();
        self.append(StateChange::put(StateSpace::Users, login, record.encode()))
    }

    /// Removes a record.
    pub(super) fn remove(&self, login: &str) -> Result<(), UserError> {
        self.append(StateChange::remove(StateSpace::Users, login.to_owned()))?;
        self.decoded.lock().remove(login);
        Ok(())
    }

    fn append(&self, change: StateChange) -> Result<(), UserError> {
        self.store.append(Append::new().state(change))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_went_in() {
        let record = Record {
            login: "ouro".into(),
            full_name: "Ouro \"Boros\"".into(),
            groups: vec!["$admins".into()],
            password_hash: "$argon2id$x".into(),
            disabled: true,
            created_us: -1,
            updated_us: 7,
            revision: 3,
        };
        let bytes = record.encode();
        assert_eq!(Record::decode("ouro", &bytes), Some(record));
        assert_eq!(Record::decode("ouro", b"{}"), None);
        assert_eq!(Record::decode("ouro", b""), None);
    }
}
