//! Counts the calls of each command and measures their time.

use std::time::Duration;

use super::command::Command;
use super::table::commands;

/// The first calls of a command are all timed, so that rare commands are measured exactly.
const TIMED_FIRST: u64 = 16;
/// After those, one of this many calls is timed: reading the clock twice takes 85 ns (measured).
const TIMED_EACH: u64 = 64;

/// The counts of one command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counter {
    pub(crate) calls: u64,
    /// Requests that were refused before they ran.
    pub(crate) rejected: u64,
    /// Calls that ended with an error.
    pub(crate) failed: u64,
    /// Calls that were timed, and their time together.
    pub(crate) timed: u64,
    pub(crate) time: Duration,
}

impl Counter {
    /// Returns whether the next call is to be timed.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.calls < TIMED_FIRST || self.calls.is_multiple_of(TIMED_EACH)
    }

    /// Adds the time of a call.
    pub(crate) fn add_time(&mut self, time: Duration) {
        self.timed += 1;
        self.time += time;
    }

    /// Returns the mean time of the calls that were timed, in microseconds.
    pub(crate) fn microseconds_per_call(&self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.timed.max(1) as f64
    }
}

/// A counter for each command.
#[derive(Debug)]
pub(crate) struct Counters(Box<[Counter]>);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(vec![Counter::default(); commands().count()].into())
    }

    #[inline]
    pub(crate) fn of(&mut self, command: &Command) -> &mut Counter {
        &mut self.0[command.number]
    }

    /// Returns the number of calls of all commands.
    pub(crate) fn calls(&self) -> u64 {
        self.0.iter().map(|counter| counter.calls).sum()
    }

    /// Returns the commands that have been called or refused, with their counters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Command, &Counter)> {
        let all = commands().zip(&self.0);
        all.filter(|(_, it)| it.calls + it.rejected + it.failed > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_own_number() {
        for (place, command) in commands().enumerate() {
            assert_eq!(command.number, place, "{}", command.name);
        }
    }

    #[test]
    fn frequent_commands_are_timed_rarely() {
        let mut counter = Counter::default();
        for _ in 0..64_000 {
            if counter.is_timed() {
                counter.add_time(Duration::from_micros(3));
            }
            counter.calls += 1;
        }
        assert_eq!(counter.timed, TIMED_FIRST + 999);
        assert!((counter.microseconds_per_call() - 3.0).abs() < 1e-9);
    }
}
