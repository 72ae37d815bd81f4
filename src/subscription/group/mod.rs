//! Consumer groups: members share the events of a source, and the store remembers what is handled.
//!
//! A group reads ahead of its members, hands each event to one of them, and waits for its
//! acknowledgement. An event that is not acknowledged in time, or that a member refuses, is
//! delivered again; one that fails too often is parked: a link to it goes to a stream of its own,
//! from where it can be replayed. How far everything is handled is a state record of the store, so
//! that a group goes on there after a restart or a crash. Every event is delivered at least once.
//!
//! `core.rs` decides, and knows neither files nor time; `driver.rs` reads and writes for it, on one
//! thread for all groups; `entry.rs` stands between the two and the members, who never wait for the
//! disk.
//!
//! What always holds, whatever the strategy:
//!
//! * An event that a group has read is waiting, at exactly one member, or on its way to the parked
//!   stream; the checkpoint stays in front of the lowest of them.
//! * A parked event leaves the parked stream only when its replay was handled or parked again.
//! * Two events of one id are not at members at the same time: the second waits for the first.

mod assign;
mod checkpoint;
mod core;
mod definition;
mod driver;
mod entry;
mod error;
mod hub;
mod info;
mod measure;
mod member;
mod message;
mod park;
mod replay;
mod seated;
mod settings;

pub use error::{GroupError, MemberError};
pub use info::{GroupInfo, GroupPlace, GroupStatus, InFlightInfo, MemberInfo};
pub use measure::Measurement;
pub use member::{Member, MemberHandle, NackAction};
pub use message::Delivery;
pub use settings::{GroupOptions, JoinOptions};

use crate::model::{GroupName, GroupSettings, GroupSource, GroupStart};

use std::sync::Arc;

use crate::engine::{AppendError, StorageError, Store};
use crate::model::{Append, ExpectedRevision, Position, Revision, StateChange, StateSpace};
use definition::Definition;
use entry::Entry;
use hub::Hub;
use park::{parked_metadata, parked_stream};

/// The consumer groups of a store. Cloning is cheap. There is one of it for each open store; when
/// the last clone goes, and the last member, the groups rest until somebody asks for them again.
#[derive(Clone, Debug)]
pub struct Groups(Arc<Handle>);

/// Ends the thread with the last handle.
#[derive(Debug)]
struct Handle {
    hub: Arc<Hub>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.hub.stop();
    }
}

impl Store {
    /// The consumer groups of this store, which go on where they were.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn groups(&self) -> Result<Groups, GroupError> {
        self.groups_with(GroupOptions::default())
    }

    /// The same with options, which count where nobody else has asked for the groups before.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn groups_with(&self, options: GroupOptions) -> Result<Groups, GroupError> {
        let handle = self.attached(|| {
            let hub = Hub::open(self, options)?;
            hub.start()?;
            let here = Arc::downgrade(&hub);
            self.before_close(move || {
                if let Some(hub) = here.upgrade() {
                    hub.write_last_checkpoints();
                }
            });
            Ok::<_, GroupError>(Arc::new(Handle { hub }))
        })?;
        Ok(Groups(handle))
    }
}

impl Groups {
    /// Makes a group. It is on stable storage when this returns.
    ///
    /// # Errors
    /// [`GroupError::Exists`], [`GroupError::Invalid`], [`GroupError::TooManyGroups`].
    pub fn create(
        &self,
        source: GroupSource,
        name: GroupName,
        settings: GroupSettings,
        start: GroupStart,
    ) -> Result<(), GroupError> {
        let hub = &self.0.hub;
        let _admin = hub.admin.lock();
        if hub.find(&source, &name).is_ok() {
            return Err(GroupError::Exists {
                source_name: source.as_str().into(),
                group: name.as_str().into(),
            });
        }
        if hub.len() >= hub.options.groups_max {
            return Err(GroupError::TooManyGroups(hub.options.groups_max));
        }
        let definition = self.define(source, name, settings, start)?;
        let key = definition.key();
        // Checkpoints of a group that had this name are on their way by now, in front of this.
        drop(hub.written_us.lock());
        let append = Append::new()
            .state(StateChange::put(
                StateSpace::Groups,
                key.clone(),
                definition.encode(),
            ))
            .state(StateChange::remove(StateSpace::GroupCursors, key));
        hub.store.append(append)?;
        hub.begin(definition)
    }

    /// Changes a group: all settings, and the start, which counts where there is no checkpoint yet.
    /// A filter stays as it is. Members are dropped and join again; the group goes on behind its
    /// checkpoint.
    ///
    /// # Errors
    /// [`GroupError::NotFound`], [`GroupError::Invalid`].
    pub fn update(
        &self,
        source: &GroupSource,
        name: &GroupName,
        settings: GroupSettings,
        start: GroupStart,
    ) -> Result<(), GroupError> {
        let hub = &self.0.hub;
        let _admin = hub.admin.lock();
        let entry = hub.find(source, name)?;
        let source = entry.definition.source.clone();
        let mut definition = self.define(source, name.clone(), settings, start)?;
        if start == entry.definition.start {
            definition.begin = entry.definition.begin;
        }
        let key = definition.key();
        let put = StateChange::put(StateSpace::Groups, key, definition.encode());
        hub.store.append(Append::new().state(put))?;
        if let Some(cursor) = hub.end(&entry, MemberError::GroupUpdated) {
            // Without it more is delivered again, and nothing is lost.
            let _unwritten = hub.store.append(Append::new().state(cursor));
        }
        hub.begin(definition)
    }

    /// Deletes a group, its checkpoint and what it has parked. Members are dropped.
    ///
    /// # Errors
    /// [`GroupError::NotFound`].
    pub fn delete(&self, source: &GroupSource, name: &GroupName) -> Result<(), GroupError> {
        let hub = &self.0.hub;
        let _admin = hub.admin.lock();
        let entry = hub.find(source, name)?;
        let key = entry.definition.key();
        let append = Append::new()
            .state(StateChange::remove(StateSpace::Groups, key.clone()))
            .state(StateChange::remove(StateSpace::GroupCursors, key));
        hub.store.append(append)?;
        hub.forget(&entry.definition.key());
        hub.end(&entry, MemberError::GroupDeleted);
        if hub.parked_bounds(&entry)?.is_some() {
            let delete = Append::delete(entry.parked.clone(), ExpectedRevision::Any);
            match hub.store.append(delete) {
                Ok(_) | Err(AppendError::StreamDeleted { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// How a group is and what it does. Looking begins the figures anew that count since somebody
    /// last looked.
    ///
    /// # Errors
    /// [`GroupError::NotFound`].
    pub fn info(&self, source: &GroupSource, name: &GroupName) -> Result<GroupInfo, GroupError> {
        let entry = self.0.hub.find(source, name)?;
        Ok(self.0.hub.info(&entry)?)
    }

    /// The same of all groups, in the order of their names.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn list(&self) -> Result<Vec<GroupInfo>, GroupError> {
        self.listed(|_| true)
    }

    /// The same of all groups of one source: one stream, or the whole log.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn list_of(&self, source: &GroupSource) -> Result<Vec<GroupInfo>, GroupError> {
        self.listed(|entry| entry.definition.source.as_str() == source.as_str())
    }

    fn listed(&self, is_wanted: impl Fn(&Entry) -> bool) -> Result<Vec<GroupInfo>, GroupError> {
        let hub = &self.0.hub;
        let entries = hub.entries().into_iter().filter(|entry| is_wanted(entry));
        entries.map(|entry| Ok(hub.info(&entry)?)).collect()
    }

    /// How far a group is has to be written down: where nothing is, nobody joins.
    fn check_writable(&self) -> Result<(), GroupError> {
        match self.0.hub.store.is_read_only() {
            true => Err(AppendError::from(StorageError::ReadOnly).into()),
            false => Ok(()),
        }
    }

    /// Becomes a member of a group.
    ///
    /// # Errors
    /// [`GroupError::NotFound`], [`GroupError::TooManyMembers`], [`GroupError::Invalid`] for a
    /// buffer of nothing.
    pub fn join(
        &self,
        source: &GroupSource,
        name: &GroupName,
        options: JoinOptions,
    ) -> Result<Member, GroupError> {
        if options.buffer_size == 0 {
            return Err(GroupError::Invalid(
                "Buffer size must be at least 1.".into(),
            ));
        }
        self.check_writable()?;
        let entry = self.0.hub.find(source, name)?;
        let members_max = match entry.definition.settings.max_member_count {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let members_max = members_max.min(self.0.hub.options.members_max);
        let joined = entry.change(|core, now_us| {
            let has_room = core.members.len() < members_max;
            has_room.then(|| core.join(options, now_us))
        });
        let id = joined.ok_or(GroupError::TooManyMembers(members_max))?;
        Ok(Member::new(entry, id, self.clone()))
    }

    /// Delivers again what is parked now, ahead of everything else and as if for the first time; up
    /// to a revision of the parked stream, without it, or everything. An event leaves the parked
    /// stream when it is handled.
    ///
    /// # Errors
    /// [`GroupError::NotFound`], [`GroupError::ReplayRunning`], [`GroupError::NegativeStop`].
    pub fn replay_parked(
        &self,
        source: &GroupSource,
        name: &GroupName,
        stop_at: Option<i64>,
    ) -> Result<(), GroupError> {
        self.check_writable()?;
        let (entry, _, stop) = self.parked(source, name, stop_at)?;
        entry.change(|core, _| match core.replay.loading {
            Some(_) => Err(GroupError::ReplayRunning),
            None => {
                core.begin_replay(stop);
                Ok(())
            }
        })
    }

    /// Forgets what is parked, up to a revision of the parked stream, without it, or everything.
    ///
    /// # Errors
    /// As [`Self::replay_parked`].
    pub fn truncate_parked(
        &self,
        source: &GroupSource,
        name: &GroupName,
        stop_at: Option<i64>,
    ) -> Result<(), GroupError> {
        self.check_writable()?;
        let hub = &self.0.hub;
        let _admin = hub.admin.lock();
        let (entry, first, stop) = self.parked(source, name, stop_at)?;
        if entry.core.lock().replay.is_running() {
            return Err(GroupError::ReplayRunning);
        }
        if stop <= first {
            return Ok(());
        }
        if let Some(append) = parked_metadata(&entry.parked, stop) {
            hub.store.append(append)?;
        }
        // Which streams are parked is found out anew.
        entry.change(|core, _| core.ready = false);
        entry.ring();
        Ok(())
    }

    /// What is parked, from the first revision up to where the caller wants to stop.
    fn parked(
        &self,
        source: &GroupSource,
        name: &GroupName,
        stop_at: Option<i64>,
    ) -> Result<(Arc<Entry>, Revision, Revision), GroupError> {
        let entry = self.0.hub.find(source, name)?;
        let (first, end) = self.0.hub.parked_bounds(&entry)?.unwrap_or_default();
        let stop = match stop_at {
            None => end,
            Some(stop_at) => {
                let stop = u64::try_from(stop_at).map_err(|_| GroupError::NegativeStop(stop_at));
                Revision(stop?).min(end)
            }
        };
        Ok((entry, first, stop))
    }

    /// Drops all members, and begins with every group behind its checkpoint.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn restart(&self) -> Result<(), GroupError> {
        let hub = &self.0.hub;
        let _admin = hub.admin.lock();
        hub.write_last_checkpoints();
        for entry in hub.entries() {
            hub.end(&entry, MemberError::Restarted);
        }
        hub.load()
    }

    /// Does all that is there to do for the groups, on the caller's thread. For stores that were
    /// opened with [`Background::Manual`](crate::engine::Background::Manual).
    pub fn drive(&self) {
        self.0.hub.drive();
    }

    /// Checks what a group is to be.
    fn define(
        &self,
        source: GroupSource,
        name: GroupName,
        settings: GroupSettings,
        start: GroupStart,
    ) -> Result<Definition, GroupError> {
        settings.check()?;
        let begin = self.0.hub.store.committed();
        let invalid = |text: &str| Err(GroupError::Invalid(text.into()));
        match (&source, start) {
            (GroupSource::All { .. }, GroupStart::Revision(_)) => {
                return invalid("A group of the whole log begins at a position.");
            }
            (GroupSource::Stream(_), GroupStart::Position(_)) => {
                return invalid("A group of a stream begins at a revision.");
            }
            (_, GroupStart::Position(at)) if at > Position::START && at >= begin => {
                return invalid("The position is greater than the last one of the log.");
            }
            _ => {}
        }
        if let Err(error) = parked_stream(&source, &name) {
            return Err(GroupError::Invalid(error.to_string().into()));
        }
        Ok(Definition {
            source,
            name,
            settings,
            start,
            begin,
        })
    }
}
