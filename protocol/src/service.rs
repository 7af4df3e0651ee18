//! The application's side of a conversation.

use std::sync::Arc;

use crate::{Codec, Context, FileRange, Output, Reason};

/// What a conversation wants next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on: the next message may come.
    Continue,
    /// Take no further message until this conversation is woken. Input is left with the peer. A
    /// peer that ends its stream meanwhile is reported ([`Service::hung_up`]).
    Pause,
    /// Send what has been said, then close in order.
    Close,
    /// Hand over to the session that comes after this one, with what is left of the input: see
    /// [`Upgrade`](crate::Upgrade). Without one, the connection is refused.
    Upgrade,
}

/// The application: a message in, replies out. One value serves one connection.
///
/// What connections share lives in the application state `A`, which every call is lent through
/// [`Context::app`]. To speak to another connection, put what it should say into `A` and
/// [`wake`](crate::Effects::wake) it; its own [`resume`](Self::resume) says it.
pub trait Service<C: Codec, A = ()> {
    /// The connection is open and nothing has been read. Servers of protocols in which the server
    /// speaks first greet here.
    fn open(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// The peer sent `message`.
    fn call(
        &mut self,
        message: C::In<'_>,
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, A>,
    ) -> Flow;

    /// The output has fallen to its low mark ([`Limits::output_low`](crate::Limits)) from above it. A
    /// service that has much to say says some more here, up to the high mark each time.
    ///
    /// [`Flow::Continue`] leaves a pause as it is.
    fn drained(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// The loop stops gracefully: the service starts nothing new. [`Flow::Close`] ends the
    /// conversation once what was said is sent. Otherwise it goes on until it is silent
    /// ([`Limits::stopping_quiet`](crate::Limits)) or the loop's patience ends.
    /// [`Flow::Continue`] leaves a pause as it is.
    fn stopping(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// The peer has ended its stream while this conversation pauses. Requests that it sent before
    /// may still be unread, and it may still read what is said. Called once.
    ///
    /// [`Flow::Continue`] leaves the pause as it is, and the loop's idle limit bounds it;
    /// [`Flow::Close`] suits a service whose peers read until they have been answered.
    fn hung_up(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// This conversation was woken. What others have for it is said here. [`Flow::Continue`] ends a
    /// pause.
    fn resume(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// The timeout of `key` has passed ([`Effects::set_timeout`](crate::Effects::set_timeout)). By
    /// default that ends the conversation.
    fn timeout(&mut self, key: u8, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (key, reply, context);
        Flow::Close
    }

    /// The peer will send nothing more, and all it sent has been answered. By default that is the
    /// end of the conversation; a service with more to say returns [`Flow::Continue`].
    fn finish(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Close
    }

    /// The conversation ends: this service has closed it, or what the peer said was refused. What was
    /// said is still being sent, which takes as long as the peer takes it; of the peer, nothing more is
    /// heard. Called once at most, behind whatever ended the conversation and before
    /// [`closed`](Self::closed), which alone is called when the connection is lost.
    fn ending(&mut self, context: &mut Context<'_, A>) {
        let _ = context;
    }

    /// The connection is gone. Called exactly once, and nothing after it.
    ///
    /// [`Reason::is_orderly`] tells whether both sides were done; otherwise the reason says what cut
    /// the conversation short.
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }
}

/// Where a service says things to its peer.
pub struct Reply<'a, C> {
    codec: &'a mut C,
    output: &'a mut Output,
}

impl<'a, C: Codec> Reply<'a, C> {
    /// A reply that encodes with `codec` into `output`.
    pub fn new(codec: &'a mut C, output: &'a mut Output) -> Self {
        Self { codec, output }
    }

    /// Says `message`.
    pub fn send(&mut self, message: C::Out<'_>) {
        self.codec.encode(message, self.output);
    }

    /// Says what has been encoded already, without copying it: one encoding, however many
    /// connections say it.
    pub fn share(&mut self, encoded: Arc<[u8]>) {
        self.output.share(encoded);
    }

    /// Says a range of a file, without reading it.
    pub fn file(&mut self, range: FileRange) {
        self.output.file(range);
    }

    /// Bytes said and not yet sent. A service that produces much should stop at
    /// [`Limits::output_high`](crate::Limits::output_high) and go on when there is less.
    pub fn backlog(&self) -> u64 {
        self.output.len()
    }

    /// The codec and the output, for protocols whose messages are said part by part.
    pub fn parts(&mut self) -> (&mut C, &mut Output) {
        (self.codec, self.output)
    }

    /// The codec, for protocols that change their ways in the middle of a conversation.
    pub fn codec(&mut self) -> &mut C {
        self.codec
    }
}
