//! The ticket of a job.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kernel;
use crate::pool::error::JobError;
use crate::pool::queue::Queue;
use crate::pool::work::Ticket;

/// A job of a [`ThreadPool`](crate::ThreadPool), from which its result is taken, once.
///
/// A job that is dropped is given up. If it has not begun, it is not run. Otherwise its result is
/// dropped when it comes. Both are counted ([`ThreadPoolCounts`](crate::ThreadPoolCounts)). Work whose
/// result is of no use runs after [`detach`](Self::detach).
#[must_use = "a job that is dropped before it begins is not run"]
pub struct Job<T> {
    queue: Arc<Queue>,
    /// `None` if the job was detached.
    ticket: Option<Arc<dyn Ticket<T>>>,
    /// Its place in front of the queue, if it had one.
    place: Option<u64>,
}

impl<T> Job<T> {
    pub(super) fn new(queue: Arc<Queue>, ticket: Arc<dyn Ticket<T>>, place: Option<u64>) -> Self {
        Self { queue, ticket: Some(ticket), place }
    }

    /// Returns its place in front of the queue, if it had to wait there.
    pub(super) fn place(&self) -> Option<u64> {
        self.place
    }

    /// Returns whether [`take`](Self::take) would return the result.
    pub fn is_ready(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.is_told())
    }

    /// Takes the result. It is `None` if there is none yet, or if it was taken before.
    pub fn take(&mut self) -> Option<Result<T, JobError>> {
        self.ticket.as_ref()?.take()
    }

    /// Waits for the result. A loop that waits is blocked: use an [`Offload`](crate::Offload) there.
    ///
    /// # Errors
    /// When the job has panicked or was not run, or when its result was taken before. A program on a simulated host cannot wait.
    pub fn wait(mut self) -> Result<T, JobError> {
        self.wait_until(None).unwrap_or(Err(JobError::Taken))
    }

    /// Waits for the result, `patience` at most: then it is `None`, and the job goes on. It is also
    /// `None` if the result was taken before.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, patience: Duration) -> Option<Result<T, JobError>> {
        // A time that is further away than the clock reaches is as good as never.
        self.wait_until(Instant::now().checked_add(patience))
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<Result<T, JobError>> {
        let ticket = self.ticket.as_ref()?;
        if self.queue.is_copy() {
            return Some(Err(JobError::Forked));
        }
        if kernel::is_simulated() && !ticket.is_told() {
            return Some(Err(JobError::Simulated));
        }
        ticket.wait(deadline)
    }

    /// Gives up the result, and not the work: it is run in any case. Its result is not counted as
    /// dropped.
    pub fn detach(mut self) {
        self.ticket = None;
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.let_go(self.place, &*ticket);
        }
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}
