//! The reactor: the sources, the application state, and the loop.

pub(crate) mod audit;
pub(crate) mod backoff;
pub(crate) mod channel;
pub(crate) mod clock;
mod coalescing;
pub(crate) mod core;
pub(crate) mod counters;
pub(crate) mod crowd;
pub(crate) mod departures;
mod disputes;
pub(crate) mod forked;
pub(crate) mod hooks;
mod levels;
pub(crate) mod limits;
pub(crate) mod notifier;
pub(crate) mod patience;
pub(crate) mod peers;
pub(crate) mod priority;
mod rebuild;
pub(crate) mod remote;
pub(crate) mod restored;
pub(crate) mod run_queue;
pub(crate) mod run_state;
mod strategy;
pub(crate) mod trim;
mod turn;
mod wait;
pub(crate) mod waker;

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::reactor::audit::Audit;
use crate::reactor::backoff::Backoff;
use crate::reactor::core::Core;
use crate::reactor::notifier::Notifier;
use crate::reactor::remote::MailboxSource;
use crate::reactor::run_state::RunState;
use crate::reactor::strategy::Strategy;
use crate::source::handler::explained;
use crate::source::table::NEVER;
use crate::{Backend, BackendChoice, Counters, Event, Handler, LoopCx, LoopLimits, Reason, Tag};

/// An event loop. It owns its sources and the application state, and turns until it is stopped.
///
/// A panic of a handler passes through [`run`](Self::run) and the other functions that turn the
/// loop. A program that catches it ([`catch_unwind`]) may run the loop again; the other sources are
/// as before.
///
/// Dropping a reactor ends every source with [`Reason::Stopped`]. After a `fork(2)`, the child may
/// [rebuild](Self::rebuild) its copy, or drop it and make a new reactor; any other operation on the
/// copy is refused ([`Forked`]).
///
/// [`Forked`]: crate::Forked
///
/// A reactor stays on the thread that made it: it is not [`Send`], since its handlers need not be. A loop
/// on a thread of its own is made there, and gives its [`Remote`](crate::Remote) away:
///
/// ```
/// use reactor::{Reactor, Remote};
/// use std::io;
/// use std::sync::mpsc;
/// use std::thread;
///
/// let (sender, receiver) = mpsc::channel();
/// let thread = thread::spawn(move || -> io::Result<u32> {
///     let mut reactor = Reactor::new(0)?;
///     // Where nothing receives it any more, the loop is not needed either.
///     sender.send(reactor.cx().remote()).map_err(io::Error::other)?;
///     reactor.run()?;
///     Ok(reactor.app)
/// });
/// // If the thread failed to make its loop, this fails, and the thread says why.
/// if let Ok(remote) = receiver.recv() {
///     let remote: Remote<u32> = remote;
///     remote.post(|cx| *cx.app += 1)?;
///     remote.post(|cx| cx.stop())?;
/// }
/// assert_eq!(thread.join().expect("it does not panic")?, 1);
/// # Ok::<(), io::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// let mut reactor = reactor::Reactor::new(())?;
/// std::thread::spawn(move || reactor.run()); // Its handlers may not leave this thread.
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```
/// use reactor::Reactor;
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new(Vec::new())?;
/// let mut cx = reactor.cx();
/// cx.after(Duration::from_millis(2), |cx| cx.app.push("two"))?;
/// cx.after(Duration::from_millis(1), |cx| cx.app.push("one"))?;
/// reactor.run_until(|app| app.len() == 2)?;
/// assert_eq!(reactor.app, ["one", "two"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Reactor<A: 'static = ()> {
    /// The application state, which is lent to every call of every handler.
    pub app: A,
    pub(crate) core: Core<A>,
    /// Separate from the core, so that a handler and the core can be lent at once (law 4).
    pub(crate) handlers: Vec<Option<Box<dyn Handler<A>>>>,
    pub(crate) events: Vec<Event>,
    pub(crate) strategy: Strategy,
    pub(crate) wait_backoff: Backoff,
}

impl<A: 'static> Reactor<A> {
    /// Returns a reactor on the backend that `REACTOR_BACKEND` names, epoll by default, with the
    /// default limits.
    ///
    /// # Errors
    /// When the variable names no backend, or the kernel gives no descriptor.
    pub fn new(app: A) -> io::Result<Self> {
        let choice = BackendChoice::from_env()?;
        log::debug!("the backend of the loop is {choice}");
        Self::with_backend(choice.kind.open()?, LoopLimits::DEFAULT, app)
    }

    /// Returns a reactor on `backend`.
    ///
    /// # Errors
    /// When the limits are invalid ([`LoopLimits::check`]), or the kernel gives no descriptor.
    pub fn with_backend(backend: Box<dyn Backend>, limits: LoopLimits, app: A) -> io::Result<Self> {
        limits.check()?;
        let named = |error| explained("eventfd", error);
        let notifier = Arc::new(Notifier::new().map_err(named)?);
        let strategy = Strategy::new(&limits, backend.coalesces());
        let descriptor = notifier.descriptor().map_err(named)?;
        let mut core = Core::new(backend, limits, notifier)?;
        core.register(Some(descriptor), &remote::registration(), Box::new(MailboxSource))?;
        // The source of the loop itself does not count as left behind.
        core.counters.registered = 0;
        Ok(Self {
            app,
            core,
            handlers: Vec::with_capacity(limits.sources_expected()),
            events: Vec::new(),
            strategy,
            wait_backoff: Backoff::default(),
        })
    }

    /// Returns the context of the loop, for setting it up from outside. Only the handler of a
    /// source can change what belongs to that source, such as its deadline.
    pub fn cx(&mut self) -> LoopCx<'_, A> {
        // Outside of a turn, the loop's time stands still. Timers set here need the current time.
        self.core.read_clock();
        LoopCx::new(&mut self.core, &mut self.app, Tag::NONE)
    }

    /// Turns until the loop is stopped or has wound down. It may be run again after that.
    ///
    /// # Errors
    /// When the loop was [forked](crate::Forked), or the wait of the backend fails for good;
    /// nothing else stops a loop (law 7). The error names the system call and what to do. A failure
    /// that may pass, such as `ENOMEM`, is logged, and the wait is tried again after a pause of 10
    /// ms, doubling up to 1 s.
    pub fn run(&mut self) -> io::Result<()> {
        self.run_until(|_| false)
    }

    /// Turns until `done` returns true, or the loop is stopped or has wound down. `done` is called
    /// before every turn.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_until(&mut self, mut done: impl FnMut(&A) -> bool) -> io::Result<()> {
        self.run_while(|reactor| !done(&reactor.app))
    }

    /// Turns while `goes_on` returns true, until the loop is stopped or has wound down. `goes_on`
    /// is called before every turn.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_while(&mut self, mut goes_on: impl FnMut(&Self) -> bool) -> io::Result<()> {
        self.core.refuse_copy()?;
        while goes_on(self) {
            // One test tells a loop that has ended, or has hooks, from most.
            if self.core.is_plain {
                self.turn_plainly(None)?;
            } else if self.has_ended() {
                break;
            } else {
                self.turn(None)?;
            }
        }
        self.forget_stop();
        self.core.backend.flush()
    }

    /// Turns until `time` has passed, never early, or until the loop is stopped or has wound down. It
    /// turns once even if `time` is zero. What is ready after `time` waits for the next run.
    ///
    /// ```
    /// use reactor::Reactor;
    /// use std::time::Duration;
    ///
    /// let mut reactor = Reactor::new(0)?;
    /// reactor.cx().every(Duration::from_millis(1), |ticks, cx| *cx.app += ticks)?;
    /// reactor.run_for(Duration::from_millis(5))?;
    /// assert!(reactor.app >= 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_for(&mut self, time: Duration) -> io::Result<()> {
        self.core.refuse_copy()?;
        self.core.read_clock();
        let until = self.core.ticks_after(time);
        while !self.has_ended() {
            self.turn(Some(Duration::from_nanos(until.saturating_sub(self.core.ticks))))?;
            // The time that the turn has seen: the timers that were due by then have been called.
            if self.core.ticks >= until {
                break;
            }
            self.core.read_clock();
        }
        self.forget_stop();
        self.core.backend.flush()
    }

    /// Makes a loop that has ended able to run again.
    fn forget_stop(&mut self) {
        if self.has_ended() {
            self.core.enter(RunState::Running);
        }
    }

    /// Runs one turn, which waits for events no longer than `timeout`; `None` waits for the first
    /// event. Check [`has_ended`](Self::has_ended) after it: a loop that was stopped continues when
    /// it is turned again.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_once(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.forget_stop();
        self.core.resume();
        let result = self.turn(timeout).and_then(|()| self.core.backend.flush());
        self.prepare_host();
        self.core.leave();
        result
    }

    /// Returns whether the loop was stopped or has wound down.
    #[inline]
    pub fn has_ended(&self) -> bool {
        !self.core.is_plain && self.has_wound_down()
    }

    /// Returns whether a loop that winds down or stops has nothing left to wait for.
    fn has_wound_down(&self) -> bool {
        match self.core.run_state {
            RunState::Running | RunState::Stopping { told: false, .. } => false,
            RunState::Stopping { until, told: true } => {
                let done = self.core.to_notify.is_empty() && self.core.connections == 0;
                done || self.core.charged >= until
            }
            RunState::StopAfterBatch | RunState::StopNow => true,
        }
    }

    /// Returns the counters of the loop.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// Returns whether the loop is winding down or stopping.
    pub fn is_stopping(&self) -> bool {
        self.core.run_state != RunState::Running
    }

    /// Returns how many listeners there are. A server without one gets no new connections.
    pub fn listeners(&self) -> usize {
        self.core.listeners.len()
    }

    /// Returns how many timers are in memory: the armed ones, and some of sources that have ended.
    /// Turns after the end of a source remove these, a bounded number each, until they are no more
    /// than the armed ones or a thousand.
    pub fn timers(&self) -> usize {
        self.core.wheel.len()
    }

    /// Returns the name of the backend.
    pub fn backend_name(&self) -> &'static str {
        self.core.backend.name()
    }

    /// Returns a descriptor that becomes readable when [`run_once`](Self::run_once) has something
    /// to do, for hosting the loop in another. The host also has to call it at
    /// [`next_deadline`](Self::next_deadline). Only the epoll backends have a descriptor; a copy
    /// that a fork has made has none.
    pub fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.backend.host_fd().filter(|_| !self.core.is_copy())
    }

    /// Returns when [`run_once`](Self::run_once) has to be called without an event: at once when
    /// work is left over, otherwise at the next timer.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.core.has_work() {
            return Some(self.core.now);
        }
        let deadline = self.core.next_deadline().min(self.core.hooked_until());
        let timer = (deadline != NEVER).then(|| self.core.to_instant(deadline));
        let retry = self.core.retry_at();
        timer.into_iter().chain(retry).min()
    }

    /// Ends every source, and drops waiting closures. The loop refuses new ones from here on.
    fn end_all(&mut self) {
        self.core.mailbox.close();
        self.core.enter(RunState::StopNow);
        self.adopt();
        for tag in self.core.sources.tags() {
            self.core.end(tag, Reason::Stopped);
        }
        while !self.core.ending.is_empty() {
            self.reap(usize::MAX);
        }
    }

    /// Turns the auditor on or off. It is on by default in builds with debug assertions. Before the
    /// loop sleeps, the auditor checks every descriptor whose handler has just run. It logs an
    /// error that names a handler which left data unread that no event will announce again. It also
    /// names a handler that ran a thousand times in a row for a ready descriptor and did not use
    /// it.
    pub fn set_audit(&mut self, audit: bool) {
        self.core.audit = audit.then(Audit::default);
    }
}

impl<A: 'static> Reactor<A> {
    /// Ends every source, and tells each even if others panic. Returns the first panic.
    pub(crate) fn end_for_good(&mut self) -> Option<Box<dyn Any + Send>> {
        let mut panic = None;
        while let Err(another) = catch_unwind(AssertUnwindSafe(|| self.end_all())) {
            panic.get_or_insert(another);
        }
        panic
    }
}

impl<A: 'static> Drop for Reactor<A> {
    fn drop(&mut self) {
        // A second panic while one is unwinding would end the process.
        if let Some(panic) = self.end_for_good().filter(|_| !std::thread::panicking()) {
            resume_unwind(panic);
        }
    }
}

impl<A: 'static> fmt::Debug for Reactor<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("backend", &self.backend_name())
            .field("live", &self.core.counters.live())
            .finish_non_exhaustive()
    }
}
