//! The limits of one loop.

use std::fmt;
use std::io;
use std::time::Duration;

/// The limits of one loop: what it does in a turn, and what it holds.
///
/// Every limit is finite, and zero never means unlimited: a zero that would allow nothing is
/// refused. `protocol::Limits` has the limits of a single conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopLimits {
    /// The most open connections. Further ones wait in the backlog of their listener. Connections
    /// that this side makes count, and are never refused. Default 65,536: more than most processes
    /// may open.
    pub connections_max: usize,
    /// The most connections that a listener accepts in a turn. Default 64: about a millisecond.
    pub accepts_per_turn: usize,
    /// The most connections that are in the handshake of their layer, such as TLS, at a time.
    /// Listeners accept no others meanwhile, so those that are established go first (P9). Default
    /// 256: each of TLS may take half a millisecond of processor time.
    pub handshakes_max: usize,
    /// The most datagrams that a socket receives in a turn, and the most that it sends. Default 256:
    /// less than a millisecond. `protocol::Limits::read_budget` limits their bytes.
    pub datagrams_per_turn: usize,
    /// The most handlers that each phase of a turn calls: those that are ready, those whose timers
    /// are due, and those that are told that the loop winds down. The others follow in the next
    /// turns, in order; between turns, the kernel is asked for events. Default 1,024: a few
    /// milliseconds. A loop that is told to stop first runs everything that is ready.
    pub calls_per_turn: usize,
    /// The most sources whose end is carried out in a turn: the descriptor is closed and the
    /// handler told. The others wait, and are no longer called. Default 128: closing a socket takes
    /// the kernel 10 to 20 us, so a crowd that ends at once delays other sources by two or three
    /// milliseconds at a time. A loop that stops first carries out all ends.
    pub ends_per_turn: usize,
    /// The most closures of other threads that run in a turn. Default 1,024.
    pub remote_calls_per_turn: usize,
    /// The most closures of other threads that wait; further ones are refused. Default 1,048,576: a
    /// loop that is so far behind does not catch up.
    pub remote_calls_max: usize,
    /// How long a connection may be silent. Default 60 s; `None` closes no connection for silence.
    /// Other sources are exempt.
    pub idle_timeout: Option<Duration>,
    /// How long the loop polls for events before it sleeps. Default zero: it sleeps at once. Waking
    /// a processor that sleeps takes microseconds, also from the sender, and more in a virtual
    /// machine. On a busy server the next event often arrives sooner than that, so polling is
    /// cheaper. An idle loop pays this time once for each wake-up.
    ///
    /// The backend `uring` collects events instead, whatever this is.
    pub spin_max: Duration,
    /// How long the loop sleeps in order to coalesce events, where it would otherwise wait for
    /// the first event. Network cards coalesce interrupts in the same way. Default zero: never; 10
    /// ms at most. A sender to a waiting loop has to wake its processor, which in a virtual machine
    /// costs more than sending. While events coalesce, no sender pays that.
    ///
    /// The price is latency: during the sleep, the loop notices no message, signal or call of
    /// another thread. The sleep lasts as long as `nanosleep(2)` does, including the timer slack of
    /// the thread (50 us by default). A timer that is due sooner than `coalesce_for` prevents the
    /// sleep; other timers may be late by the slack. So the loop continues only while it pays: at
    /// least two events coalesce, they come from at most half of the busy sources, and they keep the
    /// loop busy for at least half as long as it slept. At least eight datagrams, and more than
    /// without the sleep by half, count like such events. Otherwise it tries again after 1, 3, 7 and
    /// up to 1,023 usual waits. A loop whose last wait found nothing sleeps as usual.
    ///
    /// The backend `uring` collects events instead, whatever this is.
    pub coalesce_for: Duration,
}

/// The longest time in which a loop may notice nothing.
const COALESCE_MAX: Duration = Duration::from_millis(10);

impl LoopLimits {
    /// The defaults, each explained at its field.
    pub const DEFAULT: Self = Self {
        connections_max: 65_536,
        accepts_per_turn: 64,
        handshakes_max: 256,
        datagrams_per_turn: 256,
        calls_per_turn: 1024,
        ends_per_turn: 128,
        remote_calls_per_turn: 1024,
        remote_calls_max: 1 << 20,
        idle_timeout: Some(Duration::from_secs(60)),
        spin_max: Duration::ZERO,
        coalesce_for: Duration::ZERO,
    };

    /// Returns for how many sources to reserve room: the limit of connections, within reason.
    pub(crate) fn sources_expected(&self) -> usize {
        self.connections_max.min(Self::DEFAULT.connections_max)
    }

    /// Checks that these limits are valid.
    ///
    /// # Errors
    /// When a limit is zero that must not be, or `coalesce_for` is longer than 10 ms.
    pub fn check(&self) -> io::Result<()> {
        let idle = self.idle_timeout.map_or(1, |idle| usize::from(!idle.is_zero()));
        let sizes = [
            ("connections_max", self.connections_max),
            ("accepts_per_turn", self.accepts_per_turn),
            ("handshakes_max", self.handshakes_max),
            ("datagrams_per_turn", self.datagrams_per_turn),
            ("calls_per_turn", self.calls_per_turn),
            ("ends_per_turn", self.ends_per_turn),
            ("remote_calls_per_turn", self.remote_calls_per_turn),
            ("remote_calls_max", self.remote_calls_max),
            ("idle_timeout", idle),
        ];
        let text = match sizes.into_iter().find(|(_, size)| *size == 0) {
            Some((field, _)) => {
                format!("limit {field} is 0, which would allow nothing; give it a positive value")
            }
            None if self.coalesce_for > COALESCE_MAX => format!(
                "limit coalesce_for is {:?}, and nothing is heard meanwhile; give it \
                 {COALESCE_MAX:?} at most",
                self.coalesce_for
            ),
            None => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

impl Default for LoopLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for LoopLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} connections, ", self.connections_max)?;
        match self.idle_timeout {
            Some(idle) => write!(f, "closed after {idle:?} of silence"),
            None => f.write_str("never closed for silence"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_refused_by_name() {
        assert!(LoopLimits::DEFAULT.check().is_ok());
        let limits = LoopLimits { accepts_per_turn: 0, ..LoopLimits::DEFAULT };
        let error = limits.check().expect_err("zero must be refused");
        assert!(error.to_string().contains("accepts_per_turn"), "{error}");
        let limits = LoopLimits { idle_timeout: Some(Duration::ZERO), ..LoopLimits::DEFAULT };
        assert!(limits.check().is_err());
    }

    #[test]
    fn a_loop_may_not_be_deaf_for_long() {
        let limits = LoopLimits { coalesce_for: Duration::from_secs(1), ..LoopLimits::DEFAULT };
        let error = limits.check().expect_err("a second must be refused");
        assert!(error.to_string().contains("coalesce_for is 1s"), "{error}");
        let limits = LoopLimits { coalesce_for: COALESCE_MAX, ..LoopLimits::DEFAULT };
        assert!(limits.check().is_ok());
    }
}
