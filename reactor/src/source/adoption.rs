//! Descriptors that move from one source to another.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::source::registration::{ExhaustedBy, Mode};
use crate::source::table::Own;
use crate::{Cx, Interest, Readiness, kernel};

impl<A> Cx<'_, A> {
    /// Takes the descriptor out of this source, which has none then. The backend watches it no
    /// longer.
    ///
    /// # Errors
    /// The error of the backend. The source keeps its descriptor.
    pub(crate) fn take_fd(&mut self) -> io::Result<Option<OwnedFd>> {
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

    /// Gives this source, which has none, a non-blocking descriptor that no other code has, and makes
    /// the backend watch it with `interest`.
    ///
    /// # Errors
    /// The error of the backend. The descriptor is closed then.
    pub(crate) fn adopt_fd(
        &mut self,
        fd: OwnedFd,
        exhausted_by: ExhaustedBy,
        interest: Interest,
    ) -> io::Result<()> {
        let core = &mut *self.core;
        core.backend.add(fd.as_fd(), self.me, interest)?;
        let mode = if kernel::is_simulated() { Mode::Simulated } else { Mode::Nonblocking };
        core.lent.own = Own {
            fd: Some(fd),
            // As for a new connection, until an operation blocks.
            ready: Readiness::WRITABLE,
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
