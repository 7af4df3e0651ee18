//! When something is due, by the clock of the wall.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cron::{Cron, CronError};
use super::zone;
use crate::kernel;

/// When something is due, by the clock of the wall ([`Cx::on_schedule`](crate::Cx::on_schedule)).
///
/// ```
/// use reactor::Schedule;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let noon = UNIX_EPOCH + Duration::from_secs(12 * 3600);
/// // Every quarter of an hour, a minute after.
/// let often = Schedule::every(Duration::from_secs(900), Duration::from_secs(60));
/// assert_eq!(often.next_after(noon), Some(noon + Duration::from_secs(60)));
/// // At half past four in the morning on weekdays, in UTC. 1970 began on a Thursday.
/// let nightly: Schedule = "30 4 * * mon-fri".parse()?;
/// assert_eq!(nightly.next_after(noon), Some(noon + Duration::from_secs(59_400)));
/// # Ok::<(), reactor::CronError>(())
/// ```
///
/// A cron expression has five fields: minute, hour, day of the month, month, and day of the week. A
/// field is `*`, a value, a range (`1-5`), a range with a step (`0-30/10`, `*/15`), or a list of these.
/// Months and days of the week have names of three letters, and Sunday is 0 or 7. If both fields of days
/// are given, which means that neither begins with `*`, either is enough (`crontab(5)`). `@hourly`,
/// `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually` stand for expressions. An
/// expression has at most 256 bytes, and an error names the field and the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Every { interval: Duration, offset: Duration },
    Cron { cron: Cron, zone: Zone },
}

/// The time zone of a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Utc,
    Local,
}

impl Schedule {
    /// Returns the schedule of every `interval`, aligned to the clock: at `offset` after midnight of
    /// 1970-01-01 UTC, and at all times that are whole intervals apart from that. An interval of zero is
    /// refused when it is used.
    pub const fn every(interval: Duration, offset: Duration) -> Self {
        Self { kind: Kind::Every { interval, offset } }
    }

    /// Returns the schedule of a cron expression, in UTC.
    ///
    /// # Errors
    /// When the expression is not valid.
    pub fn cron(expression: &str) -> Result<Self, CronError> {
        Ok(Self { kind: Kind::Cron { cron: expression.parse()?, zone: Zone::Utc } })
    }

    /// Reads a cron expression in the time zone of the process (`TZ`, `/etc/localtime`) instead of UTC.
    /// A time of the day that the clock leaves out, when it is put forward, is due when that happens.
    /// One that is repeated, when the clock is put back, is due the first time alone. An expression that
    /// matches in every hour (`*/5 * * * *`) is due at all of its minutes. The host of a
    /// [`Sim`](crate::sim::Sim) is in UTC.
    #[must_use]
    pub const fn local(mut self) -> Self {
        if let Kind::Cron { zone, .. } = &mut self.kind {
            *zone = Zone::Local;
        }
        self
    }

    /// Returns the first time after `after` at which it is due; `None` if there is none in the next
    /// decades.
    pub fn next_after(&self, after: SystemTime) -> Option<SystemTime> {
        let next = self.next(after.duration_since(UNIX_EPOCH).unwrap_or_default())?;
        UNIX_EPOCH.checked_add(next)
    }

    /// Returns whether it is valid: an interval of zero is not.
    pub(crate) fn is_valid(&self) -> bool {
        !matches!(self.kind, Kind::Every { interval: Duration::ZERO, .. })
    }

    /// Returns the first time after `after`, both since 1970.
    pub(crate) fn next(&self, after: Duration) -> Option<Duration> {
        match &self.kind {
            Kind::Every { interval, offset } => {
                let interval = i128::try_from(interval.as_nanos()).ok().filter(|it| *it > 0)?;
                let offset = i128::try_from(offset.as_nanos()).ok()? % interval;
                let after = i128::try_from(after.as_nanos()).ok()?;
                let periods = (after - offset).div_euclid(interval) + 1;
                from_nanos(u128::try_from(periods.checked_mul(interval)? + offset).ok()?)
            }
            Kind::Cron { cron, zone } => {
                let after = i64::try_from(after.as_secs()).ok()?;
                let next = match zone {
                    Zone::Utc => cron.next(after),
                    Zone::Local => zone::next(cron, after, &kernel::utc_offset),
                };
                next.and_then(|it| u64::try_from(it).ok()).map(Duration::from_secs)
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = CronError;

    /// Parses a cron expression ([`Schedule::cron`]).
    fn from_str(expression: &str) -> Result<Self, CronError> {
        Self::cron(expression)
    }
}

fn from_nanos(nanos: u128) -> Option<Duration> {
    const SECOND: u128 = 1_000_000_000;
    Some(Duration::new(u64::try_from(nanos / SECOND).ok()?, (nanos % SECOND) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_aligned_to_the_clock() {
        let at = Duration::from_millis;
        let every = |interval, offset| Schedule::every(at(interval), at(offset));
        for (schedule, after, expected) in [
            (every(1000, 0), 0, 1000),
            (every(1000, 0), 999, 1000),
            (every(1000, 0), 1000, 2000),
            (every(1000, 250), 0, 250),
            (every(1000, 250), 250, 1250),
            // An offset counts within the interval.
            (every(1000, 5250), 0, 250),
            (every(7, 3), 1_000_000, 1_000_003 - 1_000_000 % 7),
        ] {
            let next = schedule.next(at(after)).expect("there is one");
            assert!(next > at(after) && next <= at(after) + at(1000));
            if after < 1_000_000 {
                assert_eq!(next, at(expected), "{schedule:?}");
            }
        }
        assert!(!Schedule::every(Duration::ZERO, at(1)).is_valid());
        assert_eq!(Schedule::every(Duration::ZERO, at(1)).next(at(1)), None);
        assert_eq!(Schedule::every(Duration::MAX, Duration::ZERO).next(at(1)), Some(Duration::MAX));
    }
}
