//! The arguments of a command and the state that it may use during one call.

use protocol::resp::{Writer, parse_double, parse_integer};

use super::app::App;
use super::client::Client;
use super::error::{Error, NOT_FLOAT, NOT_INTEGER, SYNTAX, error, fixed};

/// The arguments of a command and the state that it may use during one call. The fields are
/// separate so that a reply can be written directly from the store.
pub(crate) struct Call<'a> {
    /// The name and the arguments. Their number has been checked against the table of commands.
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) out: Writer<'a>,
    pub(crate) app: &'a mut App,
    /// The number of the client.
    pub(crate) me: usize,
    /// Whether the call is part of a transaction, which never blocks.
    pub(crate) in_transaction: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn key(&self) -> &'a [u8] {
        self.args[1]
    }

    /// Returns the client that has sent the command.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.app.clients[self.me]
    }

    /// Returns whether the client has more unread output than it may have, and so will be closed. A
    /// command that writes one value many times can stop then.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.out.backlog() > self.app.backlog_max(self.me)
    }

    /// Writes a string, or null if there is none.
    pub(crate) fn reply(&mut self, bytes: Option<&[u8]>) {
        bulk_or_null(&mut self.out, bytes);
    }

    /// Writes a count.
    pub(crate) fn reply_count(&mut self, count: usize) {
        self.out.integer(count as i64);
    }
}

pub(crate) fn bulk_or_null(out: &mut Writer<'_>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => out.bulk(bytes),
        None => out.null(),
    }
}

/// Returns whether an argument is this word, in either case.
pub(crate) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

pub(crate) fn integer(argument: &[u8]) -> Result<i64, Error> {
    parse_integer(argument).ok_or(NOT_INTEGER)
}

/// Reads an integer whose negation has to be an integer, too.
pub(crate) fn two_sided(argument: &[u8]) -> Result<i64, Error> {
    match integer(argument)? {
        i64::MIN => error(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ),
        value => Ok(value),
    }
}

/// Reads an integer that is not negative. For anything else, returns Redis's error text.
pub(crate) fn positive(argument: &[u8]) -> Result<usize, Error> {
    let value = parse_integer(argument).and_then(|value| usize::try_from(value).ok());
    value.ok_or(fixed("ERR value is out of range, must be positive"))
}

pub(crate) fn float(argument: &[u8]) -> Result<f64, Error> {
    let is_infinity = |text: &[u8]| {
        let plain = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        is(plain, "inf") || is(plain, "infinity")
    };
    match parse_double(argument) {
        _ if is_infinity(argument) && argument[0] == b'-' => Ok(f64::NEG_INFINITY),
        _ if is_infinity(argument) => Ok(f64::INFINITY),
        Some(value) if value.is_finite() => Ok(value),
        // Numbers beyond the range of a double are refused.
        _ => Err(NOT_FLOAT),
    }
}

/// Options that are read from left to right.
pub(crate) struct Options<'a> {
    rest: std::slice::Iter<'a, &'a [u8]>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(args: &'a [&'a [u8]]) -> Self {
        Self { rest: args.iter() }
    }

    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        self.rest.next().copied()
    }

    /// Returns the value that has to follow an option.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Error> {
        self.next().ok_or(SYNTAX)
    }
}

/// Returns the items from `start` to `stop` of `length` as `GETRANGE` and `LRANGE` count them: both
/// ends are included, and negative indices count from the end.
pub(crate) fn range(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
    let from = |index: i64| if index < 0 { index.saturating_add(length as i64) } else { index };
    let start = from(start).max(0) as usize;
    let end = from(stop).saturating_add(1).clamp(0, length as i64) as usize;
    if start < end { start..end } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_either_end() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (1, 2, 1..3),
            (-2, -1, 3..5),
            (-100, 100, 0..5),
            (3, 2, 0..0),
            (5, 9, 0..0),
            (0, -100, 0..0),
            (i64::MIN, i64::MAX, 0..5),
        ] {
            assert_eq!(range(start, stop, 5), expected, "{start} {stop}");
        }
        assert_eq!(range(0, -1, 0), 0..0);
    }
}
