//! Messages.

/// Whether a message is text or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A received message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, which was checked.
    Text(&'a str),
    /// Bytes, which the receiver may change in place.
    Binary(&'a mut [u8]),
}

impl Message<'_> {
    /// Returns whether this is text.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// Returns the payload.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A piece of a message that is delivered as it arrives
/// ([`Options::in_pieces`](super::Options::in_pieces)).
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Whether the message is text. Its pieces may end inside a character, and are checked up to
    /// there.
    pub kind: Kind,
    /// The next bytes of the message, decompressed. May be empty.
    pub bytes: &'a mut [u8],
    /// Whether the message ends with this piece.
    pub is_last: bool,
}
