//! The clocks of a host.

/// The time of day at which every run starts: 2026-01-01 00:00:00 UTC.
const START: i64 = 1_767_225_600_000_000_000;
/// A drift is counted in these parts.
const MILLION: i64 = 1_000_000;

/// How the clocks of a host differ from the time of the world, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How far both clocks are ahead.
    ahead: i64,
    /// How far the time of day is ahead besides.
    wall: i64,
    /// How many parts in a million both run too fast, since a time of the world.
    drift: i64,
    since: u64,
}

impl Clock {
    /// Returns what the monotonic clock shows at a time of the world.
    pub(super) fn at(&self, now: u64) -> u64 {
        let drifted = (now.saturating_sub(self.since) as i64) / MILLION * self.drift
            + (now.saturating_sub(self.since) as i64) % MILLION * self.drift / MILLION;
        (now as i64 + self.ahead + drifted).max(0) as u64
    }

    /// Returns the time of day at a time of the world, in nanoseconds since 1970.
    pub(super) fn time_of_day(&self, now: u64) -> u64 {
        (self.at(now) as i64 + START + self.wall).max(0) as u64
    }

    /// Returns the time of the world after which this clock has advanced by `time` from `now` on.
    pub(super) fn after(&self, now: u64, time: u64) -> u64 {
        /// The end of time, so that sums stay in range.
        const END: u64 = 1 << 61;
        let rate = (MILLION + self.drift) as u128;
        let length = (u128::from(time.min(END)) * MILLION as u128).div_ceil(rate);
        let mut end = now.saturating_add(length as u64).min(END);
        // Rounding must not let a wait end early.
        while end < END && self.at(end) < self.at(now).saturating_add(time) {
            end += 1;
        }
        end
    }

    /// Lets both clocks jump forward.
    pub(super) fn jump(&mut self, time: u64) {
        self.ahead += time as i64;
    }

    /// Makes the time of day jump.
    pub(super) fn jump_wall(&mut self, time: i64) {
        self.wall += time;
    }

    /// Lets both clocks run too fast from `now` on, by this many parts in a million.
    pub(super) fn set_drift(&mut self, now: u64, drift: i64) {
        self.ahead = self.at(now) as i64 - now as i64;
        (self.drift, self.since) = (drift, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_drifts_and_never_runs_back() {
        let mut clock = Clock::default();
        let second = 1_000_000_000;
        assert_eq!(clock.at(5 * second), 5 * second);
        clock.set_drift(5 * second, -1000);
        assert_eq!(clock.at(5 * second), 5 * second);
        assert_eq!(clock.at(15 * second), 15 * second - 10_000_000);
        clock.set_drift(15 * second, 500);
        assert_eq!(clock.at(15 * second), 15 * second - 10_000_000);
        assert_eq!(clock.at(25 * second), 25 * second - 5_000_000);
        clock.jump(3);
        assert_eq!(clock.at(25 * second), 25 * second - 5_000_000 + 3);
    }

    #[test]
    fn a_wait_lasts_its_time_on_every_clock() {
        for drift in [-1000, -1, 0, 1, 1000] {
            let mut clock = Clock::default();
            clock.set_drift(7, drift);
            for time in [0, 1, 999, 1_000_001, 10_000_000_000] {
                let end = clock.after(1_000, time);
                assert!(clock.at(end) >= clock.at(1_000) + time, "{drift} {time}");
                assert!(end <= 1_000 + time + time / 900 + 2, "{drift} {time}: {end}");
            }
        }
    }

    #[test]
    fn the_time_of_day_jumps_alone() {
        let mut clock = Clock::default();
        clock.jump_wall(-5);
        assert_eq!((clock.at(7), clock.time_of_day(7)), (7, START as u64 + 2));
    }
}
