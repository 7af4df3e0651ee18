//! Which descriptors the backend watches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::reactor::core::Core;
use crate::source::registration::{Mode, MovedBy, Sharing};
use crate::source::table::{Own, Source};
use crate::{Backend, Cx, Interest, Left, Readiness, Tag, kernel};

/// Makes a backend watch a descriptor.
pub(crate) fn add(
    backend: &mut dyn Backend,
    fd: BorrowedFd<'_>,
    tag: Tag,
    interest: Interest,
    sharing: Sharing,
) -> io::Result<()> {
    match sharing {
        Sharing::Competing => backend.add_exclusive(fd, tag, interest),
        Sharing::Possible | Sharing::Excluded => backend.add(fd, tag, interest),
    }
}

impl<A> Core<A> {
    /// Makes the backend watch a new source. A descriptor that cannot be watched because it never
    /// blocks is always ready.
    pub(crate) fn watch(&mut self, tag: Tag, moved_by: MovedBy) -> io::Result<()> {
        let Some(Source { own, sharing, .. }) = self.sources.get_mut(tag) else { return Ok(()) };
        let Some(fd) = &own.fd else { return Ok(()) };
        if moved_by == MovedBy::Backend
            && let Some(completion) = self.backend.completion()
        {
            completion.begin(fd.as_fd(), tag)?;
            (own.polled, own.mode) = (true, Mode::Completed);
            return Ok(());
        }
        match add(self.backend.as_mut(), fd.as_fd(), tag, own.interest, *sharing) {
            Ok(()) => own.polled = true,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                own.ready |= Readiness::READABLE | Readiness::WRITABLE;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl<A> Cx<'_, A> {
    /// Makes the backend move the bytes of this connection, which it has watched, if it can.
    ///
    /// # Errors
    /// The error of the backend.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        let Own { fd: Some(fd), mode, polled: true, .. } = &mut self.core.lent.own else {
            return Ok(());
        };
        if self.core.backend.completion().is_none() {
            return Ok(());
        }
        self.core.backend.remove(fd.as_fd())?;
        if let Some(completion) = self.core.backend.completion() {
            completion.begin(fd.as_fd(), self.me)?;
            *mode = Mode::Completed;
        }
        Ok(())
    }

    /// Does the same for a connection that was frozen, if it is a socket of its own.
    ///
    /// # Errors
    /// The error of the backend.
    #[cold]
    pub(crate) fn complete_thawed(&mut self) -> io::Result<()> {
        let Own { fd: Some(fd), mode: Mode::Nonblocking | Mode::Simulated, .. } =
            &self.core.lent.own
        else {
            return Ok(());
        };
        if kernel::is_stream_socket(fd.as_fd()) { self.complete() } else { Ok(()) }
    }

    /// Makes the backend watch this connection, whose bytes it has moved. Returns those that are on their
    /// way; `None` if it has not moved any.
    ///
    /// # Errors
    /// The error of the backend.
    pub(crate) fn leave_completion(&mut self) -> io::Result<Option<Left>> {
        let Own { fd: Some(fd), mode: mode @ Mode::Completed, interest, .. } =
            &mut self.core.lent.own
        else {
            return Ok(None);
        };
        let Some(completion) = self.core.backend.completion() else { return Ok(None) };
        let left = completion.leave(fd.as_fd())?;
        *mode = if kernel::is_simulated() { Mode::Simulated } else { Mode::Nonblocking };
        self.core.backend.add(fd.as_fd(), self.me, *interest)?;
        Ok(Some(left))
    }

    /// Sets whether the backend watches the descriptor of this source. A source that is not watched
    /// is told of nothing new. When it is watched again, it is told of everything that its descriptor
    /// is ready for then.
    ///
    /// It is for an exclusive source that takes nothing for a while ([`Registration::exclusive`]):
    /// while the backend watches it, the kernel may wake this loop instead of another one that would
    /// take what has come. Any other source sets its interest, which costs less.
    ///
    /// # Errors
    /// The error of the backend.
    ///
    /// [`Registration::exclusive`]: crate::Registration::exclusive
    pub fn set_watched(&mut self, is_watched: bool) -> io::Result<()> {
        let core = &mut *self.core;
        let sharing = core.sources.get_mut(self.me).map_or(Sharing::Possible, |it| it.sharing);
        let Own { fd: Some(fd), polled, armed, interest, .. } = &mut core.lent.own else {
            return Ok(());
        };
        if *polled == is_watched {
            return Ok(());
        }
        if is_watched {
            match add(core.backend.as_mut(), fd.as_fd(), self.me, *interest, sharing) {
                Ok(()) => *armed = *interest,
                // It never blocks, so it was not watched before either.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(()),
                Err(error) => return Err(error),
            }
        } else {
            core.backend.remove(fd.as_fd())?;
        }
        *polled = is_watched;
        Ok(())
    }
}
