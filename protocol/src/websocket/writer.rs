//! Sending frames.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use flate2::Compress;

use super::close::fitted;
use super::deflate::{self, Agreed};
use super::frame::{CONTROL_MAX, HEAD_MAX, Head, Opcode};
use super::mask::mask_into;
use super::{Agreement, Broadcast, CloseCode, Kind, Options};
use crate::Output;
use crate::planted::{self, Planted};

/// How many bytes are masked at a time, so that they are still in the first cache when they are.
const MASKED_AT_ONCE: usize = 16 * 1024;

/// The keys of a client, which cannot be predicted (RFC 6455 section 10.3): the hash of a counter
/// with the random keys of the standard library (SipHash).
#[derive(Debug)]
struct Keys {
    hash: RandomState,
    count: u64,
}

impl Keys {
    fn next(&mut self) -> [u8; 4] {
        self.count += 1;
        let [a, b, c, d, ..] = self.hash.hash_one(self.count).to_ne_bytes();
        [a, b, c, d]
    }
}

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: Arc<Options>,
    pub(super) subprotocol: Option<u16>,
    pub(super) agreed: Option<Agreed>,
    /// The keys of a client. A server does not mask.
    keys: Option<Box<Keys>>,
    /// The context that this side takes over from message to message.
    context: Option<Box<Compress>>,
    /// The kind of a message in parts that has begun.
    begun: Option<Kind>,
    /// A close frame was sent.
    pub(super) is_closing: bool,
}

impl Writer {
    pub(super) fn new(agreement: Agreement, is_client: bool) -> Self {
        let keys = || Box::new(Keys { hash: RandomState::new(), count: 0 });
        Self {
            options: agreement.options,
            subprotocol: agreement.subprotocol,
            agreed: agreement.deflate,
            keys: is_client.then(keys),
            context: None,
            begun: None,
            is_closing: false,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        self.keys.is_some()
    }

    /// Appends a frame.
    #[inline]
    fn frame(&mut self, opcode: Opcode, is_last: bool, payload: &[u8], output: &mut Output) {
        self.frame_with(opcode, is_last, false, payload, output);
    }

    #[inline]
    fn frame_with(
        &mut self,
        opcode: Opcode,
        is_last: bool,
        is_compressed: bool,
        payload: &[u8],
        output: &mut Output,
    ) {
        let key = self.keys.as_mut().map(|keys| keys.next());
        let length = payload.len() as u64;
        let mut room = [0; HEAD_MAX];
        let size = Head { opcode, is_last, is_compressed, key, length }.write(&mut room);
        output.append(&room[..size]);
        match key {
            None => output.append(payload),
            Some(key) => append_masked(payload, key, output),
        }
    }

    /// Appends a message.
    #[inline]
    fn message(&mut self, kind: Kind, payload: &[u8], output: &mut Output) {
        if self.is_closing {
            return;
        }
        assert!(self.begun.is_none(), "a message in parts has not ended");
        if self.agreed.is_none() || !self.compressed(kind, payload, output) {
            self.frame(Opcode::Data(kind), true, payload, output);
        }
    }

    /// Appends a message compressed, if that is of use.
    #[inline(never)]
    fn compressed(&mut self, kind: Kind, payload: &[u8], output: &mut Output) -> bool {
        let (Some(agreed), Some(deflate)) = (self.agreed, self.options.deflate) else {
            return false;
        };
        if !agreed.compresses() || payload.is_empty() || payload.len() < deflate.size_min {
            return false;
        }
        let small = if agreed.takeover {
            let new = || deflate::compressor(&deflate, agreed.bits);
            deflate::compress(self.context.get_or_insert_with(new), payload)
        } else {
            let mut state = deflate::compressor(&deflate, agreed.bits);
            let small = deflate::compress(&mut state, payload);
            deflate::keep_compressor(state, &deflate, agreed.bits);
            small
        };
        match small {
            Some(small) if small.len() < payload.len() => {
                self.frame_with(Opcode::Data(kind), true, true, &small, output);
                true
            }
            _ => {
                self.forget_context();
                false
            }
        }
    }

    /// Compresses the next message without context: the peer does not have it.
    fn forget_context(&mut self) {
        if let Some(context) = &mut self.context {
            context.reset();
        }
    }

    /// Appends a close frame, unless one was sent.
    pub(super) fn close(&mut self, code: Option<CloseCode>, reason: &str, output: &mut Output) {
        if self.is_closing {
            return;
        }
        if planted::is(Planted::LastMessageLost) {
            output.clear();
        }
        let mut payload = [0; CONTROL_MAX];
        let reason = fitted(reason).as_bytes();
        let size = match code {
            Some(code) => {
                payload[..2].copy_from_slice(&code.number().to_be_bytes());
                payload[2..2 + reason.len()].copy_from_slice(reason);
                2 + reason.len()
            }
            None => 0,
        };
        self.frame(Opcode::Close, true, &payload[..size], output);
        self.is_closing = true;
        // Nothing more is compressed.
        self.context = None;
    }

    /// Appends a pong.
    pub(super) fn pong(&mut self, payload: &[u8], output: &mut Output) {
        if !self.is_closing {
            self.frame(Opcode::Pong, true, payload, output);
        }
    }

    pub(super) fn ping(&mut self, payload: &[u8], output: &mut Output) {
        if !self.is_closing {
            self.frame(Opcode::Ping, true, payload, output);
        }
    }
}

/// Appends a payload masked.
fn append_masked(payload: &[u8], key: [u8; 4], output: &mut Output) {
    let mut from = 0;
    for part in payload.chunks(MASKED_AT_ONCE) {
        let written: Result<(), Infallible> = output.append_with(part.len(), |room| {
            mask_into(part, room, key, from);
            Ok(part.len())
        });
        let Ok(()) = written;
        from += part.len() as u64;
    }
}

/// The sending half of a connection, which a service is lent. Nothing is sent once a close frame was.
#[derive(Debug)]
pub struct Sender<'a> {
    writer: &'a mut Writer,
    output: &'a mut Output,
}

impl<'a> Sender<'a> {
    pub(super) fn new(writer: &'a mut Writer, output: &'a mut Output) -> Self {
        Self { writer, output }
    }

    /// Sends text.
    ///
    /// # Panics
    /// When a message in parts has begun and not ended ([`part`](Self::part)).
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.writer.message(Kind::Text, text.as_bytes(), self.output);
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When a message in parts has begun and not ended ([`part`](Self::part)).
    #[inline]
    pub fn binary(&mut self, bytes: &[u8]) {
        self.writer.message(Kind::Binary, bytes, self.output);
    }

    /// Sends a message that many connections share. A server does not copy it; a client has to mask
    /// it.
    ///
    /// # Panics
    /// When a message in parts has begun and not ended ([`part`](Self::part)).
    pub fn share(&mut self, message: &Broadcast) {
        let writer = &mut *self.writer;
        if writer.is_client() {
            return writer.message(message.kind(), message.payload(), self.output);
        }
        if writer.is_closing {
            return;
        }
        assert!(writer.begun.is_none(), "a message in parts has not ended");
        match writer.agreed.and_then(|agreed| message.deflated_for(agreed.bits)) {
            Some(frame) => {
                writer.forget_context();
                self.output.share(Arc::clone(frame));
            }
            None => self.output.share(Arc::clone(message.plain())),
        }
    }

    /// Sends a part of a message as a frame of its own, uncompressed. All parts of a message are of
    /// one kind; those of text may end inside a character. Use this for messages that are not known
    /// whole.
    ///
    /// # Panics
    /// When the kind is not that of the message that has begun.
    pub fn part(&mut self, kind: Kind, bytes: &[u8], is_last: bool) {
        if self.writer.is_closing {
            return;
        }
        let opcode = match self.writer.begun {
            None => Opcode::Data(kind),
            Some(begun) => {
                assert!(begun == kind, "a message of {begun:?} goes on as {kind:?}");
                Opcode::Continuation
            }
        };
        self.writer.frame(opcode, is_last, bytes, self.output);
        self.writer.begun = (!is_last).then_some(kind);
    }

    /// Sends a ping with a payload of the service. The pong brings it back ([`Service::pong`]).
    ///
    /// # Panics
    /// When the payload has more than 125 bytes.
    ///
    /// [`Service::pong`]: super::Service::pong
    pub fn ping(&mut self, payload: &[u8]) {
        assert!(payload.len() <= CONTROL_MAX, "a ping has {} bytes", payload.len());
        self.writer.ping(payload, self.output);
    }

    /// Begins to close the connection: sends a close frame, after which this side sends nothing. The
    /// messages that the peer still sends are dropped. Its answer has
    /// [`Options::close_timeout`]. `reason` is cut after 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.writer.close(Some(code), reason, self.output);
    }

    /// Returns whether a close frame was sent.
    pub fn is_closing(&self) -> bool {
        self.writer.is_closing
    }

    /// Returns how many bytes of output have not been sent. A service that produces much should stop
    /// at [`Limits::output_high`](crate::Limits::output_high) and go on in
    /// [`Service::drained`](super::Service::drained).
    pub fn backlog(&self) -> u64 {
        self.output.len()
    }

    /// Returns the subprotocol that both sides have agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        let index = usize::from(self.writer.subprotocol?);
        self.writer.options.subprotocols.get(index).map(String::as_str)
    }

    /// Returns whether both sides have agreed on compression.
    pub fn is_compressed(&self) -> bool {
        self.writer.agreed.is_some()
    }
}
