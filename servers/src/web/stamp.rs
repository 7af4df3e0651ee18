//! Times as logs and pages write them, all in UTC.

use std::fmt::Write;

use protocol::http::format_date;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// As in fields of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
    text: String,
}

impl Stamp {
    /// Returns a time in seconds since 1970.
    pub(crate) fn new(seconds: u64) -> Self {
        Self { text: format_date(seconds).iter().copied().map(char::from).collect() }
    }

    /// Returns it as in fields of HTTP (RFC 9110, section 5.6.7).
    pub(crate) fn as_field(&self) -> &str {
        &self.text
    }

    /// Appends it as in the common log format: `06/Nov/1994:08:49:37 +0000`.
    pub(crate) fn write_common(&self, to: &mut String) {
        let (day, month, year, time) = self.parts();
        // Writing to a string cannot fail.
        let _ = write!(to, "{day}/{month}/{year}:{time} +0000");
    }

    /// Appends it as in RFC 3339: `1994-11-06T08:49:37Z`.
    pub(crate) fn write_rfc3339(&self, to: &mut String) {
        let (day, _, year, time) = self.parts();
        let _ = write!(to, "{year}-{:02}-{day}T{time}Z", self.month());
    }

    /// Appends it to the minute: `1994-11-06 08:49`.
    pub(crate) fn write_short(&self, to: &mut String) {
        let (day, _, year, time) = self.parts();
        let _ = write!(to, "{year}-{:02}-{day} {}", self.month(), &time[..5]);
    }

    /// Returns the day, the month, the year and the time of day. Each has a place of its own.
    fn parts(&self) -> (&str, &str, &str, &str) {
        let text = &self.text;
        (&text[5..7], &text[8..11], &text[12..16], &text[17..25])
    }

    fn month(&self) -> usize {
        let (_, month, ..) = self.parts();
        MONTHS.iter().position(|name| *name == month).map_or(0, |index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_each_form() {
        for (seconds, field, common, rfc3339, short) in [
            (
                784_111_777,
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "06/Nov/1994:08:49:37 +0000",
                "1994-11-06T08:49:37Z",
                "1994-11-06 08:49",
            ),
            (
                0,
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "01/Jan/1970:00:00:00 +0000",
                "1970-01-01T00:00:00Z",
                "1970-01-01 00:00",
            ),
            (
                1_709_251_199,
                "Thu, 29 Feb 2024 23:59:59 GMT",
                "29/Feb/2024:23:59:59 +0000",
                "2024-02-29T23:59:59Z",
                "2024-02-29 23:59",
            ),
        ] {
            let stamp = Stamp::new(seconds);
            let mut texts = [String::new(), String::new(), String::new()];
            stamp.write_common(&mut texts[0]);
            stamp.write_rfc3339(&mut texts[1]);
            stamp.write_short(&mut texts[2]);
            assert_eq!(stamp.as_field(), field);
            assert_eq!(texts, [common, rfc3339, short]);
        }
    }

    #[test]
    fn years_have_four_digits() {
        assert!(Stamp::new(u64::MAX).as_field().contains("9999"));
    }
}
