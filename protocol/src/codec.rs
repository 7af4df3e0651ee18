//! The codec: the translation between bytes and messages, for one side of a conversation.

use std::error::Error;
use std::sync::Arc;

use crate::{NotSaved, Output, SavedState, State, StateError};

/// The result of decoding the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<M> {
    /// The input begins with a whole message.
    Message {
        /// The message, usually a view of the input.
        message: M,
        /// How many bytes of input the message occupies: at least one, so that decoding ends. Only
        /// the message of an empty datagram occupies none.
        consumed: usize,
    },
    /// The input begins with bytes without a message: an empty line between two requests, a
    /// keepalive. They are dropped, and the service is not told. Otherwise they would have to wait
    /// for the next message, and a peer that sends nothing else would fill the buffer.
    Skip {
        /// How many bytes of input to drop: at least one.
        consumed: usize,
    },
    /// The input ends before the message does.
    Incomplete {
        /// How many bytes of input, counted from its front, decoding needs to continue. The decoder
        /// is not called again before they have arrived, so this must not exceed the length of the
        /// message.
        need: usize,
    },
}

impl<M> Decoded<M> {
    /// Returns the same result with the message converted by `map`.
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

/// A protocol for one side of one conversation. It turns received bytes into messages, and messages
/// into bytes to send.
///
/// A codec performs no I/O, reads no clock and does not know connections. So a reactor, a blocking
/// socket and a test can drive it alike. [`testing`](crate::testing) has the checks that the codecs
/// of this crate pass.
pub trait Codec {
    /// A received message: a validated view of the input where possible, not a copy.
    type In<'a>;
    /// A message to send.
    type Out<'a>;
    /// The reason for refusing input. Logs and users see its text.
    type Error: Error + Send + Sync + 'static;

    /// Whether the order of messages to one peer matters. It does by default. Where it does not,
    /// since each message has a number, a driver of datagrams may send those that wait for one peer
    /// in another order: see [`Outbox::group_by_peer`](crate::Outbox::group_by_peer). A
    /// stream keeps the order in any case.
    const IS_ORDERED: bool = true;

    /// Decodes one message at the front of `input`.
    ///
    /// `input` starts where the last message ended. The bytes of an incomplete message are passed
    /// again with more bytes after them, and a codec may remember how far it has parsed. `input` is
    /// mutable so that a codec can transform it in place, as WebSocket unmasks its payload; changes
    /// to an incomplete message persist. A codec appends its own answers, such as a pong or a
    /// window update, to `output`.
    ///
    /// Over datagrams, `input` is a whole datagram, which may be empty, and it has to be exactly one
    /// message.
    ///
    /// # Errors
    /// When the input cannot become a message, whatever follows. [`reject`](Self::reject) then
    /// appends the last bytes of the conversation.
    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        output: &mut Output,
    ) -> Result<Decoded<Self::In<'a>>, Self::Error>;

    /// Appends the bytes of `message` to `output`.
    fn encode(&mut self, message: Self::Out<'_>, output: &mut Output);

    /// Returns the bytes of `message` for [`Reply::share`](crate::Reply::share): it is encoded
    /// once, and many connections send the bytes without copying them.
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

    /// Checks the end of the peer's stream. `rest` is the remaining input, which is not a whole
    /// message.
    ///
    /// # Errors
    /// When the stream must not end here, usually because `rest` is not empty.
    fn finish(&mut self, rest: &[u8]) -> Result<(), Self::Error>;

    /// Appends the message of the protocol for `error` (a 400, an `-ERR`) before the connection
    /// closes.
    fn reject(&mut self, error: &Self::Error, output: &mut Output) {
        let _ = (error, output);
    }

    /// Saves what this codec knows of the conversation, for the codec of another process: see
    /// [`Session::save`](crate::Session::save). The bytes of an incomplete message are decoded there
    /// from their beginning, so how far they were parsed is not saved. A codec without other
    /// knowledge saves nothing.
    ///
    /// # Errors
    /// When this codec cannot be saved, which is the default.
    fn save(&self, state: &mut State) -> Result<(), NotSaved> {
        let _ = state;
        Err(NotSaved)
    }

    /// Restores what [`save`](Self::save) has written. This codec is new.
    ///
    /// # Errors
    /// When the state is not one that `save` writes.
    fn restore(&mut self, state: &mut SavedState<'_>) -> Result<(), StateError> {
        let _ = state;
        Err(StateError::Unsupported)
    }
}
