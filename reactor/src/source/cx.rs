//! What a handler is lent of the loop: the only path to I/O.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use crate::reactor::core::{Core, idle_nanos, nanos};
use crate::source::table::{NEVER, Source};
use crate::{Interest, Readiness, Reason, Tag};

/// What runs on a loop is lent of it: the loop, the application state and, where it is lent to a handler,
/// that one's own source.
///
/// All I/O goes through here, so that readiness has one implementation (law 1): an operation that
/// would block returns `Ok(None)` and is what makes the loop wait for the kernel again.
///
/// What concerns one source, such as its descriptor, its deadline and its timers, is for that source's
/// handler alone: everything else has a [`LoopCx`], which lacks it. Functions that both may call are
/// generic over `P`.
///
/// ```compile_fail,E0599
/// let mut reactor = reactor::Reactor::new(())?;
/// reactor.cx().set_timeout(None); // Of what?
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Cx<'a, A = (), P = Inside> {
    pub(crate) core: &'a mut Core<A>,
    /// The application's state.
    pub app: &'a mut A,
    pub(crate) me: Tag,
    pub(crate) woken: bool,
    /// The last operation on the own descriptor that failed.
    pub(crate) failed: Option<&'static str>,
    pub(crate) place: PhantomData<P>,
}

/// Marks what is lent to a handler: a source is being called, and lives.
#[derive(Clone, Copy, Debug)]
pub enum Inside {}

/// Marks what is lent to anything else: there is no source of its own.
#[derive(Clone, Copy, Debug)]
pub enum Outside {}

/// The loop, as it is lent to what is no source: to closures, to a handler that is told of its end, and
/// to whoever has the reactor.
pub type LoopCx<'a, A = ()> = Cx<'a, A, Outside>;

impl<A> Cx<'_, A> {
    /// Whether somebody woke the source since its last call.
    #[inline]
    pub fn was_woken(&self) -> bool {
        self.woken
    }

    /// Ends this source for `reason`. Nothing more is called but its
    /// [`closed`](crate::Handler::closed), which comes at the end of the turn. The first reason counts.
    pub fn end(&mut self, reason: Reason) {
        self.core.end(self.me, reason);
    }

    /// What is known of the own descriptor.
    #[inline]
    pub fn readiness(&self) -> Readiness {
        self.core.lent.own.ready
    }

    /// The number of the own descriptor, for logs; `None` when there is none.
    pub fn raw_fd(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        self.core.lent.own.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Sets what this source wants to be called for. Edge-triggered, this is a store; otherwise
    /// the kernel is told before the next wait, if it still makes a difference then.
    #[inline]
    pub fn set_interest(&mut self, interest: Interest) {
        self.core.lent.own.interest = interest;
    }

    /// Says whether ending this source now would cut short what is said to its peer. If so, however
    /// it ends, its TCP connection is reset (`SO_LINGER`, `socket(7)`): the peer takes no part of an
    /// answer for all of it. A Unix socket cannot be reset. [`Stream`](crate::Stream) does this by
    /// itself.
    #[inline]
    pub fn set_unsent(&mut self, is_unsent: bool) {
        self.core.lent.own.is_unsent = is_unsent;
    }

    /// What this source wants to be called for.
    #[inline]
    pub fn interest(&self) -> Interest {
        self.core.lent.own.interest
    }

    /// Calls [`Handler::timeout`](crate::Handler::timeout) with [`Timeout::Deadline`](crate::Timeout::Deadline) once
    /// this much time has passed from [`now`](Self::now) on, never early; `None` removes the deadline.
    /// A source has one deadline: setting it again replaces it.
    pub fn set_timeout(&mut self, after: Option<Duration>) {
        let deadline = after.map_or(NEVER, |after| self.core.ticks_after(after));
        self.update_limits(|source| source.deadline = deadline);
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

    /// Exempts this source from the loop's idle limit, or not; a loop that winds down exempts none.
    pub(crate) fn allow_silence(&mut self, allowed: bool) {
        if !self.is_winding_down() {
            let limit = self.limits().idle_timeout.filter(|_| !allowed);
            let idle = limit.map_or(NEVER, nanos);
            self.update_limits(|source| source.idle = idle);
        }
    }

    fn update_limits(&mut self, change: impl FnOnce(&mut Source)) {
        self.core.update_limits(self.me, change);
    }
}
