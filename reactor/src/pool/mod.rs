//! Work that blocks or takes long, on threads of its own.

mod error;
mod job;
mod offload;
mod options;
mod queue;
mod simulated;
mod state;
mod threads;
mod work;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::{JobError, SubmitError, SubmitErrorKind};
pub use job::Job;
pub use offload::Offload;
pub use options::{ThreadPoolCounts, ThreadPoolOptions};
pub use state::Shutdown;

use crate::pool::queue::Queue;
use crate::pool::state::Entrant;
use crate::pool::work::Slot;
use crate::{Cx, Waker, kernel};

/// Threads that run jobs which block or compute for long, and a bounded queue in front of them.
///
/// There are [`threads_min`](ThreadPoolOptions::threads_min) threads while there is nothing to do.
/// If jobs have to wait, the pool starts more, some at a time, up to
/// [`threads_max`](ThreadPoolOptions::threads_max). Threads that were not needed for a while end. A
/// thread that manages the others does both. It exists only while there is something to manage.
///
/// A loop hands work over through an [`Offload`] ([`attach`](Self::attach)), and never waits. Code
/// that may wait needs no loop:
///
/// ```
/// use reactor::{Shutdown, ThreadPool, ThreadPoolOptions};
/// use std::time::Duration;
///
/// let pool = ThreadPool::new(ThreadPoolOptions::DEFAULT)?;
/// let sum = pool.submit(|| (1..=1000_u64).sum::<u64>())?;
/// let panic = pool.submit(|| -> u64 { panic!("as planned") })?;
/// assert_eq!(sum.wait()?, 500_500);
/// assert_eq!(panic.wait().unwrap_err().to_string(), "the job panicked: as planned");
/// let counts = pool.shut_down(Shutdown::Finish, Duration::from_secs(10))?;
/// assert_eq!((counts.done, counts.panicked, counts.live), (1, 1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Jobs begin in the order in which they were taken. The threads handle no signals. A panic of a job
/// ends that job and no thread.
///
/// A pool that is dropped takes no job, and drops those in its queue. It does not wait for those that
/// run. [`shut_down`](Self::shut_down) does.
///
/// A pool that is made by a program on a simulated host ([`sim`](crate::sim)) has no threads. Its
/// jobs run on the loop, after some simulated time.
pub struct ThreadPool {
    queue: Arc<Queue>,
    has_threads: bool,
}

impl ThreadPool {
    /// Returns a pool with its minimum of threads.
    ///
    /// # Errors
    /// When a limit is invalid ([`ThreadPoolOptions::check`]), or the system starts no thread.
    pub fn new(options: ThreadPoolOptions) -> io::Result<Self> {
        options.check()?;
        let has_threads = !kernel::is_simulated();
        let pool = Self { queue: Arc::new(Queue::new(options)), has_threads };
        if has_threads {
            threads::start(&pool.queue, options.threads_min)?;
        }
        Ok(pool)
    }

    /// Returns a pool that starts its first thread when there is a job, whatever the thread that
    /// makes the pool. The limits are valid, and their minimum is zero.
    pub(crate) fn without_minimum(options: ThreadPoolOptions) -> Self {
        Self { queue: Arc::new(Queue::new(options)), has_threads: true }
    }

    /// Returns whether a fork has copied it without its threads.
    pub(crate) fn is_copy(&self) -> bool {
        self.queue.is_copy()
    }

    /// Returns the limits.
    pub fn options(&self) -> &ThreadPoolOptions {
        &self.queue.options
    }

    /// Returns what the pool has and has done. In a process that was forked from that of the pool,
    /// it has nothing.
    pub fn counts(&self) -> ThreadPoolCounts {
        self.queue.counts()
    }

    /// Hands work over. Waits for room in the queue: a loop would be blocked, and a job that submits
    /// others to its own pool may wait for itself.
    ///
    /// # Errors
    /// When the pool is shut down, in another process or simulated, or too many jobs wait for room.
    /// The error contains the work.
    pub fn submit<T, F>(&self, work: F) -> Result<Job<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit_until(None, work)
    }

    /// Hands work over as [`submit`](Self::submit) does, and waits for room `patience` at most.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit), and [`SubmitErrorKind::Full`].
    pub fn submit_timeout<T, F>(
        &self,
        patience: Duration,
        work: F,
    ) -> Result<Job<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit_until(Instant::now().checked_add(patience), work)
    }

    /// Hands work over if the queue has room.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit), and [`SubmitErrorKind::Full`].
    pub fn try_submit<T, F>(&self, work: F) -> Result<Job<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, _) = self.enter(Entrant::Nothing, work)?;
        Ok(job)
    }

    fn submit_until<T, F>(
        &self,
        deadline: Option<Instant>,
        work: F,
    ) -> Result<Job<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, slot) = self.enter(Entrant::Thread, work)?;
        match job.place() {
            Some(place) if !self.queue.wait_for_room(place, deadline) => {
                give_back(job, &slot, SubmitErrorKind::Full)
            }
            _ => Ok(job),
        }
    }

    /// Takes a job that needs threads.
    fn enter<T, F>(&self, entrant: Entrant, work: F) -> Result<Taken<T, F>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.has_threads {
            enter(&self.queue, entrant, None, work)
        } else {
            Err(SubmitError { work, kind: SubmitErrorKind::Simulated })
        }
    }

    /// Returns what hands work over for the sources of a loop.
    ///
    /// # Errors
    /// When the pool was made inside of a simulation and the loop was not, or the other way round. A
    /// loop that is being dropped refuses.
    pub fn attach<A: 'static, P>(&self, cx: &mut Cx<'_, A, P>) -> io::Result<Offload> {
        if self.has_threads == kernel::is_simulated() {
            let text = "a thread pool and its loops belong to one simulated host, or to none: make \
                        the pool where the loop is made";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Offload::new(Arc::clone(&self.queue), cx)
    }

    /// Shuts the pool down: it takes no further job. Waits until its threads have ended, and returns
    /// the last counts. On a simulated host, the jobs in the queue are run here, one after the other.
    ///
    /// A job that shuts its own pool down waits for itself.
    ///
    /// # Errors
    /// When threads still run jobs after `patience`. They end when these are done.
    pub fn shut_down(&self, how: Shutdown, patience: Duration) -> io::Result<ThreadPoolCounts> {
        if self.queue.is_copy() {
            return Err(SubmitErrorKind::Forked.into());
        }
        if self.has_threads {
            threads::shut_down(&self.queue, how, patience)?;
        } else {
            simulated::shut_down(&self.queue, how);
        }
        Ok(self.counts())
    }
}

/// A job that was taken, and its slot.
type Taken<T, F> = (Job<T>, Arc<Slot<F, T>>);

/// Takes a job.
fn enter<T, F>(
    queue: &Arc<Queue>,
    entrant: Entrant,
    waker: Option<Waker>,
    work: F,
) -> Result<Taken<T, F>, SubmitError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let slot = Arc::new(Slot::new(work, waker));
    let entered = queue.enter(slot.clone(), entrant);
    let place = entered.as_ref().ok().and_then(|entered| entered.place);
    let job = Job::new(Arc::clone(queue), slot.clone(), place);
    match entered {
        Ok(entered) => {
            if entered.needs_manager && !kernel::is_simulated() {
                threads::start_manager(queue);
            }
            Ok((job, slot))
        }
        Err(kind) => give_back(job, &slot, kind).map(|job| (job, slot)),
    }
}

/// Takes the work back from a job that was not taken. If it has begun all the same, it was taken.
fn give_back<T, F>(
    job: Job<T>,
    slot: &Slot<F, T>,
    kind: SubmitErrorKind,
) -> Result<Job<T>, SubmitError<F>> {
    match slot.take_back() {
        Some(work) => {
            job.detach();
            Err(SubmitError { work, kind })
        }
        None => Ok(job),
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        if !self.queue.is_copy() {
            self.queue.close(Shutdown::Drop);
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("options", self.options())
            .field("counts", &self.counts())
            .finish()
    }
}
