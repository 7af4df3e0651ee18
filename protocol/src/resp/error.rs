//! Why input was refused.

use std::error::Error;
use std::fmt;

use super::quote::repr;

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

/// Why a value was refused, in the words of hiredis where it refuses the same, which are those of
/// `redis-cli`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// No type begins with this byte.
    UnknownType {
        /// The byte.
        got: u8,
    },
    /// A line is longer than allowed.
    LineTooLong {
        /// How long it may be, in bytes without its end.
        size_max: usize,
    },
    /// A carriage return or a line feed stands alone in a line.
    BadLine,
    /// An integer is none, or does not fit 64 bits.
    BadInteger,
    /// A floating point number is none.
    BadDouble,
    /// A null has a text.
    BadNull,
    /// A boolean is neither `t` nor `f`.
    BadBoolean,
    /// A big number has something other than digits.
    BadBigNumber,
    /// A verbatim string does not begin with its format.
    BadVerbatim,
    /// The length of a bulk string is no number.
    BadLength,
    /// A bulk string is longer than allowed, or shorter than nothing.
    LengthOutOfRange,
    /// No line end comes after a bulk string: somebody has counted wrong.
    BadEnd,
    /// The length of an aggregate is no number.
    BadCount,
    /// An aggregate has more elements than allowed, or fewer than none.
    CountOutOfRange,
    /// Aggregates stand too deep in one another.
    TooDeep {
        /// How deep they may.
        depth_max: usize,
    },
    /// The stream ended in the middle of a value.
    Unterminated {
        /// How many bytes of it had come.
        got: usize,
    },
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType { got } => {
                let mut text = Vec::new();
                repr(&[*got], &mut text);
                let got = String::from_utf8_lossy(&text);
                return write!(f, "Protocol error, got {got} as reply type byte");
            }
            Self::LineTooLong { size_max } => {
                return write!(f, "Line longer than {size_max} bytes");
            }
            Self::BadLine => "Bad simple string value",
            Self::BadInteger => "Bad integer value",
            Self::BadDouble => "Bad double value",
            Self::BadNull => "Bad nil value",
            Self::BadBoolean => "Bad bool value",
            Self::BadBigNumber => "Bad bignum value",
            Self::BadVerbatim => {
                "Verbatim string 4 bytes of content type are missing or incorrectly encoded."
            }
            Self::BadLength => "Bad bulk string length",
            Self::LengthOutOfRange => "Bulk string length out of range",
            Self::BadEnd => "Bulk string without a line end behind it",
            Self::BadCount => "Bad multi-bulk length",
            Self::CountOutOfRange => "Multi-bulk length out of range",
            Self::TooDeep { depth_max } => {
                return write!(f, "Aggregates more than {depth_max} deep");
            }
            Self::Unterminated { got } => {
                return write!(f, "The stream ended after {got} bytes of a reply");
            }
        })
    }
}

impl Error for ValueError {}
