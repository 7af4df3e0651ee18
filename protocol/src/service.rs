//! The application's side of a conversation.

use std::sync::Arc;

use crate::datagram::Envelopes;
use crate::{
    Codec, Context, DatagramFailure, FileRange, NotSaved, Output, Peer, Reason, SavedState, State,
    StateError,
};

/// The next step of a conversation.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next message.
    Continue,
    /// Deliver no further message until this conversation is woken. Reading stops meanwhile. If the
    /// peer ends its stream, the service is told ([`Service::hung_up`]).
    Pause,
    /// Send the output, then close the connection in order.
    Close,
    /// Pass the connection and the rest of the input to the next session: see
    /// [`Upgrade`](crate::Upgrade). If there is none, the connection is refused.
    Upgrade,
}

/// The application's part of a conversation: it is given messages and sends replies. Each
/// connection has its own value.
///
/// Connections share the application state `A`, which each call borrows as [`Context::app`]. To
/// send something on another connection, put it into `A` and [`wake`](crate::Effects::wake) that
/// connection. Its [`resume`](Self::resume) then sends it.
pub trait Service<C: Codec, A = ()> {
    /// Handles the opening of the connection. Nothing has been read yet. In protocols in which the
    /// server sends first, it sends its greeting here.
    fn open(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// Handles a message of the peer.
    fn call(
        &mut self,
        message: C::In<'_>,
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, A>,
    ) -> Flow;

    /// Handles the output falling to its low mark ([`Limits::output_low`](crate::Limits)) from
    /// above it. A service with much output appends the next portion here, up to the high mark each
    /// time.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn drained(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// Handles a graceful stop of the loop. The service should start nothing new. [`Flow::Close`]
    /// ends the conversation once its output is sent. Otherwise it goes on until it is silent
    /// ([`Limits::stopping_quiet`](crate::Limits)) and not busy
    /// ([`Effects::set_busy`](crate::Effects::set_busy)), or the time for stopping is over. A socket of
    /// datagrams is told too when another process goes on to receive from it.
    /// [`Flow::Continue`] does not end a pause.
    fn stopping(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// Handles the end of the peer's stream while this conversation pauses. Earlier requests of the
    /// peer may still be unread, and the peer may still read. Called once.
    ///
    /// [`Flow::Continue`] does not end the pause, which the loop's idle limit then bounds.
    /// [`Flow::Close`] is right if peers of this protocol never end their stream before they have
    /// their answers.
    fn hung_up(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// Handles a wake of this conversation. Messages from other connections are sent here.
    /// [`Flow::Continue`] ends a pause.
    fn resume(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }

    /// Handles the timeout of `key` ([`Effects::set_timeout`](crate::Effects::set_timeout)). The
    /// default ends the conversation.
    fn timeout(&mut self, key: u8, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (key, reply, context);
        Flow::Close
    }

    /// Handles the end of the peer's stream, after all its messages. The default ends the
    /// conversation. A service with more to send returns [`Flow::Continue`].
    fn finish(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Close
    }

    /// Handles a failure of datagrams. Connections have none of these. `reply` goes to the peer that
    /// is concerned, if there is one.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn failed(
        &mut self,
        failure: &DatagramFailure,
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (failure, reply, context);
        Flow::Continue
    }

    /// Handles the end of the conversation: this service has closed it, or its input was refused.
    /// The rest of the output is still being sent, which may take long if the peer reads slowly. No
    /// further message is delivered. Called once at most, and before [`closed`](Self::closed). If
    /// the connection is lost, only `closed` is called.
    fn ending(&mut self, context: &mut Context<'_, A>) {
        let _ = context;
    }

    /// Handles the end of the connection. Called exactly once, as the last method.
    ///
    /// [`Reason::is_orderly`] returns whether both sides were done. If not, the reason is what cut
    /// the conversation short.
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }

    /// Saves what this service knows, for the service of another process that goes on with the
    /// connection: see [`Session::save`](crate::Session::save). A service without knowledge of its
    /// own saves nothing.
    ///
    /// # Errors
    /// When this service cannot be saved, which is the default.
    fn save(&self, app: &A, state: &mut State) -> Result<(), NotSaved> {
        let _ = (app, state);
        Err(NotSaved)
    }

    /// Restores what [`save`](Self::save) has written. This service is new, and
    /// [`restored`](Self::restored) follows.
    ///
    /// # Errors
    /// When the state is not one that `save` writes. `app` must be as it was before then.
    fn restore(&mut self, app: &mut A, state: &mut SavedState<'_>) -> Result<(), StateError> {
        let _ = (app, state);
        Err(StateError::Unsupported)
    }

    /// Handles the beginning of this process's part of a connection that another process has handed
    /// over: the first call, instead of [`open`](Self::open).
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn restored(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, A>) -> Flow {
        let _ = (reply, context);
        Flow::Continue
    }
}

/// The output of a service to its peer: the other side of the connection, or of datagrams, the
/// sender of the one that the service was called with.
///
/// Over datagrams, each message that is sent is a datagram of its own ([`send`](Self::send),
/// [`share`](Self::share)).
pub struct Reply<'a, C> {
    codec: &'a mut C,
    output: &'a mut Output,
    /// Where each datagram ends and which peer it goes to; `None` for a connection.
    envelopes: Option<&'a mut Envelopes>,
}

impl<'a, C: Codec> Reply<'a, C> {
    /// Returns a reply that encodes with `codec` into `output`.
    pub fn new(codec: &'a mut C, output: &'a mut Output) -> Self {
        Self { codec, output, envelopes: None }
    }

    /// Returns a reply whose messages are datagrams.
    pub(crate) fn enveloped(
        codec: &'a mut C,
        output: &'a mut Output,
        envelopes: &'a mut Envelopes,
    ) -> Self {
        Self { codec, output, envelopes: Some(envelopes) }
    }

    /// Encodes `message` and appends it to the output.
    #[inline]
    pub fn send(&mut self, message: C::Out<'_>) {
        self.codec.encode(message, self.output);
        self.seal();
    }

    /// Ends a datagram.
    #[inline]
    fn seal(&mut self) {
        if let Some(envelopes) = &mut self.envelopes {
            envelopes.seal(self.output);
        }
    }

    /// Returns the peer that datagrams are sent to: the sender of the one that the service was
    /// called with. It is `None` for a connection, for a connected socket, and when the service was
    /// not called because of a datagram; then nothing can be sent before [`to`](Self::to) was
    /// called.
    pub fn peer(&self) -> Option<&Peer> {
        self.envelopes.as_ref()?.peer()
    }

    /// Sends what follows to another peer. On a connection, it has no effect.
    pub fn to(&mut self, peer: &Peer) -> &mut Self {
        if let Some(envelopes) = &mut self.envelopes {
            envelopes.set_peer(peer);
        }
        self
    }

    /// Appends an encoded message without copying it. One encoding serves any number of connections
    /// ([`Codec::encode_shared`]).
    pub fn share(&mut self, encoded: Arc<[u8]>) {
        self.output.share(encoded);
        self.seal();
    }

    /// Appends a range of a file, without reading it. A datagram cannot contain one and is dropped.
    pub fn file(&mut self, range: FileRange) {
        self.output.file(range);
    }

    /// Returns how many bytes of output have not been sent. A service that produces much should
    /// stop at [`Limits::output_high`](crate::Limits::output_high) and go on in
    /// [`Service::drained`].
    pub fn backlog(&self) -> u64 {
        self.output.len()
    }

    /// Returns the codec and the output, for protocols whose messages are appended part by part.
    pub fn parts(&mut self) -> (&mut C, &mut Output) {
        (self.codec, self.output)
    }

    /// Returns the codec, for protocols that change their encoding during a conversation.
    pub fn codec(&mut self) -> &mut C {
        self.codec
    }
}
