//! What anything may ask of the loop, from inside of a handler or from outside.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::reactor::core::{Core, RunState, nanos};
use crate::{Cx, Handler, Interest, LoopCx, LoopLimits, Reason, Registration, Remote, Tag, Token};

impl<'a, A, P> Cx<'a, A, P> {
    pub(crate) fn new(core: &'a mut Core<A>, app: &'a mut A, me: Tag) -> Self {
        Self { core, app, me, woken: false, failed: None, place: PhantomData }
    }

    /// The same without the source's own part, for functions that take no other.
    pub fn outside(&mut self) -> LoopCx<'_, A> {
        Cx::new(self.core, self.app, self.me)
    }

    /// The source that is being called, or has just ended. Outside of a call, a token that names
    /// nothing.
    pub fn me(&self) -> Token {
        Token::new(self.me, self.core.home)
    }

    /// The time, read once for the whole context.
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

    /// Registers a source: the loop owns the descriptor from now on, and closes it once, when the
    /// source ends (law 2). The handler is not called before this call has returned.
    ///
    /// A descriptor that epoll refuses because it never blocks (a regular file, `/dev/null`) is
    /// always ready. Other descriptors are made non-blocking unless `registration` says otherwise.
    ///
    /// # Errors
    /// What the kernel said to watching the descriptor, which is closed then; the handler is
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
        self.core.end(token.tag_in(self.core.home), Reason::Cancelled);
    }

    /// Runs a source soon, whatever its readiness, once however often it is woken before that.
    /// Waking what has ended, or what is another loop's, does nothing.
    pub fn wake(&mut self, token: Token) {
        self.core.wake(token.tag_in(self.core.home));
    }

    /// [`Cx::set_timeout`](crate::Cx::set_timeout), for a source that was just registered.
    pub(crate) fn set_timeout_of(&mut self, token: Token, after: Duration) {
        let tag = token.tag_in(self.core.home);
        let deadline = self.core.ticks_after(after);
        self.core.update_limits(tag, |source| source.deadline = deadline);
    }

    /// Whether the loop drains, and was not merely stopped.
    pub(crate) fn is_winding_down(&self) -> bool {
        matches!(self.core.run_state, RunState::Stopping { .. })
    }

    /// Stops the loop once what is ready has been run.
    pub fn stop(&mut self) {
        if self.core.run_state != RunState::StopNow {
            self.core.run_state = RunState::StopAfterBatch;
        }
    }

    /// Stops the loop before any other handler is called, but for the `closed` of those that have
    /// ended.
    pub fn stop_now(&mut self) {
        self.core.run_state = RunState::StopNow;
    }

    /// Winds the loop down: every source is told to finish ([`Handler::stopping`]), and the loop
    /// stops when no connection is left, or after `patience`. Stopping again does nothing.
    pub fn stop_gracefully(&mut self, patience: Duration) {
        if self.core.run_state == RunState::Running {
            let until = self.core.charged.saturating_add(nanos(patience));
            self.core.run_state = RunState::Stopping { until, told: false };
        }
    }

    /// Whether the loop is winding down or stopping.
    pub fn is_stopping(&self) -> bool {
        self.core.run_state != RunState::Running
    }
}

impl<A> Cx<'_, A> {
    /// Puts another handler in the place of this source's own, for whatever is called after this call.
    /// The token, the descriptor, the interest, the timers and the limits stay; so a source may go
    /// through several stages, each of them a handler. The replaced handler is dropped once this call has
    /// returned, without [`Handler::closed`].
    ///
    /// Where the loop winds down, the new handler is told so ([`Handler::stopping`]), even if the
    /// replaced one was told before. It is not called otherwise until something happens: to have it run,
    /// [`wake`](Self::wake) the source. Of several replacements in one call, the last counts.
    pub fn replace_handler(&mut self, handler: impl Handler<A> + 'static) {
        let (me, handler) = (self.me, Box::new(handler));
        match self.core.arrivals.iter_mut().find(|(tag, _)| *tag == me) {
            Some((_, before)) => *before = handler,
            None => self.core.arrivals.push((me, handler)),
        }
    }

    /// Whether the handler has been replaced during this call.
    pub(crate) fn is_replaced(&self) -> bool {
        self.core.arrivals.iter().any(|(tag, _)| *tag == self.me)
    }
}
