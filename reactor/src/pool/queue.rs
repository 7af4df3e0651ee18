//! The bounded queue of a pool, what waits in front of it, and its conditions. It starts no thread.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use log::warn;

use crate::pool::error::{JobError, SubmitErrorKind};
use crate::pool::options::{ThreadPoolCounts, ThreadPoolOptions};
use crate::pool::state::{Entered, Entrant, Manager, Shutdown, State, Waiting, refuse_all};
use crate::pool::work::{LetGo, Ran, Ticket, Told, Work, contain};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::sys::Process;

/// What the handles, the tickets and the threads of a pool share.
pub(super) struct Queue {
    pub(super) options: ThreadPoolOptions,
    /// The process that made it. Another one has none of its threads.
    process: Process,
    state: Mutex<State>,
    /// There is a job in the ring, or a thread has to end.
    not_empty: Condvar,
    /// A job of a thread has got from the front of the ring into it.
    not_full: Condvar,
    /// The manager has something to do.
    pub(super) manage: Condvar,
    /// A thread of a pool that is shut down has ended.
    pub(super) ended: Condvar,
}

impl Queue {
    pub(super) fn new(options: ThreadPoolOptions) -> Self {
        Self {
            options,
            process: Process::this(),
            state: Mutex::new(State::new()),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
            manage: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    /// Returns whether a fork has copied it without its threads. Nothing may wait for its lock then.
    pub(super) fn is_copy(&self) -> bool {
        self.process.is_another()
    }

    /// Returns the state, also after a thread panicked: it is consistent between operations.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> ThreadPoolCounts {
        if self.is_copy() {
            return ThreadPoolCounts::default();
        }
        let state = self.lock();
        let (live, queued, waiting) = (state.live, state.queued(), state.waiting.len());
        ThreadPoolCounts { live, queued, waiting, ..state.counts }
    }

    fn is_full(&self, state: &State) -> bool {
        state.queued() >= self.options.queue_max || !state.waiting.is_empty()
    }

    /// Takes a job into the ring, or in front of it.
    pub(super) fn enter(
        &self,
        work: Arc<dyn Work>,
        entrant: Entrant,
    ) -> Result<Entered, SubmitErrorKind> {
        if self.is_copy() {
            return Err(SubmitErrorKind::Forked);
        }
        let mut state = self.lock();
        if state.shutdown.is_some() {
            return Err(SubmitErrorKind::ShutDown);
        }
        let mut place = None;
        if !self.is_full(&state) {
            state.push(work, self.options.queue_max);
            self.not_empty.notify_one();
        } else {
            place = Some(self.wait_in_front(&mut state, work, entrant)?);
        }
        let needs_manager = self.call_manager(&mut state);
        Ok(Entered { place, needs_manager })
    }

    /// Gives a job a place in front of the ring.
    fn wait_in_front(
        &self,
        state: &mut State,
        work: Arc<dyn Work>,
        entrant: Entrant,
    ) -> Result<u64, SubmitErrorKind> {
        let waiting_max = self.options.waiting_max;
        match entrant {
            Entrant::Nothing => return Err(SubmitErrorKind::Full),
            Entrant::Source(source) if state.waiting_sources.contains(&source) => {
                return Err(SubmitErrorKind::Full);
            }
            _ if state.waiting.len() >= waiting_max => {
                return Err(SubmitErrorKind::TooManyWaiting { waiting_max });
            }
            Entrant::Source(source) => {
                state.waiting_sources.insert(source);
            }
            Entrant::Thread => {}
        }
        state.last_place += 1;
        let place = state.last_place;
        state.waiting.insert(place, Waiting { work, entrant });
        Ok(place)
    }

    /// Calls the manager if there are too few threads. Returns whether there is none.
    fn call_manager(&self, state: &mut State) -> bool {
        if !state.is_behind() || state.live >= self.options.threads_max {
            return false;
        }
        match std::mem::replace(&mut state.manager, Manager::Growing) {
            Manager::Absent => return true,
            Manager::Resting => self.manage.notify_one(),
            Manager::Growing => {}
        }
        false
    }

    /// Waits until the job of this thread is in the ring. At `deadline` it is withdrawn: then false
    /// is returned.
    pub(super) fn wait_for_room(&self, place: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.waiting.contains_key(&place) {
            state = match deadline {
                None => self.not_full.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        state.waiting.remove(&place);
                        return false;
                    }
                    let waited = self.not_full.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Moves jobs from the front of the ring into it, as far as there is room.
    fn admit(&self, state: &mut State) {
        let mut is_awaited = false;
        while state.queued() < self.options.queue_max
            && let Some((_, Waiting { work, entrant })) = state.waiting.pop_first()
        {
            state.forget_source(entrant);
            state.push(work, self.options.queue_max);
            self.not_empty.notify_one();
            is_awaited |= entrant == Entrant::Thread;
        }
        if is_awaited {
            self.not_full.notify_all();
        }
    }

    /// Begins the next job, if there is one.
    fn begin_next(&self, state: &mut State) -> Option<Arc<dyn Work>> {
        while let Some(work) = state.ring.pop_front() {
            let begins = work.begin();
            if begins {
                state.counts.busy += 1;
            } else {
                state.stale -= 1;
            }
            self.admit(state);
            if begins {
                return Some(work);
            }
        }
        None
    }

    /// Begins the next job, if there is one, without waiting.
    pub(super) fn try_next(&self) -> Option<Arc<dyn Work>> {
        self.begin_next(&mut self.lock())
    }

    /// Waits for a job, and begins it. Returns `None` if the calling thread has to end.
    pub(super) fn next(&self) -> Option<Arc<dyn Work>> {
        let mut state = self.lock();
        loop {
            if let Some(work) = self.begin_next(&mut state) {
                return Some(work);
            }
            if state.retiring > 0 || state.shutdown.is_some() {
                state.retiring = state.retiring.saturating_sub(1);
                state.live -= 1;
                if state.shutdown.is_some() {
                    self.manage.notify_all();
                    self.ended.notify_all();
                }
                return None;
            }
            state.idle += 1;
            state = self.not_empty.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.idle_least = state.idle_least.min(state.idle);
        }
    }

    /// Runs a job that has begun. It is counted before its ticket has the result.
    pub(super) fn run(&self, work: Arc<dyn Work>) {
        let ran = work.run();
        let mut said = None;
        let mut state = self.lock();
        state.counts.busy -= 1;
        match ran {
            Ran::Done => state.counts.done += 1,
            Ran::Panicked(message) => {
                state.counts.panicked += 1;
                said = state.panics.admit(Instant::now()).map(|folded| (message, folded));
            }
        }
        if work.tell() == Told::Nothing {
            state.counts.dropped += 1;
        }
        drop(state);
        work.wake();
        // The result of a detached job is dropped with it, and may panic.
        let _ = contain(|| drop(work));
        if let Some((message, folded)) = said {
            warn!("a job of the thread pool {:?} panicked: {message}{folded}", self.options.name);
        }
    }

    /// Ends a job that has begun and is not run.
    pub(super) fn give_up(&self, work: Arc<dyn Work>, error: &JobError) {
        {
            let mut state = self.lock();
            state.counts.busy -= 1;
            state.counts.cancelled += 1;
        }
        refuse_all(vec![work], error);
    }

    /// Drops a ticket.
    pub(super) fn let_go<T>(&self, place: Option<u64>, ticket: &dyn Ticket<T>) {
        if self.is_copy() {
            return;
        }
        match ticket.let_go() {
            LetGo::Nothing => {}
            LetGo::Told(result) => {
                // A job that was not run has no result, and counts as cancelled.
                if matches!(result, Ok(_) | Err(JobError::Panicked(_))) {
                    self.lock().counts.dropped += 1;
                }
                drop(result);
            }
            LetGo::Queued if self.cancel(place, ticket) => ticket.discard(),
            // It has begun meanwhile.
            LetGo::Queued => self.let_go(place, ticket),
        }
    }

    /// Cancels a job that has not begun. Returns whether it has not.
    fn cancel<T>(&self, place: Option<u64>, ticket: &dyn Ticket<T>) -> bool {
        let mut state = self.lock();
        if !ticket.cancel() {
            return false;
        }
        state.counts.cancelled += 1;
        match place.and_then(|place| state.waiting.remove(&place)) {
            Some(waiting) => state.forget_source(waiting.entrant),
            None => {
                state.stale += 1;
                self.admit(&mut state);
            }
        }
        true
    }

    /// Refuses jobs from here on. Those that have not begun are dropped, if `how` says so.
    pub(super) fn close(&self, how: Shutdown) {
        let mut state = self.lock();
        if state.shutdown != Some(Shutdown::Drop) {
            state.shutdown = Some(how);
        }
        let dropped = if how == Shutdown::Drop { state.take_all() } else { Vec::new() };
        self.not_empty.notify_all();
        self.not_full.notify_all();
        self.manage.notify_all();
        drop(state);
        refuse_all(dropped, &JobError::ShutDown);
    }

    /// Wakes the threads that are to end.
    pub(super) fn retire(&self, state: &State) {
        if state.retiring > 0 {
            self.not_empty.notify_all();
        }
    }
}
