//! The quoting of command lines: `sdssplitargs` and `sdscatrepr` of Redis.

use std::error::Error;
use std::fmt;

/// A quote is not closed, or not followed by a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

impl fmt::Display for UnbalancedQuotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quote is not closed, or not followed by a space")
    }
}

impl Error for UnbalancedQuotes {}

/// Returns whether `byte` is white space (`isspace` of C).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Returns whether `byte` ends an argument without quotes.
pub(super) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The open quotes at the current position of an argument.
enum Quotes {
    None,
    Single,
    Double,
}

/// The next element of an argument.
enum Unit {
    Byte(u8),
    Opening,
    End,
}

impl Quotes {
    /// Returns the next element of `rest`, the remainder of an argument, and its length.
    fn next(&mut self, rest: &[u8]) -> Result<(Unit, usize), UnbalancedQuotes> {
        match self {
            Self::None => Ok(self.next_unquoted(rest)),
            Self::Single => match rest {
                [b'\\', b'\'', ..] => Ok((Unit::Byte(b'\''), 2)),
                [b'\'', after @ ..] => closing(after),
                [byte, ..] => Ok((Unit::Byte(*byte), 1)),
                [] => Err(UnbalancedQuotes),
            },
            Self::Double => match rest {
                [b'\\', b'x', high, low, ..]
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    Ok((Unit::Byte(hex(*high) << 4 | hex(*low)), 4))
                }
                [b'\\', letter, ..] => Ok((Unit::Byte(unescape(*letter)), 2)),
                [b'"', after @ ..] => closing(after),
                [byte, ..] => Ok((Unit::Byte(*byte), 1)),
                [] => Err(UnbalancedQuotes),
            },
        }
    }

    fn next_unquoted(&mut self, rest: &[u8]) -> (Unit, usize) {
        match rest.first() {
            None => return (Unit::End, 0),
            Some(byte) if is_separator(*byte) => return (Unit::End, 1),
            Some(b'"') => *self = Self::Double,
            Some(b'\'') => *self = Self::Single,
            Some(byte) => return (Unit::Byte(*byte), 1),
        }
        (Unit::Opening, 1)
    }
}

fn closing(after: &[u8]) -> Result<(Unit, usize), UnbalancedQuotes> {
    match after.first() {
        Some(byte) if !is_space(*byte) => Err(UnbalancedQuotes),
        _ => Ok((Unit::End, 1)),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn unescape(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// Splits a command line into arguments, as `redis-cli` does. Spaces separate arguments. Double
/// quotes may contain the escapes `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH`, and a backslash before any
/// other byte; single quotes only `\'`.
///
/// ```
/// use protocol::resp::text::split;
///
/// assert_eq!(split(br#"set "a b" 'it\'s' \x"#)?, [&b"set"[..], b"a b", b"it's", br"\x"]);
/// # Ok::<(), protocol::resp::text::UnbalancedQuotes>(())
/// ```
///
/// # Errors
/// When a quote is not closed, or its end is not followed by a space.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let (mut at, mut arguments) = (0, Vec::new());
    loop {
        at += line[at..].iter().take_while(|byte| is_space(**byte)).count();
        if at == line.len() {
            return Ok(arguments);
        }
        let (mut quotes, mut argument) = (Quotes::None, Vec::new());
        loop {
            let (unit, size) = quotes.next(&line[at..])?;
            at += size;
            match unit {
                Unit::Byte(byte) => argument.push(byte),
                Unit::Opening => {}
                Unit::End => break,
            }
        }
        arguments.push(argument);
    }
}

/// The mark of an argument that had quotes. Its length in two bytes and its text follow. A line
/// feed cannot occur within a line.
pub(super) const QUOTED: u8 = b'\n';

/// The longest line that [`unquote`] accepts, without its end: lengths have to fit two bytes.
pub(super) const UNQUOTE_SIZE_MAX: usize = 64 * 1024;

/// Removes the quotes from a command line in place. Arguments without quotes stay as they are; the
/// others are written as [`QUOTED`], length, text. This always fits, since two quotes and the byte
/// after them are removed. Returns the number of arguments.
///
/// The line is the first `length` bytes. At least one byte of its end follows.
pub(super) fn unquote(line: &mut [u8], length: usize) -> Result<usize, UnbalancedQuotes> {
    let (mut at, mut count) = (0, 0);
    while at < length {
        if is_space(line[at]) {
            at += 1;
        } else {
            at = unquote_argument(line, at, length)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Removes the quotes from the argument at `start`. Returns the offset after it.
fn unquote_argument(
    line: &mut [u8],
    start: usize,
    length: usize,
) -> Result<usize, UnbalancedQuotes> {
    let (mut quotes, mut read, mut written) = (Quotes::None, start, start);
    loop {
        let (unit, size) = quotes.next(&line[read..length])?;
        read += size;
        match unit {
            Unit::Byte(byte) => {
                line[written] = byte;
                written += 1;
            }
            Unit::Opening => {}
            Unit::End => break,
        }
    }
    if matches!(quotes, Quotes::None) {
        return Ok(read);
    }
    let (text, end) = (start + 3, start + 3 + (written - start));
    let size = (written - start) as u16;
    line.copy_within(start..written, text);
    line[start] = QUOTED;
    line[start + 1..text].copy_from_slice(&size.to_be_bytes());
    line[end..read.max(end)].fill(b' ');
    Ok(read.max(end))
}

/// Appends `bytes` to `text` in double quotes. Bytes that cannot be printed are escaped, so that
/// [`split`] reads them again.
pub fn repr(bytes: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            0x07 => text.extend_from_slice(b"\\a"),
            0x08 => text.extend_from_slice(b"\\b"),
            b' '..=b'~' => text.push(*byte),
            _ => {
                let digits = b"0123456789abcdef";
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                text.extend_from_slice(&[b'\\', b'x', digits[high], digits[low]]);
            }
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_redis_cli_reads_them() {
        let lines: [(&str, &[&[u8]]); 12] = [
            ("", &[]),
            (" \t\x0b\x0c ", &[]),
            ("set a b", &[b"set", b"a", b"b"]),
            ("  set\ta\r\nb  ", &[b"set", b"a", b"b"]),
            ("''", &[b""]),
            (r#""a b" 'c d'"#, &[b"a b", b"c d"]),
            (r#""\n\r\t\b\a\q\"\\""#, &[b"\n\r\t\x08\x07q\"\\"]),
            (r#""\x41\xfF\xg1\x4""#, &[b"A\xffxg1x4"]),
            (r#"'it\'s \n'"#, &[b"it's \\n"]),
            (r#"foo"bar""#, &[b"foobar"]),
            (r#"a\b "c"	d"#, &[br"a\b", b"c", b"d"]),
            ("a\x0bb\x0c", &[b"a\x0bb\x0c"]),
        ];
        for (line, arguments) in lines {
            assert_eq!(split(line.as_bytes()).expect(line), arguments, "{line:?}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"", "'", "\"a\"b", "'a'b", "\"a\\\"", "'a\\'", "a\"b", "\"a\\"] {
            assert_eq!(split(line.as_bytes()), Err(UnbalancedQuotes), "{line:?}");
        }
    }

    #[test]
    fn whatever_is_quoted_is_read_again() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        repr(&all, &mut text);
        assert_eq!(split(&text).expect("it is quoted"), [all]);
    }
}
