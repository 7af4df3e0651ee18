//! Decimal numbers of RESP.

use std::fmt::{self, Write};

pub(super) use crate::decimal::{SIZE_MAX, write};

/// Writes `value` with its sign, as [`write`] does.
pub(super) fn write_signed(value: i64, room: &mut [u8]) -> usize {
    let at = write(value.unsigned_abs(), room);
    if value >= 0 {
        return at;
    }
    room[at - 1] = b'-';
    at - 1
}

/// Parses the byte `kind`, a few digits and a line end, the form of most lines. Returns the number
/// and the length of the line, or `None` for any other form. The last byte may have any value.
#[inline]
pub(super) fn usual_line(bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
    /// The digits that fit any `usize`, and the carriage return.
    const PLACES: usize = 10;
    let (first, rest) = bytes.split_first()?;
    if *first != kind {
        return None;
    }
    let mut number = 0;
    for (place, byte) in rest.iter().enumerate().take(PLACES) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let canonical = place == 1 || place > 1 && rest[0] != b'0';
            let whole = *byte == b'\r' && rest.len() > place + 1;
            return (canonical && whole).then_some((number, place + 3));
        }
        number = number * 10 + usize::from(digit);
    }
    None
}

/// A floating point number in the format `%.17g` of C, as in Redis.
pub(super) struct Double {
    room: [u8; Self::SIZE_MAX],
    length: usize,
}

impl Double {
    /// A sign, 17 digits, a point, four zeros after a point, or `e-308`.
    const SIZE_MAX: usize = 32;
    const DIGITS: usize = 17;

    pub(super) fn new(value: f64) -> Self {
        let mut text = Self { room: [0; Self::SIZE_MAX], length: 0 };
        if value.is_sign_negative() && !value.is_nan() {
            text.push(b"-");
        }
        if value.is_finite() {
            text.push_finite(value.abs());
        } else {
            text.push(if value.is_nan() { b"nan" } else { b"inf" });
        }
        text
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.room[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn push_finite(&mut self, value: f64) {
        let mut scientific = Self { room: [0; Self::SIZE_MAX], length: 0 };
        // It fits, so writing cannot fail.
        let _ = write!(scientific, "{value:.*e}", Self::DIGITS - 1);
        let mut parts = scientific.as_bytes().split(|byte| *byte == b'e');
        let mut digits = [b'0'; Self::DIGITS];
        let written = parts.next().unwrap_or_default().iter().filter(|byte| **byte != b'.');
        digits.iter_mut().zip(written).for_each(|(digit, byte)| *digit = *byte);
        let exponent = parts.next().and_then(parse_lenient).unwrap_or_default();
        let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
        match usize::try_from(exponent) {
            Ok(places) if places < Self::DIGITS => {
                let whole = places + 1;
                self.push(&digits[..whole]);
                self.push_fraction(digits.get(whole..kept).unwrap_or_default());
            }
            Err(_) if exponent >= -4 => {
                self.push(b"0.");
                self.push(&b"000"[..(-exponent - 1) as usize]);
                self.push(&digits[..kept]);
            }
            _ => {
                self.push(&digits[..1]);
                self.push_fraction(&digits[1..kept]);
                self.push(if exponent < 0 { b"e-" } else { b"e+" });
                let mut room = [b'0'; 3];
                let at = write(exponent.unsigned_abs(), &mut room);
                self.push(&room[at.min(1)..]);
            }
        }
    }

    fn push_fraction(&mut self, digits: &[u8]) {
        if !digits.is_empty() {
            self.push(b".");
            self.push(digits);
        }
    }
}

impl fmt::Write for Double {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Parses an integer in the only form that Redis accepts, in arguments and in lengths
/// (`string2ll`): no plus, no leading zero, no minus zero, no space. Returns `None` for any other
/// form, and for a number that does not fit 64 bits.
///
/// ```
/// use protocol::resp::parse_integer;
///
/// assert_eq!(parse_integer(b"-42"), Some(-42));
/// assert_eq!(parse_integer(b"042"), None);
/// ```
pub fn parse(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] if digits.len() == text.len() => Some(0),
        [b'1'..=b'9', ..] => parse_lenient(text),
        _ => None,
    }
}

/// Parses an integer with either sign and leading zeros, as the specification allows.
pub(super) fn parse_lenient(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    let mut negated = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Only the least number has no opposite.
        negated = negated.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if text[0] == b'-' { Some(negated) } else { negated.checked_neg() }
}

/// Parses a floating point number: digits with a point or an exponent, `inf` or `nan` with a sign,
/// in upper or lower case. Returns `None` for any other form.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let plain = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let is_number =
        plain.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if !is_number && !plain.eq_ignore_ascii_case(b"inf") && !plain.eq_ignore_ascii_case(b"nan") {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_standard_library_writes() {
        let mut values = vec![0, i64::MIN, i64::MAX];
        let powers = (0..19).map(|power| 10_i64.pow(power));
        values.extend(powers.flat_map(|it| [it - 1, it, it + 1, 1 - it, -it, -1 - it]));
        for value in values {
            let mut room = [0; SIZE_MAX];
            let at = write_signed(value, &mut room);
            assert_eq!(room[at..], *value.to_string().as_bytes());
            assert_eq!(parse(&room[at..]), Some(value));
        }
        let mut room = [0; SIZE_MAX];
        assert_eq!(write(u64::MAX, &mut room), 0);
        assert_eq!(room, *u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn doubles_are_written_as_c_writes_them() {
        let written = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.3, "0.29999999999999999"),
            (0.1, "0.10000000000000001"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (-0.0001, "-0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "4.9406564584124654e-324"),
            (1e15 + 0.25, "1000000000000000.2"),
            (1e15 + 0.75, "1000000000000000.8"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (value, text) in written {
            assert_eq!(String::from_utf8_lossy(Double::new(value).as_bytes()), text);
        }
    }

    #[test]
    fn only_one_form_of_a_number_is_taken_where_redis_takes_one() {
        let strange = ["", "-", "+1", "01", "00", "-0", "-01", " 1", "1 ", "1a", "0x1", "\u{661}"];
        let large = ["9223372036854775808", "-9223372036854775809", "99999999999999999999"];
        for text in strange.into_iter().chain(large) {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        for (text, value) in [("+1", 1), ("-0", 0), ("007", 7), ("-01", -1)] {
            assert_eq!(parse_lenient(text.as_bytes()), Some(value));
        }
        for text in ["", "+", "-", "--1", "1.0"] {
            assert_eq!(parse_lenient(text.as_bytes()), None, "{text:?}");
        }
    }
}
