//! The threads of a pool: those that run jobs, and the one that starts and ends these.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use log::error;

use crate::pool::error::JobError;
use crate::pool::queue::Queue;
use crate::pool::state::{Manager, Shutdown, State, refuse_all};
use crate::sync::{MutexGuard, thread};
use crate::sys;

/// How long the manager waits after the system has refused a thread.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Starts a thread that handles no signals.
fn spawn(queue: &Arc<Queue>, run: impl FnOnce(&Arc<Queue>) + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(queue.options.name.to_owned());
    let queue = Arc::clone(queue);
    sys::with_signals_blocked(|| thread.spawn(move || run(&queue))).map(drop)
}

/// Runs jobs until the thread has to end.
pub(super) fn work(queue: &Queue) {
    queue.lock().starting -= 1;
    while let Some(work) = queue.next() {
        queue.run(work);
    }
}

/// Starts `count` threads that run jobs. Returns the error after which it has stopped.
pub(super) fn start(queue: &Arc<Queue>, count: usize) -> io::Result<()> {
    {
        let mut state = queue.lock();
        state.live += count;
        state.starting += count;
    }
    for started in 0..count {
        if let Err(error) = spawn(queue, |queue| work(queue)) {
            let mut state = queue.lock();
            state.live -= count - started;
            state.starting -= count - started;
            return Err(error);
        }
    }
    Ok(())
}

/// Starts the manager.
pub(super) fn start_manager(queue: &Arc<Queue>) {
    if let Err(error) = spawn(queue, |queue| while manage(queue) {}) {
        go_on_without_manager(queue, &error);
    }
}

/// Goes on after the manager could not be started.
fn go_on_without_manager(queue: &Queue, error: &io::Error) {
    queue.lock().manager = Manager::Absent;
    // A shutdown may wait for its end.
    queue.ended.notify_all();
    fail_without_threads(queue, error);
}

/// Gives up on all jobs if there is no thread that could run them.
fn fail_without_threads(queue: &Queue, error: &io::Error) {
    let mut state = queue.lock();
    let said = state.refusals.admit(Instant::now());
    let failed = if state.live == 0 { state.take_all() } else { Vec::new() };
    drop(state);
    if let Some(folded) = said {
        let name = queue.options.name;
        error!("the thread pool {name:?} cannot start a thread: {error}{folded}");
    }
    refuse_all(failed, &JobError::NoThread(error.to_string()));
}

/// Does one step of the manager. Returns whether it goes on.
fn manage(queue: &Arc<Queue>) -> bool {
    let options = &queue.options;
    let mut state = queue.lock();
    let is_over = match state.shutdown {
        Some(_) => state.queued() == 0,
        None => state.live <= options.threads_min && !state.is_behind(),
    };
    if is_over {
        state.manager = Manager::Absent;
        queue.ended.notify_all();
        return false;
    }
    if state.is_behind() && state.live < options.threads_max {
        state.manager = Manager::Growing;
        grow(queue, state);
        return true;
    }
    state.manager = Manager::Resting;
    let (mut state, is_late) = pause(queue, state, options.shrink_after);
    if is_late && state.manager == Manager::Resting {
        state.shrink(options);
        queue.retire(&state);
    }
    true
}

/// Starts threads, if they are still needed after a while.
fn grow<'a>(queue: &'a Arc<Queue>, mut state: MutexGuard<'a, State>) {
    let options = &queue.options;
    if state.live > 0 && !options.grow_after.is_zero() {
        let is_late;
        (state, is_late) = pause(queue, state, options.grow_after);
        if !is_late || !state.is_behind() {
            return;
        }
    }
    let count = options.grow_step.min(options.threads_max - state.live);
    drop(state);
    if let Err(error) = start(queue, count) {
        fail_without_threads(queue, &error);
        drop(pause(queue, queue.lock(), RETRY_AFTER));
    }
}

/// Waits until the manager is called, or `time` has passed: then it returns true.
fn pause<'a>(
    queue: &'a Queue,
    state: MutexGuard<'a, State>,
    time: Duration,
) -> (MutexGuard<'a, State>, bool) {
    let waited = queue.manage.wait_timeout(state, time);
    let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
    (state, waited.timed_out())
}

/// Shuts the pool down, and waits for the end of its threads.
pub(super) fn shut_down(queue: &Queue, how: Shutdown, patience: Duration) -> io::Result<()> {
    queue.close(how);
    let deadline = Instant::now().checked_add(patience);
    let mut state = queue.lock();
    while state.live > 0 || state.manager != Manager::Absent {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.unwrap_or(Duration::MAX);
        if left.is_zero() {
            let text = format!("{} threads still run jobs after {patience:?}", state.live);
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        let waited = queue.ended.wait_timeout(state, left);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use testkit::{PATIENCE, wait_until};

    use super::*;
    use crate::pool::state::Entrant;
    use crate::pool::work::{Slot, Ticket};
    use crate::{ThreadPoolCounts, ThreadPoolOptions};

    #[test]
    fn jobs_fail_if_there_is_no_thread_and_none_can_be_started() {
        let options = ThreadPoolOptions { threads_min: 0, ..ThreadPoolOptions::DEFAULT };
        let queue = Queue::new(options);
        let slots = [(); 2].map(|()| Arc::new(Slot::new(|| 1, None)));
        for slot in &slots {
            let entered = queue.enter(slot.clone(), Entrant::Nothing);
            assert!(entered.is_ok(), "there is room");
        }
        let refusal = || io::Error::from_raw_os_error(libc::EAGAIN);
        queue.lock().live = 1;
        fail_without_threads(&queue, &refusal());
        assert!(slots.iter().all(|slot| slot.take().is_none()), "the thread runs them");
        queue.lock().live = 0;
        fail_without_threads(&queue, &refusal());
        for slot in slots {
            let error = slot.take().expect("it has failed").expect_err("nothing runs it");
            let text = "no thread can be started for the job: \
                        Resource temporarily unavailable (os error 11)";
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(queue.counts(), ThreadPoolCounts { cancelled: 2, ..Default::default() });
    }

    #[test]
    fn a_shutdown_learns_that_the_manager_cannot_be_started() {
        let queue = Queue::new(ThreadPoolOptions::DEFAULT);
        queue.lock().manager = Manager::Growing;
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| shut_down(&queue, Shutdown::Finish, PATIENCE * 2));
            wait_until("the shutdown begins", || queue.lock().shutdown.is_some());
            // Time to begin to wait. If it begins later, it finds that there is no manager.
            std::thread::sleep(Duration::from_millis(50));
            go_on_without_manager(&queue, &io::Error::from_raw_os_error(libc::EAGAIN));
            wait_until("the shutdown ends", || waits.is_finished());
            waits.join().expect("it does not panic").expect("nothing is left to wait for");
        });
    }
}
