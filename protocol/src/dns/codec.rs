//! Messages over TCP and UDP.

use std::error::Error;
use std::fmt;

use crate::codecs::{LengthField, LengthPrefixed};
use crate::{Codec, Decoded, NotSaved, Output, SavedState, State, StateError};

use super::error::MessageError;
use super::header::{HEADER_SIZE, Header};
use super::message::Message;

/// A message that was received, or what could not be read as one.
///
/// A server answers a question that it cannot read (FORMERR), so this is no error of the connection.
#[derive(Clone, Copy, Debug)]
pub enum Received<'a> {
    /// A message.
    Message(Message<'a>),
    /// Bytes with a header, of which the rest is wrong.
    Malformed {
        /// The header.
        header: Header,
        /// What is wrong.
        error: MessageError,
    },
}

impl<'a> Received<'a> {
    /// Reads bytes that have at least the size of a header.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::parse(bytes)?;
        Some(match Message::parse(bytes) {
            Ok(message) => Self::Message(message),
            Err(error) => Self::Malformed { header, error },
        })
    }
}

/// Messages over TCP or TLS: each after its length in two bytes (RFC 1035 section 4.2.2).
#[derive(Clone, Copy, Debug)]
pub struct OverTcp(LengthPrefixed);

/// Messages over UDP: each is a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub struct OverUdp;

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// A message is shorter than a header.
    TooShort {
        /// Its size in bytes.
        size: usize,
    },
    /// The connection ends within a message.
    Ended,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { size } => {
                write!(f, "a message of {size} bytes is shorter than a header, {HEADER_SIZE} bytes")
            }
            Self::Ended => f.write_str("the connection ends within a message"),
        }
    }
}

impl Error for CodecError {}

impl OverTcp {
    /// Returns a codec.
    pub const fn new() -> Self {
        Self(LengthPrefixed::new(LengthField::Two, u16::MAX as usize))
    }
}

impl Default for OverTcp {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec for OverTcp {
    type In<'a> = Received<'a>;
    type Out<'a> = &'a [u8];
    type Error = CodecError;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        output: &mut Output,
    ) -> Result<Decoded<Received<'a>>, CodecError> {
        match self.0.decode(input, output) {
            Ok(Decoded::Message { message, consumed }) => {
                let size = message.len();
                let message = Received::read(message).ok_or(CodecError::TooShort { size })?;
                Ok(Decoded::Message { message, consumed })
            }
            Ok(Decoded::Skip { consumed }) => Ok(Decoded::Skip { consumed }),
            Ok(Decoded::Incomplete { need }) => Ok(Decoded::Incomplete { need }),
            // Two bytes express no length that is not allowed.
            Err(_) => Err(CodecError::Ended),
        }
    }

    /// Appends a message.
    ///
    /// # Panics
    /// When it is longer than 65,535 bytes. A [`Builder`](super::Builder) makes none of these.
    fn encode(&mut self, message: &[u8], output: &mut Output) {
        self.0.encode(message, output);
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), CodecError> {
        if rest.is_empty() { Ok(()) } else { Err(CodecError::Ended) }
    }

    fn save(&self, _state: &mut State) -> Result<(), NotSaved> {
        Ok(())
    }

    fn restore(&mut self, _state: &mut SavedState<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

impl Codec for OverUdp {
    type In<'a> = Received<'a>;
    type Out<'a> = &'a [u8];
    type Error = CodecError;

    /// A number tells which question an answer belongs to.
    const IS_ORDERED: bool = false;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<Received<'a>>, CodecError> {
        let size = input.len();
        let message = Received::read(input).ok_or(CodecError::TooShort { size })?;
        Ok(Decoded::Message { message, consumed: size })
    }

    fn encode(&mut self, message: &[u8], output: &mut Output) {
        output.append(message);
    }

    fn finish(&mut self, _rest: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }
}
