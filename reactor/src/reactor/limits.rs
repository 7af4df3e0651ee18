//! The limits of one loop.

use std::fmt;
use std::io;
use std::time::Duration;

/// What one loop does in a turn, and what it holds, at most.
///
/// Every limit is finite and none of them means "unlimited" when it is zero: a zero that would allow
/// nothing is refused.
/// The limits of a single conversation are its driver's: see `protocol::Limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopLimits {
    /// Connections held at once; further ones wait in the backlog of their listener. Those that
    /// this side makes count, and are never refused. Default 65,536: more than most processes may open, few enough to be counted on.
    pub connections_max: usize,
    /// Connections one listener accepts in a turn before others get theirs. Default 64: about a
    /// millisecond.
    pub accepts_per_turn: usize,
    /// Handlers called in each phase of a turn: those that are ready, those whose timers are due, and
    /// those that are told that the loop winds down. The others come in the next turns, in order, with
    /// a look at the kernel in between. Default 1,024: a few milliseconds. A loop that is told to stop
    /// runs all that is ready before it does.
    pub calls_per_turn: usize,
    /// Sources whose end is carried out in a turn: the descriptor closed, the handler told. The others
    /// are called no more meanwhile. Default 128: closing a socket takes the kernel 10 to 20 us, so
    /// that a crowd which leaves at once holds the others up for two or three milliseconds at a time.
    /// A loop that stops ends all that have ended before it does.
    pub ends_per_turn: usize,
    /// Closures of other threads that are run in a turn. Default 1,024.
    pub remote_calls_per_turn: usize,
    /// Closures of other threads that may be waiting; further ones are refused. Default
    /// 1,048,576: a poster that far ahead will not be caught up with.
    pub remote_calls_max: usize,
    /// How long a connection may be silent, by default 60 s; `None` never closes for silence.
    /// Listeners, timers and signals are exempt.
    pub idle_timeout: Option<Duration>,
    /// For how long the loop looks for events over and over before it sleeps. Default zero: it
    /// sleeps at once. Waking a processor that sleeps takes microseconds, of whoever wakes it too,
    /// and more in a virtual machine; where the next event is that near, as it is to a busy server,
    /// it is cheaper to be still awake. An idle loop pays once for each time that it wakes.
    pub spin_max: Duration,
    /// For how long the loop, where it would sleep until the first event, sleeps whatever happens,
    /// and looks then what has come together (coalescing, as network cards do it with interrupts).
    /// Default zero: never; 10 ms at most. Whoever sends something to a loop that waits has to wake
    /// its processor; that costs more than the sending does in a virtual machine, and nobody pays
    /// it while events gather.
    ///
    /// The price is that nothing is heard meanwhile: no message, signal or call of another thread.
    /// It takes as long as `nanosleep(2)` does, longer by the timer slack of the thread (50 us unless
    /// somebody has set it); a timer that is due sooner than `coalesce_for` prevents it, and others
    /// may be late by the slack. So the loop goes on with it only while two events or more come of
    /// it, no more than half of the sources that are busy are among them, and they keep the loop
    /// busy for half as long as it slept at least. Else it tries again after 1, 3, 7 and up to 1,023
    /// more waits. A loop that found nothing the last time sleeps as usual.
    pub coalesce_for: Duration,
}

/// For how long a loop may be deaf to what comes.
const COALESCE_MAX: Duration = Duration::from_millis(10);

impl LoopLimits {
    /// The defaults, each explained at its field.
    pub const DEFAULT: Self = Self {
        connections_max: 65_536,
        accepts_per_turn: 64,
        calls_per_turn: 1024,
        ends_per_turn: 128,
        remote_calls_per_turn: 1024,
        remote_calls_max: 1 << 20,
        idle_timeout: Some(Duration::from_secs(60)),
        spin_max: Duration::ZERO,
        coalesce_for: Duration::ZERO,
    };

    /// How many sources room is kept for from the beginning: as many as there may be connections,
    /// within reason.
    pub(crate) fn sources_expected(&self) -> usize {
        self.connections_max.min(Self::DEFAULT.connections_max)
    }

    /// Whether these limits can be worked with.
    ///
    /// # Errors
    /// When one of them is zero that must not be, or `coalesce_for` is longer than 10 ms.
    pub fn check(&self) -> io::Result<()> {
        let idle = self.idle_timeout.map_or(1, |idle| usize::from(!idle.is_zero()));
        let sizes = [
            ("connections_max", self.connections_max),
            ("accepts_per_turn", self.accepts_per_turn),
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
