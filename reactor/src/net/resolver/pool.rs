//! The threads of a resolver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::debug;

use crate::net::resolver::ResolverOptions;
use crate::net::resolver::error::{ResolveError, ResolveErrorKind};
use crate::net::resolver::flights::{Answer, Flights, Joined, Waiter};
use crate::net::resolver::query::Query;
use crate::net::resolver::resolved::Resolved;
use crate::{ThreadPool, ThreadPoolOptions};

/// Looks a question up. It may block.
pub(super) type LookUp = dyn Fn(&Query) -> Result<Resolved, ResolveError> + Send + Sync;

/// The state that the handles of a resolver and its threads share.
pub(super) struct Pool {
    pub(super) options: ResolverOptions,
    /// The number of the pool within the process.
    pub(super) number: u64,
    look_up: Box<LookUp>,
    last_id: AtomicU64,
    flights: Mutex<Flights>,
    /// Each of its jobs takes the next question that nothing looks up yet.
    threads: ThreadPool,
}

/// Returns the limits of the threads of a resolver. A lookup starts a thread if none is free, and all
/// threads end when there is nothing to do.
fn thread_options(options: &ResolverOptions) -> ThreadPoolOptions {
    ThreadPoolOptions {
        name: "resolver",
        threads_min: 0,
        threads_max: options.threads_max,
        queue_max: options.waiting_max,
        grow_step: 1,
        grow_after: Duration::ZERO,
        shrink_step: options.threads_max,
        shrink_after: Duration::from_secs(5),
        ..ThreadPoolOptions::DEFAULT
    }
}

/// The job that takes the next question. If it is dropped without being run, no thread can be
/// started.
struct Errand(Option<Arc<Pool>>);

impl Errand {
    fn run(mut self) {
        if let Some((pool, query)) = self.take() {
            let answer = pool.answer(&query);
            pool.finish(&query, &answer);
        }
    }

    /// Takes the next question, if there is one: what asked for it may not wait any more.
    fn take(&mut self) -> Option<(Arc<Pool>, Query)> {
        let pool = self.0.take()?;
        let query = pool.lock().start_next()?;
        Some((pool, query))
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some((pool, query)) = self.take() {
            let detail = "no thread can be started; the log says why".to_owned();
            let kind = ResolveErrorKind::Failed;
            pool.finish(&query, &Err(ResolveError::with_detail(query.clone(), kind, detail)));
        }
    }
}

impl Pool {
    pub(super) fn new(options: ResolverOptions, look_up: Box<LookUp>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            options,
            number: LAST.fetch_add(1, Ordering::Relaxed),
            look_up,
            last_id: AtomicU64::new(0),
            flights: Mutex::default(),
            threads: ThreadPool::without_minimum(thread_options(&options)),
        }
    }

    /// Returns whether a fork has copied it without its threads. Nothing may wait for its lock then.
    pub(super) fn is_copy(&self) -> bool {
        self.threads.is_copy()
    }

    /// Returns a number for a source that waits.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the lookups, also after a thread panicked: they are consistent between operations.
    fn lock(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut flights = self.lock();
        match flights.join(query, waiter, most) {
            Joined::Full => return Err(ResolveErrorKind::TooManyWaiting(most)),
            Joined::Another => return Ok(()),
            Joined::First => {}
        }
        let queued = flights.queued();
        drop(flights);
        // The errands of lookups that nothing waits for any more serve others.
        if self.threads.counts().queued < queued {
            let errand = Errand(Some(Arc::clone(self)));
            if let Ok(job) = self.threads.try_submit(move || errand.run()) {
                job.detach();
            }
        }
        Ok(())
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
        let waiters = self.lock().finish(query);
        for waiter in waiters {
            waiter.answer(answer.clone());
        }
    }

    /// Forgets a source that does not wait any more.
    pub(super) fn leave(&self, query: &Query, id: u64) {
        if !self.is_copy() {
            self.lock().leave(query, id);
        }
    }
}
