//! Errors, in Redis's own words.

use std::borrow::Cow;

/// The error of a command: a code in capitals, a space, and a text for people.
#[derive(Debug)]
pub(crate) struct Error(pub(crate) Cow<'static, [u8]>);

/// The result of a command. Its reply has been written unless it is an error.
pub(crate) type Done = Result<(), Error>;

/// Returns an error with a constant text.
pub(crate) const fn fixed(text: &'static str) -> Error {
    Error(Cow::Borrowed(text.as_bytes()))
}

pub(crate) const WRONG_TYPE: Error =
    fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
pub(crate) const SYNTAX: Error = fixed("ERR syntax error");
pub(crate) const NOT_INTEGER: Error = fixed("ERR value is not an integer or out of range");
pub(crate) const NOT_FLOAT: Error = fixed("ERR value is not a valid float");
pub(crate) const OVERFLOW: Error = fixed("ERR increment or decrement would overflow");
pub(crate) const SAME_OBJECT: Error = fixed("ERR source and destination objects are the same");
pub(crate) const NO_KEY: Error = fixed("ERR no such key");
pub(crate) const OUT_OF_RANGE: Error = fixed("ERR index out of range");
pub(crate) const TOO_LONG: Error =
    fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// Returns an error with a constant text as a result.
pub(crate) fn error<T>(text: &'static str) -> Result<T, Error> {
    Err(fixed(text))
}

/// Returns an error with a formatted text. As in Redis, line ends at its end are removed.
pub(crate) fn errorf(text: impl Into<Vec<u8>>) -> Error {
    let mut text = text.into();
    while text.pop_if(|byte| matches!(byte, b'\r' | b'\n')).is_some() {}
    Error(Cow::Owned(text))
}
