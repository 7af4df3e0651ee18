//! Why the body of a packet is no message.

use std::error::Error;
use std::fmt;

use super::Kind;

/// Why the body of a packet is no message of its type. Real peers close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// The type of the packet.
    pub kind: Kind,
    /// The size of its body, in bytes.
    pub size: usize,
    /// The field at which reading ended.
    pub field: &'static str,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It ends within a field.
    Truncated,
    /// More follows after its last field.
    TooLong,
    /// A field has a value that its type does not allow.
    Value,
    /// No message of this type is known.
    Unknown,
    /// A text form could not be written.
    Text,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, size, field, fault } = self;
        let what = match fault {
            Fault::Truncated => "it ends within",
            Fault::TooLong => "more follows after",
            Fault::Value => "an invalid value in",
            Fault::Unknown => return write!(f, "packet of the unknown type {}", kind.0),
            Fault::Text => "no text form of",
        };
        write!(f, "{kind} with {size} bytes: {what} the field {field:?}")
    }
}

impl Error for MessageError {}
