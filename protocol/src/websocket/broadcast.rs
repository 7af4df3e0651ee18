//! A message for many connections.

use std::sync::Arc;

use super::deflate;
use super::frame::{HEAD_MAX, Head, Opcode};
use super::options::{Deflate, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use super::{Kind, Message};

/// A message that is encoded once and sent by a server on many connections, which do not copy it
/// ([`Sender::share`](super::Sender::share)). A clone shares the encoding too, also with other
/// threads.
///
/// With [`deflated`](Self::deflated), there is one compressed encoding besides. It refers to no
/// earlier message, so all connections share it that have agreed on compression with a window as
/// large, with or without context takeover. After it, a connection with context takeover compresses
/// its next message without context, since that is no longer what its peer has. Other connections
/// send the plain encoding.
///
/// ```
/// use protocol::websocket::{Broadcast, Deflate};
///
/// let news = Broadcast::text(&"all the same ".repeat(100)).deflated(&Deflate::default());
/// assert_eq!(news.payload().len(), 1300);
/// assert!(news.deflated_size().is_some_and(|size| size < 100));
/// ```
#[derive(Clone, Debug)]
pub struct Broadcast {
    kind: Kind,
    /// Where the payload begins in `plain`.
    head: u8,
    /// The window of `deflated`.
    bits: u8,
    plain: Arc<[u8]>,
    deflated: Option<Arc<[u8]>>,
}

impl Broadcast {
    /// Returns a text message.
    pub fn text(text: &str) -> Self {
        Self::new(Kind::Text, text.as_bytes())
    }

    /// Returns a binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(Kind::Binary, bytes)
    }

    /// Returns a message with the same kind and payload as `message`, which it copies.
    pub fn copied(message: &Message<'_>) -> Self {
        Self::new(message.kind(), message.bytes())
    }

    fn new(kind: Kind, payload: &[u8]) -> Self {
        let (head, plain) = encoded(kind, payload, false);
        Self { kind, head, bits: 0, plain, deflated: None }
    }

    /// Adds a compressed encoding, with the level, the window and the least size of `deflate`. A
    /// payload that does not become smaller gets none.
    #[must_use]
    pub fn deflated(mut self, deflate: &Deflate) -> Self {
        let payload = self.payload();
        if payload.is_empty() || payload.len() < deflate.size_min {
            return self;
        }
        let bits = deflate.window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        let mut state = deflate::compressor(deflate, bits);
        let small = deflate::compress(&mut state, payload);
        deflate::keep_compressor(state, deflate, bits);
        if let Some(small) = small.filter(|small| small.len() < payload.len()) {
            self.deflated = Some(encoded(self.kind, &small, true).1);
            self.bits = bits;
        }
        self
    }

    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        &self.plain[usize::from(self.head)..]
    }

    /// Returns whether this is text.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the size of the compressed encoding in bytes, if there is one.
    pub fn deflated_size(&self) -> Option<usize> {
        self.deflated.as_ref().map(|frame| frame.len())
    }

    /// Returns the plain encoding.
    pub(super) fn plain(&self) -> &Arc<[u8]> {
        &self.plain
    }

    /// Returns the compressed encoding for a peer whose window has so many bits.
    pub(super) fn deflated_for(&self, bits: u8) -> Option<&Arc<[u8]>> {
        self.deflated.as_ref().filter(|_| self.bits <= bits)
    }
}

/// Returns the frame of a server, and the size of its head.
fn encoded(kind: Kind, payload: &[u8], is_compressed: bool) -> (u8, Arc<[u8]>) {
    let opcode = Opcode::Data(kind);
    let length = payload.len() as u64;
    let head = Head { opcode, is_last: true, is_compressed, key: None, length };
    let mut room = [0; HEAD_MAX];
    let size = head.write(&mut room);
    (size as u8, [&room[..size], payload].concat().into())
}
