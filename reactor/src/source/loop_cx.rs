//! The operations on a loop that are available inside and outside of a handler.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::reactor::clock::nanos;
use crate::reactor::core::Core;
use crate::reactor::run_state::RunState;
use crate::{
    Cx, Handler, Interest, LoopCx, LoopLimits, Reason, Registration, Remote, Role, Tag, Token,
};

impl<'a, A, P> Cx<'a, A, P> {
    pub(crate) fn new(core: &'a mut Core<A>, app: &'a mut A, me: Tag) -> Self {
        Self { core, app, me, woken: false, failed: None, place: PhantomData }
    }

    /// Returns the same context without the part of the source, for functions that take a
    /// [`LoopCx`].
    pub fn outside(&mut self) -> LoopCx<'_, A> {
        Cx::new(self.core, self.app, self.me)
    }

    /// Returns the source that is being called, or has just ended. Outside of a call, it returns a
    /// token that names nothing.
    pub fn me(&self) -> Token {
        Token::new(self.me, self.core.home)
    }

    /// Returns the time, which is read once for the whole turn.
    pub fn now(&self) -> Instant {
        self.core.now
    }

    /// Returns the limits of the loop.
    pub fn limits(&self) -> &LoopLimits {
        &self.core.limits
    }

    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        self.core.connections
    }

    /// Returns a handle for other threads.
    pub fn remote(&self) -> Remote<A> {
        Remote::new(&self.core.mailbox)
    }

    /// Registers a source: the loop owns the descriptor from now on, and closes it once, when the
    /// source ends (law 2). The handler is not called before this call has returned.
    ///
    /// A descriptor that epoll refuses because it never blocks (a regular file, `/dev/null`) is
    /// always ready. Other descriptors are made non-blocking unless `registration` says otherwise.
    ///
    /// # Errors
    /// When the kernel refuses to watch the descriptor, which is then closed; the handler is
    /// dropped without being called. An idle limit of zero is refused too. A loop that is being
    /// dropped refuses, and so does one that was [forked](crate::Forked).
    pub fn register(
        &mut self,
        fd: OwnedFd,
        registration: Registration,
        handler: impl Handler<A> + 'static,
    ) -> io::Result<Token> {
        self.register_boxed(Some(fd), registration, Box::new(handler))
    }

    /// Registers a source without a descriptor: it reacts to wakes, deadlines and timers.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn spawn(&mut self, handler: impl Handler<A> + 'static) -> io::Result<Token> {
        self.register_boxed(None, Registration::new(Interest::NONE), Box::new(handler))
    }

    /// Registers a source without a descriptor that stands for a connection which other code drives: a
    /// thread, or another process. It counts towards the limit of connections, its handler is told
    /// when the loop stops gracefully ([`Handler::stopping`]), and the loop waits for it then. It has no
    /// idle limit.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn spawn_connection(&mut self, handler: impl Handler<A> + 'static) -> io::Result<Token> {
        let registration =
            Registration::new(Interest::NONE).role(Role::Connection).idle_timeout(None);
        self.register_boxed(None, registration, Box::new(handler))
    }

    pub(crate) fn register_boxed(
        &mut self,
        fd: Option<OwnedFd>,
        registration: Registration,
        handler: Box<dyn Handler<A>>,
    ) -> io::Result<Token> {
        self.core.refuse_copy()?;
        if self.core.notifier.is_closed() {
            return Err(io::Error::other("the loop is being dropped and takes no new source"));
        }
        let tag = self.core.register(fd, &registration, handler)?;
        Ok(Token::new(tag, self.core.home))
    }

    /// Ends a source, this one or another. Only its `closed` is still called: at the end of this
    /// turn, or of a later one if more than [`LoopLimits::ends_per_turn`] sources have ended. A
    /// token of a source that has ended, or of another loop, has no effect. A
    /// `protocol::ConnectionId` names a connection as its token does.
    pub fn close(&mut self, source: impl Into<Token>) {
        let token: Token = source.into();
        self.core.end(token.tag_in(self.core.home), Reason::Cancelled);
    }

    /// Runs a source soon, whatever its readiness. Wakes coalesce: a source that is woken several
    /// times before it runs is called once. A token of a source that has ended, or of another loop,
    /// has no effect. A `protocol::ConnectionId` names a connection as its token does.
    pub fn wake(&mut self, source: impl Into<Token>) {
        let token: Token = source.into();
        self.core.wake(token.tag_in(self.core.home));
    }

    /// [`Cx::set_timeout`](crate::Cx::set_timeout), for a source that was just registered.
    pub(crate) fn set_timeout_of(&mut self, token: Token, after: Duration) {
        let tag = token.tag_in(self.core.home);
        let deadline = self.core.ticks_after(after);
        self.core.update_limits(tag, |source| source.deadline = deadline);
    }

    /// Returns whether the loop winds down, which a plain stop is not.
    pub(crate) fn is_winding_down(&self) -> bool {
        matches!(self.core.run_state, RunState::Stopping { .. })
    }

    /// Stops the loop when everything that is ready has run.
    pub fn stop(&mut self) {
        if self.core.run_state != RunState::StopNow {
            self.core.enter(RunState::StopAfterBatch);
        }
    }

    /// Stops the loop before any other handler is called, except for `closed` of sources that have
    /// ended.
    pub fn stop_now(&mut self) {
        self.core.enter(RunState::StopNow);
    }

    /// Winds the loop down: every source is told to finish ([`Handler::stopping`]), and the loop
    /// stops when no connection is left, or after `patience`. That takes up to twice as long where
    /// signals interrupt waits, since a process that was stopped and continued looks the same. A
    /// second call has no effect.
    pub fn stop_gracefully(&mut self, patience: Duration) {
        if self.core.run_state == RunState::Running {
            let until = self.core.charged.saturating_add(nanos(patience));
            self.core.enter(RunState::Stopping { until, told: false });
        }
    }

    /// Returns whether the loop is winding down, stopping or being dropped.
    pub fn is_stopping(&self) -> bool {
        self.core.run_state != RunState::Running
    }
}

impl<A> Cx<'_, A> {
    /// Replaces the handler of this source, for all calls after this one. The token, the
    /// descriptor, the interest, the timers and the limits stay, so a source may go through several
    /// stages, each of them a handler. The replaced handler is dropped when this call returns,
    /// without [`Handler::closed`].
    ///
    /// If the loop winds down, the new handler is told so ([`Handler::stopping`]), even if the
    /// replaced one was told before. Otherwise it is not called until something happens;
    /// [`wake`](Self::wake) the source to run it. Of several replacements in one call, the last
    /// counts.
    pub fn replace_handler(&mut self, handler: impl Handler<A> + 'static) {
        let (me, handler) = (self.me, Box::new(handler));
        match self.core.arrivals.iter_mut().find(|(tag, _)| *tag == me) {
            Some((_, before)) => *before = handler,
            None => self.core.arrivals.push((me, handler)),
        }
    }

    /// Returns whether the handler was replaced during this call.
    pub(crate) fn is_replaced(&self) -> bool {
        self.core.arrivals.iter().any(|(tag, _)| *tag == self.me)
    }
}
