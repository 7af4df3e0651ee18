//! The session: all of a connection's protocol, without I/O.

use std::time::Instant;

use crate::{Buffer, Effects, Flow, Limits, Output, Reason};

/// Names one connection, for waking or closing it from another.
///
/// The driver gives it its meaning, and there is room for which of several drivers it is. The id of a
/// connection that is gone names nothing, even if another connection takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u128);

/// Why a session is advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection is open: the first call.
    Opened,
    /// There is more input, or the input has ended.
    Input,
    /// The output has fallen to its low mark from above it.
    Drained,
    /// The session was woken ([`Effects::wake`]).
    Woken,
    /// The timeout of this key has passed ([`Effects::set_timeout`]).
    Timeout(u8),
    /// The loop stops gracefully.
    Stopping,
    /// The peer has ended its stream while the session pauses. What it sent before that may still be
    /// unread, and it may still read what the session says. The session is told once. From then on
    /// the loop's idle limit holds, even if silence was allowed.
    HungUp,
}

/// What a session is lent for one call: the time, the application's state, and what it may ask for.
pub struct Context<'a, A = ()> {
    /// The time, read once for the whole turn of the loop.
    pub now: Instant,
    /// The connection that is called.
    pub me: ConnectionId,
    /// The application's state, shared by all connections of one loop.
    pub app: &'a mut A,
    /// What this connection may cost.
    pub limits: &'a Limits,
    /// Why the session is called.
    pub cause: Cause,
    /// Whether the peer has ended its stream: no more input will come than there is.
    pub input_ended: bool,
    /// What the session asks of its driver besides bytes.
    pub effects: &'a mut Effects,
}

impl<'a, A> Context<'a, A> {
    /// Returns a context whose cause is [`Cause::Input`], for drivers of their own and for tests.
    pub fn new(
        now: Instant,
        me: ConnectionId,
        app: &'a mut A,
        limits: &'a Limits,
        effects: &'a mut Effects,
    ) -> Self {
        Self { now, me, app, limits, cause: Cause::Input, input_ended: false, effects }
    }

    /// Returns the same context for another cause.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }
}

/// All of a connection's protocol: consumes input, appends output, owns no buffer, knows no
/// descriptor. [`Conversation`](crate::Conversation) is the session of every codec and service;
/// a session may also wrap another. [`Link`](crate::link::Link) drives it.
pub trait Session<A = ()> {
    /// Decodes what it can of `input`, appends what there is to say to `output`, and returns what it
    /// wants next.
    ///
    /// The session decides when reading stops: the link reads as long as the last call returned
    /// [`Flow::Continue`]. A session whose output answers its input returns [`Flow::Pause`] when
    /// `output` holds [`Limits::output_high`] bytes or more; it is called with [`Cause::Drained`]
    /// once the output has fallen to [`Limits::output_low`]. [`Conversation`](crate::Conversation)
    /// does so by itself. A session whose output does not answer its input, such as a relay's, goes
    /// on.
    ///
    /// # Errors
    /// When the peer said something that ends the conversation. What was appended to `output` is
    /// still sent.
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>;

    /// Tells the session that the connection is gone: see
    /// [`Service::closed`](crate::Service::closed).
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }
}

impl<A, S: Session<A> + ?Sized> Session<A> for Box<S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        (**self).advance(input, output, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        (**self).closed(reason, context);
    }
}

impl<A, S: Session<A> + ?Sized> Session<A> for &mut S {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        (**self).advance(input, output, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        (**self).closed(reason, context);
    }
}
