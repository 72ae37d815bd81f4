//! What `src/sync.rs` gives, moved by the scheduler: each lock, atomic access and wait is a point
//! at which another thread may go on.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{Debug, Formatter};
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use shuttle::sync::atomic;
pub(crate) use shuttle_locks::{ArcRwLockWriteGuard, Mutex, MutexGuard, RawRwLock, RwLock};

use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};
use shuttle::rand::{Rng, thread_rng};

/// A wait for so long never ends by itself: who is saved by it only was forgotten.
const NEVER: Duration = Duration::from_secs(1);
/// How often others may go on, at most, before a shorter wait ends by itself.
const TURNS_MAX: usize = 8;
/// What passes between two looks at the clock.
const TICK: Duration = Duration::from_micros(50);

/// A place on a clock that moves when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        thread_local!(static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) });
        NOW.set(NOW.get() + TICK);
        Self(NOW.get())
    }

    pub(crate) fn checked_add(self, pause: Duration) -> Option<Self> {
        self.0.checked_add(pause).map(Self)
    }

    pub(crate) fn saturating_duration_since(self, before: Self) -> Duration {
        self.0.saturating_sub(before.0)
    }

    pub(crate) fn duration_since(self, before: Self) -> Duration {
        self.saturating_duration_since(before)
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, pause: Duration) -> Self {
        Self(self.0 + pause)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, before: Self) -> Duration {
        self.saturating_duration_since(before)
    }
}

/// One who waits, and is told once.
type Waiter = Arc<BatchSemaphore>;

/// A condition variable without spurious wakes, so that a notice that is missing is missed.
#[derive(Default)]
pub(crate) struct Condvar {
    /// Of the standard library: it is held between two moves of the scheduler only.
    waiters: std::sync::Mutex<VecDeque<Waiter>>,
}

impl Debug for Condvar {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// Whether a wait ended by itself.
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let waiter = self.enter();
        MutexGuard::unlocked(guard, || waiter.acquire_blocking(1).unwrap());
    }

    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        let pause = deadline.saturating_duration_since(Instant::now());
        if pause >= NEVER {
            self.wait(guard);
            return WaitTimeoutResult(false);
        }
        let waiter = self.enter();
        let told = MutexGuard::unlocked(guard, || {
            let turns = thread_rng().gen_range(0..TURNS_MAX);
            let mut turns = (0..turns).filter(|_| !pause.is_zero());
            let told = turns.any(|_| {
                shuttle::thread::yield_now();
                waiter.try_acquire(1).is_ok()
            });
            // Whoever takes him out of the list tells him.
            told || !self.leave(&waiter)
        });
        WaitTimeoutResult(!told)
    }

    pub(crate) fn notify_one(&self) {
        let waiter = self.waiters.lock().unwrap().pop_front();
        if let Some(waiter) = waiter {
            waiter.release(1);
        }
    }

    pub(crate) fn notify_all(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap());
        for waiter in waiters {
            waiter.release(1);
        }
    }

    fn enter(&self) -> Waiter {
        let waiter = Arc::new(BatchSemaphore::new(0, Fairness::StrictlyFair));
        self.waiters.lock().unwrap().push_back(Arc::clone(&waiter));
        waiter
    }

    /// Whether he was still waiting.
    fn leave(&self, waiter: &Waiter) -> bool {
        let mut waiters = self.waiters.lock().unwrap();
        let before = waiters.len();
        waiters.retain(|other| !Arc::ptr_eq(other, waiter));
        waiters.len() < before
    }
}

/// Threads, of which one can be asked whether it has ended.
pub(crate) mod thread {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(crate) use shuttle::thread::{Thread, ThreadId, current, park, park_timeout};

    #[derive(Debug)]
    pub(crate) struct Builder(shuttle::thread::Builder);

    #[derive(Debug)]
    pub(crate) struct JoinHandle<T> {
        thread: shuttle::thread::JoinHandle<T>,
        ended: Arc<AtomicBool>,
    }

    impl Builder {
        pub(crate) fn new() -> Self {
            Self(shuttle::thread::Builder::new())
        }

        pub(crate) fn name(self, name: String) -> Self {
            Self(self.0.name(name))
        }

        pub(crate) fn spawn<T: Send + 'static>(
            self,
            run: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            let ended = Arc::new(AtomicBool::new(false));
            let ends = Arc::clone(&ended);
            let thread = self.0.spawn(move || {
                let done = run();
                ends.store(true, Ordering::SeqCst);
                done
            })?;
            Ok(JoinHandle { thread, ended })
        }
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn thread(&self) -> &Thread {
            self.thread.thread()
        }

        pub(crate) fn is_finished(&self) -> bool {
            self.ended.load(Ordering::SeqCst)
        }

        pub(crate) fn join(self) -> shuttle::thread::Result<T> {
            self.thread.join()
        }
    }
}
