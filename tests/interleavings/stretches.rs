//! The scheduler: each order draws how long a thread goes on before another does. Some faults show
//! when everybody changes all the time, others when one stops at the wrong moment and another goes
//! a long way.

use shuttle::scheduler::{RandomScheduler, Schedule, Scheduler, Task, TaskId};

/// How often, of sixty-four times, a thread goes on that could.
const STAYS: [u64; 4] = [0, 32, 56, 62];

pub(crate) struct Stretches {
    random: RandomScheduler,
    stays: u64,
}

impl Stretches {
    pub(crate) fn new(seed: u64, orders: usize) -> Self {
        Self {
            random: RandomScheduler::new_from_seed(seed, orders),
            stays: 0,
        }
    }
}

impl Scheduler for Stretches {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.random.new_execution()?;
        let drawn = usize::try_from(self.random.next_u64() % 4).unwrap_or(0);
        self.stays = STAYS[drawn];
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let could = |id: &TaskId| !is_yielding && runnable.iter().any(|task| task.id() == *id);
        if let Some(current) = current.filter(could)
            && self.random.next_u64() % 64 < self.stays
        {
            return Some(current);
        }
        self.random.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}
