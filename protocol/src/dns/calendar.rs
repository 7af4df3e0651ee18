//! Moments as signatures have them: `YYYYMMDDHHmmSS` in UTC (RFC 4034 section 3.2).

use std::fmt;

const DAY: u32 = 86_400;

/// Writes a moment, in seconds since 1970.
pub(super) fn write_time(f: &mut fmt::Formatter<'_>, seconds: u32) -> fmt::Result {
    let (year, month, day) = date(seconds / DAY);
    let second = seconds % DAY;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    write!(f, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{:02}", second % 60)
}

/// Reads a moment, as `YYYYMMDDHHmmSS` or as a number of seconds.
pub(super) fn parse_time(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.len() != 14 {
        return text.parse().ok();
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if !(1970..=2106).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // A day that the month does not have is another date.
    if date(days) != (year, month, day) {
        return None;
    }
    let seconds = u64::from(days) * u64::from(DAY) + u64::from(hour * 3600 + minute * 60 + second);
    u32::try_from(seconds).ok()
}

/// Returns year, month and day of a day since 1970.
fn date(days: u32) -> (u32, u32, u32) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before(year);
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

/// Returns the days from 1970 to a date.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let months: u32 = (1..month.clamp(1, 13)).map(|month| days_in(year, month)).sum();
    days_before(year) + months + day.max(1) - 1
}

/// Returns the days from 1970 to the beginning of a year.
fn days_before(year: u32) -> u32 {
    let leap_days = |year: u32| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
