//! Why bytes are no netlink message.

use std::error::Error;
use std::fmt;

/// Why bytes are no netlink message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// The offset of the part that is wrong, in bytes, from the beginning of what was parsed.
    pub at: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end within the part.
    Truncated,
    /// A message or an attribute claims to be shorter than its own header.
    TooShort,
    /// An attribute has a length that its type does not allow. This is its number.
    AttributeSize(u16),
    /// An address has more bits than its family allows.
    PrefixLength,
}

impl MessageError {
    pub(super) const fn new(at: usize, fault: Fault) -> Self {
        Self { at, fault }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Truncated => f.write_str("the netlink message ends too early"),
            Fault::TooShort => f.write_str("a length of the netlink message is too small"),
            Fault::AttributeSize(kind) => {
                write!(f, "attribute {kind} of the netlink message has the wrong length")
            }
            Fault::PrefixLength => f.write_str("a prefix of the netlink message is too long"),
        }?;
        write!(f, " (byte {})", self.at)
    }
}

impl Error for MessageError {}
