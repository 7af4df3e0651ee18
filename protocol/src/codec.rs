//! The codec: one side of one conversation, as a translation between bytes and messages.

use std::error::Error;
use std::sync::Arc;

use crate::Output;

/// What a decoder made of the input it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<M> {
    /// A whole message stands at the front of the input.
    Message {
        /// The message, usually a view of the input.
        message: M,
        /// How many bytes of input it took: at least one, so that decoding always ends.
        consumed: usize,
    },
    /// Bytes that say nothing stand at the front of the input: an empty line between two requests,
    /// a keepalive. They are dropped and nobody is told. Without this, they would have to wait
    /// for the next message, and a peer that sends nothing else would fill the buffer.
    Skip {
        /// How many bytes of input they take: at least one.
        consumed: usize,
    },
    /// The input ends before the message does.
    Incomplete {
        /// How many bytes of input, counted from its front, are needed before decoding can get
        /// any further. The decoder is not called again before they are there, so this must
        /// never be more than the message really needs.
        need: usize,
    },
}

impl<M> Decoded<M> {
    /// The same answer about a message turned into another by `map`.
    pub fn map<N>(self, map: impl FnOnce(M) -> N) -> Decoded<N> {
        match self {
            Self::Message { message, consumed } => {
                Decoded::Message { message: map(message), consumed }
            }
            Self::Skip { consumed } => Decoded::Skip { consumed },
            Self::Incomplete { need } => Decoded::Incomplete { need },
        }
    }
}

/// One side of one conversation: turns what the peer sends into messages, and messages into bytes.
///
/// A codec performs no I/O, reads no clock and knows nothing of connections, so it can be driven
/// by a reactor, by a blocking socket or by a test alike. [`testing`](crate::testing) checks any
/// codec the way those of this crate are checked.
pub trait Codec {
    /// What the peer says: a validated view of the input where that is possible, not a copy.
    type In<'a>;
    /// What this side says.
    type Out<'a>;
    /// Why input was refused. Its text is what logs and users see.
    type Error: Error + Send + Sync + 'static;

    /// Looks for one message at the front of `input`.
    ///
    /// `input` always starts where the last message ended; bytes of an incomplete message are
    /// shown again with more behind them, and a codec may remember how far it has looked. It is
    /// mutable because a WebSocket unmasks and TLS decrypts in place: what an incomplete message
    /// has had done to it stays done. What the protocol itself owes its peer (a pong, a window
    /// update) is appended to `output`.
    ///
    /// # Errors
    /// When the input cannot become a message however it goes on. The conversation ends with
    /// what [`reject`](Self::reject) has to say.
    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        output: &mut Output,
    ) -> Result<Decoded<Self::In<'a>>, Self::Error>;

    /// Appends the bytes of `message` to `output`.
    fn encode(&mut self, message: Self::Out<'_>, output: &mut Output);

    /// Returns the bytes of `message`, for [`Reply::share`](crate::Reply::share): one encoding,
    /// whose bytes many connections send without copying them.
    ///
    /// ```
    /// use protocol::Codec;
    /// use protocol::codecs::Lines;
    ///
    /// assert_eq!(&*Lines::default().encode_shared(b"news"), b"news\n");
    /// ```
    fn encode_shared(&mut self, message: Self::Out<'_>) -> Arc<[u8]> {
        let mut output = Output::new();
        self.encode(message, &mut output);
        output.to_vec().into()
    }

    /// The peer's stream has ended, with `rest` left that is no whole message.
    ///
    /// # Errors
    /// When a stream must not end here: usually, when `rest` is not empty.
    fn finish(&mut self, rest: &[u8]) -> Result<(), Self::Error>;

    /// Appends the protocol's words for `error` (a 400, an `-ERR`) before the connection closes.
    fn reject(&mut self, error: &Self::Error, output: &mut Output) {
        let _ = (error, output);
    }
}
