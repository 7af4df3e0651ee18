//! What the driver of a connection asks of its source between two passes.

use std::os::fd::AsFd;
use std::time::Instant;

use protocol::link::{Moment, Wait};

use crate::planted::{self, Planted};
use crate::source::registration::Mode;
use crate::source::table::{NEVER, Own};
use crate::{Cx, Interest, kernel};

impl<A, P> Cx<'_, A, P> {
    /// Returns the time of a pass.
    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.core.now, lost: self.core.patience.lost_time() }
    }
}

impl<A> Cx<'_, A> {
    /// Waits for what a link waits for.
    pub(super) fn wait(&mut self, wait: Wait) {
        let read = match wait {
            Wait { read: true, .. } => Interest::READ,
            Wait { hang_up: true, .. } => Interest::HANG_UP,
            _ if planted::is(Planted::HangUpSpins) => Interest::HANG_UP,
            _ => Interest::NONE,
        };
        let interest = if wait.write { read | Interest::WRITE } else { read };
        self.set_interest(interest);
        self.set_unsent(wait.is_unsent);
    }

    /// Calls [`Handler::timeout`] at a time, or never.
    pub(super) fn set_deadline_at(&mut self, at: Option<Instant>) {
        let deadline = at.map_or(NEVER, |at| self.core.to_ticks(at));
        self.core.update_limits(self.me, |source| source.deadline = deadline);
    }

    /// Returns for how many nanoseconds this source has been silent, on the clock that counts against
    /// peers.
    pub(super) fn silence(&self) -> u64 {
        let last_active = self.core.sources.get(self.me).map(|source| source.last_active);
        last_active
            .map_or(0, |at| self.core.charged.cast_signed().saturating_sub(at).max(0))
            .cast_unsigned()
    }

    /// Begins the idle limit of this source anew.
    pub(super) fn touch(&mut self) {
        self.core.lent.is_active = true;
    }

    /// Returns how many bytes the peer of the own socket has not acknowledged (`SIOCOUTQ`,
    /// `tcp(7)`), zero where that is not known. Of a Unix socket it is the memory that these bytes take.
    pub(super) fn unacknowledged(&mut self) -> u32 {
        let Own { fd: Some(fd), mode, .. } = &self.core.lent.own else { return 0 };
        let sent = kernel::unacknowledged(fd.as_fd()).unwrap_or(0);
        match (mode, self.core.backend.completion()) {
            (Mode::Completed, Some(completion)) => {
                sent.saturating_add(completion.unsent(fd.as_fd()))
            }
            _ => sent,
        }
    }
}
