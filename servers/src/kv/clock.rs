//! The time that commands see. Nothing else in `kv` reads a clock.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

/// Gives each command one time, which is read when the command first asks for it.
///
/// A batch of requests may take long, so the time at which the loop received it is too old for the
/// last of them. Most commands never ask, and those cost nothing here. A transaction is one
/// command: the time does not change in it.
pub(crate) struct Clock {
    now: Box<dyn Fn() -> Instant>,
    time_of_day: Box<dyn Fn() -> Duration>,
    /// A reading of both sources.
    anchor: Cell<(Instant, Duration)>,
    /// The time that the current command has been given, if it has asked.
    current: Cell<Option<Instant>>,
    started: Instant,
}

impl Clock {
    /// Returns a clock that reads the time from `now`, and the time since 1970 from `time_of_day`.
    pub(crate) fn new(
        now: impl Fn() -> Instant + 'static,
        time_of_day: impl Fn() -> Duration + 'static,
    ) -> Self {
        let started = now();
        let anchor = Cell::new((started, time_of_day()));
        let (now, time_of_day) = (Box::new(now), Box::new(time_of_day));
        Self { now, time_of_day, anchor, current: Cell::new(None), started }
    }

    /// Begins a command, which gets a time of its own.
    #[inline]
    pub(crate) fn begin(&self) {
        self.current.set(None);
    }

    /// Returns the time of the current command.
    pub(crate) fn instant(&self) -> Instant {
        let now = self.current.get().unwrap_or_else(|| (self.now)());
        self.current.set(Some(now));
        now
    }

    /// Returns the time of the current command since 1970.
    pub(crate) fn time_of_day(&self) -> Duration {
        let (anchor, at_anchor) = self.anchor.get();
        at_anchor + self.instant().saturating_duration_since(anchor)
    }

    /// Returns the time of the current command in milliseconds since 1970.
    pub(crate) fn milliseconds(&self) -> u64 {
        self.time_of_day().as_millis() as u64
    }

    /// Returns how long the server has been running.
    pub(crate) fn uptime(&self) -> Duration {
        self.instant().saturating_duration_since(self.started)
    }

    /// Reads the time of day again, since it may have been set.
    pub(crate) fn adjust(&self) {
        self.anchor.set(((self.now)(), (self.time_of_day)()));
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("current", &self.current).finish_non_exhaustive()
    }
}
