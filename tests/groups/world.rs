//! A store in memory with its groups and its clock, for the tests of groups.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::Arc;
use std::time::Duration;

use annal::disk::{MemoryDisk, SimulatedHost, Unsynced};
use annal::{
    Append, Background, Delivery, Direction, EventType, ExpectedRevision, GroupInfo, GroupName,
    GroupOptions, GroupSettings, GroupSource, GroupStart, Groups, JoinOptions, Member, NewEvent,
    ReadError, ReadFrom, Store, StoreOptions, StreamName,
};
use serde_json::Value;
use uuid::Uuid;

/// Long enough for any machine; who waits so long has been forgotten.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(60);

pub(crate) struct World {
    disk: Arc<MemoryDisk>,
    host: Arc<SimulatedHost>,
    options: (StoreOptions, GroupOptions),
    open: Option<(Store, Groups)>,
}

pub(crate) fn name(text: &str) -> GroupName {
    GroupName::new(text.to_owned()).unwrap()
}

pub(crate) fn stream(text: &str) -> GroupSource {
    GroupSource::Stream(StreamName::new(text.to_owned()).unwrap())
}

/// The ids by which events are acknowledged.
pub(crate) fn ids(taken: &[Delivery]) -> Vec<Uuid> {
    taken.iter().map(|one| one.event.original().id).collect()
}

pub(crate) fn revisions(taken: &[Delivery]) -> Vec<u64> {
    let revision = |one: &Delivery| one.event.original().revision.0;
    taken.iter().map(revision).collect()
}

pub(crate) fn texts(taken: &[Delivery]) -> Vec<String> {
    let text = |one: &Delivery| {
        let original = one.event.original();
        format!("{} {}", original.stream, original.revision)
    };
    taken.iter().map(text).collect()
}

pub(crate) fn append(store: &Store, stream: &str, count: usize) {
    let event_type = || EventType::new("Happened").unwrap();
    let events = (0..count).map(|_| NewEvent::json(event_type(), "{}"));
    let stream = StreamName::new(stream.to_owned()).unwrap();
    let append = Append::to(stream, ExpectedRevision::Any, events);
    store.append(append).unwrap();
}

/// Appends one event to a stream, of a conversation or of none.
pub(crate) fn append_to(store: &Store, stream: &str, conversation: Option<&str>) {
    let mut event = NewEvent::json(EventType::new("Happened").unwrap(), "{}");
    if let Some(id) = conversation {
        event = event.with_metadata(format!(r#"{{"$correlationId":"{id}"}}"#));
    }
    let stream = StreamName::new(stream.to_owned()).unwrap();
    let append = Append::to(stream, ExpectedRevision::Any, [event]);
    store.append(append).unwrap();
}

/// A store that does nothing by itself.
pub(crate) fn manual() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(manual(), GroupOptions::default())
    }

    pub(crate) fn threaded() -> Self {
        Self::with(StoreOptions::default(), GroupOptions::default())
    }

    pub(crate) fn with(store: StoreOptions, groups: GroupOptions) -> Self {
        let mut world = Self {
            disk: Arc::new(MemoryDisk::new()),
            host: Arc::new(SimulatedHost::new(1)),
            options: (store, groups),
            open: None,
        };
        world.reopen();
        world
    }

    fn reopen(&mut self) {
        let (disk, host) = (Arc::clone(&self.disk), Arc::clone(&self.host));
        let store = Store::open_on(disk, host, self.options.0.clone()).unwrap();
        let groups = store.groups_with(self.options.1).unwrap();
        self.open = Some((store, groups));
        self.drive();
    }

    /// The power goes, and comes back.
    pub(crate) fn cut(&mut self, unsynced: Unsynced) {
        self.cut_with(unsynced, || {});
    }

    /// The same; what ends with the process ends when the disk is safe from it.
    pub(crate) fn cut_with(&mut self, unsynced: Unsynced, end: impl FnOnce()) {
        self.disk = Arc::new(self.disk.power_cut(unsynced));
        end();
        self.open = None;
        self.reopen();
    }

    /// The process ends in order, and begins again.
    pub(crate) fn close_and_open(&mut self) {
        self.open = None;
        self.reopen();
    }

    pub(crate) fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().0
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.open.as_ref().unwrap().1
    }

    pub(crate) fn drive(&self) {
        self.groups().drive();
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.host
            .advance_us(i64::try_from(time.as_micros()).unwrap());
    }

    pub(crate) fn append(&self, stream: &str, count: usize) {
        append(self.store(), stream, count);
    }

    pub(crate) fn create(&self, source: &str, settings: GroupSettings, start: GroupStart) {
        let groups = self.groups();
        groups
            .create(stream(source), name("g"), settings, start)
            .unwrap();
        self.drive();
    }

    pub(crate) fn join(&self, source: &str, buffer_size: u32) -> Member {
        let options = JoinOptions {
            buffer_size,
            ..JoinOptions::default()
        };
        let member = self.groups().join(&stream(source), &name("g"), options);
        member.unwrap()
    }

    pub(crate) fn info(&self, source: &str) -> GroupInfo {
        self.groups().info(&stream(source), &name("g")).unwrap()
    }

    /// Everything that is there for a member.
    pub(crate) fn take(&self, member: &mut Member) -> Vec<Delivery> {
        self.drive();
        let mut taken = Vec::new();
        while let Some(one) = member.try_next().unwrap() {
            taken.push(one);
        }
        taken
    }

    /// What is parked: the link, the reason, and the number of the event.
    pub(crate) fn parked(&self, source: &str) -> Vec<(String, String, u64)> {
        let parked = format!("$persistentsubscription-{source}::g-parked");
        let parked = StreamName::new(parked).unwrap();
        let events = self
            .store()
            .read_stream(&parked, ReadFrom::Start, Direction::Forwards);
        let events = match events {
            Err(ReadError::StreamNotFound(_)) => return Vec::new(),
            events => events.unwrap(),
        };
        let parked = events.map(|event| {
            let event = event.unwrap();
            assert_eq!(&*event.event_type, "$>");
            let metadata: Value = serde_json::from_slice(&event.metadata).unwrap();
            (
                String::from_utf8(event.data.to_vec()).unwrap(),
                metadata["reason"].as_str().unwrap().to_owned(),
                metadata["subscriptionEventNumber"].as_u64().unwrap(),
            )
        });
        parked.collect()
    }
}
