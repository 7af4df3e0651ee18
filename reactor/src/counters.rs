//! What a loop has done since it started.

use std::fmt;
use std::time::Duration;

use crate::Reason;

/// What a loop has done since it started: the costs that the tests hold it to, and what an
/// operator wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Calls of the backend's wait.
    pub waits: u64,
    /// Times that events were let gather instead of waiting for the first of them.
    pub gathers: u64,
    /// Events reported by the backend.
    pub events: u64,
    /// Events dropped because their registration had ended.
    pub stale_events: u64,
    /// Calls that read from a descriptor, those that would have blocked included.
    pub reads: u64,
    /// Calls that wrote to a descriptor, those that would have blocked included.
    pub writes: u64,
    /// Reads, writes and accepts that would have blocked.
    pub would_blocks: u64,
    /// Calls that registered, changed or removed a descriptor (`epoll_ctl`).
    pub ctl_calls: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Calls of handlers because of readiness or a wake.
    pub runs: u64,
    /// Timers and deadlines that fired.
    pub timers: u64,
    /// Sources that the auditor found with unread data which no event announces.
    pub lost_edges: u64,
    /// Sources that the auditor found running over and over without touching their descriptor.
    pub idle_spins: u64,
    /// Closures run for other threads.
    pub remote_calls: u64,
    /// Sources registered.
    pub registered: u64,
    /// Connections reset because they ended before everything was sent.
    pub cut_short: u64,
    /// Sources ended, by reason, in the order of [`Reason::NAMES`].
    pub closes: [u64; Reason::NAMES.len()],
    /// How long the last turn kept others waiting, from the end of its wait to the beginning of the
    /// next; measured when a timer or an idle limit is armed, or the loop spins or lets events
    /// gather. The time of a host between two turns does not count.
    pub lag_last: Duration,
    /// The longest such time.
    pub lag_max: Duration,
}

impl Counters {
    /// Operations on descriptors, those that would have blocked included.
    pub(crate) fn operations(&self) -> u64 {
        self.reads + self.writes
    }

    /// Sources that are registered now, but for the loop's own: zero means that nothing was left
    /// behind.
    pub fn live(&self) -> u64 {
        self.registered.saturating_sub(self.closes.iter().sum())
    }
}

impl fmt::Display for Counters {
    /// One line of `name=value` pairs, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = [
            ("live", self.live()),
            ("turns", self.turns),
            ("waits", self.waits),
            ("gathers", self.gathers),
            ("events", self.events),
            ("stale_events", self.stale_events),
            ("runs", self.runs),
            ("reads", self.reads),
            ("writes", self.writes),
            ("would_blocks", self.would_blocks),
            ("bytes_read", self.bytes_read),
            ("bytes_written", self.bytes_written),
            ("ctl_calls", self.ctl_calls),
            ("accepts", self.accepts),
            ("timers", self.timers),
            ("lost_edges", self.lost_edges),
            ("idle_spins", self.idle_spins),
            ("remote_calls", self.remote_calls),
            ("registered", self.registered),
            ("cut_short", self.cut_short),
        ];
        for (name, value) in plain {
            write!(f, "{name}={value} ")?;
        }
        for (name, count) in Reason::NAMES.iter().zip(self.closes) {
            write!(f, "closed_{}={count} ", name.replace(' ', "_"))?;
        }
        write!(f, "lag_last={:?} lag_max={:?}", self.lag_last, self.lag_max)
    }
}
