//! The counters of a loop.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::reactor::core::Core;
use crate::source::table::{Own, Source};
use crate::{Cx, Reason, Role, Tag, kernel};

/// The counters of a loop since its start, for operators and for tests of costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Open connections.
    pub connections: u64,
    /// Connections that wait to be accepted, at all TCP listeners. The kernel does not report this
    /// for Unix sockets.
    pub waiting: u64,
    /// Connections that were refused: attempts that the kernel dropped because a backlog was full
    /// (TCP, Linux 4.12 and later; each retry counts), connections that failed while they were
    /// accepted, and those for which the function that accepts them returned an error.
    pub refused: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Calls of the backend's wait.
    pub waits: u64,
    /// Waits that coalesced events instead of waiting for the first one.
    pub coalesced_waits: u64,
    /// Events reported by the backend.
    pub events: u64,
    /// Events dropped because their registration had ended.
    pub stale_events: u64,
    /// Calls that read from a descriptor, including those that would have blocked.
    pub reads: u64,
    /// Calls that wrote to a descriptor, including those that would have blocked.
    pub writes: u64,
    /// Reads, writes and accepts that would have blocked.
    pub would_blocks: u64,
    /// Calls that registered, changed or removed a descriptor (`epoll_ctl`).
    pub ctl_calls: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Connections that the acceptor of a [`Group`](crate::Group) has accepted and handed over, and that
    /// this loop has taken.
    pub taken: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent: taken by the kernel.
    pub datagrams_sent: u64,
    /// Datagrams received and dropped because they were too large, or not exactly one message.
    pub datagrams_refused: u64,
    /// Datagrams that the network or the kernel has refused to deliver, as far as it says so.
    pub datagrams_undelivered: u64,
    /// Datagrams that were dropped before they were sent, because too many waited or they had no
    /// receiver.
    pub datagrams_unsent: u64,
    /// Datagrams that the kernel has dropped because a receive buffer was full. For a bound socket,
    /// the kernel is asked now (`SO_MEMINFO`); for a connected one, it has told with the last
    /// datagram (`SO_RXQ_OVFL`, `socket(7)`). Each loop that shares a socket counts its drops.
    pub datagrams_missed: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Calls of handlers because of readiness or a wake.
    pub runs: u64,
    /// Timers and deadlines that fired.
    pub timers: u64,
    /// Sources that the auditor found with unread data that no event announces.
    pub lost_edges: u64,
    /// Sources that the auditor found running repeatedly without touching their descriptor.
    pub idle_spins: u64,
    /// Closures run for other threads.
    pub remote_calls: u64,
    /// Sources registered.
    pub registered: u64,
    /// Connections reset because they ended before everything was sent, or failed while their peer
    /// was still there.
    pub cut_short: u64,
    /// Sources ended, by reason, in the order of [`Reason::NAMES`].
    pub closes: [u64; Reason::NAMES.len()],
    /// The duration of the last turn, from the end of its wait to the start of the next one. It is
    /// measured when a timer or an idle limit is armed, or the loop spins or coalesces events.
    /// The time of a host between two turns does not count.
    pub lag_last: Duration,
    /// The longest such duration.
    pub lag_max: Duration,
}

impl Counters {
    /// Returns the number of operations on descriptors, including those that would have blocked.
    pub(crate) fn operations(&self) -> u64 {
        self.reads + self.writes
    }

    /// Returns how many sources are registered, without the loop's own. Zero means that no source
    /// was left behind.
    pub fn live(&self) -> u64 {
        self.registered.saturating_sub(self.closes.iter().sum())
    }
}

impl fmt::Display for Counters {
    /// Writes one line of `name=value` pairs, for logs. Counters of the present come first.
    /// [`live`](Self::live) is left out, since sources other than connections rarely matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = [
            ("connections", self.connections),
            ("waiting", self.waiting),
            ("refused", self.refused),
            ("turns", self.turns),
            ("waits", self.waits),
            ("coalesced_waits", self.coalesced_waits),
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
            ("taken", self.taken),
            ("datagrams_received", self.datagrams_received),
            ("datagrams_sent", self.datagrams_sent),
            ("datagrams_refused", self.datagrams_refused),
            ("datagrams_undelivered", self.datagrams_undelivered),
            ("datagrams_unsent", self.datagrams_unsent),
            ("datagrams_missed", self.datagrams_missed),
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

impl Add for Counters {
    type Output = Self;

    /// Returns the counters of two loops together. Of the lags, it is the longer one.
    ///
    /// What loops share is counted by each of them: the connections that wait at a socket on which
    /// several loops listen, and the attempts that the kernel has dropped there.
    fn add(self, other: Self) -> Self {
        let mut closes = self.closes;
        closes.iter_mut().zip(other.closes).for_each(|(sum, count)| *sum += count);
        Self {
            connections: self.connections + other.connections,
            waiting: self.waiting + other.waiting,
            refused: self.refused + other.refused,
            turns: self.turns + other.turns,
            waits: self.waits + other.waits,
            coalesced_waits: self.coalesced_waits + other.coalesced_waits,
            events: self.events + other.events,
            stale_events: self.stale_events + other.stale_events,
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            would_blocks: self.would_blocks + other.would_blocks,
            ctl_calls: self.ctl_calls + other.ctl_calls,
            accepts: self.accepts + other.accepts,
            taken: self.taken + other.taken,
            datagrams_received: self.datagrams_received + other.datagrams_received,
            datagrams_sent: self.datagrams_sent + other.datagrams_sent,
            datagrams_refused: self.datagrams_refused + other.datagrams_refused,
            datagrams_undelivered: self.datagrams_undelivered + other.datagrams_undelivered,
            datagrams_unsent: self.datagrams_unsent + other.datagrams_unsent,
            datagrams_missed: self.datagrams_missed + other.datagrams_missed,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
            runs: self.runs + other.runs,
            timers: self.timers + other.timers,
            lost_edges: self.lost_edges + other.lost_edges,
            idle_spins: self.idle_spins + other.idle_spins,
            remote_calls: self.remote_calls + other.remote_calls,
            registered: self.registered + other.registered,
            cut_short: self.cut_short + other.cut_short,
            closes,
            lag_last: self.lag_last.max(other.lag_last),
            lag_max: self.lag_max.max(other.lag_max),
        }
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), Add::add)
    }
}

impl<A> Core<A> {
    /// Updates the counters for a source that was removed from the table.
    pub(crate) fn strike(&mut self, tag: Tag, source: &Source) {
        match source.role {
            Role::Connection => {
                self.connections -= 1;
                self.publish();
            }
            Role::Listener => {
                self.listeners.retain(|listener| *listener != tag);
                self.keep_dropped(dropped(&source.own));
            }
            Role::Other => {}
        }
    }

    /// Adds what the kernel has dropped at a listener that is one no more.
    fn keep_dropped(&mut self, dropped: Dropped) {
        self.counters.refused += dropped.connections;
        self.counters.datagrams_missed += dropped.datagrams;
    }

    /// Counts a listener as a connection from now on.
    pub(crate) fn become_connection(&mut self, tag: Tag) {
        let Some(source) = self.sources.get_mut(tag).filter(|it| it.role == Role::Listener) else {
            return;
        };
        source.role = Role::Connection;
        self.listeners.retain(|listener| *listener != tag);
        if let Some(dropped) = self.own(tag).map(dropped) {
            self.keep_dropped(dropped);
        }
        self.connections += 1;
        self.publish();
    }

    /// Tells the acceptor of the group how many connections there are.
    #[inline]
    pub(crate) fn publish(&self) {
        if let Some(seat) = &self.seat {
            seat.set_open(self.connections);
        }
    }

    /// Returns the counters, with the current numbers of the loop and the kernel.
    pub(crate) fn counters(&self) -> Counters {
        let listeners = || self.listeners.iter().filter_map(|tag| self.own(*tag));
        let sum = |part: fn(Dropped) -> u64| listeners().map(dropped).map(part).sum::<u64>();
        let backlog = |own: &Own| kernel::backlog(own.fd.as_ref()?.as_fd());
        Counters {
            connections: self.connections as u64,
            waiting: listeners().filter_map(backlog).map(u64::from).sum(),
            refused: self.counters.refused + sum(|dropped| dropped.connections),
            datagrams_missed: self.counters.datagrams_missed + sum(|dropped| dropped.datagrams),
            ctl_calls: self.backend.ctl_calls(),
            ..self.counters
        }
    }
}

/// What the kernel has dropped at a listener: attempts to connect, or datagrams.
struct Dropped {
    connections: u64,
    datagrams: u64,
}

fn dropped(own: &Own) -> Dropped {
    let Some(fd) = &own.fd else { return Dropped { connections: 0, datagrams: 0 } };
    match u64::from(kernel::turned_away(fd.as_fd())) {
        0 => Dropped { connections: 0, datagrams: 0 },
        count if kernel::sends_messages(fd.as_fd()) => Dropped { connections: 0, datagrams: count },
        count => Dropped { connections: count, datagrams: 0 },
    }
}

impl<A, P> Cx<'_, A, P> {
    /// Returns the counters of the loop.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_loops_add_up() {
        let one = Counters { accepts: 3, lag_max: Duration::from_millis(4), ..Counters::default() };
        let mut two = Counters { accepts: 4, lag_max: Duration::from_millis(1), ..one };
        two.closes[1] = 5;
        let both: Counters = [one, two, Counters::default()].into_iter().sum();
        assert_eq!((both.accepts, both.closes[1]), (7, 5));
        assert_eq!(both.lag_max, Duration::from_millis(4));
    }
}
