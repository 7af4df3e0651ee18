//! The session of a connection.

use std::time::Instant;

use super::close;
use super::frame::Opcode;
use super::reader::{Reader, Received, Rules};
use super::writer::Writer;
use super::{Agreement, CloseCode, Error, Sender, Service};
use crate::planted::{self, Planted};
use crate::{Buffer, Cause, Context, Flow, Output, Reason, Session};

/// The key of the timeout of the connection itself.
const TICK: u8 = u8::MAX;

/// A WebSocket connection after its handshake: the session of a server or of a client.
///
/// It answers pings, sends some of its own ([`Options::ping_interval`](super::Options)), and closes as
/// the RFC prescribes. A connection without compression owns no memory on the heap between two
/// messages, apart from a few bytes of a client.
///
/// ```
/// use protocol::websocket::{Agreement, Connection, Message, Options, Sender, Service};
/// use protocol::{Context, Flow, testing::Wire};
///
/// struct Echo;
/// impl Service for Echo {
///     fn message(&mut self, message: Message<'_>, sender: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
///         match message {
///             Message::Text(text) => sender.text(text),
///             Message::Binary(bytes) => sender.binary(bytes),
///         }
///         Flow::Continue
///     }
/// }
///
/// let agreement = Agreement::plain(Options::default().shared()?);
/// let mut wire = Wire::new(Connection::server(Echo, agreement));
/// // "Hello" in one masked frame (RFC 6455 section 5.7).
/// wire.feed(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &mut ());
/// assert_eq!(wire.take_sent(), b"\x81\x05Hello");
/// # Ok::<(), protocol::LimitsError>(())
/// ```
#[derive(Debug)]
pub struct Connection<S> {
    service: S,
    reader: Reader,
    writer: Writer,
    /// When the peer was last heard.
    heard_at: Option<Instant>,
    /// A ping waits for its answer.
    is_pinged: bool,
    /// The service pauses.
    is_paused: bool,
    /// The peer has ended its stream while the output was full.
    has_hung_up: bool,
    /// The peer's close frame was received.
    is_closed: bool,
    /// The timeout of closing is set.
    is_closing: bool,
}

/// The result of one step.
enum Step {
    /// The service was called, and returned this.
    Delivered(Flow),
    /// More input is needed first.
    Starved,
    /// Both sides have sent a close frame.
    Closed,
}

impl<S> Connection<S> {
    /// Returns the session of a server, after what it has agreed on in the handshake.
    pub fn server(service: S, agreement: Agreement) -> Self {
        Self::new(service, agreement, false)
    }

    /// Returns the session of a client, after what the server has answered in the handshake.
    pub fn client(service: S, agreement: Agreement) -> Self {
        Self::new(service, agreement, true)
    }

    fn new(service: S, agreement: Agreement, is_client: bool) -> Self {
        Self {
            service,
            reader: Reader::default(),
            writer: Writer::new(agreement, is_client),
            heard_at: None,
            is_pinged: false,
            is_paused: false,
            has_hung_up: false,
            is_closed: false,
            is_closing: false,
        }
    }

    /// Returns the service.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// Returns the service, to change it.
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// Returns the service, for the session that follows in an [`Upgrade`](crate::Upgrade).
    pub fn into_service(self) -> S {
        self.service
    }

    /// Reads one message or frame, if the input holds one.
    #[inline]
    fn step<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Step, Error>
    where
        S: Service<A>,
    {
        let Self { service, reader, writer, .. } = self;
        let agreed = writer.agreed;
        let rules = Rules {
            options: &writer.options,
            agreed,
            is_client: writer.is_client(),
            input_max: context.limits.message_size_max,
            now: context.now,
            drops: writer.is_closing,
        };
        let (step, used) = match reader.read(input, &rules)? {
            Received::Nothing => return Ok(Step::Starved),
            Received::Part { used } => (Step::Delivered(Flow::Continue), used),
            Received::Message { message, used } => {
                let mut sender = Sender::new(writer, output);
                (Step::Delivered(service.message(message, &mut sender, context)), used)
            }
            Received::Piece { piece, used } => {
                let mut sender = Sender::new(writer, output);
                (Step::Delivered(service.piece(piece, &mut sender, context)), used)
            }
            Received::Control { opcode: Opcode::Close, payload, used } => {
                let (code, reason) = close::read(payload)?;
                if !writer.is_closing {
                    service.close(code, reason, &mut Sender::new(writer, output), context);
                    writer.close(code, "", output);
                }
                (Step::Closed, used)
            }
            Received::Control { opcode, payload, used } => {
                let flow = if opcode == Opcode::Ping {
                    writer.pong(payload, output);
                    Flow::Continue
                } else if writer.is_closing {
                    Flow::Continue
                } else {
                    service.pong(payload, &mut Sender::new(writer, output), context)
                };
                (Step::Delivered(flow), used)
            }
        };
        reader.release(agreed);
        input.consume(used);
        Ok(step)
    }

    /// Tells the service why it is called. Returns its answer.
    fn tell<A>(&mut self, output: &mut Output, context: &mut Context<'_, A>) -> Result<Flow, Reason>
    where
        S: Service<A>,
    {
        if context.cause == Cause::Timeout(TICK) {
            self.tick(output, context)?;
            return Ok(self.unless_paused(Flow::Continue));
        }
        if self.writer.is_closing {
            return Ok(Flow::Continue);
        }
        let mut sender = Sender::new(&mut self.writer, output);
        let flow = match context.cause {
            // It is never saved, so nothing restores it.
            Cause::Input | Cause::Restored => Flow::Continue,
            Cause::Opened => {
                self.heard_at = Some(context.now);
                if self.writer.options.ping_interval.is_some() {
                    context.effects.set_timeout(TICK, self.writer.options.ping_interval);
                }
                let mut sender = Sender::new(&mut self.writer, output);
                return Ok(self.service.open(&mut sender, context));
            }
            Cause::Woken => return Ok(self.service.resume(&mut sender, context)),
            Cause::Timeout(key) => return Ok(self.service.timeout(key, &mut sender, context)),
            Cause::Drained => self.service.drained(&mut sender, context),
            Cause::Stopping => self.service.stopping(&mut sender, context),
            Cause::HungUp if self.is_paused => self.service.hung_up(&mut sender, context),
            Cause::HungUp => {
                self.has_hung_up = true;
                Flow::Continue
            }
        };
        Ok(self.unless_paused(flow))
    }

    /// Returns a flow that does not end a pause.
    fn unless_paused(&self, flow: Flow) -> Flow {
        if self.is_paused && flow == Flow::Continue { Flow::Pause } else { flow }
    }

    /// Handles the timeout of the connection itself.
    fn tick<A>(&mut self, output: &mut Output, context: &mut Context<'_, A>) -> Result<(), Reason> {
        if self.is_closing {
            return Err(Reason::Deadline);
        }
        let Some(interval) = self.writer.options.ping_interval else { return Ok(()) };
        let heard_at = *self.heard_at.get_or_insert(context.now);
        let silent = context.now.saturating_duration_since(heard_at);
        // While this side does not read, or its output waits, nothing can be said of the peer. The
        // idle limit of the loop holds.
        let is_deaf = self.is_paused || !output.is_empty();
        let next = if is_deaf {
            interval
        } else if self.is_pinged && !planted::is(Planted::PongUnawaited) {
            return Err(Reason::Idle);
        } else if silent >= interval {
            self.writer.ping(&[], output);
            self.is_pinged = true;
            self.writer.options.pong_timeout
        } else {
            interval - silent
        };
        context.effects.set_timeout(TICK, Some(next));
        Ok(())
    }

    /// Handles everything in the input.
    #[inline]
    fn go_on<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>
    where
        S: Service<A>,
    {
        let mut flow = match context.cause {
            Cause::Input if !self.is_paused => {
                self.heard_at = Some(context.now);
                self.is_pinged = false;
                Flow::Continue
            }
            _ => self.tell(output, context)?,
        };
        loop {
            if flow == Flow::Close {
                self.writer.close(Some(CloseCode::NORMAL), "", output);
            }
            if self.writer.is_closing {
                flow = Flow::Continue;
            }
            if flow != Flow::Continue {
                break;
            }
            // Law 6: a full output stops reading. The rest stays in the input until the output drains.
            if output.len() >= context.limits.output_high {
                self.is_paused = false;
                return Ok(Flow::Pause);
            }
            if self.is_closed {
                return Ok(self.after_close(input, context));
            }
            flow = match self.step(input, output, context) {
                Ok(Step::Delivered(flow)) => flow,
                Ok(Step::Closed) => {
                    self.is_closed = true;
                    Flow::Continue
                }
                Ok(Step::Starved) if context.input_ended => return Err(Error::Unclosed.into()),
                Ok(Step::Starved) => break,
                Err(error) => {
                    self.writer.close(Some(error.close_code()), &error.to_string(), output);
                    return Err(error.into());
                }
            };
        }
        if flow == Flow::Pause && std::mem::take(&mut self.has_hung_up) {
            let mut sender = Sender::new(&mut self.writer, output);
            flow = match self.service.hung_up(&mut sender, context) {
                Flow::Continue => Flow::Pause,
                flow => flow,
            };
            if flow == Flow::Close {
                self.writer.close(Some(CloseCode::NORMAL), "", output);
            }
        }
        self.is_paused = flow == Flow::Pause;
        Ok(flow)
    }

    /// Ends the connection after both close frames. A client waits for the server to do it (RFC 6455
    /// section 7.1.1).
    fn after_close<A>(&self, input: &mut Buffer, context: &Context<'_, A>) -> Flow {
        input.clear();
        let ends = !self.writer.is_client() || context.input_ended;
        if ends { Flow::Close } else { Flow::Continue }
    }
}

impl<A, S: Service<A>> Session<A> for Connection<S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        let flow = self.go_on(input, output, context)?;
        if self.writer.is_closing && !self.is_closing {
            self.is_closing = true;
            context.effects.set_timeout(TICK, Some(self.writer.options.close_timeout));
        }
        Ok(flow)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        self.service.closed(reason, context);
    }
}
