//! The reactor: the sources, the application's state, and the loop over them.

pub(crate) mod audit;
pub(crate) mod backoff;
mod coalescing;
pub(crate) mod core;
pub(crate) mod counters;
pub(crate) mod forked;
pub(crate) mod limits;
pub(crate) mod patience;
pub(crate) mod remote;
mod strategy;
pub(crate) mod trim;
mod turn;
mod wait;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::reactor::audit::Audit;
use crate::reactor::backoff::Backoff;
use crate::reactor::core::{Core, RunState};
use crate::reactor::remote::{Mailbox, MailboxSource};
use crate::reactor::strategy::Strategy;
use crate::source::handler::explained;
use crate::source::table::NEVER;
use crate::{Backend, BackendKind, Counters, Event, Handler, LoopCx, LoopLimits, Reason, Tag};

/// An event loop: it owns its sources and the application's state, and turns until it is stopped.
///
/// A handler that panics does so through [`run`](Self::run) and its like. Whoever catches that
/// ([`catch_unwind`]) may go on with the loop, whose other sources are as they were.
///
/// Dropping a reactor ends every source with [`Reason::Stopped`]. After a `fork(2)`, the child may
/// drop its copy, and make a new one: whatever else it asks of the copy is refused ([`Forked`]).
///
/// [`Forked`]: crate::Forked
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
    /// The application's state, lent to every call of every handler.
    pub app: A,
    pub(crate) core: Core<A>,
    /// Beside the core, so that a handler and the core are lent at once (law 4).
    pub(crate) handlers: Vec<Option<Box<dyn Handler<A>>>>,
    pub(crate) events: Vec<Event>,
    pub(crate) strategy: Strategy,
    pub(crate) wait_backoff: Backoff,
}

impl<A: 'static> Reactor<A> {
    /// A reactor on the backend that `REACTOR_BACKEND` names, epoll by default, with the default
    /// limits.
    ///
    /// # Errors
    /// When the variable names no backend, or the kernel gives no descriptor.
    pub fn new(app: A) -> io::Result<Self> {
        Self::with_backend(BackendKind::from_env()?.open()?, LoopLimits::DEFAULT, app)
    }

    /// A reactor on a backend of the caller's choice.
    ///
    /// # Errors
    /// When the limits cannot be worked with ([`LoopLimits::check`]), or the kernel gives no descriptor.
    pub fn with_backend(backend: Box<dyn Backend>, limits: LoopLimits, app: A) -> io::Result<Self> {
        limits.check()?;
        let named = |error| explained("eventfd", error);
        let mailbox = Arc::new(Mailbox::new(limits.remote_calls_max).map_err(named)?);
        let descriptor = mailbox.descriptor().map_err(named)?;
        let mut core = Core::new(backend, limits, mailbox)?;
        core.register(Some(descriptor), &remote::registration(), Box::new(MailboxSource))?;
        // Its own source is nothing that anybody could leave behind.
        core.counters.registered = 0;
        Ok(Self {
            app,
            core,
            handlers: Vec::with_capacity(limits.sources_expected()),
            events: Vec::new(),
            strategy: Strategy::new(&limits),
            wait_backoff: Backoff::default(),
        })
    }

    /// The loop, for setting things up from outside. What concerns one source, such as its deadline,
    /// is for its handler alone.
    pub fn cx(&mut self) -> LoopCx<'_, A> {
        // Outside of a turn the time stands still, so timers set here need a fresh one.
        self.core.read_clock();
        LoopCx::new(&mut self.core, &mut self.app, Tag::NONE)
    }

    /// Turns until it is stopped or has drained, and may be run again after that.
    ///
    /// # Errors
    /// When the loop was [forked](crate::Forked), or the backend's wait fails for good: nothing else stops a loop (law 7). The error names
    /// the system call and what to do. A failure that may pass, such as `ENOMEM`, is logged, and the
    /// wait is tried again after a pause of 10 ms, doubling up to 1 s.
    pub fn run(&mut self) -> io::Result<()> {
        self.run_until(|_| false)
    }

    /// Turns until `done`, asked before every turn, or until it is stopped or has drained.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_until(&mut self, mut done: impl FnMut(&A) -> bool) -> io::Result<()> {
        self.run_while(|reactor| !done(&reactor.app))
    }

    /// Turns as long as `goes_on`, asked before every turn, or until it is stopped or has drained.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_while(&mut self, mut goes_on: impl FnMut(&Self) -> bool) -> io::Result<()> {
        self.core.refuse_copy()?;
        while goes_on(self) && !self.has_ended() {
            self.turn(None)?;
        }
        if self.has_ended() {
            self.core.run_state = RunState::Running;
        }
        Ok(())
    }

    /// One turn, which waits for events no longer than `timeout`; `None` waits for the first.
    /// Ask [`has_ended`](Self::has_ended) after it; a loop that was stopped goes on when it is
    /// turned again.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_once(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.has_ended() {
            self.core.run_state = RunState::Running;
        }
        self.core.resume();
        let result = self.turn(timeout);
        self.core.leave();
        result
    }

    /// Whether the loop was stopped or has drained.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.core.run_state != RunState::Running && self.has_wound_down()
    }

    /// Whether a loop that does not just run has nothing left to wait for.
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

    /// What the loop has done since it started.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// Whether it is winding down or stopping.
    pub fn is_stopping(&self) -> bool {
        self.core.run_state != RunState::Running
    }

    /// How many listeners there are. A server with none is not reached by any new peer.
    pub fn listeners(&self) -> usize {
        self.core.listeners.len()
    }

    /// How many timers there are in memory: those that are armed, and some of sources that have
    /// ended. These are looked for in the turns after the end, a bounded number in each, until they
    /// are no more than the others or a thousand.
    pub fn timers(&self) -> usize {
        self.core.wheel.len()
    }

    /// The name of the backend.
    pub fn backend_name(&self) -> &'static str {
        self.core.backend.name()
    }

    /// For hosting the loop in another: a descriptor that becomes readable when
    /// [`run_once`](Self::run_once) has something to do. Only the epoll backends have one, and no copy
    /// that a fork has made. The
    /// host has to call at [`next_deadline`](Self::next_deadline) too.
    pub fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.backend.host_fd().filter(|_| !self.core.is_copy())
    }

    /// When [`run_once`](Self::run_once) has to be called even if nothing happens: at once when
    /// there is carried-over work, otherwise at the next timer.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.core.has_work() {
            return Some(self.core.now);
        }
        let deadline = self.core.next_deadline();
        let timer = (deadline != NEVER).then(|| self.core.to_instant(deadline));
        let retry = self.core.retry_at();
        timer.into_iter().chain(retry).min()
    }

    /// Ends every source, and drops what waits to be called. Nothing new is taken from here on.
    fn end_all(&mut self) {
        self.core.mailbox.close();
        self.adopt();
        for tag in self.core.sources.tags() {
            self.core.end(tag, Reason::Stopped);
        }
        while !self.core.ending.is_empty() {
            self.reap(usize::MAX);
        }
    }

    /// Turns the auditor on or off; it is on by default in builds with debug assertions. Before
    /// the loop sleeps, it looks at every descriptor that a handler was just called for, and logs
    /// an error naming the handler that left data unread which no event will announce again. It
    /// also names a handler that was run a thousand times in a row for a ready descriptor and did
    /// nothing with it.
    pub fn set_audit(&mut self, audit: bool) {
        self.core.audit = audit.then(Audit::default);
    }
}

impl<A: 'static> Drop for Reactor<A> {
    fn drop(&mut self) {
        // Each is told of its end even if others panic when they are. A panic must not leave while
        // another is under way, which would end the process.
        let mut panic = None;
        while let Err(another) = catch_unwind(AssertUnwindSafe(|| self.end_all())) {
            panic.get_or_insert(another);
        }
        if let Some(panic) = panic.filter(|_| !std::thread::panicking()) {
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
