//! Descriptors that move from one source to another.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::source::registration::{ExhaustedBy, Mode};
use crate::source::table::Own;
use crate::{Cx, Interest, Readiness, kernel};

impl<A> Cx<'_, A> {
    /// Takes the descriptor out of this source, to give a connection to another loop, for example,
    /// or to code that blocks. The loop watches it no longer, and the source has none, like one that
    /// was registered without. The mode of the descriptor stays: that of a connection is
    /// non-blocking. Returns `None` if the source has no descriptor.
    ///
    /// ```
    /// use reactor::{ConnectOptions, Connector, Cx, Handler, Interest, Reactor, Reason, Registration};
    /// use std::io;
    /// use std::os::fd::OwnedFd;
    ///
    /// /// Takes its connection out of the loop.
    /// struct Takes;
    ///
    /// impl Handler<Option<OwnedFd>> for Takes {
    ///     fn ready(&mut self, cx: &mut Cx<'_, Option<OwnedFd>>) -> io::Result<()> {
    ///         *cx.app = cx.take_fd()?;
    ///         cx.end(Reason::Finished);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut reactor = Reactor::new(None)?;
    /// Connector::new(server.local_addr()?, &ConnectOptions::DEFAULT).register(
    ///     Registration::new(Interest::NONE),
    ///     Takes,
    ///     &mut reactor.cx(),
    /// )?;
    /// reactor.run_until(Option::is_some)?;
    /// let stream = std::net::TcpStream::from(reactor.app.take().expect("there is a server"));
    /// assert_eq!(stream.peer_addr()?, server.local_addr()?);
    /// # Ok::<(), io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the backend. The source keeps its descriptor.
    pub fn take_fd(&mut self) -> io::Result<Option<OwnedFd>> {
        let core = &mut *self.core;
        let own = &mut core.lent.own;
        if let Some(fd) = &own.fd
            && std::mem::take(&mut own.polled)
        {
            core.backend.remove(fd.as_fd())?;
        }
        own.ready = Readiness::NONE;
        Ok(own.fd.take())
    }

    /// Replaces the descriptor of this source by another one of the same kind, to be read alone.
    pub(crate) fn replace_fd(&mut self, fd: OwnedFd) -> io::Result<()> {
        drop(self.take_fd()?);
        self.adopt_fd(fd, ExhaustedBy::WouldBlock, Interest::READ, Readiness::NONE)
    }

    /// Gives this source, which has none, a non-blocking descriptor that no other code has, and makes
    /// the backend watch it with `interest`. `ready` is what it is assumed to be ready for, until an
    /// operation blocks.
    ///
    /// # Errors
    /// The error of the backend. The descriptor is closed then.
    pub(crate) fn adopt_fd(
        &mut self,
        fd: OwnedFd,
        exhausted_by: ExhaustedBy,
        interest: Interest,
        ready: Readiness,
    ) -> io::Result<()> {
        let core = &mut *self.core;
        core.backend.add(fd.as_fd(), self.me, interest)?;
        let mode = if kernel::is_simulated() { Mode::Simulated } else { Mode::Nonblocking };
        core.lent.own = Own {
            fd: Some(fd),
            ready,
            interest,
            armed: interest,
            exhausted_by,
            mode,
            polled: true,
            ..Own::NOTHING
        };
        Ok(())
    }
}
