//! The session of every codec and service.

use crate::{
    Buffer, Cause, Codec, Context, Decoded, Flow, NotSaved, Output, Reason, Reply, SavedState,
    Service, Session, State, StateError,
};

/// A codec and a service for one peer, combined into a [`Session`].
///
/// ```
/// use protocol::codecs::Lines;
/// use protocol::{Effects, Buffer, Conversation, Flow, Limits, Output, ConnectionId, Reply, Service};
/// use protocol::{Session, Context};
/// use std::time::Instant;
///
/// struct Shout;
/// impl Service<Lines> for Shout {
///     fn call(
///         &mut self,
///         line: &mut [u8],
///         reply: &mut Reply<'_, Lines>,
///         _context: &mut Context<'_>,
///     ) -> Flow {
///         line.make_ascii_uppercase();
///         reply.send(line);
///         Flow::Continue
///     }
/// }
///
/// let mut session = Conversation::new(Lines::default(), Shout);
/// let (mut input, mut output) = (Buffer::new(), Output::new());
/// let (mut app, mut effects) = ((), Effects::default());
/// input.extend_from_slice(b"one\ntwo\nthr");
/// let mut context =
///     Context::new(Instant::now(), ConnectionId(1), &mut app, &Limits::DEFAULT, &mut effects);
/// assert_eq!(session.advance(&mut input, &mut output, &mut context)?, Flow::Continue);
/// assert_eq!(output.to_vec(), b"ONE\nTWO\n");
/// assert_eq!(input.filled(), b"thr");
/// # Ok::<(), protocol::Reason>(())
/// ```
#[derive(Debug)]
pub struct Conversation<C, S> {
    codec: C,
    service: S,
    /// How much input the decoder needs before it is called again. It has four bytes, since every
    /// idle connection has one; a larger need is clipped.
    need: u32,
    /// The service pauses. This is false while the conversation only waits for its output to drain.
    paused: bool,
    /// The service has been told that the input ended.
    finished: bool,
    /// The peer has ended its stream while the output was full. The service is told when it pauses.
    hung_up: bool,
}

impl<C, S> Conversation<C, S> {
    /// Returns a conversation that has not begun.
    pub fn new(codec: C, service: S) -> Self {
        Self { codec, service, need: 0, paused: false, finished: false, hung_up: false }
    }

    /// Returns the service, for tests and for drivers that inspect it.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// Returns the codec and the service, for the session that follows in an
    /// [`Upgrade`](crate::Upgrade).
    pub fn into_parts(self) -> (C, S) {
        (self.codec, self.service)
    }
}

/// The result of decoding one message.
enum Step {
    /// A message was delivered, and the service returned this.
    Delivered(Flow),
    /// Bytes without a message were dropped.
    Skipped,
    /// More input is needed first.
    Starved,
}

impl<C: Codec, S> Conversation<C, S> {
    /// Delivers one message, if the input holds one.
    fn step<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Step, Reason>
    where
        S: Service<C, A>,
    {
        if input.is_empty() || input.len() < self.need as usize {
            return Ok(Step::Starved);
        }
        let (waiting, limit) = (input.len(), context.limits.message_size_max);
        let (step, taken) = match self.codec.decode(input.filled_mut(), output) {
            Ok(Decoded::Message { consumed: 0, .. } | Decoded::Skip { consumed: 0 }) => {
                let text = "bug in the codec: it delivered a message without consuming input";
                return Err(Reason::refused(text));
            }
            Ok(Decoded::Message { message, consumed }) => {
                let mut reply = Reply::new(&mut self.codec, output);
                (Step::Delivered(self.service.call(message, &mut reply, context)), consumed)
            }
            Ok(Decoded::Skip { consumed }) => (Step::Skipped, consumed),
            Ok(Decoded::Incomplete { need }) if need > limit || waiting >= limit => {
                return Err(Reason::Limit("message_size_max: a message is larger"));
            }
            Ok(Decoded::Incomplete { need }) => {
                self.need = u32::try_from(need.max(waiting + 1)).unwrap_or(u32::MAX);
                return Ok(Step::Starved);
            }
            Err(error) => {
                self.codec.reject(&error, output);
                return Err(Reason::refused(error));
            }
        };
        self.need = 0;
        input.consume(taken);
        Ok(step)
    }

    /// Tells the codec and the service that the input has ended and holds no further message.
    fn finish<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>
    where
        S: Service<C, A>,
    {
        self.finished = true;
        if let Err(error) = self.codec.finish(input.filled()) {
            self.codec.reject(&error, output);
            return Err(Reason::refused(error));
        }
        input.clear();
        let mut reply = Reply::new(&mut self.codec, output);
        Ok(self.service.finish(&mut reply, context))
    }

    /// Tells the service why it is called. Returns its answer.
    fn tell<A>(&mut self, output: &mut Output, context: &mut Context<'_, A>) -> Flow
    where
        S: Service<C, A>,
    {
        let mut reply = Reply::new(&mut self.codec, output);
        let flow = match context.cause {
            Cause::Input => Flow::Continue,
            Cause::Opened => return self.service.open(&mut reply, context),
            Cause::Woken => return self.service.resume(&mut reply, context),
            Cause::Timeout(key) => return self.service.timeout(key, &mut reply, context),
            Cause::Restored => self.service.restored(&mut reply, context),
            Cause::Drained => self.service.drained(&mut reply, context),
            Cause::Stopping => self.service.stopping(&mut reply, context),
            Cause::HungUp if self.paused => self.service.hung_up(&mut reply, context),
            Cause::HungUp => {
                self.hung_up = true;
                Flow::Continue
            }
        };
        // These causes do not end a pause.
        if self.paused && flow == Flow::Continue { Flow::Pause } else { flow }
    }

    /// Tells the service why it is called, and delivers the messages in the input.
    fn go_on<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>
    where
        S: Service<C, A>,
    {
        let mut flow = match context.cause {
            Cause::Input if !self.paused => Flow::Continue,
            _ => self.tell(output, context),
        };
        while flow == Flow::Continue {
            // Law 6: a full output stops decoding. The rest stays in the input until the output
            // drains.
            if output.len() >= context.limits.output_high {
                self.paused = false;
                return Ok(Flow::Pause);
            }
            flow = match self.step(input, output, context)? {
                Step::Delivered(flow) => flow,
                Step::Skipped => Flow::Continue,
                Step::Starved if context.input_ended && !self.finished => {
                    self.finish(input, output, context)?
                }
                Step::Starved => break,
            };
        }
        if flow == Flow::Pause && std::mem::take(&mut self.hung_up) {
            let mut reply = Reply::new(&mut self.codec, output);
            flow = match self.service.hung_up(&mut reply, context) {
                Flow::Continue => Flow::Pause,
                flow => flow,
            };
        }
        self.paused = flow == Flow::Pause;
        Ok(flow)
    }
}

impl<A, C: Codec, S: Service<C, A>> Session<A> for Conversation<C, S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        let outcome = self.go_on(input, output, context);
        if matches!(outcome, Ok(Flow::Close) | Err(_)) {
            self.service.ending(context);
        }
        outcome
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        self.service.closed(reason, context);
    }

    fn save(&self, app: &A, state: &mut State) -> Result<(), NotSaved> {
        for flag in [self.paused, self.finished, self.hung_up] {
            state.flag(flag);
        }
        self.codec.save(state)?;
        self.service.save(app, state)
    }

    fn restore(&mut self, app: &mut A, state: &mut SavedState<'_>) -> Result<(), StateError> {
        self.paused = state.flag()?;
        self.finished = state.flag()?;
        self.hung_up = state.flag()?;
        self.codec.restore(state)?;
        self.service.restore(app, state)
    }
}
