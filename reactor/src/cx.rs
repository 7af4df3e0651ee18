//! What a handler is lent of the loop: the only path to I/O.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::core::{Core, Course, idle_nanos, nanos};
use crate::sources::{NEVER, Source};
use crate::{Handler, Interest, LoopLimits, Readiness, Reason, Registration, Remote, Tag, Token};

mod operations;

/// What a handler is lent for one call: its own descriptor, the loop, and the application state.
///
/// All I/O goes through here, so that readiness has one implementation (law 1): an operation that
/// would block returns `Ok(None)` and is what makes the loop wait for the kernel again.
pub struct Cx<'a, A = ()> {
    pub(crate) core: &'a mut Core<A>,
    /// The application's state.
    pub app: &'a mut A,
    pub(crate) me: Tag,
    pub(crate) woken: bool,
    /// The last operation on the own descriptor that failed.
    pub(crate) failed: Option<&'static str>,
}

impl<'a, A> Cx<'a, A> {
    pub(crate) fn new(core: &'a mut Core<A>, app: &'a mut A, me: Tag) -> Self {
        Self { core, app, me, woken: false, failed: None }
    }

    /// The source that is being called. Outside of a call, a token that names nothing.
    pub fn me(&self) -> Token {
        Token::new(self.me, self.core.home)
    }

    /// The time, read once for the whole turn.
    pub fn now(&self) -> Instant {
        self.core.now
    }

    /// The limits of the loop.
    pub fn limits(&self) -> &LoopLimits {
        &self.core.limits
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.core.connections
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote<A> {
        Remote::new(&self.core.mailbox)
    }

    /// Whether somebody woke the source since its last call.
    pub fn was_woken(&self) -> bool {
        self.woken
    }

    /// What is known of the own descriptor.
    pub fn readiness(&self) -> Readiness {
        self.core.sources.get(self.me).map_or(Readiness::NONE, |source| source.ready)
    }

    /// The number of the own descriptor, for logs; `None` when there is none.
    pub fn raw_fd(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        self.core.sources.get(self.me)?.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Registers a source: the loop owns the descriptor from now on, and closes it once, when the
    /// source ends (law 2). The handler is not called before this call has returned.
    ///
    /// A descriptor that epoll refuses because it never blocks (a regular file, `/dev/null`) is
    /// always ready. Other descriptors are made non-blocking unless `registration` says otherwise.
    ///
    /// # Errors
    /// What the kernel said to watching the descriptor, which is closed then; the handler is
    /// dropped without being called. An idle limit of zero is refused too. A loop that is being dropped refuses, and so does one that was
    /// [forked](crate::Forked).
    pub fn register(
        &mut self,
        fd: OwnedFd,
        registration: Registration,
        handler: impl Handler<A> + 'static,
    ) -> io::Result<Token> {
        self.register_boxed(Some(fd), registration, Box::new(handler))
    }

    /// Registers a source that has no descriptor: it lives of wakes, deadlines and timers.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn spawn(&mut self, handler: impl Handler<A> + 'static) -> io::Result<Token> {
        self.register_boxed(None, Registration::new(Interest::NONE), Box::new(handler))
    }

    fn register_boxed(
        &mut self,
        fd: Option<OwnedFd>,
        registration: Registration,
        handler: Box<dyn Handler<A>>,
    ) -> io::Result<Token> {
        self.core.refuse_copy()?;
        if self.core.mailbox.is_closed() {
            return Err(io::Error::other("the loop is being dropped and takes no new source"));
        }
        let tag = self.core.register(fd, &registration, handler)?;
        Ok(Token::new(tag, self.core.home))
    }

    /// Ends a source, this one or another. It is called no more but for its `closed`, which comes
    /// at the end of this turn, or of a later one where more sources have ended than
    /// [`LoopLimits::ends_per_turn`]. Ending what has ended, or what is another loop's, does nothing.
    pub fn close(&mut self, token: Token) {
        self.core.doom(token.tag_in(self.core.home), Reason::Cancelled);
    }

    /// Has a source run soon whatever its readiness, once however often it is woken before that.
    /// Waking what has ended, or what is another loop's, does nothing.
    pub fn wake(&mut self, token: Token) {
        self.core.wake(token.tag_in(self.core.home));
    }

    /// Sets what this source wants to be called for. Edge-triggered, this is a store; otherwise
    /// the kernel is told before the next wait, if it still makes a difference then.
    pub fn set_interest(&mut self, interest: Interest) {
        self.core.set_interest(self.me, interest);
    }

    /// Says whether ending this source now would cut short what is said to its peer. If so, however
    /// it ends, its TCP connection is reset (`SO_LINGER`, `socket(7)`): the peer takes no part of an
    /// answer for all of it. A Unix socket cannot be reset. [`Stream`](crate::Stream) does this by
    /// itself.
    pub fn set_unsent(&mut self, is_unsent: bool) {
        if let Some(source) = self.core.sources.get_mut(self.me) {
            source.is_unsent = is_unsent;
        }
    }

    /// What this source wants to be called for.
    pub fn interest(&self) -> Interest {
        self.core.sources.get(self.me).map_or(Interest::NONE, |source| source.interest)
    }

    /// Has [`Handler::timeout`] called with [`Timeout::Deadline`](crate::Timeout::Deadline) once
    /// `at` has passed, never early; `None` takes the deadline away. A source has one deadline.
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        let deadline = at.map_or(NEVER, |at| self.core.to_ticks(at));
        self.update_limits(|source| source.deadline = deadline);
    }

    /// [`set_deadline`](Self::set_deadline), counted from now.
    pub fn set_timeout(&mut self, after: Duration) {
        let deadline = self.core.ticks_after(after);
        self.update_limits(|source| source.deadline = deadline);
    }

    /// [`set_timeout`](Self::set_timeout), for a source that was just registered.
    pub(crate) fn set_timeout_of(&mut self, token: Token, after: Duration) {
        let tag = token.tag_in(self.core.home);
        Cx::new(self.core, self.app, tag).set_timeout(after);
    }

    /// Sets how long this source may be silent; `None` exempts it.
    ///
    /// # Errors
    /// When `limit` is zero, which would allow nothing.
    pub fn set_idle_timeout(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let idle = limit.map_or(Ok(NEVER), idle_nanos)?;
        self.update_limits(|source| source.idle = idle);
        Ok(())
    }

    /// Whether the loop drains, and was not merely stopped.
    pub(crate) fn is_winding_down(&self) -> bool {
        matches!(self.core.course, Course::Draining { .. })
    }

    /// Exempts this source from the loop's idle limit, or not; a loop that winds down exempts none.
    pub(crate) fn allow_silence(&mut self, allowed: bool) {
        if !self.is_winding_down() {
            let limit = self.limits().idle_timeout.filter(|_| !allowed);
            let idle = limit.map_or(NEVER, nanos);
            self.update_limits(|source| source.idle = idle);
        }
    }

    fn update_limits(&mut self, change: impl FnOnce(&mut Source)) {
        if let Some(source) = self.core.sources.get_mut(self.me) {
            change(source);
            self.core.arm(self.me);
        }
    }

    /// Stops the loop once what is ready has been run.
    pub fn stop(&mut self) {
        if self.core.course != Course::StopNow {
            self.core.course = Course::StopAfterBatch;
        }
    }

    /// Stops the loop before any other handler is called, but for the `closed` of those that have
    /// ended.
    pub fn stop_now(&mut self) {
        self.core.course = Course::StopNow;
    }

    /// Winds the loop down: every source is told to finish ([`Handler::drain`]), and the loop
    /// stops when no connection is left, or after `patience`. Draining again does nothing.
    pub fn drain(&mut self, patience: Duration) {
        if self.core.course == Course::Running {
            let until = self.core.charged.saturating_add(nanos(patience));
            self.core.course = Course::Draining { until, told: false };
        }
    }

    /// Whether the loop is winding down or stopping.
    pub fn is_draining(&self) -> bool {
        self.core.course != Course::Running
    }
}
