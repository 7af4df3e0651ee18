//! Why bytes are no DNS message.

use std::error::Error;
use std::fmt;

/// Why bytes are no DNS message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// The offset of the part that is wrong, in bytes.
    pub at: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The message ends within the part.
    Truncated,
    /// A label begins with bits that are reserved (RFC 1035 section 4.1.4).
    LabelType,
    /// A compression pointer does not point backwards, so the name may have no end.
    ForwardPointer,
    /// A name consists of more than [`POINTERS_MAX`](super::POINTERS_MAX) pieces.
    TooManyPointers,
    /// A name is longer than [`NAME_SIZE_MAX`](super::NAME_SIZE_MAX).
    NameTooLong,
    /// The data of a record is longer or shorter than its type allows.
    DataSize,
    /// The data of a record breaks a rule of its type.
    DataValue,
    /// There are several OPT records, or one that is not of the root or not in the additional section
    /// (RFC 6891 section 6.1.1).
    Options,
}

impl MessageError {
    pub(super) const fn new(at: usize, fault: Fault) -> Self {
        Self { at, fault }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.fault {
            Fault::Truncated => "the message ends too early",
            Fault::LabelType => "a label has a reserved type",
            Fault::ForwardPointer => "a compression pointer does not point backwards",
            Fault::TooManyPointers => "a name has too many compression pointers",
            Fault::NameTooLong => "a name is longer than 255 bytes",
            Fault::DataSize => "the data of a record has the wrong length",
            Fault::DataValue => "the data of a record is invalid for its type",
            Fault::Options => "an OPT record is in the wrong place, or there are several",
        };
        write!(f, "{text} (byte {})", self.at)
    }
}

impl Error for MessageError {}
