//! Decimal numbers as text.
//!
//! Redis adds fractions as C's `long double`, which has 64 bits of precision and which Rust does
//! not have. Decimal addition gives the same digits wherever those 64 bits suffice.

/// How many digits after the point are kept, as in Redis.
const PLACES: u32 = 17;

/// An integer as text.
pub(crate) struct Digits {
    room: [u8; 20],
    start: usize,
}

impl AsRef<[u8]> for Digits {
    fn as_ref(&self) -> &[u8] {
        &self.room[self.start..]
    }
}

/// Formats an integer.
pub(crate) fn digits(value: i64) -> Digits {
    let mut room = [0; 20];
    let mut rest = value.unsigned_abs();
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        room[at] = b'-';
    }
    Digits { room, start: at }
}

/// Returns the sum of two valid numbers, without an exponent and without trailing zeros, or `None`
/// if it is not finite.
pub(crate) fn add(left: &[u8], right: &[u8]) -> Option<String> {
    let exact = scaled(left).zip(scaled(right)).and_then(|(a, b)| a.checked_add(b));
    if let Some(sum) = exact {
        return Some(written(sum));
    }
    let parse = protocol::resp::parse_double;
    let sum = parse(left)? + parse(right)?;
    sum.is_finite().then(|| format!("{sum}"))
}

/// Returns a number times 10^17, or `None` if it has more digits after the point or is too large.
fn scaled(text: &[u8]) -> Option<i128> {
    let (text, negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (text, false),
    };
    let exponent_at = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = text.split_at(exponent_at.unwrap_or(text.len()));
    let exponent: i32 = match exponent {
        [] => 0,
        [_, digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let behind = mantissa.len().saturating_sub(point + 1);
    let mut value: i128 = 0;
    for byte in mantissa.iter().filter(|byte| **byte != b'.') {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let shift = exponent.checked_add(PLACES as i32)?.checked_sub(i32::try_from(behind).ok()?)?;
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    let value = match shift {
        0.. => value.checked_mul(factor)?,
        _ if value % factor == 0 => value / factor,
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

fn written(scaled: i128) -> String {
    let unit = 10_u128.pow(PLACES);
    let (whole, fraction) = (scaled.unsigned_abs() / unit, scaled.unsigned_abs() % unit);
    let text = format!("{whole}.{fraction:017}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if scaled < 0 { format!("-{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_written_as_in_redis() {
        for (left, right, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("-5", "4.5", "-0.5"),
            ("3", "-3", "0"),
            ("1e20", "1", "100000000000000000001"),
        ] {
            assert_eq!(add(left.as_bytes(), right.as_bytes()).as_deref(), Some(expected));
        }
        assert_eq!(add(b"1e308", b"inf"), None);
    }

    #[test]
    fn the_smallest_and_largest_integers_are_written() {
        for value in [0, 9, -10, i64::MAX, i64::MIN] {
            assert_eq!(digits(value).as_ref(), value.to_string().as_bytes());
        }
    }
}
