//! Cron expressions in a time zone whose offset from UTC changes.

use super::cron::Cron;

/// Changes of an offset are further apart than this many seconds, or one of them may be missed. A week
/// is less than any zone has had.
const APART: i64 = 7 * 86_400;
/// How long after the clock was put back a time of the day may be a repeated one, in seconds.
const REPEATED: i64 = 86_400;
/// The most matches that do not count, and changes of the offset, on the way to the next one. There are
/// two changes in most years, and a change repeats an hour of minutes.
const STEPS_MAX: usize = 20_000;

/// Returns the first time after `after` at which `cron` matches, where `offset` returns how far the
/// local time is ahead of UTC. All are seconds, and the times are UTC.
///
/// A time of the day that the clock leaves out when it is put forward counts as the moment at which
/// that happens. One that is repeated when the clock is put back matches the first time alone. An
/// expression that matches in every hour is about minutes, and neither holds for it.
pub(super) fn next(cron: &Cron, after: i64, offset: &impl Fn(i64) -> i64) -> Option<i64> {
    let mut from = after;
    let mut ahead = offset(from);
    let mut passed = from.checked_add(ahead)?;
    for _ in 0..STEPS_MAX {
        let local = cron.next(passed)?;
        let found = local - ahead;
        let Some(change) = first_change(from, found, offset) else {
            if cron.is_hourly() || !is_repeated(local, found, offset) {
                return Some(found);
            }
            (from, passed) = (found, local);
            continue;
        };
        let later = offset(change);
        if local < change + later && !cron.is_hourly() {
            // The clock leaves this time out.
            return Some(change);
        }
        // The search goes on at the change, which may match itself.
        (from, ahead, passed) = (change, later, change + later - 1);
    }
    None
}

/// Returns when the offset first differs from that at `from`, until `to`.
fn first_change(from: i64, to: i64, offset: &impl Fn(i64) -> i64) -> Option<i64> {
    let before = offset(from);
    let mut same = from;
    while same < to {
        let mut other = to.min(same + APART);
        if offset(other) == before {
            same = other;
            continue;
        }
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            if offset(middle) == before {
                same = middle;
            } else {
                other = middle;
            }
        }
        return Some(other);
    }
    None
}

/// Returns whether a local time, which is shown at `at`, was shown before.
fn is_repeated(local: i64, at: i64, offset: &impl Fn(i64) -> i64) -> bool {
    let ahead = offset(at - REPEATED);
    let earlier = local - ahead;
    earlier < at && offset(earlier) == ahead
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    /// 2026-03-29 01:00 UTC, when the clocks of Berlin go from 2:00 to 3:00.
    const SPRING: i64 = 1_774_746_000;
    /// 2026-10-25 01:00 UTC, when they go from 3:00 to 2:00.
    const AUTUMN: i64 = 1_792_890_000;

    /// The offset of Berlin in 2026.
    fn berlin(at: i64) -> i64 {
        if (SPRING..AUTUMN).contains(&at) { 2 * HOUR } else { HOUR }
    }

    /// Returns the next matches, in minutes since `start`.
    fn matches(text: &str, start: i64, count: usize) -> Vec<i64> {
        let cron = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut after = start;
        let next = |_| {
            after = next(&cron, after, &berlin).expect("it matches again");
            (after - start) / 60
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn a_time_that_the_clock_leaves_out_comes_when_it_is_put_forward() {
        let start = SPRING - HOUR; // 1:00 local
        assert_eq!(matches("30 2 * * *", start, 2), [60, 24 * 60 + 30]);
        // Several of them come once.
        assert_eq!(matches("*/20 2,4 * * *", start, 2), [60, 120]);
        assert_eq!(matches("0 2,3 * * *", start, 2), [60, 60 + 23 * 60]);
        // What runs in every hour is not about the time of the day.
        assert_eq!(matches("30 * * * *", start, 3), [30, 90, 150]);
        assert_eq!(matches("*/30 * * * *", start, 4), [30, 60, 90, 120]);
    }

    #[test]
    fn a_time_that_is_repeated_comes_once_unless_every_hour_matches() {
        let start = AUTUMN - HOUR; // 2:00 local, for the first time
        assert_eq!(matches("30 2 * * *", start, 2), [30, 30 + 25 * 60]);
        assert_eq!(matches("59 2 * * *", start + 59 * 60, 1), [25 * 60]);
        assert_eq!(matches("30 2 * * *", start + HOUR, 1), [30 + 24 * 60]);
        assert_eq!(matches("0 3 * * *", start, 1), [120]);
        assert_eq!(matches("30 * * * *", start, 4), [30, 90, 150, 210]);
        assert_eq!(matches("*/20 2-3 * * *", start, 5), [20, 40, 120, 140, 160]);
    }

    #[test]
    fn changes_far_away_are_found_and_passed() {
        // From winter over both changes into the next winter: 2:30 of the last day of the year.
        let winter = SPRING - 60 * DAY;
        let cron = "30 2 31 dec *".parse().expect("it is valid");
        let found = next(&cron, winter, &berlin).expect("it matches");
        assert_eq!((found + HOUR).rem_euclid(DAY), 2 * HOUR + 30 * 60);
        assert_eq!(matches("30 2 1 jul *", winter, 1).len(), 1);
    }

    /// Every minute is asked, without the rules of changes: what matches in every hour.
    #[test]
    fn what_matches_in_every_hour_matches_each_minute_that_the_clock_shows() {
        let mut random = testkit::Random::new(3);
        for _ in 0..200 {
            let minute = random.below(60);
            let cron = format!("{minute} * * * *").parse().expect("it is valid");
            let zone = random.below(100) as i64 * 900 - 50 * 900;
            let change = SPRING + random.below(5 * 86_400) as i64 / 60 * 60;
            let jump = (random.below(9) as i64 - 4) * 1800;
            let offset = |at: i64| if at < change { zone } else { zone + jump };
            let mut after = SPRING;
            for minutes in SPRING / 60 + 1..SPRING / 60 + 5 * 1440 {
                let at = minutes * 60;
                if (at + offset(at)).rem_euclid(HOUR) / 60 == minute as i64 {
                    let found = next(&cron, after, &offset);
                    assert_eq!(found, Some(at), "{zone} {jump}");
                    after = at;
                }
            }
        }
    }

    #[test]
    fn a_time_of_the_day_comes_once_a_day_whatever_the_clock_does() {
        let mut random = testkit::Random::new(4);
        for _ in 0..300 {
            let (hour, minute) = (random.below(24), random.below(60));
            let cron = format!("{minute} {hour} * * *").parse().expect("it is valid");
            let change = SPRING + random.below(86_400) as i64;
            let jump = (random.below(7) as i64 - 3) * 1800;
            let offset = |at: i64| if at < change { 0 } else { jump };
            let (mut after, mut found) = (SPRING - 3 * DAY - HOUR, Vec::new());
            while after < SPRING + 4 * DAY {
                after = next(&cron, after, &offset).expect("it matches");
                found.push(after);
            }
            for pair in found.windows(2) {
                let apart = pair[1] - pair[0];
                assert!(
                    (DAY - 2 * HOUR..=DAY + 2 * HOUR).contains(&apart),
                    "{hour}:{minute} {found:?}"
                );
            }
        }
    }
}
