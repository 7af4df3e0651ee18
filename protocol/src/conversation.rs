//! The session of every codec and service.

use std::error::Error;
use std::fmt;

use crate::{
    Buffer, Cause, Codec, Context, Decoded, Flow, Output, Refusal, Reply, Service, Session,
};

/// A codec and a service talking to one peer: the [`Session`] for every pair of them.
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
/// # Ok::<(), protocol::Refusal>(())
/// ```
#[derive(Debug)]
pub struct Conversation<C, S> {
    codec: C,
    service: S,
    /// How much input the decoder wants to see before it is called again, as far as four bytes can
    /// say it: every idle connection has one.
    need: u32,
    paused: bool,
    /// The service has been told that the input ended.
    finished: bool,
}

impl<C, S> Conversation<C, S> {
    /// A conversation that has not begun.
    pub fn new(codec: C, service: S) -> Self {
        Self { codec, service, need: 0, paused: false, finished: false }
    }

    /// The service, for tests and for drivers that look in on it.
    pub fn service(&self) -> &S {
        &self.service
    }
}

/// What decoding one message came to.
enum Step {
    /// A message was delivered, and this is what its service wants.
    Delivered(Flow),
    /// Bytes that say nothing were dropped.
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
    ) -> Result<Step, Refusal>
    where
        S: Service<C, A>,
    {
        if input.is_empty() || input.len() < self.need as usize {
            return Ok(Step::Starved);
        }
        let (waiting, limit) = (input.len(), context.limits.message_size_max);
        let (step, taken) = match self.codec.decode(input.filled_mut(), output) {
            Ok(Decoded::Message { consumed: 0, .. } | Decoded::Skip { consumed: 0 }) => {
                return Err(Box::new(ConversationError::NothingConsumed));
            }
            Ok(Decoded::Message { message, consumed }) => {
                let mut reply = Reply::new(&mut self.codec, output);
                (Step::Delivered(self.service.call(message, &mut reply, context)), consumed)
            }
            Ok(Decoded::Skip { consumed }) => (Step::Skipped, consumed),
            Ok(Decoded::Incomplete { need }) if need > limit || waiting >= limit => {
                return Err(Box::new(ConversationError::MessageTooLarge { limit }));
            }
            Ok(Decoded::Incomplete { need }) => {
                self.need = u32::try_from(need.max(waiting + 1)).unwrap_or(u32::MAX);
                return Ok(Step::Starved);
            }
            Err(error) => {
                self.codec.reject(&error, output);
                return Err(Box::new(error));
            }
        };
        self.need = 0;
        input.consume(taken);
        Ok(step)
    }

    /// The input has ended and holds no further message.
    fn finish<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Refusal>
    where
        S: Service<C, A>,
    {
        self.finished = true;
        if let Err(error) = self.codec.finish(input.filled()) {
            self.codec.reject(&error, output);
            return Err(Box::new(error));
        }
        input.clear();
        let mut reply = Reply::new(&mut self.codec, output);
        Ok(self.service.finish(&mut reply, context))
    }

    /// Tells the service why it is called, and delivers what messages there are.
    fn go_on<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Refusal>
    where
        S: Service<C, A>,
    {
        let mut reply = Reply::new(&mut self.codec, output);
        let mut flow = match context.cause {
            Cause::Opened => self.service.open(&mut reply, context),
            Cause::Woken => self.service.resume(&mut reply, context),
            Cause::Deadline => self.service.timeout(&mut reply, context),
            Cause::Drained => self.service.drained(&mut reply, context),
            Cause::Stopping => self.service.stopping(&mut reply, context),
            Cause::HungUp => self.service.hung_up(&mut reply, context),
            Cause::Input => Flow::Continue,
        };
        let resumes = matches!(context.cause, Cause::Opened | Cause::Woken | Cause::Deadline);
        if self.paused && flow == Flow::Continue && !resumes {
            flow = Flow::Pause;
        }
        // Law 6: a full output stops decoding; what is left stays in the input.
        while flow == Flow::Continue && output.len() < context.limits.output_high {
            flow = match self.step(input, output, context)? {
                Step::Delivered(flow) => flow,
                Step::Skipped => Flow::Continue,
                Step::Starved if context.input_ended && !self.finished => {
                    self.finish(input, output, context)?
                }
                Step::Starved => break,
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
    ) -> Result<Flow, Refusal> {
        let outcome = self.go_on(input, output, context);
        if matches!(outcome, Ok(Flow::Close) | Err(_)) {
            self.service.ending(context);
        }
        outcome
    }

    fn closed(&mut self, error: Option<&(dyn Error + 'static)>, context: &mut Context<'_, A>) {
        self.service.closed(error, context);
    }
}

/// Why a conversation ended that its codec would have let go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationError {
    /// A message would not fit [`Limits::message_size_max`](crate::Limits::message_size_max).
    MessageTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The codec delivered a message, or skipped bytes, and took no input for it: a bug in the
    /// codec, which would do so for ever.
    NothingConsumed,
}

impl fmt::Display for ConversationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLarge { limit } => {
                write!(f, "message larger than the limit of {limit} bytes")
            }
            Self::NothingConsumed => {
                f.write_str("bug in the codec: it delivered a message without consuming input")
            }
        }
    }
}

impl Error for ConversationError {}
