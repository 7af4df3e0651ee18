//! Pauses between attempts that fail, and limits on how often a message is logged.

use std::fmt;
use std::time::{Duration, Instant};

/// The first pause. Each pause is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The shortest time between two log lines about the same failure.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The pauses between attempts at an operation that fails.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    /// Limits how often the failure is logged.
    pub(crate) log: Folding,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSE_MIN, log: Folding::default() }
    }
}

impl Backoff {
    /// Returns how long to wait before the next attempt.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }

    /// Records that an attempt succeeded: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.pause = PAUSE_MIN;
    }
}

/// Limits how often a message is logged, to once in 5 s, and counts how often it was left out.
///
/// ```
/// use reactor::Folding;
/// use std::time::{Duration, Instant};
///
/// let (mut folding, now) = (Folding::default(), Instant::now());
/// assert!(folding.admit(now).is_some() && folding.admit(now).is_none());
/// let folded = folding.admit(now + Duration::from_secs(5)).expect("it is time again");
/// assert_eq!(folded.to_string(), " (and 1 times more since this was last said)");
/// ```
#[derive(Debug, Default)]
pub struct Folding {
    said: Option<Instant>,
    folded: u64,
}

/// How often a message was left out since it was logged last. It is printed at the end of a log
/// line.
#[derive(Debug, PartialEq, Eq)]
pub struct Folded(u64);

impl Folding {
    /// Returns whether the message may be logged at `now`, and how often it was left out before.
    pub fn admit(&mut self, now: Instant) -> Option<Folded> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < LOG_INTERVAL) {
            self.folded += 1;
            return None;
        }
        self.said = Some(now);
        Some(Folded(std::mem::take(&mut self.folded)))
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} times more since this was last said)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next_pause(), PAUSE_MIN);
    }

    #[test]
    fn the_same_trouble_is_said_once_in_a_while_and_how_often_it_was_not() {
        let (mut folding, start) = (Folding::default(), Instant::now());
        let said: Vec<_> = (0..=50)
            .filter_map(|tenth| Some((tenth, folding.admit(start + PAUSE_MAX / 10 * tenth)?)))
            .collect();
        assert_eq!(said, [(0, Folded(0)), (50, Folded(49))]);
        assert_eq!(said[0].1.to_string(), "");
        assert_eq!(said[1].1.to_string(), " (and 49 times more since this was last said)");
    }
}
