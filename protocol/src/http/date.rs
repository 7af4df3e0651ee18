//! The time of day, as the field `Date` has it.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};
use std::time::{Duration, Instant};

/// The length of a date: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
pub(super) const DATE_SIZE: usize = 29;
const SECOND: u64 = 1_000_000_000;
const WORDS: usize = DATE_SIZE.div_ceil(8);

/// A clock for the field `Date`, which reads the time of day once a second at most.
///
/// This crate reads no clock, so the program lends it one: the function that returns the time since
/// 1970, such as `reactor::time_of_day`. Connections of several threads may share it.
///
/// ```
/// use protocol::http::Clock;
/// use std::time::Duration;
///
/// let clock = Clock::new(|| Duration::from_secs(784_111_777));
/// # let _ = clock;
/// ```
pub struct Clock {
    read: fn() -> Duration,
    /// From when on the time of this clock's cache is counted.
    base: OnceLock<Instant>,
    /// Odd while another thread writes.
    version: AtomicU32,
    /// From when until when the text is right, in nanoseconds since `base`.
    from: AtomicU64,
    until: AtomicU64,
    text: [AtomicU64; WORDS],
}

impl Clock {
    /// Returns a clock that `read` tells the time since 1970 in UTC.
    pub fn new(read: fn() -> Duration) -> Self {
        Self {
            read,
            base: OnceLock::new(),
            version: AtomicU32::new(0),
            from: AtomicU64::new(0),
            until: AtomicU64::new(0),
            text: Default::default(),
        }
    }

    /// Returns the date at `now`.
    pub(super) fn date(&self, now: Instant) -> [u8; DATE_SIZE] {
        let base = *self.base.get_or_init(|| now);
        let at = now.saturating_duration_since(base).as_nanos() as u64;
        let version = self.version.load(Acquire);
        let cached = self.load();
        let is_valid = self.from.load(Relaxed) <= at && at < self.until.load(Relaxed);
        // What was loaded before belongs to `version` if that has not changed.
        fence(Acquire);
        if is_valid && version.is_multiple_of(2) && self.version.load(Relaxed) == version {
            return cached;
        }
        self.refresh(version, at)
    }

    #[cold]
    fn refresh(&self, version: u32, at: u64) -> [u8; DATE_SIZE] {
        let time = (self.read)();
        let text = format_date(time.as_secs());
        let next = version.wrapping_add(1);
        let is_mine = version.is_multiple_of(2)
            && self.version.compare_exchange(version, next, Acquire, Relaxed).is_ok();
        if is_mine {
            fence(Release);
            self.from.store(at, Relaxed);
            self.until.store(at + SECOND - u64::from(time.subsec_nanos()), Relaxed);
            let mut room = [0; 8 * WORDS];
            room[..DATE_SIZE].copy_from_slice(&text);
            for (word, bytes) in self.text.iter().zip(room.as_chunks::<8>().0) {
                word.store(u64::from_ne_bytes(*bytes), Relaxed);
            }
            self.version.store(version.wrapping_add(2), Release);
        }
        text
    }

    fn load(&self) -> [u8; DATE_SIZE] {
        let mut room = [0; 8 * WORDS];
        for (word, bytes) in self.text.iter().zip(room.as_chunks_mut::<8>().0) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
        let mut text = [0; DATE_SIZE];
        text.copy_from_slice(&room[..DATE_SIZE]);
        text
    }
}

/// Returns files of the same source, with an empty cache.
impl Clone for Clock {
    fn clone(&self) -> Self {
        Self::new(self.read)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Returns a number of seconds since 1970 as an HTTP date (RFC 9110 section 5.6.7). Years beyond
/// 9999 become 9999.
///
/// ```
/// let date = protocol::http::format_date(784_111_777);
/// assert_eq!(&date, b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn format_date(seconds: u64) -> [u8; DATE_SIZE] {
    const LAST: u64 = 253_402_300_799;
    let seconds = seconds.min(LAST);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1970 began on a Thursday.
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    pair(&mut text, 5, day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    pair(&mut text, 12, year / 100);
    pair(&mut text, 14, year % 100);
    pair(&mut text, 17, second / 3600);
    pair(&mut text, 20, second / 60 % 60);
    pair(&mut text, 23, second % 60);
    text
}

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

fn pair(text: &mut [u8], at: usize, number: u64) {
    text[at] = b'0' + (number / 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

/// Returns the year, month and day of a day since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last of its year.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, date)
}

/// Parses an HTTP date in one of its three forms (RFC 9110 section 5.6.7). Returns the seconds since
/// 1970, and `None` for other texts and for dates before 1970. A year of two digits is one of the
/// years from 1970 to 2069.
///
/// ```
/// use protocol::http::parse_date;
///
/// for text in [
///     "Sun, 06 Nov 1994 08:49:37 GMT",
///     "Sunday, 06-Nov-94 08:49:37 GMT",
///     "Sun Nov  6 08:49:37 1994",
/// ] {
///     assert_eq!(parse_date(text.as_bytes()), Some(784_111_777));
/// }
/// assert_eq!(parse_date(b"yesterday"), None);
/// ```
pub fn parse_date(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    let (year, month, day, time) = match text.split_once(", ") {
        Some((_, rest)) => {
            let date = rest.strip_suffix(" GMT")?;
            let (date, time) = date.rsplit_once(' ')?;
            let mut parts = date.split([' ', '-']);
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            let number = digits(year)?;
            let year = match year.len() {
                4 => number,
                2 if number < 70 => number + 2000,
                2 => number + 1900,
                _ => return None,
            };
            (year, month, day, parts.next().is_none().then_some(time)?)
        }
        None => {
            let mut parts = text.split_ascii_whitespace().skip(1);
            let (month, day, time) = (parts.next()?, parts.next()?, parts.next()?);
            (digits(parts.next()?)?, month, day, parts.next().is_none().then_some(time)?)
        }
    };
    let month = MONTHS.iter().position(|it| **it == *month.as_bytes())? as u64 + 1;
    let day = digits(day).filter(|day| (1..=31).contains(day))?;
    let mut clock = time.split(':').map(digits);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_time = hour < 24 && minute < 60 && second <= 60 && clock.next().is_none();
    if !is_time || !(1970..=9999).contains(&year) {
        return None;
    }
    let days = days_until(year, month, day);
    (civil(days) == (year, month, day))
        .then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn digits(text: &str) -> Option<u64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Returns how many days there are from 1970 to a day: the inverse of [`civil`].
fn days_until(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year / 400, year % 400);
    era * 146_097 + 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_written_and_read_again() {
        for day in 0..146_097 * 2 {
            let seconds = day * 86_400 + day % 86_400;
            assert_eq!(parse_date(&format_date(seconds)), Some(seconds), "day {day}");
        }
        assert_eq!(&format_date(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(&format_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "Sun, 31 Feb 1999 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37:01 GMT",
            "",
        ] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_clock_is_read_once_a_second() {
        use std::sync::atomic::AtomicU64;
        static MILLIS: AtomicU64 = AtomicU64::new(784_111_777_400);
        static READ: AtomicU64 = AtomicU64::new(0);
        let clock = Clock::new(|| {
            READ.fetch_add(1, Relaxed);
            Duration::from_millis(MILLIS.load(Relaxed))
        });
        let start = Instant::now();
        for step in 0..=2000 {
            MILLIS.store(784_111_777_400 + step, Relaxed);
            let date = clock.date(start + Duration::from_millis(step));
            assert_eq!(date, format_date((784_111_777_400 + step) / 1000), "after {step} ms");
        }
        assert_eq!(READ.load(Relaxed), 3);
        assert_eq!(clock.clone().date(start), format_date(784_111_779));
    }

    #[test]
    fn threads_that_share_a_clock_never_see_half_a_date() {
        static SECONDS: AtomicU64 = AtomicU64::new(1);
        let clock = Clock::new(|| Duration::from_secs(SECONDS.fetch_add(86_399, Relaxed)));
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let clock = &clock;
                scope.spawn(move || {
                    for step in 0..5000 {
                        // Each step is another second for all threads.
                        let date = clock.date(start + Duration::from_secs(step * 3 + thread));
                        let seconds = parse_date(&date).expect("it is a date");
                        assert_eq!(seconds % 86_399, 1, "{}", date.escape_ascii());
                    }
                });
            }
        });
    }
}
