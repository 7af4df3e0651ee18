//! The context of a call: the only path to I/O.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use crate::reactor::clock::{idle_nanos, nanos};
use crate::reactor::core::Core;
use crate::source::table::{NEVER, Source};
use crate::{Interest, Readiness, Reason, Tag};

/// The context that the loop lends to code that runs on it: the loop, the application state and, in
/// a handler, the source that is being called.
///
/// All I/O goes through it, so readiness has one implementation (law 1). An operation that would
/// block returns `Ok(None)`, and makes the loop wait for the kernel again.
///
/// Only the handler of a source can use its descriptor, its deadline and its timers. Other code has
/// a [`LoopCx`], which lacks them. Functions for both are generic over `P`.
///
/// ```compile_fail,E0599
/// let mut reactor = reactor::Reactor::new(())?;
/// reactor.cx().set_timeout(None); // Of what?
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// That holds for every closure, of [`after`](Self::after), [`every`](Self::every),
/// [`on_signals`](Self::on_signals), [`Listener::register`](crate::Listener::register) and
/// [`Remote::post`](crate::Remote::post), and for [`Handler::closed`](crate::Handler::closed),
/// whose source has ended. So nothing that concerns a source is ever asked for in vain.
///
/// ```compile_fail,E0599
/// let mut reactor = reactor::Reactor::new(())?;
/// reactor.cx().after(std::time::Duration::ZERO, |cx| _ = cx.set_timer(Default::default(), None, 1))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```compile_fail,E0599
/// # struct Ends;
/// impl reactor::Handler for Ends {
///     fn ready(&mut self, _cx: &mut reactor::Cx<'_>) -> std::io::Result<()> {
///         Ok(())
///     }
///
///     fn closed(self: Box<Self>, _reason: reactor::Reason, cx: &mut reactor::LoopCx<'_>) {
///         cx.set_interest(reactor::Interest::NONE);
///     }
/// }
/// ```
pub struct Cx<'a, A = (), P = Inside> {
    pub(crate) core: &'a mut Core<A>,
    /// The application state.
    pub app: &'a mut A,
    pub(crate) me: Tag,
    pub(crate) woken: bool,
    /// The last operation on the descriptor of this source that failed.
    pub(crate) failed: Option<&'static str>,
    pub(crate) place: PhantomData<P>,
}

/// Marks the context of a handler: a live source is being called.
#[derive(Clone, Copy, Debug)]
pub enum Inside {}

/// Marks the context of other code, which has no source.
#[derive(Clone, Copy, Debug)]
pub enum Outside {}

/// The context of code that is no live source: closures, `closed`, and the code that owns the
/// reactor.
pub type LoopCx<'a, A = ()> = Cx<'a, A, Outside>;

impl<A> Cx<'_, A> {
    /// Returns whether the source was woken since its last call.
    #[inline]
    pub fn was_woken(&self) -> bool {
        self.woken
    }

    /// Ends this source for `reason`. After this call, only [`closed`](crate::Handler::closed) is
    /// called, at the end of the turn. The first reason counts.
    pub fn end(&mut self, reason: Reason) {
        self.core.end(self.me, reason);
    }

    /// Returns the readiness of the descriptor of this source.
    #[inline]
    pub fn readiness(&self) -> Readiness {
        self.core.lent.own.ready
    }

    /// Returns the number of the descriptor of this source, for logs; `None` if it has none.
    pub fn raw_fd(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        self.core.lent.own.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Sets the interest of this source. With edge triggering, this is a store. Otherwise the
    /// kernel is told before the next wait, if the interest still differs.
    #[inline]
    pub fn set_interest(&mut self, interest: Interest) {
        self.core.lent.own.interest = interest;
    }

    /// Sets whether this source has output that was not sent. If it ends so, for whatever reason,
    /// its TCP connection is reset (`SO_LINGER`, `socket(7)`), and the peer does not take a part of
    /// an answer for the whole. A Unix socket cannot be reset. [`Stream`](crate::Stream) calls this
    /// by itself.
    #[inline]
    pub fn set_unsent(&mut self, is_unsent: bool) {
        self.core.lent.own.is_unsent = is_unsent;
    }

    /// Returns the interest of this source.
    #[inline]
    pub fn interest(&self) -> Interest {
        self.core.lent.own.interest
    }

    /// Calls [`Handler::timeout`](crate::Handler::timeout) with
    /// [`Timeout::Deadline`](crate::Timeout::Deadline) once this much time has passed from
    /// [`now`](Self::now) on, never early; `None` removes the deadline. A source has one deadline:
    /// setting it again replaces it.
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

    /// Does the same with a limit that was checked.
    pub(crate) fn limit_silence(&mut self, limit: Option<Duration>) {
        let idle = limit.map_or(NEVER, nanos);
        self.update_limits(|source| source.idle = idle);
    }

    /// Counts the listener that is being called as a connection from now on, for which the loop waits
    /// when it winds down: it receives nothing more, and still sends.
    #[cold]
    pub(crate) fn become_connection(&mut self) {
        self.core.become_connection(self.me);
    }

    fn update_limits(&mut self, change: impl FnOnce(&mut Source)) {
        self.core.update_limits(self.me, change);
    }
}
