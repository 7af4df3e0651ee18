//! Models of the threads of loops and pools, which loom runs in every order of steps. The page
//! "Testing a daemon" of the book has the command.
//!
//! A model ends only if every thread of it ends: a wake that is lost leaves one waiting, which loom
//! reports as a deadlock.

use std::cell::OnceCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};

use crate::group::seat::{Load, Seat, Waiting};
use crate::reactor::notifier::Notifier;
use crate::{
    Backend, Coverage, Cx, Event, Handler, Interest, Job, JobError, LoopLimits, Offload, PostError,
    Reactor, Readiness, Shutdown, Tag, ThreadPool, ThreadPoolOptions, Token, Trigger,
};

/// How often the threads of a model are interrupted, besides where they wait. Almost all mistakes
/// need two interruptions at most.
const PREEMPTIONS: usize = 2;
/// The stack of a thread with a loop, in words.
const STACK: usize = 64 * 1024;

/// Runs a model in every order.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(model);
}

/// Reports the mailbox of a loop, and nothing else.
struct Waits {
    notifier: Rc<OnceCell<Arc<Notifier>>>,
    mailbox: Tag,
}

impl Backend for Waits {
    fn name(&self) -> &'static str {
        "model"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Edge
    }

    fn add(&mut self, _fd: BorrowedFd<'_>, tag: Tag, _interest: Interest) -> io::Result<()> {
        self.mailbox = tag;
        Ok(())
    }

    fn modify(&mut self, _fd: BorrowedFd<'_>, _tag: Tag, _interest: Interest) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        let event = self.notifier.get().expect("the loop is made").event();
        if timeout.is_some() {
            if !event.take() {
                return Ok(Coverage::Complete);
            }
        } else {
            event.wait();
        }
        events.push(Event { tag: self.mailbox, readiness: Readiness::READABLE });
        Ok(Coverage::Complete)
    }
}

/// Runs `run` with a loop on a thread of its own.
fn with_loop(run: impl FnOnce(Reactor<usize>) + Send + 'static) {
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        let notifier = Rc::new(OnceCell::new());
        let backend = Waits { notifier: Rc::clone(&notifier), mailbox: Tag::NONE };
        let made = Reactor::with_backend(Box::new(backend), LoopLimits::DEFAULT, 0);
        let mut reactor = made.expect("the reactor opens");
        // What it does is not part of a model.
        reactor.set_audit(false);
        let own = Arc::clone(&reactor.core.notifier);
        assert!(notifier.set(own).is_ok(), "it is set once");
        run(reactor);
    });
    join(thread.expect("a model has few threads"));
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("it does not panic")
}

/// Copies a number to the state of the application when it is woken.
struct Reads(Arc<AtomicUsize>);

impl Handler<usize> for Reads {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> io::Result<()> {
        if cx.was_woken() {
            *cx.app = self.0.load(Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn the_last_wake_is_not_lost_and_brings_what_was_written_before_it() {
    check(|| {
        with_loop(|mut reactor| {
            let number = Arc::new(AtomicUsize::new(0));
            let token = reactor.cx().spawn(Reads(Arc::clone(&number))).expect("it registers");
            let waker = reactor.cx().waker_of(token);
            let threads = [(); 2].map(|()| {
                let (number, waker) = (Arc::clone(&number), waker.clone());
                thread::spawn(move || {
                    number.fetch_add(1, Ordering::Relaxed);
                    waker.wake().expect("the loop is there");
                })
            });
            reactor.run_until(|seen| *seen == 2).expect("it turns");
            threads.into_iter().for_each(join);
        });
    });
}

#[test]
fn no_call_from_another_thread_is_lost() {
    check(|| {
        with_loop(|mut reactor| {
            let remote = reactor.cx().remote();
            let threads = [(); 2].map(|()| {
                let remote = remote.clone();
                thread::spawn(move || remote.post(|cx| *cx.app += 1).expect("there is room"))
            });
            reactor.run_until(|calls| *calls == 2).expect("it turns");
            threads.into_iter().for_each(join);
        });
    });
}

/// Counts its drops.
struct Drops(Arc<AtomicUsize>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_to_a_loop_that_ends_is_refused_or_dropped() {
    check(|| {
        with_loop(|mut reactor| {
            let drops = Arc::new(AtomicUsize::new(0));
            let remote = reactor.cx().remote();
            let waker = reactor.cx().waker_of(Token::NONE);
            let owned = Drops(Arc::clone(&drops));
            let posts = thread::spawn(move || {
                let posted = remote.post(move |_| drop(owned));
                (remote, posted, waker.wake())
            });
            drop(reactor);
            let gone = |result| matches!(result, Ok(()) | Err(PostError::Gone));
            // While the mailbox exists, nothing but its end may drop a call that it has taken.
            let (_remote, posted, woken) = join(posts);
            assert!(gone(posted) && gone(woken));
            assert_eq!(drops.load(Ordering::SeqCst), 1);
        });
    });
}

/// A pool with one thread at most, which is started at once.
fn pool(threads_min: usize, queue_max: usize) -> ThreadPool {
    let options = ThreadPoolOptions {
        threads_min,
        threads_max: 1,
        queue_max,
        grow_after: Duration::ZERO,
        ..ThreadPoolOptions::DEFAULT
    };
    ThreadPool::new(options).expect("it starts")
}

/// Shuts a pool down, and checks that every job is accounted for.
fn end(pool: &ThreadPool, how: Shutdown, jobs: u64) {
    let counts = pool.shut_down(how, Duration::MAX).expect("it has time");
    assert_eq!(counts.done + counts.cancelled, jobs, "{counts:?}");
    assert_eq!((counts.live, counts.busy, counts.queued, counts.waiting), (0, 0, 0, 0));
}

#[test]
fn threads_that_wait_for_room_or_for_jobs_are_woken() {
    check(|| {
        let pool = Arc::new(pool(1, 1));
        let other = Arc::clone(&pool);
        let submits = thread::spawn(move || other.submit(|| 1).expect("it waits for room"));
        let jobs = [(); 2].map(|()| pool.submit(|| 2).expect("it waits for room"));
        let results = jobs.map(Job::wait);
        assert_eq!((join(submits).wait(), results), (Ok(1), [Ok(2), Ok(2)]));
        end(&pool, Shutdown::Finish, 3);
    });
}

#[test]
fn a_thread_is_started_for_jobs_that_find_none() {
    check(|| {
        let pool = Arc::new(pool(0, 2));
        let other = Arc::clone(&pool);
        let submits = thread::spawn(move || other.submit(|| 1).expect("there is room").wait());
        assert_eq!(pool.submit(|| 2).expect("there is room").wait(), Ok(2));
        assert_eq!(join(submits), Ok(1));
        end(&pool, Shutdown::Finish, 2);
    });
}

#[test]
fn a_job_that_is_given_up_is_cancelled_or_its_result_is_dropped() {
    check(|| {
        let pool = pool(1, 1);
        let drops = Arc::new(AtomicUsize::new(0));
        let owned = Drops(Arc::clone(&drops));
        drop(pool.submit(move || owned).expect("there is room"));
        end(&pool, Shutdown::Finish, 1);
        let counts = pool.counts();
        assert_eq!((counts.dropped, drops.load(Ordering::SeqCst)), (counts.done, 1));
    });
}

#[test]
fn a_job_that_is_given_up_leaves_its_place_to_a_thread_that_waits() {
    check(|| {
        let pool = Arc::new(pool(1, 1));
        let first = pool.submit(|| ()).expect("there is room");
        let other = Arc::clone(&pool);
        let submits = thread::spawn(move || other.submit(|| 1).expect("it waits for room").wait());
        drop(first);
        assert_eq!(join(submits), Ok(1));
        end(&pool, Shutdown::Finish, 2);
    });
}

#[test]
fn every_job_has_a_result_when_its_pool_is_shut_down() {
    for how in [Shutdown::Finish, Shutdown::Drop] {
        check(move || {
            let pool = Arc::new(pool(1, 1));
            let other = Arc::clone(&pool);
            let submits = thread::spawn(move || {
                let taken = other.submit(|| 1).ok();
                let count = u64::from(taken.is_some());
                (count, taken.map(Job::wait))
            });
            pool.shut_down(how, Duration::MAX).expect("it has time");
            let (taken, result) = join(submits);
            match (how, result) {
                (_, None | Some(Ok(1))) | (Shutdown::Drop, Some(Err(JobError::ShutDown))) => {}
                other => panic!("{other:?}"),
            }
            end(&pool, how, taken);
        });
    }
}

/// Hands a job over, and counts its result.
struct Offloads {
    offload: Offload,
    job: Option<Job<usize>>,
}

impl Handler<usize> for Offloads {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> io::Result<()> {
        match &mut self.job {
            None => self.job = Some(self.offload.run(cx.me(), || 1)?),
            Some(job) => *cx.app += job.take().map_or(Ok(0), |it| it)?,
        }
        Ok(())
    }
}

#[test]
fn a_source_is_woken_when_its_result_is_there() {
    check(|| {
        with_loop(|mut reactor| {
            let pool = pool(1, 1);
            let offload = pool.attach(&mut reactor.cx()).expect("it attaches");
            // The second one may have to wait in front of the queue.
            for _ in 0..2 {
                let offloads = Offloads { offload: offload.clone(), job: None };
                let token = reactor.cx().spawn(offloads).expect("it registers");
                reactor.cx().wake(token);
            }
            reactor.run_until(|results| *results == 2).expect("it turns");
            end(&pool, Shutdown::Finish, 2);
        });
    });
}

/// Waits for room at a seat, as a listener of an acceptor does, and counts it.
struct Seeks {
    seat: Arc<Seat>,
    waiting: Arc<Waiting>,
}

impl Handler<usize> for Seeks {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> io::Result<()> {
        if !self.seat.has_room() {
            self.waiting.begin();
            if !self.seat.has_room() {
                return Ok(());
            }
        }
        *cx.app = 1;
        Ok(())
    }
}

#[test]
fn an_acceptor_that_waits_learns_of_room_at_a_seat() {
    // A connection ends, or one is taken that is refused then.
    let ways: [fn(&Seat); 2] = [
        |seat| {
            seat.set_open(0);
            seat.announce_room();
        },
        |seat| {
            seat.take(0);
        },
    ];
    for (untaken, make_room) in ways.into_iter().enumerate() {
        check(move || {
            with_loop(move |mut reactor| {
                let waiting: Arc<Waiting> = Arc::default();
                let seat = Arc::new(Seat::new(1, Arc::clone(&waiting)));
                seat.open(1);
                seat.set_open(1);
                (0..untaken).for_each(|_| seat.hand_over());
                let seeks = Seeks { seat: Arc::clone(&seat), waiting: Arc::clone(&waiting) };
                let token = reactor.cx().spawn(seeks).expect("it registers");
                waiting.add(reactor.cx().waker_of(token));
                reactor.cx().wake(token);
                let thread = thread::spawn(move || make_room(&seat));
                reactor.run_until(|found| *found == 1).expect("it turns");
                join(thread);
            });
        });
    }
}

#[test]
fn a_connection_that_is_being_taken_counts_once() {
    check(|| {
        let load = Arc::new(Load::default());
        load.hand_over();
        let of_loop = Arc::clone(&load);
        let takes = thread::spawn(move || of_loop.take(1));
        assert_eq!(load.total(), 1);
        join(takes);
        assert_eq!(load.total(), 1);
    });
}
