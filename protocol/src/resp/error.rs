//! Why input was refused.

use std::error::Error;
use std::fmt;

/// Why a request was refused, in the words of Redis 7.0 (`processMultibulkBuffer` and
/// `processInlineBuffer` in its `networking.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// An inline command is longer than [`line_size_max`](super::Limits::line_size_max).
    InlineTooLong,
    /// A quote in an inline command is not closed, or not followed by a space.
    UnbalancedQuotes,
    /// The line with the number of arguments does not end.
    CountTooLong,
    /// The number of arguments is no number, or too large.
    InvalidCount,
    /// There are more than 10 arguments, and the client has not authenticated itself.
    UnauthenticatedCount,
    /// The line with the length of an argument does not end.
    LengthTooLong,
    /// An argument is not a bulk string.
    ExpectedBulk {
        /// What it begins with instead of `$`.
        got: u8,
    },
    /// The length of an argument is no number, negative, or too large.
    InvalidLength,
    /// An argument is longer than 16 KiB, and the client has not authenticated itself.
    UnauthenticatedLength,
    /// The stream ended in the middle of a request. Redis says nothing to that.
    Unterminated {
        /// How many bytes of it had come.
        got: usize,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InlineTooLong => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::CountTooLong => "too big mbulk count string",
            Self::InvalidCount => "invalid multibulk length",
            Self::UnauthenticatedCount => "unauthenticated multibulk length",
            Self::LengthTooLong => "too big bulk count string",
            Self::ExpectedBulk { got } => {
                return write!(f, "Protocol error: expected '$', got '{}'", got.escape_ascii());
            }
            Self::InvalidLength => "invalid bulk length",
            Self::UnauthenticatedLength => "unauthenticated bulk length",
            Self::Unterminated { got } => {
                return write!(f, "the stream ended after {got} bytes of a request");
            }
        };
        write!(f, "Protocol error: {text}")
    }
}

impl Error for RequestError {}
