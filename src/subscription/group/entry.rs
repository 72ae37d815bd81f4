//! A group between its members and its driver: the state behind one lock, and who is told when it
//! changes.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use crate::engine::Store;
use crate::model::{Revision, StreamName};
use crate::subscription::Feed;
use crate::subscription::group::checkpoint::Checkpoint;
use crate::subscription::group::core::Core;
use crate::subscription::group::definition::Definition;
use crate::subscription::group::message::Seat;
use crate::subscription::group::settings::GroupOptions;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};

/// One life of a group: until it is changed, deleted or restarted.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) definition: Definition,
    pub(super) parked: StreamName,
    pub(super) core: Mutex<Core>,
    /// Held by whoever reads for the group.
    pub(super) feed: Mutex<Option<Feed>>,
    /// What became of appends.
    pub(super) outcomes: Mutex<Vec<Outcome>>,
    pub(super) bell: Arc<Bell>,
    is_queued: AtomicBool,
}

/// How an append for a group ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Parked(Vec<Seat>, Result<(), Arc<str>>),
    Truncated(Revision, Result<(), Arc<str>>),
    Checkpoint(Checkpoint, u64, Result<(), Arc<str>>),
}

/// Wakes the driver, and knows the time.
#[derive(Debug)]
pub(super) struct Bell {
    pub(super) rung: Mutex<Rung>,
    pub(super) changed: Condvar,
    clock: Clock,
    /// What all groups keep in memory.
    pub(super) len_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct Rung {
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) is_over: bool,
}

/// The host's clock, which never goes back here: timeouts rest on it.
#[derive(Debug)]
struct Clock {
    store: Store,
    /// What the host said last, and how much is added to it.
    state: Mutex<(i64, i64)>,
}

impl Clock {
    fn now_us(&self) -> i64 {
        let host_us = self.store.now_us();
        let (last_us, added_us) = &mut *self.state.lock();
        if host_us < *last_us {
            *added_us = added_us.saturating_add(last_us.saturating_sub(host_us));
        }
        *last_us = host_us;
        host_us.saturating_add(*added_us)
    }
}

impl Bell {
    pub(super) fn new(store: Store) -> Self {
        Self {
            rung: Mutex::default(),
            changed: Condvar::new(),
            clock: Clock {
                store,
                state: Mutex::new((i64::MIN, 0)),
            },
            len_bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Nobody is to be rung for any more; a group that waits here would keep the store open.
    pub(super) fn end(&self) {
        let mut rung = self.rung.lock();
        rung.is_over = true;
        let entries = std::mem::take(&mut rung.entries);
        drop(rung);
        drop(entries);
        self.changed.notify_one();
    }
}

impl Entry {
    pub(super) fn new(
        definition: Definition,
        (parked, written): (StreamName, Option<Checkpoint>),
        options: GroupOptions,
        bell: &Arc<Bell>,
    ) -> Arc<Self> {
        let begin = definition.first_position();
        let settings = definition.settings.clone();
        let core = Core::new(settings, options, (begin, written), bell.now_us());
        Arc::new(Self {
            definition,
            parked,
            core: Mutex::new(core),
            feed: Mutex::new(None),
            outcomes: Mutex::default(),
            bell: Arc::clone(bell),
            is_queued: AtomicBool::new(false),
        })
    }

    /// Changes the state; members get what they have room for then, and the driver hears if there
    /// is something for it to do.
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Core, i64) -> T) -> T {
        let (result, wants_driver) = self.change_quietly(change);
        if wants_driver {
            self.ring();
        }
        result
    }

    /// The same by the driver itself: whether there is something for it to do.
    pub(super) fn change_quietly<T>(&self, change: impl FnOnce(&mut Core, i64) -> T) -> (T, bool) {
        let now_us = self.bell.now_us();
        let mut core = self.core.lock();
        let before = core.len_bytes;
        let result = change(&mut core, now_us);
        core.dispatch(now_us);
        let wakers = std::mem::take(&mut core.wakers);
        let wants_driver = core.wants_driver(now_us);
        let after = core.len_bytes;
        drop(core);
        let total = &self.bell.len_bytes;
        match after >= before {
            true => total.fetch_add(after - before, Ordering::Relaxed),
            false => total.fetch_sub(before - after, Ordering::Relaxed),
        };
        for waker in wakers {
            waker.wake();
        }
        (result, wants_driver)
    }

    /// Tells the driver that there may be something to do.
    pub(super) fn ring(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            let mut rung = self.bell.rung.lock();
            if !rung.is_over {
                rung.entries.push(Arc::clone(self));
                self.bell.changed.notify_one();
            }
        }
    }

    /// The driver is about to look.
    pub(super) fn answer(&self) {
        self.is_queued.store(false, Ordering::Release);
    }

    /// Tells the driver how an append ended.
    pub(super) fn tell(self: &Arc<Self>, outcome: Outcome) {
        self.outcomes.lock().push(outcome);
        self.ring();
    }

    /// A waker that rings for the group.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::new(Ringer(Arc::downgrade(self))))
    }
}

struct Ringer(Weak<Entry>);

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        if let Some(entry) = self.0.upgrade() {
            entry.ring();
        }
    }
}
