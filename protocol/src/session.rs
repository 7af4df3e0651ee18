//! The session: all of a connection but the system calls.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::{Buffer, Flow, Limits, Output};

/// Why a session refused to go on. Its text is what logs and users see.
pub type Refusal = Box<dyn Error + Send + Sync>;

/// Names one connection, for waking it from another.
///
/// The driver gives it its meaning, and there is room for which of several drivers it is. A peer that
/// is gone stays gone, however often its place is taken by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u128);

/// Why a session is advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection is open: the first call there is.
    Opened,
    /// There is more input, or the input has ended.
    Input,
    /// The output has fallen to its low mark from above it.
    Drained,
    /// Somebody woke this session.
    Woken,
    /// The deadline the session had set has passed.
    Deadline,
    /// The loop winds down.
    Stopping,
    /// The peer has ended its stream while the session pauses. What it sent before that may still be
    /// unread, and it may still read what the session says. The session is told once. From then on
    /// the loop's idle limit holds, even if silence was allowed.
    HungUp,
}

/// What a session asks of its driver besides bytes. The driver carries it out after the call.
#[derive(Debug, Default)]
pub struct Effects {
    /// The connections to wake, in order.
    pub wakes: Vec<ConnectionId>,
    /// The new deadline, when the session changed it: `Some(None)` takes it away.
    pub deadline: Option<Option<Instant>>,
    /// Whether nothing will be said any more once the output is flushed.
    pub output_ended: bool,
    /// Whether the peer may be silent for ever, when the session changed it.
    pub silence_allowed: Option<bool>,
}

/// The surroundings of one call: the time, who is called, the application's state.
pub struct Context<'a, A = ()> {
    /// The time, read once for the whole turn of the loop.
    pub now: Instant,
    /// The connection that is called.
    pub me: ConnectionId,
    /// The application's state, shared by all connections of one loop.
    pub app: &'a mut A,
    /// What this conversation may cost.
    pub limits: &'a Limits,
    /// Why the session is called.
    pub cause: Cause,
    /// Whether the peer has ended its stream: what is in the input is all there will be.
    pub input_ended: bool,
    effects: &'a mut Effects,
}

impl<'a, A> Context<'a, A> {
    /// The surroundings of a call, with `effects` for what the session asks of its driver.
    pub fn new(
        now: Instant,
        me: ConnectionId,
        app: &'a mut A,
        limits: &'a Limits,
        effects: &'a mut Effects,
    ) -> Self {
        Self { now, me, app, limits, cause: Cause::Input, input_ended: false, effects }
    }

    /// The same surroundings for another cause.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Has `peer` advanced with [`Cause::Woken`] soon, once however often it is woken before
    /// that. Waking a connection that is gone does nothing.
    pub fn wake(&mut self, peer: ConnectionId) {
        self.effects.wakes.push(peer);
    }

    /// Calls this session with [`Cause::Deadline`] once `at` has passed, or never. There
    /// is one deadline a session: the last one set.
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.effects.deadline = Some(at);
    }

    /// Says that what is in the output is all there will be: the driver ends the sending side of
    /// the connection once it is flushed, and goes on reading. To end both, return
    /// [`Flow::Close`].
    pub fn end_output(&mut self) {
        self.effects.output_ended = true;
    }

    /// Says whether the peer may be silent for ever from now on: one that waits for others has
    /// nothing to say. Otherwise, as at first, the loop's idle limit holds. It also holds for a peer
    /// that has hung up on a session that pauses ([`Cause::HungUp`]).
    pub fn allow_silence(&mut self, allowed: bool) {
        self.effects.silence_allowed = Some(allowed);
    }

    /// [`set_deadline`](Self::set_deadline), counted from now.
    pub fn set_timeout(&mut self, after: Duration) {
        self.set_deadline(self.now.checked_add(after));
    }
}

/// All of a connection but the system calls: consumes input, appends output, owns no buffer, knows
/// no descriptor. [`Conversation`](crate::Conversation) is the session of every codec and service;
/// a session may also wrap another.
pub trait Session<A = ()> {
    /// Does what there is to do: decodes what it can of `input`, appends what there is to say to
    /// `output`, and says what it wants next.
    ///
    /// A session stops consuming when `output` holds [`Limits::output_high`] bytes or more, and the
    /// driver stops reading; it calls again, with [`Cause::Drained`], once the output has fallen
    /// to the low mark. A session whose output does not answer its input, as a relay's, stays
    /// under the high mark instead, so that reading goes on.
    ///
    /// # Errors
    /// When the peer said something that ends the conversation. What was appended to `output` is
    /// still sent.
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Refusal>;

    /// The connection is gone: see [`Service::closed`](crate::Service::closed).
    fn closed(&mut self, error: Option<&(dyn Error + 'static)>, context: &mut Context<'_, A>) {
        let _ = (error, context);
    }
}

impl<A, S: Session<A> + ?Sized> Session<A> for Box<S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Refusal> {
        (**self).advance(input, output, context)
    }

    fn closed(&mut self, error: Option<&(dyn Error + 'static)>, context: &mut Context<'_, A>) {
        (**self).closed(error, context);
    }
}
