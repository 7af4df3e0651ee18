//! Changing the protocol during a connection.

use crate::{Buffer, Cause, Context, Flow, Output, Reason, Session};

/// A session that passes its connection and the rest of its input to another session. Examples are
/// HTTP to WebSocket (RFC 9110 section 7.8), and a protocol that is chosen by a greeting.
///
/// The first session returns [`Flow::Upgrade`] after its last output. The function `then` makes the
/// second session of it, which is called with [`Cause::Opened`] at once. For a chain of upgrades,
/// nest them. If the first session has started a layer
/// ([`Effects::start_layer`](crate::Effects::start_layer)), the rest of the input is for the layer,
/// and what the second session says passes through it.
///
/// ```
/// use protocol::codecs::{Bytes, Lines};
/// use protocol::testing::drive;
/// use protocol::{Context, Conversation, Flow, Reply, Service, Upgrade};
///
/// struct Greeting;
/// impl Service<Lines> for Greeting {
///     fn call(&mut self, _: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
///         reply.send(b"raw from here");
///         Flow::Upgrade
///     }
/// }
/// struct Echo;
/// impl Service<Bytes> for Echo {
///     fn call(&mut self, bytes: &mut [u8], reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
///         reply.send(bytes);
///         Flow::Continue
///     }
/// }
///
/// let first = Conversation::new(Lines::default(), Greeting);
/// let mut session = Upgrade::new(first, |_| Conversation::new(Bytes, Echo));
/// assert_eq!(drive(&mut session, &mut (), &[b"raw\nabc"])?, b"raw from here\nabc");
/// # Ok::<(), protocol::Reason>(())
/// ```
#[derive(Debug)]
pub struct Upgrade<S, T, F> {
    state: State<S, T, F>,
}

#[derive(Debug)]
enum State<S, T, F> {
    First(S, F),
    Second(T),
    /// The function that makes the second session panicked.
    Lost,
}

impl<S, T, F: FnOnce(S) -> T> Upgrade<S, T, F> {
    /// Returns a session that is `first` until that returns [`Flow::Upgrade`], and the result of
    /// `then(first)` afterwards.
    pub fn new(first: S, then: F) -> Self {
        Self { state: State::First(first, then) }
    }
}

impl<A, S, T, F> Session<A> for Upgrade<S, T, F>
where
    S: Session<A>,
    T: Session<A>,
    F: FnOnce(S) -> T,
{
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        match &mut self.state {
            State::First(first, _) => match first.advance(input, output, context)? {
                Flow::Upgrade => {}
                flow => return Ok(flow),
            },
            State::Second(second) => return second.advance(input, output, context),
            State::Lost => return Ok(Flow::Close),
        }
        if let State::First(first, then) = std::mem::replace(&mut self.state, State::Lost) {
            self.state = State::Second(then(first));
        }
        context.cause = Cause::Opened;
        if context.effects.starts_layer() {
            context.input_ended = false;
            return self.advance(&mut Buffer::new(), output, context);
        }
        self.advance(input, output, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        match &mut self.state {
            State::First(first, _) => first.closed(reason, context),
            State::Second(second) => second.closed(reason, context),
            State::Lost => {}
        }
    }
}
