//! The time of the loop: reading the clock, deadlines, and times on both scales.

use std::io;
use std::time::{Duration, Instant};

use crate::reactor::core::Core;
use crate::reactor::disputes::RETRY;
use crate::reactor::run_state::RunState;
use crate::source::table::NEVER;
use crate::{Backend, Coverage};

impl<A> Core<A> {
    /// Reads the clock for the next calls.
    #[inline]
    pub(crate) fn read_clock(&mut self) {
        self.read_ticks();
        self.now = self.to_instant(self.ticks);
    }

    /// Reads the clock for the loop itself alone.
    #[inline]
    pub(crate) fn read_ticks(&mut self) {
        self.ticks = self.backend.nanoseconds().saturating_sub(self.origin);
        self.charge();
    }

    /// Returns the time in nanoseconds of the backend.
    pub(crate) fn nanoseconds(&self) -> u64 {
        self.origin + self.ticks
    }

    /// Computes the time that counts against peers: the time of the loop without the time that it
    /// lost.
    #[inline]
    pub(crate) fn charge(&mut self) {
        self.charged = self.ticks.saturating_sub(self.patience.lost());
    }

    /// Returns a time on the scale of the loop: nanoseconds since it started.
    pub(crate) fn to_ticks(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch))
    }

    /// Returns when the loop must turn again without an event, in nanoseconds of loop time, or
    /// `NEVER`.
    #[inline]
    pub(crate) fn next_deadline(&self) -> u64 {
        let until = match self.run_state {
            RunState::Stopping { until, .. } => until.saturating_add(self.patience.lost()),
            _ => NEVER,
        };
        until.min(self.trim_at).min(self.wheel.next_deadline().unwrap_or(NEVER))
    }

    /// Records that a host takes over, until it turns the loop again by the next deadline.
    pub(crate) fn leave(&mut self) {
        let woke = self.ticks;
        self.left_until = Some(self.next_deadline()).filter(|until| *until != NEVER);
        if self.left_until.is_some() {
            self.read_clock();
            self.patience.worked(self.ticks - woke);
            self.charge();
        }
    }

    /// Records that the host turns the loop again. The time in between counts as a wait.
    pub(crate) fn resume(&mut self) {
        let Some(until) = self.left_until.take() else { return };
        let left = self.ticks;
        self.read_clock();
        let limit = until.saturating_sub(left);
        self.waited(self.ticks - left, limit, Coverage::Complete);
    }

    /// Records a wait that took `time` ([`Patience::waited`]).
    ///
    /// [`Patience::waited`]: crate::reactor::patience::Patience::waited
    #[inline]
    pub(crate) fn waited(&mut self, time: u64, limit: u64, coverage: Coverage) {
        let before = self.patience.lost();
        self.patience.waited(time, limit, coverage);
        if self.patience.lost() != before {
            self.charge();
        }
    }

    /// Returns how many nanoseconds the next wait may take, within `limit` and until `deadline`;
    /// `NEVER` when only an event ends it.
    #[inline]
    pub(crate) fn timeout(&self, limit: Option<Duration>, deadline: u64) -> u64 {
        if self.has_work() || matches!(self.run_state, RunState::StopAfterBatch | RunState::StopNow)
        {
            return 0;
        }
        let retry = if self.disputed.is_empty() { NEVER } else { nanos(RETRY) };
        let left = match deadline {
            NEVER => NEVER,
            deadline => deadline.saturating_sub(self.ticks),
        };
        left.min(retry).min(limit.map_or(NEVER, nanos))
    }

    /// Returns the `Instant` of `ticks`.
    pub(crate) fn to_instant(&self, ticks: u64) -> Instant {
        self.epoch + Duration::from_nanos(ticks)
    }
}

/// Returns the same moment on both scales of a clock, as exactly as both can be read. If they
/// differ, the number is the later one: a time counted from it is never early.
pub(super) fn moment(backend: &dyn Backend) -> (Instant, u64) {
    const TRIES: usize = 8;
    let mut closest = (backend.now(), backend.nanoseconds());
    let mut gap = u64::MAX;
    for _ in 0..TRIES {
        let before = backend.nanoseconds();
        let now = backend.now();
        let after = backend.nanoseconds();
        if after - before < gap {
            (gap, closest) = (after - before, (now, after));
        }
    }
    closest
}

/// Returns an idle limit in nanoseconds. Zero is refused, since it would pass at once, every time.
pub(crate) fn idle_nanos(limit: Duration) -> io::Result<u64> {
    if limit.is_zero() {
        let text = "an idle limit of 0 would allow nothing; give it a positive value, or None";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(nanos(limit))
}

/// Returns a duration in nanoseconds. One that does not fit counts as for ever.
pub(crate) fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().checked_mul(1_000_000_000);
    whole.and_then(|whole| whole.checked_add(duration.subsec_nanos().into())).unwrap_or(NEVER)
}
