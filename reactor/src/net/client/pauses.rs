//! The pauses between attempts to connect.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::time::Duration;

use protocol::Random;

use super::ClientOptions;
use crate::planted::{self, Planted};
use crate::{Location, Token, kernel};

/// Pauses that grow exponentially, with full jitter: each is drawn evenly from zero to its bound, and
/// the bound doubles. Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
/// 2015.
pub(super) struct Pauses {
    random: Random,
    min: Duration,
    max: Duration,
    bound: Duration,
}

impl Pauses {
    pub(super) fn new(options: &ClientOptions, target: Option<&Location>, me: Token) -> Self {
        let seed = options.seed.unwrap_or_else(|| seed_of(target, me));
        Self {
            random: Random::new(seed),
            min: options.pause_min,
            max: options.pause_max,
            bound: options.pause_min,
        }
    }

    /// Returns how long to wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        if planted::is(Planted::PauseMissing) {
            return Duration::ZERO;
        }
        let nanos = u64::try_from(self.bound.as_nanos()).unwrap_or(u64::MAX);
        let max = if planted::is(Planted::PauseUnbounded) { Duration::MAX } else { self.max };
        self.bound = self.bound.saturating_mul(2).min(max);
        Duration::from_nanos(self.random.below(nanos))
    }

    /// Records that a connection was of use: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.bound = self.min;
    }
}

/// Returns a seed of its own for each client, also among equal programs that start at the same time:
/// the keys of the hash come from the system (`getrandom(2)`). In a simulation, which has to be
/// repeated, they are fixed.
fn seed_of(target: Option<&Location>, me: Token) -> u64 {
    if kernel::is_simulated() {
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        return hasher.hash_one((kernel::time_of_day(), target, me));
    }
    RandomState::new().hash_one((target, me))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn pauses(seed: u64) -> Pauses {
        let options = ClientOptions { seed: Some(seed), ..ClientOptions::DEFAULT };
        let target: Location = "127.0.0.1:1".parse().expect("it is an address");
        Pauses::new(&options, Some(&target), Token::NONE)
    }

    #[test]
    fn pauses_are_below_bounds_that_double_and_are_repeated_by_the_seed() {
        let drawn: Vec<Vec<Duration>> = (0..200)
            .map(|seed| {
                let mut pauses = pauses(seed);
                (0..10).map(|_| pauses.next()).collect()
            })
            .collect();
        for (place, bound) in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]
            .map(Duration::from_millis)
            .into_iter()
            .enumerate()
        {
            let all: Vec<Duration> = drawn.iter().map(|pauses| pauses[place]).collect();
            let mean = all.iter().sum::<Duration>() / 200;
            assert!(all.iter().all(|pause| *pause < bound), "{place}");
            assert!((bound * 4 / 10..bound * 6 / 10).contains(&mean), "{place}: {mean:?}");
        }
        assert_eq!(
            drawn[7],
            (0..10)
                .map({
                    let mut it = pauses(7);
                    move |_| it.next()
                })
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_connection_that_was_of_use_makes_the_next_pause_short() {
        let mut pauses = pauses(1);
        (0..10).for_each(|_| _ = pauses.next());
        pauses.reset();
        assert!(pauses.next() < ClientOptions::DEFAULT.pause_min);
    }

    #[test]
    fn equal_clients_that_begin_at_once_pause_differently() {
        let pauses: HashSet<_> = (0..100)
            .map(|_| Pauses::new(&ClientOptions::DEFAULT, None, Token::NONE).next())
            .collect();
        assert!(pauses.len() > 90, "{pauses:?}");
    }
}
