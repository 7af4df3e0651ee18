//! Dates of the Gregorian calendar, as days since 1970-01-01.

/// The seconds of a day.
pub(super) const DAY: i64 = 86_400;
/// The days of 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;
/// The days from 0000-03-01 to 1970-01-01.
const SHIFT: i64 = 719_468;

/// A date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// From 1 to 12.
    pub(super) month: u32,
    /// From 1 to 31.
    pub(super) day: u32,
}

impl Date {
    /// Returns the date of a day. Years begin in March here, so that a leap day is the last of its
    /// year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    pub(super) fn of(day: i64) -> Self {
        let shifted = day + SHIFT;
        let era = shifted.div_euclid(ERA);
        let of_era = shifted.rem_euclid(ERA);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month: month as u32, day: day as u32 }
    }

    /// Returns the day of the date.
    pub(super) fn day(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let from_march = (i64::from(self.month) + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + i64::from(self.day) - 1;
        era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - SHIFT
    }

    /// Returns the first day of the next month.
    pub(super) fn next_month(self) -> i64 {
        let (year, month) = match self.month {
            12 => (self.year + 1, 1),
            month => (self.year, month + 1),
        };
        Self { year, month, day: 1 }.day()
    }
}

/// Returns the day of the week: 0 for Sunday, 6 for Saturday.
pub(super) fn weekday(day: i64) -> u32 {
    // 1970-01-01 was a Thursday.
    (day + 4).rem_euclid(7) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_the_same() {
        let mut before = Date::of(-800_001);
        for day in -800_000..800_000 {
            let date = Date::of(day);
            assert_eq!(date.day(), day);
            let is_next = date.day == before.day + 1 && date.month == before.month;
            assert!(is_next || date.day == 1 && before.next_month() == day, "{before:?} {date:?}");
            before = date;
        }
        assert_eq!(Date::of(0), Date { year: 1970, month: 1, day: 1 });
        assert_eq!(Date::of(11_016), Date { year: 2000, month: 2, day: 29 });
        assert_eq!(Date { year: 2026, month: 11, day: 28 }.day() * DAY, 1_795_824_000);
        assert_eq!(weekday(1_795_824_000 / DAY), 6);
    }
}
