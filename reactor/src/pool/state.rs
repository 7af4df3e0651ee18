//! What a pool has: its jobs, and the numbers of its threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::Token;
use crate::pool::error::JobError;
use crate::pool::options::{ThreadPoolCounts, ThreadPoolOptions};
use crate::pool::work::Work;
use crate::reactor::backoff::Folding;

/// What happens to the jobs in the queue when a pool is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They are run.
    Finish,
    /// They are not run: their [`Job`](crate::Job) has [`JobError::ShutDown`].
    Drop,
}

/// What waits when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrant {
    /// The job is not taken then.
    Nothing,
    /// The thread that submits the job.
    Thread,
    /// A source of a loop.
    Source(Token),
}

/// A job in front of the queue.
pub(super) struct Waiting {
    pub(super) work: Arc<dyn Work>,
    pub(super) entrant: Entrant,
}

/// A job that was taken.
pub(super) struct Entered {
    /// Its place in front of the queue, if it had to wait there.
    pub(super) place: Option<u64>,
    /// A thread has to be started that manages the others.
    pub(super) needs_manager: bool,
}

/// What the thread does that manages the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    /// There is none: the pool has as many threads as it keeps, and they suffice.
    Absent,
    /// It waits until threads are superfluous.
    Resting,
    /// It starts threads, or is about to look whether they are needed.
    Growing,
}

pub(super) struct State {
    /// The bounded ring.
    pub(super) ring: VecDeque<Arc<dyn Work>>,
    /// How many jobs in the ring were cancelled. They count as gone.
    pub(super) stale: usize,
    /// The jobs in front of the full ring, in order.
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// The sources that have a job among these.
    pub(super) waiting_sources: BTreeSet<Token>,
    pub(super) last_place: u64,
    pub(super) live: usize,
    /// The threads that have been started and have not looked for a job yet.
    pub(super) starting: usize,
    /// The threads that wait for a job.
    pub(super) idle: usize,
    /// The fewest threads that waited at one time since the manager looked last.
    pub(super) idle_least: usize,
    /// The threads that are to end.
    pub(super) retiring: usize,
    pub(super) manager: Manager,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) counts: ThreadPoolCounts,
    /// Limits how often panics are logged.
    pub(super) panics: Folding,
    /// Limits how often it is logged that no thread can be started.
    pub(super) refusals: Folding,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            ring: VecDeque::new(),
            stale: 0,
            waiting: BTreeMap::new(),
            waiting_sources: BTreeSet::new(),
            last_place: 0,
            live: 0,
            starting: 0,
            idle: 0,
            idle_least: 0,
            retiring: 0,
            manager: Manager::Absent,
            shutdown: None,
            counts: ThreadPoolCounts::default(),
            panics: Folding::default(),
            refusals: Folding::default(),
        }
    }

    /// Returns how many jobs are in the ring.
    pub(super) fn queued(&self) -> usize {
        self.ring.len() - self.stale
    }

    /// Returns whether more jobs are in the ring than threads wait for one.
    pub(super) fn is_behind(&self) -> bool {
        self.queued() > self.idle + self.starting
    }

    /// Puts a job into the ring, which has room.
    pub(super) fn push(&mut self, work: Arc<dyn Work>, queue_max: usize) {
        if self.ring.len() >= queue_max {
            self.ring.retain(|work| work.is_queued());
            self.stale = 0;
        }
        self.ring.push_back(work);
    }

    pub(super) fn forget_source(&mut self, entrant: Entrant) {
        if let Entrant::Source(source) = entrant {
            self.waiting_sources.remove(&source);
        }
    }

    /// Begins all jobs that have not begun, which are refused next, and returns them.
    pub(super) fn take_all(&mut self) -> Vec<Arc<dyn Work>> {
        let waiting = std::mem::take(&mut self.waiting).into_values().map(|it| it.work);
        let mut all: Vec<_> = self.ring.drain(..).chain(waiting).collect();
        all.retain(|work| work.begin());
        self.stale = 0;
        self.waiting_sources.clear();
        self.counts.cancelled += all.len() as u64;
        all
    }

    /// Tells some idle threads to end, if so many were idle all the time since the last call.
    pub(super) fn shrink(&mut self, options: &ThreadPoolOptions) {
        let spare = (self.live - self.retiring).saturating_sub(options.threads_min);
        self.retiring += spare.min(self.idle_least).min(options.shrink_step);
        self.idle_least = self.idle;
    }
}

/// Gives jobs that were taken from a pool their result.
pub(super) fn refuse_all(all: Vec<Arc<dyn Work>>, error: &JobError) {
    for work in all {
        work.refuse(error.clone());
        work.tell();
        work.wake();
    }
}
