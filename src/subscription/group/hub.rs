//! All groups of a store, and the thread that drives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Background, StorageError, Store};
use crate::model::{GroupName, GroupSource};
use crate::model::{StateChange, StateSpace};
use crate::subscription::group::checkpoint::Checkpoint;
use crate::subscription::group::definition::{Definition, group_key};
use crate::subscription::group::entry::{Bell, Entry};
use crate::subscription::group::park::parked_stream;
use crate::subscription::group::settings::GroupOptions;
use crate::subscription::group::{GroupError, MemberError};
use crate::sync::Mutex;
use crate::sync::thread::{self, JoinHandle};

/// What the handles of the groups share with the thread that drives them.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) store: Store,
    pub(super) options: GroupOptions,
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    /// Held while groups are made, changed or deleted.
    pub(super) admin: Mutex<()>,
    pub(super) bell: Arc<Bell>,
    /// When checkpoints were written last.
    pub(super) written_us: Mutex<i64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Hub {
    /// Loads what groups there are.
    pub(super) fn open(store: &Store, options: GroupOptions) -> Result<Arc<Self>, GroupError> {
        let bell = Arc::new(Bell::new(store.clone()));
        let hub = Arc::new(Self {
            store: store.clone(),
            options,
            entries: Mutex::default(),
            admin: Mutex::default(),
            written_us: Mutex::new(bell.now_us()),
            bell,
            thread: Mutex::default(),
        });
        hub.load()?;
        Ok(hub)
    }

    /// Begins with every group where its last checkpoint is.
    pub(super) fn load(&self) -> Result<(), GroupError> {
        for (key, value) in self.store.states(StateSpace::Groups, b"") {
            let definition = Definition::decode(&value).ok_or_else(|| {
                let key = String::from_utf8_lossy(&key);
                GroupError::Invalid(format!("what is stored of group {key} is unknown").into())
            })?;
            self.begin(definition)?;
        }
        Ok(())
    }

    /// A group begins to live, in the place of the one that it was before.
    pub(super) fn begin(&self, definition: Definition) -> Result<(), GroupError> {
        let key = definition.key();
        let parked = parked_stream(&definition.source, &definition.name);
        let parked = parked.map_err(|error| GroupError::Invalid(error.to_string().into()))?;
        let cursor = self.store.state(StateSpace::GroupCursors, key.as_bytes());
        let written = cursor.and_then(|cursor| Checkpoint::decode(&cursor));
        let entry = Entry::new(definition, (parked, written), self.options, &self.bell);
        self.entries.lock().insert(key, Arc::clone(&entry));
        entry.ring();
        Ok(())
    }

    /// Drives the groups, if the store has threads of its own.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), GroupError> {
        let mut thread = self.thread.lock();
        if self.store.background() == Background::Manual || thread.is_some() {
            return Ok(());
        }
        let hub = Arc::clone(self);
        let name = "annal-groups";
        let started = thread::Builder::new()
            .name(name.into())
            .spawn(move || hub.run());
        let started = started.map_err(|error| {
            let error = StorageError::io("start a thread for", name, error);
            GroupError::Append(error.into())
        })?;
        *thread = Some(started);
        Ok(())
    }

    /// Ends the thread, after the last checkpoints were written, and lets go of the store.
    pub(super) fn stop(&self) {
        self.bell.end();
        match self.thread.lock().take() {
            None => self.write_last_checkpoints(),
            // A thread cannot wait for its own end.
            Some(thread) if thread.thread().id() == thread::current().id() => {}
            Some(thread) => {
                // One that panicked has said so; what it was doing is not needed for safety.
                let _panicked = thread.join();
            }
        }
    }

    /// All groups, in the order of their names.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub(super) fn find(
        &self,
        source: &GroupSource,
        name: &GroupName,
    ) -> Result<Arc<Entry>, GroupError> {
        let entries = self.entries.lock();
        let entry = entries.get(&group_key(source, name)).cloned();
        entry.ok_or_else(|| GroupError::NotFound {
            source_name: source.as_str().into(),
            group: name.as_str().into(),
        })
    }

    /// A group is no more.
    pub(super) fn forget(&self, key: &str) {
        self.entries.lock().remove(key);
    }

    /// Ends one life of a group. How far it was, if that is not on stable storage.
    pub(super) fn end(&self, entry: &Arc<Entry>, why: MemberError) -> Option<StateChange> {
        let checkpoint = entry.change(|core, _| {
            let checkpoint = core.checkpoint_last();
            core.end(why);
            checkpoint
        })?;
        let value = checkpoint.encode();
        let key = entry.definition.key();
        Some(StateChange::put(StateSpace::GroupCursors, key, value))
    }
}
