//! A disk in front of another one that counts every call, and fails, falsifies or holds those it is
//! told to.
//!
//! It goes before any disk: before [`MemoryDisk`](crate::disk::MemoryDisk) for faults and power
//! cuts in any order, before [`OsDisk`](crate::disk::OsDisk) to count what the system is asked.

mod fault;

pub use fault::{Fault, Operation};

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::disk::probe::fault::{Call, Way};
use crate::disk::{Disk, DiskFile};

/// Calls, and the bytes that those which succeeded have read, written or mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were, failed ones too.
    pub calls: u64,
    /// How many bytes they moved.
    pub bytes: u64,
}

/// A disk that watches another. Clones are handles to the same counts and faults.
#[derive(Clone, Debug)]
pub struct ProbeDisk {
    inner: Arc<dyn Disk>,
    probe: Arc<Probe>,
}

/// Keeps calls waiting until it is dropped.
#[derive(Debug)]
#[must_use = "calls are held only as long as this lives"]
pub struct Hold {
    number: u64,
    probe: Arc<Probe>,
}

#[derive(Default)]
struct Probe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tallies: BTreeMap<Operation, BTreeMap<String, Tally>>,
    faults: Vec<Fault>,
    failures: u64,
    holds: BTreeMap<u64, Held>,
    holds_ever: u64,
}

#[derive(Debug)]
struct Held {
    operation: Operation,
    name_prefix: String,
    reached: bool,
}

impl ProbeDisk {
    /// Goes before a disk.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self {
            inner,
            probe: Arc::default(),
        }
    }

    /// What was asked since the last reset, of files whose name begins so. An open file goes by the
    /// name it was opened by, a rename by the new name; calls that name no file, by the empty name.
    #[must_use]
    pub fn tally(&self, operation: Operation, name_prefix: &str) -> Tally {
        let state = self.probe.state.lock();
        let mut sum = Tally::default();
        let by_name = state.tallies.get(&operation).into_iter().flatten();
        for (_, tally) in by_name.filter(|(name, _)| name.starts_with(name_prefix)) {
            sum.calls += tally.calls;
            sum.bytes += tally.bytes;
        }
        sum
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        self.probe.state.lock().tallies.clear();
    }

    /// Adds a failure to come. When several fit a call, each counts it as one, and the one that was
    /// added first strikes.
    pub fn fail(&self, fault: Fault) {
        self.probe.state.lock().faults.push(fault);
    }

    /// Forgets all failures to come.
    pub fn heal(&self) {
        self.probe.state.lock().faults.clear();
    }

    /// How many calls have failed because they were told to. A test that does not ask whether its
    /// fault came may prove nothing.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.probe.state.lock().failures
    }

    /// Lets calls of this kind to files whose name begins so wait, from now until the returned
    /// guard is dropped.
    pub fn hold(&self, operation: Operation, name_prefix: &str) -> Hold {
        let mut state = self.probe.state.lock();
        state.holds_ever += 1;
        let number = state.holds_ever;
        let held = Held {
            operation,
            name_prefix: name_prefix.to_owned(),
            reached: false,
        };
        state.holds.insert(number, held);
        Hold {
            number,
            probe: Arc::clone(&self.probe),
        }
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(ProbeFile {
            name: name.to_owned(),
            inner,
            probe: Arc::clone(&self.probe),
        })
    }
}

impl Hold {
    /// Waits until a call waits here, at most so long. Says whether one does or did.
    #[must_use]
    pub fn reached_within(&self, patience: Duration) -> bool {
        let mut state = self.probe.state.lock();
        let reached = |state: &State| {
            state
                .holds
                .get(&self.number)
                .is_some_and(|held| held.reached)
        };
        self.probe
            .changed
            .wait_while_for(&mut state, |state| !reached(state), patience);
        reached(&state)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.probe.state.lock().holds.remove(&self.number);
        self.probe.changed.notify_all();
    }
}

impl Probe {
    /// One call: counts it, lets it wait, and performs or fails it. `perform` is told how.
    fn run<T>(&self, call: &Call<'_>, perform: impl FnOnce(Way) -> io::Result<T>) -> io::Result<T> {
        match self.enter(call) {
            None => perform(Way::HONEST),
            Some(fault) => fault.strike(call, perform),
        }
    }

    /// The same for a call that gives nothing back, and so can be left out unnoticed.
    fn run_silent(
        &self,
        call: &Call<'_>,
        perform: impl FnOnce(Way) -> io::Result<()>,
    ) -> io::Result<()> {
        self.run(call, |way| match way.lies {
            true => Ok(()),
            false => perform(way),
        })
    }

    fn enter(&self, call: &Call<'_>) -> Option<Fault> {
        let mut state = self.state.lock();
        state.tally(call.operation, call.name).calls += 1;
        while let Some(held) = state.holds.values_mut().find(|held| held.fits(call)) {
            if !held.reached {
                held.reached = true;
                self.changed.notify_all();
            }
            self.changed.wait(&mut state);
        }
        let mut first = None;
        for fault in &mut state.faults {
            if fault.strikes(call) && first.is_none() {
                first = Some(fault.clone());
            }
        }
        state.failures += u64::from(first.is_some());
        first
    }

    fn moved(&self, call: &Call<'_>, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.state.lock().tally(call.operation, call.name).bytes += bytes;
    }
}

impl Debug for Probe {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

impl State {
    fn tally(&mut self, operation: Operation, name: &str) -> &mut Tally {
        let by_name = self.tallies.entry(operation).or_default();
        if !by_name.contains_key(name) {
            by_name.insert(name.to_owned(), Tally::default());
        }
        by_name.get_mut(name).expect("it was just put there")
    }
}

impl Held {
    fn fits(&self, call: &Call<'_>) -> bool {
        self.operation == call.operation && call.name.starts_with(&self.name_prefix)
    }
}

impl Disk for ProbeDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let call = Call::of(Operation::Create, name);
        let file = self.probe.run(&call, |_| self.inner.create(name))?;
        Ok(self.file(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let call = Call::of(Operation::Open, name);
        let file = self.probe.run(&call, |_| self.inner.open(name))?;
        Ok(self.file(name, file))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let call = Call::of(Operation::Open, name);
        let file = self.probe.run(&call, |_| self.inner.open_to_read(name))?;
        Ok(self.file(name, file))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.probe
            .run(&Call::of(Operation::List, ""), |_| self.inner.list())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.probe.run(&Call::of(Operation::Rename, to), |_| {
            self.inner.rename(from, to)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.probe.run(&Call::of(Operation::Remove, name), |_| {
            self.inner.remove(name)
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        let call = Call::of(Operation::SyncDirectory, "");
        self.probe
            .run_silent(&call, |_| self.inner.sync_directory())
    }

    fn map(&self, name: &str) -> io::Result<Bytes> {
        let call = Call::of(Operation::Map, name);
        let map = self.probe.run(&call, |way| {
            let map = self.inner.map(name)?;
            Ok(match way.flip {
                None => map,
                Some(_) => {
                    let mut found = map.to_vec();
                    way.spoil(&mut found);
                    found.into()
                }
            })
        })?;
        self.probe.moved(&call, map.len());
        Ok(map)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.probe
            .run(&Call::of(Operation::Lock, name), |_| self.inner.lock(name))
    }

    fn lock_shared(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.probe.run(&Call::of(Operation::Lock, name), |_| {
            self.inner.lock_shared(name)
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.probe.run(&Call::of(Operation::FreeBytes, ""), |_| {
            self.inner.free_bytes()
        })
    }
}

#[derive(Debug)]
struct ProbeFile {
    name: String,
    inner: Arc<dyn DiskFile>,
    probe: Arc<Probe>,
}

impl ProbeFile {
    fn run_silent(
        &self,
        operation: Operation,
        perform: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
    ) -> io::Result<()> {
        let call = Call::of(operation, &self.name);
        self.probe
            .run_silent(&call, |_| perform(self.inner.as_ref()))
    }
}

impl DiskFile for ProbeFile {
    fn len(&self) -> io::Result<u64> {
        let call = Call::of(Operation::Len, &self.name);
        self.probe.run(&call, |_| self.inner.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len();
        let call = Call {
            offset,
            len,
            ..Call::of(Operation::Read, &self.name)
        };
        let read = self.probe.run(&call, |way| {
            let read = self
                .inner
                .read_at(offset.saturating_add(way.shift), buffer)?;
            way.spoil(buffer.get_mut(..read).unwrap_or_default());
            Ok(read)
        })?;
        self.probe.moved(&call, read);
        Ok(read)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let call = Call {
            offset,
            len: bytes.len(),
            ..Call::of(Operation::Write, &self.name)
        };
        self.probe.run_silent(&call, |way| {
            let bytes = bytes.get(..way.share).unwrap_or(bytes);
            self.inner
                .write_all_at(offset.saturating_add(way.shift), bytes)
        })?;
        self.probe.moved(&call, bytes.len());
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run_silent(Operation::Sync, DiskFile::sync_data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run_silent(Operation::SetLen, |file| file.set_len(len))
    }

    fn set_read_only(&self) -> io::Result<()> {
        self.run_silent(Operation::SetReadOnly, DiskFile::set_read_only)
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        self.run_silent(Operation::DropCache, |file| file.drop_cache(from))
    }
}

#[cfg(test)]
mod tests;
