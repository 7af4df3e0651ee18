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
    /// The line with the number of arguments is longer than allowed.
    CountTooLong,
    /// The number of arguments is not a number, or too large.
    InvalidCount,
    /// There are more than 10 arguments, and the client has not authenticated itself.
    UnauthenticatedCount,
    /// The line with the length of an argument is longer than allowed.
    LengthTooLong,
    /// An argument is not a bulk string.
    ExpectedBulk {
        /// Its first byte, instead of `$`.
        got: u8,
    },
    /// The length of an argument is not a number, negative, or too large.
    InvalidLength,
    /// An argument is longer than 16 KiB, and the client has not authenticated itself.
    UnauthenticatedLength,
    /// The stream ended in the middle of a request. Redis sends no error for this.
    Unterminated {
        /// How many of its bytes had arrived.
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

/// Why a value was refused. Where hiredis refuses the same, the text is that of hiredis, which
/// `redis-cli` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// No type begins with this byte.
    UnknownType {
        /// The byte.
        got: u8,
    },
    /// A line is longer than allowed.
    LineTooLong {
        /// The limit in bytes, without the line end.
        size_max: usize,
    },
    /// A line has a carriage return or a line feed of its own.
    BadLine,
    /// An integer is malformed, or does not fit 64 bits.
    BadInteger,
    /// A floating point number is malformed.
    BadDouble,
    /// A null has a text.
    BadNull,
    /// A boolean is neither `t` nor `f`.
    BadBoolean,
    /// A big number has bytes other than digits.
    BadBigNumber,
    /// A verbatim string does not begin with its format.
    BadVerbatim,
    /// The length of a bulk string is not a number.
    BadLength,
    /// A bulk string is larger than allowed, or its length is negative.
    LengthOutOfRange,
    /// A bulk string is not followed by a line end: its length is wrong.
    BadEnd,
    /// The length of an aggregate is not a number.
    BadCount,
    /// An aggregate has more elements than allowed, or its length is negative.
    CountOutOfRange,
    /// Aggregates are nested too deep.
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// The stream ended in the middle of a value.
    Unterminated {
        /// How many of its bytes had arrived.
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
