//! Making a loop that a fork has copied the loop of its new process (P18).

use std::io;

use crate::reactor::core::Core;
use crate::reactor::run_queue::RunQueue;
use crate::source::registration::{Mode, Sharing};
use crate::source::table::Phase;
use crate::source::watching::add;
use crate::sys::Process;
use crate::{Reactor, Reason, Tag};

impl<A: 'static> Reactor<A> {
    /// Makes this loop one of the calling process, if it is a copy that `fork(2)` has made: with a
    /// backend of its own, in which every source is registered anew, and a descriptor of its own for
    /// calls from other threads. Until then, a copy refuses to work ([`Forked`](crate::Forked)). A
    /// loop that is no copy stays as it is.
    ///
    /// Sources keep their tokens, interests, timers and deadlines. A handle of this loop
    /// ([`Remote`](crate::Remote), [`Waker`](crate::Waker)) that this process has works again, and
    /// calls that waited run here too. Signals are those of this process. The sources of children
    /// ([`Child`](crate::Child)) end, since those are children of the other process. Each handler is
    /// told ([`Handler::rebuilt`](crate::Handler::rebuilt)).
    ///
    /// Both processes have the same sockets now, and each byte and each connection reaches only one
    /// of them. So one of them should close what it does not serve: a child that serves one
    /// connection closes the others and the listeners. Names whose lookup was under way are not
    /// found: the threads of a resolver do not exist here.
    ///
    /// ```no_run
    /// use reactor::{Fork, Forked, Reactor, fork};
    ///
    /// let mut reactor = Reactor::new(())?;
    /// // A server that becomes two: both accept from then on.
    /// if fork()? == Fork::Child {
    ///     reactor.rebuild()?;
    /// }
    /// while let Err(error) = reactor.run() {
    ///     // A handler has forked, and this is the child.
    ///     if !error.get_ref().is_some_and(|error| error.is::<Forked>()) {
    ///         return Err(error);
    ///     }
    ///     reactor.rebuild()?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no descriptor left for it, or the backend is not one of this crate and cannot
    /// be opened again ([`Backend::reopen`](crate::Backend::reopen)). The loop stays a copy then. A
    /// source that cannot be registered ends with [`Reason::Failed`].
    pub fn rebuild(&mut self) -> io::Result<()> {
        if !self.core.is_copy() {
            return Ok(());
        }
        let backend = self.core.backend.reopen()?;
        self.core.notifier.take_over()?;
        self.core.backend = backend;
        self.core.process = Process::this();
        self.events.clear();
        self.adopt();
        // The turn that forked may have taken sources off the queue without calling them.
        self.core.queue = RunQueue::default();
        let tags = self.core.sources.tags();
        for tag in &tags {
            self.core.watch_anew(*tag);
        }
        for tag in tags {
            self.tell(tag, |handler, cx| handler.rebuilt(cx));
        }
        Ok(())
    }
}

impl<A> Core<A> {
    /// Registers a source with a new backend.
    fn watch_anew(&mut self, tag: Tag) {
        let Some(source) = self.sources.get_mut(tag) else { return };
        // The other process has a copy of its descriptor. It may compete for its events already.
        if source.sharing == Sharing::Excluded {
            source.sharing = Sharing::Possible;
        }
        source.queued = false;
        let own = &mut source.own;
        let was_polled = std::mem::take(&mut own.polled);
        own.armed = own.wanted();
        if let Some(fd) = own.fd.as_ref().filter(|_| was_polled && source.phase == Phase::Live) {
            use std::os::fd::AsFd;
            let added = match (own.mode, self.backend.completion()) {
                (Mode::Completed, Some(completion)) => completion.begin(fd.as_fd(), tag),
                _ => add(self.backend.as_mut(), fd.as_fd(), tag, own.armed, source.sharing),
            };
            match added {
                Ok(()) => own.polled = true,
                Err(error) => self.end(tag, Reason::Failed { operation: "register", error }),
            }
        }
        self.update(tag, |_| {});
    }
}
