//! Trying again later what fails for now, and saying so no more often than is of use.

use std::time::{Duration, Instant};

/// How long the first pause is; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// How long a pause is at most.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the same trouble is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The pauses between attempts at something that fails for now.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    logged: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSE_MIN, logged: None }
    }
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }

    /// An attempt has succeeded: the next pause is a short one.
    pub(crate) fn reset(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// Whether the trouble is to be logged at `now`.
    pub(crate) fn may_log(&mut self, now: Instant) -> bool {
        let may = self.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL);
        if may {
            self.logged = Some(now);
        }
        may
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
    fn the_same_trouble_is_logged_once_in_a_while() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        let logged = (0..100).filter(|tenth| backoff.may_log(start + PAUSE_MAX / 10 * *tenth));
        assert_eq!(logged.collect::<Vec<_>>(), [0, 50]);
    }
}
