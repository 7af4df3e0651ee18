//! Why the input of a WebSocket connection is refused.

use std::fmt;

use super::CloseCode;
use crate::Reason;

/// Why the input of a WebSocket connection is refused. The peer is told with a close frame, which has
/// the code of [`close_code`](Self::close_code) and this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A reserved bit is set that no negotiated extension uses (RFC 6455 section 5.2).
    ReservedBits,
    /// A frame has an opcode that is reserved.
    Opcode(u8),
    /// A control frame is fragmented (section 5.5).
    FragmentedControl,
    /// A control frame has more than 125 bytes.
    LongControl,
    /// A client sent a frame that is not masked (section 5.1).
    NotMasked,
    /// A server sent a frame that is masked.
    Masked,
    /// The length of a payload takes more bytes than it needs, or has its highest bit set.
    Length,
    /// A continuation comes without a message to continue (section 5.4).
    NothingToContinue,
    /// A message begins before the last one has ended.
    NotContinued,
    /// The fragment of a message has the bit of compression, which only the first one may have (RFC
    /// 7692 section 6.1).
    CompressedContinuation,
    /// Text is not UTF-8.
    NotUtf8,
    /// The compressed data of a message are invalid.
    Deflate,
    /// A close frame has one byte.
    CloseTooShort,
    /// A close frame has a code that must not be sent.
    CloseCode(u16),
    /// The reason in a close frame is not UTF-8.
    CloseReason,
    /// A message is larger than [`Options::message_size_max`](super::Options::message_size_max),
    /// possibly only after decompression.
    MessageSize,
    /// A message has more frames than [`Options::fragments_max`](super::Options::fragments_max).
    Fragments,
    /// The peer sends more control frames than
    /// [`Options::controls_per_second_max`](super::Options::controls_per_second_max).
    Controls,
    /// The stream ended without a close frame (section 7.1.5).
    Unclosed,
}

impl Error {
    /// Returns the code that the peer is told (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 | Self::Deflate | Self::CloseReason => CloseCode::INVALID_DATA,
            Self::MessageSize => CloseCode::TOO_LARGE,
            Self::Fragments | Self::Controls => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::Opcode(opcode) => return write!(f, "opcode {opcode} is reserved"),
            Self::FragmentedControl => "a control frame is fragmented",
            Self::LongControl => "a control frame has more than 125 bytes",
            Self::NotMasked => "a frame of a client is not masked",
            Self::Masked => "a frame of a server is masked",
            Self::Length => "the length of a frame is not encoded as it should be",
            Self::NothingToContinue => "a continuation comes without a message",
            Self::NotContinued => "a message begins before the last one has ended",
            Self::CompressedContinuation => "a continuation has the bit of compression",
            Self::NotUtf8 => "text is not UTF-8",
            Self::Deflate => "compressed data are invalid",
            Self::CloseTooShort => "a close frame has one byte",
            Self::CloseCode(code) => return write!(f, "close code {code} must not be sent"),
            Self::CloseReason => "the reason in a close frame is not UTF-8",
            Self::MessageSize => "message_size_max: a message is larger",
            Self::Fragments => "fragments_max: a message has more frames",
            Self::Controls => "controls_per_second_max: the peer sends more control frames",
            Self::Unclosed => "the stream ended without a close frame",
        })
    }
}

impl std::error::Error for Error {}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        match error {
            Error::MessageSize => Self::Limit("message_size_max: a message is larger"),
            Error::Fragments => Self::Limit("fragments_max: a message has more frames"),
            Error::Controls => {
                Self::Limit("controls_per_second_max: the peer sends more control frames")
            }
            error => Self::refused(error),
        }
    }
}
