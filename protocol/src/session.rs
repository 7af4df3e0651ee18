//! The session: all of a connection's protocol, without I/O.

use std::time::Instant;

use crate::{
    Buffer, Effects, Flow, Limits, NotSaved, Output, Reason, SavedState, Secured, State, StateError,
};

/// The name of one connection, for waking or closing it from another.
///
/// The driver assigns it. It has room for the number of the driver, if there are several. The id of
/// a closed connection is never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u128);

/// The reason for a call of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection is open: the first call.
    Opened,
    /// The connection was opened in another process, which has handed it over. The session has its
    /// state ([`Session::restore`]): the first call in this process, instead of
    /// [`Opened`](Self::Opened).
    Restored,
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
    /// The peer has ended its stream while the session pauses. Earlier input may still be unread,
    /// and the peer may still read. The session is told once. From then on the loop's idle limit
    /// holds, even if silence was allowed.
    HungUp,
}

/// What a session is lent for one call: the time, the application's state, and its effects.
pub struct Context<'a, A = ()> {
    /// The time, read once for the whole turn of the loop.
    pub now: Instant,
    /// The connection that is called.
    pub me: ConnectionId,
    /// The application's state, shared by all connections of one loop.
    pub app: &'a mut A,
    /// The limits of this connection.
    pub limits: &'a Limits,
    /// Why the session is called.
    pub cause: Cause,
    /// Whether the peer has ended its stream. If so, no further input will arrive.
    pub input_ended: bool,
    /// In [`Session::closed`]: how many bytes at the end of the session's output the driver has not
    /// passed on to the system. The peer has certainly not received them. Zero in other calls.
    pub unsent: u64,
    /// The encryption of the connection. `None` if it is not encrypted, or if the session has
    /// started its layer later ([`Effects::start_layer`]) and the handshake goes on.
    pub secured: Option<&'a dyn Secured>,
    /// What the session requests from its driver besides bytes.
    pub effects: &'a mut Effects,
}

impl<'a, A> Context<'a, A> {
    /// Returns a context whose cause is [`Cause::Input`], for drivers and tests.
    pub fn new(
        now: Instant,
        me: ConnectionId,
        app: &'a mut A,
        limits: &'a Limits,
        effects: &'a mut Effects,
    ) -> Self {
        Self {
            now,
            me,
            app,
            limits,
            cause: Cause::Input,
            input_ended: false,
            unsent: 0,
            secured: None,
            effects,
        }
    }

    /// Returns the same context with another cause.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }
}

/// The whole protocol of one connection. A session consumes input and appends output. It owns no
/// buffer and knows no descriptor. [`Conversation`](crate::Conversation) combines a codec and a
/// service into a session. A session may also wrap another. [`Link`](crate::link::Link) drives it.
pub trait Session<A = ()> {
    /// Decodes `input` as far as possible, appends to `output`, and returns the next step.
    ///
    /// The session decides when reading stops: the link reads as long as the last call returned
    /// [`Flow::Continue`]. If the output of a session answers its input, the session returns
    /// [`Flow::Pause`] when `output` holds [`Limits::output_high`] bytes or more. It is called with
    /// [`Cause::Drained`] once the output has fallen to [`Limits::output_low`].
    /// [`Conversation`](crate::Conversation) does this. If the output does not depend on the input
    /// of the same connection, as in a relay, the session keeps returning [`Flow::Continue`].
    ///
    /// # Errors
    /// When the input ends the conversation. What was appended to `output` is still sent.
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>;

    /// Tells the session that the connection is closed: see
    /// [`Service::closed`](crate::Service::closed).
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }

    /// Saves what this session knows, so that a session of another process goes on with the
    /// connection: a new program that replaces this one without a client noticing. It is called
    /// between two calls of [`advance`](Self::advance). The unread input, the unsent output and the
    /// timeouts are saved by the link. The session changes nothing, since it goes on here if the
    /// other process does not take the connection over; if it does, [`closed`](Self::closed) follows.
    ///
    /// Whether the peer may be silent ([`Effects::allow_silence`]) is not saved: ask for it again.
    ///
    /// What other connections give this one between the two is lost. So a session that others reach
    /// is saved only where they are all saved together.
    ///
    /// # Errors
    /// When this session cannot be saved now, or at all, which is the default. The connection stays
    /// in this process then.
    fn save(&self, app: &A, state: &mut State) -> Result<(), NotSaved> {
        let _ = (app, state);
        Err(NotSaved)
    }

    /// Restores what [`save`](Self::save) has written for the same kind of session. This session is
    /// new. The first call that follows has the cause [`Cause::Restored`].
    ///
    /// # Errors
    /// When the state is not one that `save` writes. The other process keeps the connection then, so
    /// `app` must be as it was before.
    fn restore(&mut self, app: &mut A, state: &mut SavedState<'_>) -> Result<(), StateError> {
        let _ = (app, state);
        Err(StateError::Unsupported)
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

    fn save(&self, app: &A, state: &mut State) -> Result<(), NotSaved> {
        (**self).save(app, state)
    }

    fn restore(&mut self, app: &mut A, state: &mut SavedState<'_>) -> Result<(), StateError> {
        (**self).restore(app, state)
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

    fn save(&self, app: &A, state: &mut State) -> Result<(), NotSaved> {
        (**self).save(app, state)
    }

    fn restore(&mut self, app: &mut A, state: &mut SavedState<'_>) -> Result<(), StateError> {
        (**self).restore(app, state)
    }
}
