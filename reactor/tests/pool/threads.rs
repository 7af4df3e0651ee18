//! A pool without a loop.

use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use reactor::{
    Job, JobError, Shutdown, SubmitErrorKind, ThreadPool, ThreadPoolCounts, ThreadPoolOptions,
};
use testkit::{PATIENCE, wait_until};

use crate::gate::Gate;

/// A pool with one thread, whose first job waits for the gate.
fn gated(queue_max: usize) -> (ThreadPool, Gate, Job<()>) {
    let options = ThreadPoolOptions { threads_max: 1, queue_max, ..ThreadPoolOptions::DEFAULT };
    let pool = ThreadPool::new(options).expect("it starts");
    let gate = Gate::default();
    let passed = gate.clone();
    let first = pool.submit(move || passed.pass()).expect("there is room");
    wait_until("the start of the first job", || pool.counts().busy == 1);
    (pool, gate, first)
}

/// Panics without a message on the standard error.
fn panic_quietly(message: &'static str) {
    resume_unwind(Box::new(message));
}

/// Counts its drops.
struct Drops(Arc<AtomicUsize>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// How many threads of this process have a name.
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("it is there");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|it| it.trim() == name).count()
}

#[test]
fn jobs_begin_in_order_and_give_their_results_once() {
    let (pool, gate, first) = gated(100);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut jobs: Vec<_> = (0..100)
        .map(|number| {
            let order = Arc::clone(&order);
            let work = move || {
                order.lock().expect("no job panics").push(number);
                number * 2
            };
            pool.try_submit(work).expect("there is room")
        })
        .collect();
    assert!(jobs.iter_mut().all(|job| !job.is_ready() && job.take().is_none()));
    assert_eq!(jobs[0].wait_timeout(Duration::from_millis(1)), None);
    gate.open();
    first.wait().expect("it is done");
    assert_eq!(jobs[0].wait_timeout(PATIENCE), Some(Ok(0)));
    assert_eq!(jobs[0].wait_timeout(PATIENCE), None, "its result was taken");
    assert_eq!(jobs.remove(0).wait(), Err(JobError::Taken));
    for (number, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.wait(), Ok((number + 1) * 2));
    }
    assert_eq!(*order.lock().expect("no job panics"), (0..100).collect::<Vec<_>>());
    assert_eq!(pool.counts(), ThreadPoolCounts { live: 1, done: 101, ..Default::default() });
}

#[test]
fn a_pool_grows_by_steps_and_shrinks_to_its_minimum() {
    let options = ThreadPoolOptions {
        name: "steps",
        threads_min: 1,
        threads_max: 6,
        grow_step: 2,
        grow_after: Duration::from_millis(1),
        shrink_step: 2,
        // A busy machine may not hold the next step up for so long.
        shrink_after: Duration::from_secs(1),
        ..ThreadPoolOptions::DEFAULT
    };
    let pool = ThreadPool::new(options).expect("it starts");
    let gate = Gate::default();
    let mut jobs = Vec::new();
    for (busy, live) in [(1, 1), (2, 3), (3, 3), (4, 5), (5, 5), (6, 6), (6, 6)] {
        let passed = gate.clone();
        jobs.push(pool.submit(move || passed.pass()).expect("there is room"));
        wait_until("the start of a job", || pool.counts().busy == busy);
        wait_until("the step", || pool.counts().live == live);
    }
    assert_eq!(pool.counts().queued, 1);
    gate.open();
    for job in jobs {
        job.wait().expect("it is done");
    }
    wait_until("the end of the threads", || pool.counts().live == 1);
    // The one that managed the others has ended too.
    wait_until("the end of the manager", || threads_named("steps") == 1);
    pool.submit(|| ()).expect("there is room").wait().expect("the last thread works");
}

#[test]
fn a_pool_without_a_minimum_has_no_thread_while_it_is_idle() {
    let shrink_after = Duration::from_millis(10);
    let options = ThreadPoolOptions { threads_min: 0, shrink_after, ..ThreadPoolOptions::DEFAULT };
    let pool = ThreadPool::new(ThreadPoolOptions { name: "none", ..options }).expect("it starts");
    for _ in 0..3 {
        wait_until("the end of the threads", || threads_named("none") == 0);
        assert_eq!(pool.submit(|| 7).expect("there is room").wait(), Ok(7));
    }
}

#[test]
fn a_panic_ends_its_job_and_no_thread() {
    /// Panics when it is dropped.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_quietly("dropped");
        }
    }
    let (pool, gate, first) = gated(100);
    let text = pool.submit(|| panic_quietly("as planned")).expect("there is room");
    let string = pool.submit(|| resume_unwind(Box::new("owned".to_owned())));
    let string: Job<()> = string.expect("there is room");
    let number: Job<()> = pool.submit(|| resume_unwind(Box::new(7))).expect("there is room");
    let payload: Job<()> = pool.submit(|| resume_unwind(Box::new(Bomb))).expect("there is room");
    // Nothing takes these, so the pool drops them.
    let bomb = pool.submit(|| Bomb).expect("there is room");
    let (started, starts) = std::sync::mpsc::channel();
    let passed = Gate::default();
    let waits = passed.clone();
    let running = pool.submit(move || {
        started.send(()).expect("the test waits for it");
        waits.pass();
        Bomb
    });
    let running = running.expect("there is room");
    pool.submit(|| Bomb).expect("there is room").detach();
    gate.open();
    first.wait().expect("it is done");
    let message = |job: Job<()>| job.wait().expect_err("it panicked").to_string();
    assert_eq!(message(text), "the job panicked: as planned");
    assert_eq!(message(string), "the job panicked: owned");
    assert_eq!(message(number), "the job panicked: a panic without a message");
    assert_eq!(message(payload), "the job panicked: a panic without a message");
    starts.recv_timeout(PATIENCE).expect("it starts");
    drop(running);
    passed.open();
    wait_until("the end of the last job", || pool.counts().done == 4);
    // The owner of a result that panics gets that panic, and the pool is as before.
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(bomb))).is_err());
    let counts =
        ThreadPoolCounts { live: 1, done: 4, panicked: 4, dropped: 2, ..Default::default() };
    assert_eq!(pool.counts(), counts);
    let mut next = pool.submit(|| 1).expect("there is room");
    assert_eq!(next.wait_timeout(PATIENCE), Some(Ok(1)));
}

#[test]
fn a_job_that_nothing_waits_for_is_not_run() {
    let (pool, gate, first) = gated(100);
    let drops = Arc::new(AtomicUsize::new(0));
    let runs = Arc::new(AtomicUsize::new(0));
    let work = || {
        let (owned, runs) = (Drops(Arc::clone(&drops)), Arc::clone(&runs));
        move || {
            runs.fetch_add(1, Ordering::SeqCst);
            owned
        }
    };
    let jobs: Vec<_> = (0..10).map(|_| pool.submit(work()).expect("there is room")).collect();
    pool.submit(work()).expect("there is room").detach();
    drop(jobs);
    assert_eq!(drops.load(Ordering::SeqCst), 10, "the work is dropped at once");
    let expected =
        ThreadPoolCounts { live: 1, busy: 1, queued: 1, cancelled: 10, ..Default::default() };
    assert_eq!(pool.counts(), expected);
    // The first job runs, so its result is dropped when it comes.
    drop(first);
    gate.open();
    let mut last = pool.submit(work()).expect("there is room");
    wait_until("the last job", || last.is_ready());
    drop(last.take());
    drop(last);
    assert_eq!((runs.load(Ordering::SeqCst), drops.load(Ordering::SeqCst)), (2, 12));
    let expected =
        ThreadPoolCounts { live: 1, done: 3, dropped: 1, cancelled: 10, ..Default::default() };
    assert_eq!(pool.counts(), expected);
}

#[test]
fn cancelled_jobs_leave_their_places_to_others() {
    let (pool, gate, first) = gated(2);
    let stays = pool.try_submit(|| 1).expect("there is room");
    for _ in 0..1000 {
        let goes = pool.try_submit(|| 2).expect("there is room");
        let refused = pool.try_submit(|| 3).expect_err("the queue is full");
        assert_eq!((refused.kind, (refused.work)()), (SubmitErrorKind::Full, 3));
        drop(goes);
    }
    // What waits in front of the queue gets the place.
    let goes = pool.try_submit(|| 2).expect("there is room");
    thread::scope(|scope| {
        let waits = scope.spawn(|| pool.submit(|| 4).expect("there is room soon"));
        wait_until("the thread waits", || pool.counts().waiting == 1);
        drop(goes);
        let waited = waits.join().expect("it does not panic");
        gate.open();
        assert_eq!((first.wait(), stays.wait(), waited.wait()), (Ok(()), Ok(1), Ok(4)));
    });
    assert_eq!(pool.counts().cancelled, 1001);
}

#[test]
fn submitting_waits_for_room_in_order_and_not_longer_than_it_may() {
    let (pool, gate, first) = gated(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let work = |number| {
        let order = Arc::clone(&order);
        move || order.lock().expect("no job panics").push(number)
    };
    let queued = pool.try_submit(work(0)).expect("there is room");
    let late = pool.submit_timeout(Duration::from_millis(10), work(9));
    let late = late.expect_err("there is no room");
    assert_eq!(late.to_string(), "the queue of the thread pool is full");
    assert_eq!(pool.counts().waiting, 0);
    thread::scope(|scope| {
        let (pool, work) = (&pool, &work);
        let threads: Vec<_> = (1..=5)
            .map(|number| {
                let thread = scope.spawn(move || pool.submit_timeout(PATIENCE, work(number)));
                wait_until("the thread waits", || pool.counts().waiting == number);
                thread
            })
            .collect();
        gate.open();
        for thread in threads {
            let job = thread.join().expect("it does not panic").expect("there is room");
            job.wait().expect("it is done");
        }
    });
    first.wait().expect("it is done");
    queued.wait().expect("it is done");
    assert_eq!(*order.lock().expect("no job panics"), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn too_many_threads_do_not_wait_for_room() {
    let options = ThreadPoolOptions {
        queue_max: 1,
        waiting_max: 1,
        threads_max: 1,
        ..ThreadPoolOptions::DEFAULT
    };
    let pool = ThreadPool::new(options).expect("it starts");
    let gate = Gate::default();
    let work = || {
        let gate = gate.clone();
        move || gate.pass()
    };
    let jobs = [pool.submit(work()), pool.submit(work())].map(|it| it.expect("there is room"));
    thread::scope(|scope| {
        let waits = scope.spawn(|| pool.submit(work()).expect("there is room soon"));
        wait_until("the thread waits", || pool.counts().waiting == 1);
        let error = pool.submit(work()).expect_err("one waits already");
        assert_eq!(error.kind, SubmitErrorKind::TooManyWaiting { waiting_max: 1 });
        gate.open();
        waits.join().expect("it does not panic").wait().expect("it is done");
    });
    jobs.into_iter().for_each(|job| job.wait().expect("it is done"));
}

#[test]
fn a_shutdown_finishes_the_queue_or_drops_it() {
    for how in [Shutdown::Finish, Shutdown::Drop] {
        let (pool, gate, first) = gated(1);
        let queued = pool.submit(|| 1).expect("there is room");
        thread::scope(|scope| {
            let waits = scope.spawn(|| pool.submit(|| 2).expect("it is taken"));
            wait_until("the thread waits", || pool.counts().waiting == 1);
            let error = pool.shut_down(how, Duration::from_millis(20)).expect_err("a job runs");
            assert_eq!(error.to_string(), "1 threads still run jobs after 20ms");
            let refused = pool.try_submit(|| 3).expect_err("it takes nothing");
            assert_eq!(refused.kind, SubmitErrorKind::ShutDown);
            gate.open();
            let waited = waits.join().expect("it does not panic");
            let results = (first.wait(), queued.wait(), waited.wait());
            let (done, cancelled) = match how {
                Shutdown::Finish => {
                    assert_eq!(results, (Ok(()), Ok(1), Ok(2)));
                    (3, 0)
                }
                Shutdown::Drop => {
                    let dropped = || Err(JobError::ShutDown);
                    assert_eq!(results, (Ok(()), dropped(), dropped()));
                    (1, 2)
                }
            };
            let counts = pool.shut_down(how, PATIENCE).expect("all threads end");
            assert_eq!(counts, ThreadPoolCounts { done, cancelled, ..Default::default() });
        });
    }
}

#[test]
fn a_cancelled_job_has_no_result_that_is_dropped() {
    let (pool, gate, first) = gated(1);
    let queued = pool.submit(|| 1).expect("there is room");
    pool.shut_down(Shutdown::Drop, Duration::ZERO).expect_err("a job runs");
    assert!(queued.is_ready());
    drop(queued);
    gate.open();
    first.wait().expect("it is done");
    let counts = pool.shut_down(Shutdown::Drop, PATIENCE).expect("all threads end");
    assert_eq!(counts, ThreadPoolCounts { done: 1, cancelled: 1, ..Default::default() });
}

#[test]
fn a_pool_that_is_dropped_ends_its_threads_when_their_jobs_are_done() {
    let options =
        ThreadPoolOptions { name: "dropped", threads_min: 3, ..ThreadPoolOptions::DEFAULT };
    let pool = ThreadPool::new(options).expect("it starts");
    wait_until("the start of the threads", || threads_named("dropped") == 3);
    let gate = Gate::default();
    let passed = gate.clone();
    let job = pool.submit(move || passed.pass()).expect("there is room");
    wait_until("the start of the job", || pool.counts().busy == 1);
    drop(pool);
    wait_until("the end of the idle threads", || threads_named("dropped") == 1);
    gate.open();
    job.wait().expect("it is done");
    wait_until("the end of the last thread", || threads_named("dropped") == 0);
}

#[test]
fn a_million_jobs_are_each_accounted_for() {
    const JOBS: u64 = 1_000_000;
    const SUBMITTERS: u64 = 4;
    let options = ThreadPoolOptions {
        name: "million",
        threads_min: 2,
        threads_max: 8,
        shrink_after: Duration::from_millis(50),
        ..ThreadPoolOptions::DEFAULT
    };
    let pool = ThreadPool::new(options).expect("it starts");
    let ran = Arc::new(AtomicUsize::new(0));
    let sums = thread::scope(|scope| {
        let submit = |first: u64| {
            let (pool, ran) = (&pool, &ran);
            move || {
                let (mut panics, mut sum) = (0, 0);
                let mut waits = None;
                for number in (first..JOBS).step_by(SUBMITTERS as usize) {
                    let ran = Arc::clone(ran);
                    let work = move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                        if number % 100 == 0 {
                            panic_quietly("one of a hundred");
                        }
                        number
                    };
                    let job = pool.submit(work).expect("it waits for room");
                    match number % 7 {
                        0 => drop(job),
                        1 => job.detach(),
                        _ => {
                            let before: Option<Job<u64>> = waits.replace(job);
                            match before.map(Job::wait) {
                                Some(Ok(number)) => sum += number,
                                Some(Err(_)) => panics += 1,
                                None => {}
                            }
                        }
                    }
                }
                drop(waits);
                (panics, sum)
            }
        };
        let threads: Vec<_> = (0..SUBMITTERS).map(|first| scope.spawn(submit(first))).collect();
        threads.into_iter().map(|it| it.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    let all = |counts: ThreadPoolCounts| counts.done + counts.panicked + counts.cancelled;
    wait_until("the end of the jobs", || all(pool.counts()) == JOBS);
    let counts = pool.counts();
    assert_eq!(counts.done + counts.panicked, ran.load(Ordering::Relaxed) as u64);
    assert!(counts.panicked > 0 && counts.panicked >= sums.iter().map(|it| it.0).sum::<u64>());
    assert!(counts.cancelled + counts.dropped <= JOBS / 7 + 1 + SUBMITTERS, "{counts:?}");
    assert!(counts.cancelled + counts.dropped >= JOBS / 7, "{counts:?}");
    assert!(sums.iter().all(|it| it.1 > 0));
    wait_until("the end of the threads", || pool.counts().live == 2);
    wait_until("the end of the manager", || threads_named("million") == 2);
    assert_eq!(pool.counts(), ThreadPoolCounts { live: 2, ..counts_at_rest(counts) });
}

/// The same counts, without threads and jobs.
fn counts_at_rest(counts: ThreadPoolCounts) -> ThreadPoolCounts {
    ThreadPoolCounts { live: 0, busy: 0, queued: 0, waiting: 0, ..counts }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let refusal = |options| ThreadPool::new(options).expect_err("it is refused").to_string();
    let none = ThreadPoolOptions { threads_max: 0, threads_min: 0, ..ThreadPoolOptions::DEFAULT };
    assert_eq!(refusal(none), "threads_max of a thread pool is zero: set it to 1 or more");
    let crossed =
        ThreadPoolOptions { threads_max: 2, threads_min: 3, ..ThreadPoolOptions::DEFAULT };
    assert_eq!(refusal(crossed), "threads_min of a thread pool (3) exceeds threads_max (2)");
    let name = ThreadPoolOptions { name: "a\0b", ..ThreadPoolOptions::DEFAULT };
    assert_eq!(refusal(name), "the name of a thread pool has a zero byte");
}
