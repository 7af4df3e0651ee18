//! One job: its work, then its result, and the steps from the one to the other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::Waker;
use crate::pool::error::JobError;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// What has become of a job that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    Done,
    /// With this message.
    Panicked(String),
}

/// Whether a result has a ticket that may take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Ticket,
    Nothing,
}

/// What a ticket gives up that is dropped.
pub(super) enum LetGo<T> {
    /// The job has not begun. It has to be cancelled.
    Queued,
    /// The pool has not counted the result yet, or there is none.
    Nothing,
    /// A result that nothing has taken.
    Told(Result<T, JobError>),
}

/// A job from the view of the pool. Steps that say so are taken under the lock of the pool.
pub(super) trait Work: Send + Sync {
    /// Begins the job, unless it was cancelled. Under the lock.
    fn begin(&self) -> bool;

    /// Returns whether it has neither begun nor been cancelled. Under the lock.
    fn is_queued(&self) -> bool;

    /// Runs the work, whose panics end here.
    fn run(&self) -> Ran;

    /// Gives a result to a job that has begun and is not run.
    fn refuse(&self, error: JobError);

    /// Shows the result to the ticket. Under the lock.
    fn tell(&self) -> Told;

    /// Wakes the source that waits for the result.
    fn wake(&self);
}

/// A job from the view of its ticket.
pub(super) trait Ticket<T>: Send + Sync {
    /// Takes the result, if there is one.
    fn take(&self) -> Option<Result<T, JobError>>;

    /// Waits for the result, and takes it. Returns `None` at `deadline`, or if it was taken before.
    fn wait(&self, deadline: Option<Instant>) -> Option<Result<T, JobError>>;

    fn is_told(&self) -> bool;

    /// Gives up the result.
    fn let_go(&self) -> LetGo<T>;

    /// Cancels the job if it has not begun. Under the lock.
    fn cancel(&self) -> bool;

    /// Drops the work of a cancelled job.
    fn discard(&self);
}

enum State<F, T> {
    /// It waits in the queue, or in front of it.
    Queued(F),
    /// The ticket was dropped, which drops the work next.
    Cancelled(F),
    /// A thread has taken it.
    Begun(F),
    Running,
    /// It has run. The pool has not counted it yet.
    Finished(Result<T, JobError>),
    /// The ticket may take the result.
    Told(Result<T, JobError>),
    /// There is nothing left.
    Over,
}

struct Content<F, T> {
    state: State<F, T>,
    has_ticket: bool,
}

impl<F, T> Content<F, T> {
    fn replace(&mut self, state: State<F, T>) -> State<F, T> {
        std::mem::replace(&mut self.state, state)
    }

    /// Takes the result, if the ticket may.
    fn take(&mut self) -> Option<Result<T, JobError>> {
        match self.replace(State::Over) {
            State::Told(result) => Some(result),
            other => {
                self.state = other;
                None
            }
        }
    }
}

pub(super) struct Slot<F, T> {
    content: Mutex<Content<F, T>>,
    /// Notified when the ticket may take the result.
    told: Condvar,
    waker: Option<Waker>,
}

impl<F, T> Slot<F, T> {
    pub(super) fn new(work: F, waker: Option<Waker>) -> Self {
        let content = Content { state: State::Queued(work), has_ticket: true };
        Self { content: Mutex::new(content), told: Condvar::new(), waker }
    }

    /// Returns the content, also after a panic: it is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, Content<F, T>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the work back from a job that was not taken.
    pub(super) fn take_back(&self) -> Option<F> {
        let mut content = self.lock();
        match content.replace(State::Over) {
            State::Queued(work) => Some(work),
            other => {
                content.state = other;
                None
            }
        }
    }

    /// Takes the work of a job that has begun.
    fn start(&self) -> Option<F> {
        let mut content = self.lock();
        match content.replace(State::Running) {
            State::Begun(work) => Some(work),
            other => {
                content.state = other;
                None
            }
        }
    }

    /// Stores the result. If there is no ticket any more, it is dropped.
    fn finish(&self, result: Result<T, JobError>) {
        let mut content = self.lock();
        if content.has_ticket {
            content.state = State::Finished(result);
        } else {
            content.state = State::Over;
            drop(content);
            // The panic of a result that nothing takes has no other place to go.
            let _ = contain(|| drop(result));
        }
    }
}

/// Calls code of the application, whose panic ends here. Returns its message.
pub(super) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let message = message_of(&*payload);
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // A payload that panics when it is dropped may do so again.
            std::mem::forget(another);
        }
        message
    })
}

/// Returns the message of a panic.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl<F, T> Work for Slot<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn begin(&self) -> bool {
        let mut content = self.lock();
        match content.replace(State::Over) {
            State::Queued(work) => {
                content.state = State::Begun(work);
                true
            }
            other => {
                content.state = other;
                false
            }
        }
    }

    fn is_queued(&self) -> bool {
        matches!(self.lock().state, State::Queued(_))
    }

    fn run(&self) -> Ran {
        let Some(work) = self.start() else { return Ran::Done };
        match contain(work) {
            Ok(value) => {
                self.finish(Ok(value));
                Ran::Done
            }
            Err(message) => {
                self.finish(Err(JobError::Panicked(message.clone())));
                Ran::Panicked(message)
            }
        }
    }

    fn refuse(&self, error: JobError) {
        if let Some(work) = self.start() {
            // The result comes after it, so that whatever the work owns is gone by then.
            let _ = contain(|| drop(work));
            self.finish(Err(error));
        }
    }

    fn tell(&self) -> Told {
        let mut content = self.lock();
        match content.replace(State::Over) {
            State::Finished(result) => {
                content.state = State::Told(result);
                self.told.notify_all();
                Told::Ticket
            }
            _ => Told::Nothing,
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            // If its loop is gone, so is the source.
            let _ = waker.wake();
        }
    }
}

impl<F, T> Ticket<T> for Slot<F, T>
where
    F: Send,
    T: Send,
{
    fn take(&self) -> Option<Result<T, JobError>> {
        self.lock().take()
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<Result<T, JobError>> {
        let mut content = self.lock();
        loop {
            if let Some(result) = content.take() {
                return Some(result);
            }
            if matches!(content.state, State::Over) {
                // It was taken before.
                return None;
            }
            content = match deadline {
                None => self.told.wait(content).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return None;
                    }
                    self.told.wait_timeout(content, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn is_told(&self) -> bool {
        matches!(self.lock().state, State::Told(_))
    }

    fn let_go(&self) -> LetGo<T> {
        let mut content = self.lock();
        if matches!(content.state, State::Queued(_)) {
            return LetGo::Queued;
        }
        content.has_ticket = false;
        match content.replace(State::Over) {
            State::Told(result) => LetGo::Told(result),
            // The pool finds no ticket when it counts the job.
            State::Finished(result) => {
                drop(content);
                drop(result);
                LetGo::Nothing
            }
            other => {
                content.state = other;
                LetGo::Nothing
            }
        }
    }

    fn cancel(&self) -> bool {
        let mut content = self.lock();
        match content.replace(State::Over) {
            State::Queued(work) => {
                content.state = State::Cancelled(work);
                true
            }
            other => {
                content.state = other;
                false
            }
        }
    }

    fn discard(&self) {
        let mut content = self.lock();
        if matches!(content.state, State::Cancelled(_)) {
            let cancelled = content.replace(State::Over);
            drop(content);
            drop(cancelled);
        }
    }
}
