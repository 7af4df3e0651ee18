//! Cron expressions (`crontab(5)`): which minutes match.

use std::fmt;
use std::str::FromStr;

use super::civil::{DAY, Date, weekday};
use super::parse;

/// A cron expression: minute, hour, day of the month, month and day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    /// One bit for each value of a field.
    pub(super) minutes: u64,
    pub(super) hours: u64,
    pub(super) days: u64,
    pub(super) months: u64,
    pub(super) weekdays: u64,
    /// Whether either of both fields of days is enough.
    pub(super) either_day: bool,
}

/// The five fields of a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronField {
    /// From 0 to 59.
    Minute,
    /// From 0 to 23.
    Hour,
    /// From 1 to 31.
    DayOfMonth,
    /// From 1 to 12, or a name of three letters.
    Month,
    /// From 0 to 7, of which 0 and 7 are Sunday, or a name of three letters.
    DayOfWeek,
}

impl CronField {
    /// All fields, in their order.
    pub const ALL: [Self; 5] =
        [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    /// Returns the least and the greatest value.
    pub(super) fn range(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of the month",
            Self::Month => "month",
            Self::DayOfWeek => "day of the week",
        })
    }
}

/// An error in a cron expression. Its text names the field, the position, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronError {
    pub(super) field: Option<CronField>,
    pub(super) position: usize,
    pub(super) problem: String,
}

impl CronError {
    /// Returns the field, or `None` if the expression as a whole is wrong.
    pub fn field(&self) -> Option<CronField> {
        self.field
    }

    /// Returns where the error is: the number of bytes before it.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People count from one.
        let at = self.position + 1;
        match self.field {
            Some(field) => write!(f, "{field}, at character {at}: {}", self.problem),
            None => write!(f, "cron expression, at character {at}: {}", self.problem),
        }
    }
}

impl std::error::Error for CronError {}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        parse::parse(text)
    }
}

impl Cron {
    /// Returns whether it matches in every hour of the days on which it matches. It is then about
    /// minutes, and not about times of the day.
    pub(super) fn is_hourly(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// Returns whether a day matches.
    fn has_day(&self, day: i64, date: Date) -> bool {
        let by_month = self.days >> date.day & 1 == 1;
        let by_week = self.weekdays >> weekday(day) & 1 == 1;
        if self.either_day { by_month || by_week } else { by_month && by_week }
    }

    /// Returns the first time after `after` that matches. Both are seconds since 1970 of the same
    /// local time, without regard to changes of its offset. `None` if there is none in 41 years,
    /// after which every date has had every day of the week.
    pub(super) fn next(&self, after: i64) -> Option<i64> {
        const DAYS_MAX: i64 = 41 * 366;
        let from = after.div_euclid(60).checked_add(1)?.checked_mul(60)?;
        let first = from.div_euclid(DAY);
        let mut day = first;
        while day <= first + DAYS_MAX {
            let date = Date::of(day);
            if self.months >> date.month & 1 == 0 {
                day = date.next_month();
                continue;
            }
            if self.has_day(day, date) {
                let minute = if day == first { from.rem_euclid(DAY) / 60 } else { 0 };
                if let Some(minute) = self.minute_of_day(minute as u32) {
                    return Some(day * DAY + i64::from(minute) * 60);
                }
            }
            day += 1;
        }
        None
    }

    /// Returns the first minute of a day that matches, from `from` on.
    fn minute_of_day(&self, from: u32) -> Option<u32> {
        let first_from = |set: u64, from: u32| {
            let left = set.checked_shr(from).unwrap_or(0);
            (left != 0).then(|| from + left.trailing_zeros())
        };
        let (hour, minute) = (from / 60, from % 60);
        if self.hours >> hour & 1 == 1
            && let Some(minute) = first_from(self.minutes, minute)
        {
            return Some(hour * 60 + minute);
        }
        let hour = first_from(self.hours, hour + 1)?;
        Some(hour * 60 + self.minutes.trailing_zeros())
    }
}
