//! The store itself: one log, one index, one gate for every change.
//!
//! # The walk of an append
//!
//! `model/append.rs` is what the writer asks for. `prepare.rs` checks it against the limits;
//! `resolve.rs` finds out, at a committed position and on the caller's thread, all that may need
//! the disk; `stage.rs` judges it by the rules of `verdict.rs`, numbers its events and encodes them
//! into the unit being built; `commit.rs` writes and syncs the unit, makes it visible through
//! `committed.rs`, and answers.
//!
//! State records walk along in the trailer of the unit, and are seen with its events;
//! `log/states.rs` keeps them. `scavenge.rs` decides which events go, and `log/rewrite.rs` writes
//! what stays.
//!
//! # What always holds
//!
//! Nobody sees an event before its sync returned. A request is refused on durable grounds only. The
//! commit path reads no disk. The engine needs no runtime: blocking callers block, and a server
//! hands in a function to be called with the answer.

mod commit;
mod committed;
mod error;
mod keeper;
mod options;
mod origin;
mod pace;
mod prepare;
mod read;
mod receipt;
pub mod repair;
mod resolve;
mod scavenge;
mod scavenge_info;
mod stage;
mod stats;
mod verdict;
mod verify;

pub use crate::log::{LogVerification, LostRange, Run, StorageError};
pub(crate) use committed::CommitListener;
pub use error::{AppendError, OpenError, ReadError};
pub use options::{Background, StoreOptions};
pub use origin::Origin;
pub use read::{
    Batch, BatchLimit, Bounds, Events, Looked, ProjectionState, ResolvedEvent, ResolvedEvents,
    StoredMetadata, StreamInfo, StreamSummary,
};
pub(crate) use read::{
    Entry, Reading, Record, StreamStart, Track, Virtual, VirtualStart, block_on_until,
};
pub use scavenge::{ScavengeError, ScavengeHandle, ScavengeOptions};
pub use scavenge_info::{ScavengeInfo, ScavengeStatus};
pub use stats::{Histogram, StoreStats};
pub use verify::{verify, verify_on};

use std::any::Any;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::disk::{Disk, Host, OsDisk, OsHost, ReadOnlyDisk};
use crate::index::{Index, IndexOptions, Step};
use crate::log::{KeeperProgress, Log, LogOptions, Opened, RecoveryReport};
use crate::model::{Append, Lineage, Position, Receipt, StateSpace, StoreId, Token};
use crate::sync::Mutex;
use crate::sync::thread::{self, JoinHandle, ThreadId};
use commit::{Committer, Parts};
use committed::Committed;
use keeper::{Bells, Next};
use origin::Origins;
use scavenge::Scavenges;
use stats::Counters;

/// An open store. Cloning is cheap; the last clone that is dropped closes it.
#[derive(Clone)]
pub struct Store(Arc<Owner>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.id())
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

/// Ends the threads when the last handle goes.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

/// What is done when somebody closes the store.
struct LastWork(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for LastWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LastWork").finish_non_exhaustive()
    }
}

/// What the store's threads share with its handles.
#[derive(Debug)]
struct Shared {
    log: Log,
    index: Index,
    committed: Arc<Committed>,
    committer: Committer,
    reading: Reading,
    background: Background,
    bells: Arc<Bells>,
    recovery: RecoveryReport,
    disk: Arc<dyn Disk>,
    scavenges: Scavenges,
    host: Arc<dyn Host>,
    origins: Origins,
    /// Held while the store is closed.
    threads: Mutex<Vec<JoinHandle<()>>>,
    thread_ids: OnceLock<Vec<ThreadId>>,
    /// What a higher layer keeps once for each store, as long as somebody there needs it.
    attached: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
    /// What is to be done when the store is about to be closed.
    before_close: Mutex<Option<LastWork>>,
}

impl Store {
    /// Opens the store in a directory of the file system, or makes one.
    ///
    /// # Errors
    /// See [`OpenError`]; no event was changed on the disk, whatever the error says.
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let disk = match options.create && !options.read_only {
            true => OsDisk::open_or_create(path),
            false => OsDisk::open(path),
        };
        let disk = disk.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => OpenError::NotFound(name.as_str().into()),
            _ => OpenError::Storage(StorageError::io("open", &name, error)),
        })?;
        Self::open_in(&name, Arc::new(disk), Arc::new(OsHost), options)
    }

    /// Opens the store on a disk and a host of the caller's own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        host: Arc<dyn Host>,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        Self::open_in("the directory", disk, host, options)
    }

    fn open_in(
        name: &str,
        disk: Arc<dyn Disk>,
        host: Arc<dyn Host>,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        options.check()?;
        let disk: Arc<dyn Disk> = match options.read_only {
            true => Arc::new(ReadOnlyDisk::new(disk)),
            false => disk,
        };
        let opened = Log::open(
            Arc::clone(&disk),
            Arc::clone(&host),
            log_options(&options),
            options.create && !options.read_only,
        );
        let Opened {
            log,
            writer,
            mut report,
        } = opened.map_err(|error| OpenError::of_log(name, error))?;
        let open_index = || Index::open(&log, Arc::clone(&disk), index_options(&options));
        let index = match open_index() {
            Err(error) if options.read_only && error.is_damage() => {
                let lost = log.find_lost();
                report.lost = lost.map_err(|error| OpenError::of_log(name, error))?;
                open_index()
            }
            other => other,
        };
        // What no table covers is read from the log, and may be damaged there.
        let index = index.map_err(|error| OpenError::of_log(name, error.into()))?;
        let time_us = log.last_committed_us().unwrap_or(i64::MIN);
        let committed = Arc::new(Committed::new(log.end(), time_us));
        let background = options.background;
        let bells = Arc::new(Bells::default());
        let counters = Arc::new(Counters::default());
        let committer = Committer::new(Parts {
            log: log.clone(),
            writer,
            index: index.clone(),
            host: Arc::clone(&host),
            committed: Arc::clone(&committed),
            bells: Arc::clone(&bells),
            counters: Arc::clone(&counters),
            options,
        });
        let reading = Reading {
            log: log.clone(),
            index: index.clone(),
            committed: Arc::clone(&committed),
            host: Arc::clone(&host),
            counters,
        };
        let shared = Arc::new(Shared {
            log,
            index,
            committed,
            committer,
            reading,
            background,
            bells,
            recovery: report,
            disk,
            scavenges: Scavenges::default(),
            origins: Origins::default(),
            host,
            threads: Mutex::new(Vec::new()),
            thread_ids: OnceLock::new(),
            attached: Mutex::new(None),
            before_close: Mutex::new(None),
        });
        let owner = Owner { shared };
        if background == Background::Threads {
            keeper::start(&owner.shared)?;
        }
        Ok(Self(Arc::new(owner)))
    }

    /// Appends, and returns when everything is on stable storage.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.0.shared.committer.append(append)
    }

    /// Appends without waiting: `done` is called with what [`Self::append`] would return. It runs
    /// on the thread that commits, before the next commit begins, so it must be quick and must not
    /// call [`Self::append`]; calling `submit` is fine, and so is letting go of the last handle.
    pub fn submit(
        &self,
        append: Append,
        done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static,
    ) {
        self.submit_from(Origin::UNNAMED, append, done);
    }

    /// As [`Self::submit`], for an append that comes from there.
    pub fn submit_from(
        &self,
        origin: Origin,
        append: Append,
        done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static,
    ) {
        self.enqueue_from(origin, append, done);
        self.0.shared.committer.wake();
    }

    /// Another origin of appends, for [`Self::submit_from`].
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.shared.origins.next()
    }

    /// As [`Self::submit_from`], for a caller who has more: he calls [`Self::commit_enqueued`]
    /// behind the last one. Until then nobody may commit it.
    pub fn enqueue_from(
        &self,
        origin: Origin,
        append: Append,
        done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static,
    ) {
        let done = Box::new(done);
        self.0.shared.committer.enqueue(origin, append, done);
    }

    /// Has everything committed that was enqueued: on this thread, which saves two wake-ups, if
    /// nobody is committing and the last commit had one request and took no longer than `within`;
    /// else by the store's own thread, if it has one. It does not wait for commits of others.
    pub fn commit_enqueued(&self, within: Duration) {
        self.0.shared.committer.commit_within(within);
    }

    /// How long a reader who has just read so much pauses before he goes on: not at all, unless
    /// many appends share each commit. Then all readers together read
    /// [`StoreOptions::bulk_read_bytes_per_s`], so that appends come first.
    #[must_use]
    pub fn pause_of_reader(&self, len_bytes: usize) -> Duration {
        self.0.shared.committer.pause_of_reader(len_bytes)
    }

    /// The position behind the last committed event: what a reader that starts now can see.
    #[must_use]
    pub fn committed(&self) -> Position {
        self.0.shared.committed.end()
    }

    /// The committed value of a state record.
    #[must_use]
    pub fn state(&self, space: StateSpace, key: &[u8]) -> Option<Bytes> {
        self.0.shared.log.state(space.byte(), key)
    }

    /// The committed state records of a space whose keys begin with a prefix, by their keys.
    /// Whoever sees the events of an append sees the state records that came along.
    #[must_use]
    pub fn states(&self, space: StateSpace, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.0.shared.log.states(space.byte(), prefix)
    }

    /// What readers need of the store.
    pub(crate) fn reading(&self) -> &Reading {
        &self.0.shared.reading
    }

    /// What is kept once for this store, as long as somebody needs it; made when nobody has it.
    pub(crate) fn attached<T: Any + Send + Sync, E>(
        &self,
        make: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        let mut attached = self.0.shared.attached.lock();
        let kept = attached.as_ref().and_then(Weak::upgrade);
        if let Some(kept) = kept.and_then(|kept| kept.downcast().ok()) {
            return Ok(kept);
        }
        let made = make()?;
        let any: Arc<dyn Any + Send + Sync> = made.clone();
        *attached = Some(Arc::downgrade(&any));
        Ok(made)
    }

    /// Has this done when somebody closes the store, while it still takes appends; in the place of
    /// what was to be done before. What closes the store from one of its own threads cannot wait
    /// for an append, and leaves it out.
    pub(crate) fn before_close(&self, last: impl Fn() + Send + Sync + 'static) {
        *self.0.shared.before_close.lock() = Some(LastWork(Box::new(last)));
    }

    /// Whether nothing more will be committed, because the store was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.shared.committed.is_closed()
    }

    /// Who does the background work.
    pub(crate) fn background(&self) -> Background {
        self.0.shared.background
    }

    /// A token that covers everything committed.
    #[must_use]
    pub fn token(&self) -> Token {
        let identity = self.0.shared.log.identity();
        Token {
            store: identity.store,
            lineage: identity.lineage,
            end: self.committed(),
        }
    }

    /// The store's identity.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.0.shared.log.identity().store
    }

    /// The store's present lineage.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.0.shared.log.identity().lineage
    }

    /// What the checksums of this store's record headers begin with. It is no secret.
    #[must_use]
    pub fn record_salt(&self) -> crate::format::checksum::Salt {
        self.0.shared.log.identity().record_salt
    }

    /// When the last commit was made, in microseconds since 1970; none in a store without one.
    #[must_use]
    pub fn committed_us(&self) -> Option<i64> {
        Some(self.0.shared.committed.time_us()).filter(|time_us| *time_us != i64::MIN)
    }

    /// The wall clock of the store's host, in microseconds since 1970.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        self.0.shared.reading.now_us()
    }

    /// The options that the store was opened with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        self.0.shared.committer.options()
    }

    /// Whether the store was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.shared.is_read_only()
    }

    /// What was found and done when the store was opened.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.0.shared.recovery
    }

    /// Does all background work that is there to do, on the caller's thread, and returns when none
    /// is left. For stores that were opened with [`Background::Manual`].
    ///
    /// # Errors
    /// The first failure of a step; [`StorageError::Full`] while the disk has no space for what is
    /// to be committed.
    pub fn maintain(&self) -> Result<(), StorageError> {
        let shared = &self.0.shared;
        loop {
            let committed = shared.committer.drain();
            let (log, index) = shared
                .step_of_log(Log::keeper_step)
                .and_then(|log| Ok((log, shared.index_step()?)))
                .inspect_err(|error| {
                    shared.committer.background_failed(error.clone());
                })?;
            if !committed && log != Next::Now && index != Next::Now {
                shared.committer.background_recovered();
                return shared.committer.held().map_or(Ok(()), Err);
            }
        }
    }

    /// What stopped the store; or else what it tries again, as it does while the disk has no space:
    /// to commit ([`StorageError::Full`]), or its background work.
    #[must_use]
    pub fn failure(&self) -> Option<StorageError> {
        self.0.shared.committer.failure()
    }

    /// Finishes what was accepted, writes the index and closes the files. Other handles of the
    /// store get [`StorageError::Closed`] from then on. Where an answer is given to
    /// [`Self::submit`], it returns at once and closes the store behind that.
    ///
    /// # Errors
    /// What went wrong on the way; everything acknowledged is safe all the same.
    pub fn close(self) -> Result<(), StorageError> {
        self.0.close()
    }
}

impl Owner {
    fn close(&self) -> Result<(), StorageError> {
        let shared = &self.shared;
        let threads = shared.thread_ids.get();
        if !threads.is_some_and(|ids| ids.contains(&thread::current().id())) {
            let last = shared.before_close.lock().take();
            if let Some(LastWork(last)) = last {
                last();
            }
            shared.end();
            return shared.close();
        }
        shared.end();
        // A thread cannot wait for its own end.
        let shared = Arc::clone(shared);
        let name = "annal-close";
        let closing = thread::Builder::new().name(name.into());
        let closing = closing.spawn(move || drop(shared.close()));
        closing
            .map(drop)
            .map_err(|error| StorageError::io("start a thread for", name, error))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Whoever wants to know closes the store himself; nothing acknowledged depends on it.
        let _unheard = self.close();
    }
}

impl Shared {
    /// Takes nothing any more, and tells the threads to end.
    fn end(&self) {
        self.scavenges.stop();
        self.committer.stop();
        self.bells.log.end();
        self.bells.spare.end();
        self.bells.index.end();
    }

    fn close(&self) -> Result<(), StorageError> {
        let mut threads = self.threads.lock();
        for thread in threads.drain(..) {
            // A thread that panicked has said so; what it was doing is not needed for safety.
            let _panicked = thread.join();
        }
        self.finish();
        self.committed.close();
        let Some(writer) = self.committer.take_writer() else {
            return Ok(());
        };
        if let Some(error @ StorageError::Poisoned(_)) = self.committer.stopped() {
            return Err(error);
        }
        if self.is_read_only() {
            return Ok(());
        }
        while self.index.flush(self.committed.end(), true)? == Step::Worked {}
        writer.close(&self.log)?;
        // Its requests were told that nobody knows; now it is certain that they are not in the log.
        self.committer.held().map_or(Ok(()), Err)
    }

    /// Answers everything that was accepted, also what waits for the index.
    fn finish(&self) {
        self.committer.drain();
        while self.committer.has_waiting() {
            match self.index.flush(self.committed.end(), false) {
                Ok(Step::Worked) => {
                    self.committer.drain();
                }
                Ok(Step::Idle | Step::Waiting) => break,
                Err(error) => {
                    self.committer.background_failed(error);
                    break;
                }
            }
        }
        self.committer.refuse_waiting(&StorageError::Closed);
    }

    /// Whether nothing is ever written.
    fn is_read_only(&self) -> bool {
        self.committer.options().read_only
    }

    /// One step of the log's background work, but for the spare segment.
    fn log_step(&self) -> Result<Next, StorageError> {
        self.step_of_log(Log::seal_step)
    }

    /// One step of the work for the spare segment: beside the rest, for sealing takes longer than a
    /// log that grows fast needs until its active segment is full.
    fn spare_step(&self) -> Result<Next, StorageError> {
        self.step_of_log(Log::spare_step)
    }

    fn step_of_log(
        &self,
        step: fn(&Log) -> Result<KeeperProgress, StorageError>,
    ) -> Result<Next, StorageError> {
        if self.is_read_only() {
            return Ok(Next::WhenCalled);
        }
        step(&self.log).map(|progress| match progress.again_after {
            Some(Duration::ZERO) => Next::Now,
            Some(pause) => Next::After(pause),
            None => Next::WhenCalled,
        })
    }

    /// One step of the index's background work: what appends may wait for comes first.
    fn index_step(&self) -> Result<Next, StorageError> {
        if self.is_read_only() {
            let worked = self.index.rebuild_step()? == Step::Worked;
            return Ok(if worked { Next::Now } else { Next::WhenCalled });
        }
        let flushed = self.index.flush(self.committed.end(), false)?;
        if flushed == Step::Worked {
            self.committer.wake();
            return Ok(Next::Now);
        }
        if self.log.wants_checkpoint()
            && self.index.checkpoint(self.committed.end())? == Step::Worked
        {
            self.committer.wake();
            return Ok(Next::Now);
        }
        let worked =
            self.index.rebuild_step()? == Step::Worked || self.index.merge_step()? == Step::Worked;
        Ok(if worked { Next::Now } else { Next::WhenCalled })
    }
}

fn log_options(options: &StoreOptions) -> LogOptions {
    LogOptions {
        segment_size_bytes: options.segment_size_bytes,
        unit_align: options.unit_align_bytes,
        read_cache_bytes: options.read_cache_bytes,
        recent_bytes: options.recent_bytes,
        open_files_max: options.open_files_max,
        read_only: options.read_only,
        zero_fill: options.zero_fill,
    }
}

fn index_options(options: &StoreOptions) -> IndexOptions {
    IndexOptions {
        memory_bytes: options.index_memory_bytes,
        flush_events: options.index_flush_events.into(),
        cache_bytes: options.index_cache_bytes,
        read_only: options.read_only,
        window_events: options.idempotence_events.into(),
        window_requests: options.idempotence_requests,
        ..IndexOptions::default()
    }
}
