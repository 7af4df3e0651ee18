//! The limits of a thread pool.

use std::io;
use std::time::Duration;

/// The limits of a [`ThreadPool`](crate::ThreadPool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadPoolOptions {
    /// The name of the threads, for `top -H` and debuggers. Linux shows 15 bytes of it. Default
    /// `worker`.
    pub name: &'static str,
    /// How many threads stay while there is no work. Default 1: the first job waits for no thread to
    /// start.
    pub threads_min: usize,
    /// How many threads there are at most. Default 16: jobs that block need more threads than the
    /// machine has cores. For jobs that compute, the number of cores is right.
    pub threads_max: usize,
    /// How many jobs may be in the queue. Default 1,024: a queue that is longer only makes its jobs
    /// wait longer.
    pub queue_max: usize,
    /// How many jobs may wait in front of a full queue, one for each connection ([`Offload`]) or
    /// thread. Default 65,536: more than most servers have connections.
    ///
    /// [`Offload`]: crate::Offload
    pub waiting_max: usize,
    /// How many threads are started at once. Default 4: a burst gets its threads in a few steps, and
    /// one job that is a little slow does not start all of them.
    pub grow_step: usize,
    /// How long there have to be more jobs in the queue than threads without one, before threads are
    /// started. Default 5 ms: short jobs are done by then. It does not hold for the first thread.
    pub grow_after: Duration,
    /// How many threads end at once. Default 4.
    pub shrink_step: usize,
    /// How long threads have to be superfluous before they end. Default 2 s: starting them again
    /// costs less than a ten-thousandth of that.
    pub shrink_after: Duration,
}

impl ThreadPoolOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        name: "worker",
        threads_min: 1,
        threads_max: 16,
        queue_max: 1024,
        waiting_max: 65_536,
        grow_step: 4,
        grow_after: Duration::from_millis(5),
        shrink_step: 4,
        shrink_after: Duration::from_secs(2),
    };

    /// Checks the limits.
    ///
    /// # Errors
    /// When one of them is zero that may not be, or the minimum of threads exceeds the maximum. Only
    /// [`threads_min`](Self::threads_min) and [`grow_after`](Self::grow_after) may be zero. A name
    /// with a zero byte is refused too.
    pub fn check(&self) -> io::Result<()> {
        let zeros = [
            ("threads_max", self.threads_max == 0),
            ("queue_max", self.queue_max == 0),
            ("waiting_max", self.waiting_max == 0),
            ("grow_step", self.grow_step == 0),
            ("shrink_step", self.shrink_step == 0),
            ("shrink_after", self.shrink_after.is_zero()),
        ];
        let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if let Some((name, _)) = zeros.iter().find(|(_, is_zero)| *is_zero) {
            return invalid(format!("{name} of a thread pool is zero: set it to 1 or more"));
        }
        if self.threads_min > self.threads_max {
            let (min, max) = (self.threads_min, self.threads_max);
            return invalid(format!(
                "threads_min of a thread pool ({min}) exceeds threads_max ({max})"
            ));
        }
        if self.name.contains('\0') {
            return invalid("the name of a thread pool has a zero byte".to_owned());
        }
        Ok(())
    }
}

impl Default for ThreadPoolOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a thread pool has, and what it has done.
///
/// Every job that was taken is in one place: `queued + waiting + busy + done + panicked + cancelled`
/// jobs were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadPoolCounts {
    /// The threads.
    pub live: usize,
    /// The threads that run a job.
    pub busy: usize,
    /// The jobs in the queue.
    pub queued: usize,
    /// The jobs in front of the full queue.
    pub waiting: usize,
    /// The jobs that were run to their end.
    pub done: u64,
    /// The jobs that panicked.
    pub panicked: u64,
    /// The jobs that were not run: their [`Job`](crate::Job) was dropped before, or the pool was shut
    /// down.
    pub cancelled: u64,
    /// The results that nothing took: those of jobs that were done or had panicked, and whose
    /// [`Job`](crate::Job) was dropped.
    pub dropped: u64,
}
