//! Why a job is not taken, and why it has no result.

use std::fmt;
use std::io;

/// Why a job has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// It panicked, with this message.
    Panicked(String),
    /// The pool was shut down before the job began.
    ShutDown,
    /// The pool has no thread, and the system has refused to start one, for this reason.
    NoThread(String),
    /// The pool is in the process that this one was forked from.
    Forked,
    /// A program on a simulated host waits for the job, which its own loop has to run.
    Simulated,
    /// The result was taken before.
    Taken,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the job panicked: {message}"),
            Self::ShutDown => f.write_str("the thread pool was shut down before the job began"),
            Self::NoThread(reason) => write!(f, "no thread can be started for the job: {reason}"),
            Self::Forked => f.write_str(FORKED),
            Self::Simulated => f.write_str(
                "the loop of a simulated host runs the job, so the program cannot wait for it",
            ),
            Self::Taken => f.write_str("the result of the job was taken before"),
        }
    }
}

impl std::error::Error for JobError {}

impl From<JobError> for io::Error {
    fn from(error: JobError) -> Self {
        Self::other(error)
    }
}

/// What a pool says in a process without its threads.
const FORKED: &str =
    "the thread pool is in the process that this one was forked from: make a new one here";

/// A job that was not taken, and why. The work is given back.
pub struct SubmitError<F> {
    /// The work.
    pub work: F,
    /// Why it was not taken.
    pub kind: SubmitErrorKind,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitErrorKind {
    /// The queue is full, and stayed so as long as the caller may wait; or a job of the same
    /// connection waits in front of the queue already.
    Full,
    /// Too many jobs wait in front of the queue.
    TooManyWaiting {
        /// The limit ([`ThreadPoolOptions::waiting_max`](crate::ThreadPoolOptions::waiting_max)).
        waiting_max: usize,
    },
    /// The pool is shut down.
    ShutDown,
    /// The pool is in the process that this one was forked from.
    Forked,
    /// The pool belongs to a simulated host, which has no threads. An [`Offload`](crate::Offload)
    /// runs jobs there.
    Simulated,
}

impl fmt::Display for SubmitErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue of the thread pool is full"),
            Self::TooManyWaiting { waiting_max } => {
                write!(f, "{waiting_max} jobs wait for room in the thread pool already, its limit")
            }
            Self::ShutDown => f.write_str("the thread pool is shut down"),
            Self::Forked => f.write_str(FORKED),
            Self::Simulated => f.write_str(
                "a simulated host has no threads: attach the pool to the loop, which runs its jobs",
            ),
        }
    }
}

impl<F> fmt::Debug for SubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for SubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<F> std::error::Error for SubmitError<F> {}

impl std::error::Error for SubmitErrorKind {}

impl From<SubmitErrorKind> for io::Error {
    fn from(kind: SubmitErrorKind) -> Self {
        let class = match kind {
            SubmitErrorKind::Full | SubmitErrorKind::TooManyWaiting { .. } => {
                io::ErrorKind::QuotaExceeded
            }
            SubmitErrorKind::ShutDown => io::ErrorKind::BrokenPipe,
            SubmitErrorKind::Forked | SubmitErrorKind::Simulated => io::ErrorKind::Unsupported,
        };
        Self::new(class, kind)
    }
}

impl<F> From<SubmitError<F>> for io::Error {
    fn from(error: SubmitError<F>) -> Self {
        error.kind.into()
    }
}
