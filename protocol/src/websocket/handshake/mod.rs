//! The opening handshake (RFC 6455 section 4).

mod client;
mod server;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

pub use client::{Client, ClientHandshake};
pub use server::{Accepted, accept, is_upgrade, server};

use super::Options;
use super::deflate::Agreed;

/// What both sides have agreed on in the handshake.
#[derive(Clone, Debug)]
pub struct Agreement {
    pub(super) options: Arc<Options>,
    pub(super) subprotocol: Option<u16>,
    pub(super) deflate: Option<Agreed>,
}

impl Agreement {
    /// Returns an agreement on nothing but WebSocket: no subprotocol, no compression. For connections
    /// whose handshake was done elsewhere.
    pub fn plain(options: Arc<Options>) -> Self {
        Self { options, subprotocol: None, deflate: None }
    }

    /// Returns the subprotocol.
    pub fn subprotocol(&self) -> Option<&str> {
        self.options.subprotocols.get(usize::from(self.subprotocol?)).map(String::as_str)
    }

    /// Returns whether messages may be compressed.
    pub fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The request has another method than `GET`, or a body, or is older than HTTP/1.1.
    Request,
    /// The message lacks `Upgrade: websocket` or `Connection: Upgrade`.
    NoUpgrade,
    /// The client does not speak version 13 of the protocol, which is that of RFC 6455.
    Version,
    /// `Sec-WebSocket-Key` is missing, comes twice, or is not 16 bytes in Base64.
    Key,
    /// The page that connects is of another origin than those allowed
    /// ([`Options::origins`](super::Options::origins)).
    Origin,
    /// The server has answered with this status instead of 101.
    Status(u16),
    /// `Sec-WebSocket-Accept` is not the answer to the key.
    Accept,
    /// The server has chosen a subprotocol that was not offered.
    Subprotocol,
    /// The server has chosen an extension or a parameter that was not offered.
    Extension,
}

impl HandshakeError {
    /// Returns the status that a server answers with: 400, 403 or 426.
    pub fn status(self) -> u16 {
        match self {
            Self::Origin => 403,
            Self::NoUpgrade | Self::Version => 426,
            _ => 400,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "a WebSocket begins with a GET of HTTP/1.1 without a body",
            Self::NoUpgrade => "Upgrade: websocket or Connection: Upgrade is missing",
            Self::Version => "the version of WebSocket is not 13",
            Self::Key => "Sec-WebSocket-Key is not 16 bytes in Base64",
            Self::Origin => "pages of this origin may not connect",
            Self::Status(status) => {
                return write!(f, "the server answered {status} instead of 101 to a WebSocket");
            }
            Self::Accept => "Sec-WebSocket-Accept is not the answer to the key",
            Self::Subprotocol => "the server has chosen a subprotocol that was not offered",
            Self::Extension => "the server has chosen an extension that was not offered",
        })
    }
}

impl std::error::Error for HandshakeError {}

/// How many characters `Sec-WebSocket-Accept` has.
const ACCEPT_SIZE: usize = 28;

/// Returns the answer to a key (section 4.2.2, step 5.4).
fn accept_of(key: &str) -> [u8; ACCEPT_SIZE] {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut text = [0; ACCEPT_SIZE];
    // 20 bytes always have 28 characters.
    let _ = STANDARD.encode_slice(hash.finalize(), &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_has_its_answer() {
        assert_eq!(&accept_of("dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
