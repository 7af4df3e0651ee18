//! The progress of a loop towards its end, and what a turn has to do besides the usual.

use crate::reactor::core::Core;

/// The progress of a loop towards its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// It runs.
    Running,
    /// It winds down: every source is told, and at this time the remaining ones are closed. The
    /// time is on the clock that counts against peers.
    Stopping { until: u64, told: bool },
    /// It stops when everything that is ready has run.
    StopAfterBatch,
    /// It stops before another handler is called.
    StopNow,
}

impl<A> Core<A> {
    /// Changes the state of the loop.
    pub(crate) fn enter(&mut self, state: RunState) {
        self.run_state = state;
        self.note_extras();
    }

    /// Determines again whether turns have something rare to do. To be called after a change of what
    /// it depends on.
    pub(crate) fn note_extras(&mut self) {
        self.is_plain =
            self.run_state == RunState::Running && self.unequal == 0 && self.hooks.is_none();
    }

    /// Returns whether a source has not been told yet that the loop winds down.
    pub(crate) fn has_to_notify(&self) -> bool {
        match self.run_state {
            RunState::Stopping { told, .. } => !told || !self.to_notify.is_empty(),
            _ => false,
        }
    }
}
