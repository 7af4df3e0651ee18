//! The threads of a resolver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use crate::net::resolver::ResolverOptions;
use crate::net::resolver::error::{ResolveError, ResolveErrorKind};
use crate::net::resolver::flights::{Answer, Flights, Joined, Waiter};
use crate::net::resolver::query::Query;
use crate::net::resolver::resolved::Resolved;
use crate::sys::{self, Process};

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// Looks a question up. It may block.
pub(super) type LookUp = dyn Fn(&Query) -> Result<Resolved, ResolveError> + Send + Sync;

/// The state that the handles of a resolver and its threads share.
pub(super) struct Pool {
    pub(super) options: ResolverOptions,
    /// The number of the pool within the process.
    pub(super) number: u64,
    /// The process that made it. Another one has none of its threads.
    process: Process,
    look_up: Box<LookUp>,
    last_id: AtomicU64,
    state: Mutex<State>,
    /// Notified when there is a lookup to start.
    work: Condvar,
}

#[derive(Default)]
struct State {
    flights: Flights,
    threads: usize,
    /// The threads that wait for work.
    idle: usize,
}

impl Pool {
    pub(super) fn new(options: ResolverOptions, look_up: Box<LookUp>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            options,
            number: LAST.fetch_add(1, Ordering::Relaxed),
            process: Process::this(),
            look_up,
            last_id: AtomicU64::new(0),
            state: Mutex::default(),
            work: Condvar::new(),
        }
    }

    /// Returns whether a fork has copied it without its threads. Nothing may wait for its lock then.
    pub(super) fn is_copy(&self) -> bool {
        self.process.is_another()
    }

    /// Returns a number for a source that waits.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the state, also after a thread panicked: it is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks `query` up for a source, unless a lookup of it is under way.
    pub(super) fn join(
        self: &Arc<Self>,
        query: &Query,
        waiter: Waiter,
    ) -> Result<(), ResolveErrorKind> {
        if self.is_copy() {
            return Err(ResolveErrorKind::Forked);
        }
        let most = self.options.waiting_max;
        let mut state = self.lock();
        match state.flights.join(query, waiter, most) {
            Joined::Full => return Err(ResolveErrorKind::TooManyWaiting(most)),
            Joined::Another => return Ok(()),
            Joined::First => {}
        }
        if state.flights.queued() <= state.idle {
            self.work.notify_one();
        } else if state.threads < self.options.threads_max {
            self.start_thread(state);
        }
        Ok(())
    }

    /// Starts a thread. Without any thread, what waits fails.
    fn start_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let pool = Arc::clone(self);
        let work = move || {
            while let Some(query) = pool.next_query() {
                let answer = pool.answer(&query);
                pool.finish(&query, &answer);
            }
        };
        let thread = thread::Builder::new().name("resolver".to_owned());
        let started = sys::with_signals_blocked(|| thread.spawn(work));
        match started {
            Ok(_) => state.threads += 1,
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                let mut failed = Vec::new();
                while let Some(query) = state.flights.start_next() {
                    failed.push(query);
                }
                drop(state);
                for query in failed {
                    let detail = format!("no thread can be started: {error}");
                    let kind = ResolveErrorKind::Failed;
                    let failure = ResolveError::with_detail(query.clone(), kind, detail);
                    self.finish(&query, &Err(failure));
                }
            }
        }
    }

    /// Waits for a lookup to start. Returns `None` if the thread is not needed any more.
    fn next_query(&self) -> Option<Query> {
        let mut state = self.lock();
        loop {
            if let Some(query) = state.flights.start_next() {
                return Some(query);
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, IDLE);
            let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.flights.queued() == 0 {
                state.threads -= 1;
                return None;
            }
        }
    }

    /// Looks a question up.
    fn answer(&self, query: &Query) -> Answer {
        let start = Instant::now();
        let look_up = AssertUnwindSafe(|| (self.look_up)(query));
        let found = catch_unwind(look_up).unwrap_or_else(|_| {
            let detail = "the function that looks names up panicked".to_owned();
            Err(ResolveError::with_detail(query.clone(), ResolveErrorKind::Failed, detail))
        });
        let took = start.elapsed();
        match &found {
            Ok(found) => {
                let count = found.addresses().len();
                debug!("{query}: {count} addresses found in {took:?}");
            }
            Err(error) => debug!("{error} (after {took:?})"),
        }
        found.map(Arc::new)
    }

    fn finish(&self, query: &Query, answer: &Answer) {
        let waiters = self.lock().flights.finish(query);
        for waiter in waiters {
            waiter.answer(answer.clone());
        }
    }

    /// Forgets a source that does not wait any more.
    pub(super) fn leave(&self, query: &Query, id: u64) {
        if !self.is_copy() {
            self.lock().flights.leave(query, id);
        }
    }
}
