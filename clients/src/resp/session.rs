//! The session of a blocking client: it sends commands, and decodes a value on request.
//!
//! It is not a [`Caller`](protocol::exchange::Caller), the session of a client on the loop, for three
//! reasons. It lends a value where it was received, and the replies of an exchange outlive the input.
//! It decodes a value only when the caller asks for one, so answers that nothing has asked for stay
//! bytes, within a limit. And the caller decides what a value answers, since tools send commands with
//! no answer or with many (`MONITOR`). Both have the codec, the commands that open a connection and the
//! rules of pushes and confirmations in common.

use std::sync::Arc;
use std::time::Duration;

use protocol::link::Link;
use protocol::resp::{self, Client, Value, ValueError};
use protocol::tls::Tls;
use protocol::{Buffer, Codec, Context, Decoded, Flow, Limits, Output, Reason, Session};

use super::Cause;
use crate::blocking::{Deadline, Driver, Socket};

/// The limits of a client. The session bounds its input itself. The caller bounds what it sends.
const LIMITS: Limits = Limits {
    message_size_max: usize::MAX,
    output_high: u64::MAX,
    output_max: u64::MAX,
    read_budget: usize::MAX,
    // The caller limits the time.
    handshake: Duration::from_secs(365 * 24 * 3600),
    ..Limits::DEFAULT
};

/// A connection, which may be encrypted.
pub(super) type Wired = Driver<ClientSession, Option<Tls>>;

/// How long the peer may take to accept the end of the stream. It is not waited for.
const NO_TIME: Option<Duration> = Some(Duration::ZERO);

/// An empty input buffer is freed if it is larger than this, in bytes.
const INPUT_KEPT_MAX: usize = 1024 * 1024;

/// The most room in bytes that is made for an announced value before its bytes come.
const READ_AHEAD_MAX: usize = 1024 * 1024;

/// What the caller requests from the session in one pass.
pub(super) struct Request<'a> {
    /// The commands to send.
    commands: Option<&'a mut Output>,
    /// What is called with the next value. `None` after the call.
    look: Option<&'a mut dyn FnMut(Value<'_>)>,
    /// Why the input is not RESP.
    error: Option<ValueError>,
    /// Whether the stream is to be ended.
    ends: bool,
}

impl Request<'_> {
    /// A request for nothing.
    const NOTHING: Self = Self { commands: None, look: None, error: None, ends: false };
}

/// Waits until the session may say something: until the handshake of the layer is over.
pub(super) fn shake_hands(driver: &mut Wired, timeout: Option<Duration>) -> Result<(), Cause> {
    let mut deadline = Deadline::after(timeout);
    let mut nothing = Request::NOTHING;
    Ok(driver.receive(&mut nothing, &mut deadline, |_| true)?)
}

/// Ends the stream, as far as that is possible without waiting.
pub(super) fn end(driver: &mut Wired) {
    let mut request = Request { ends: true, ..Request::NOTHING };
    // The driver reports that the session has ended.
    _ = driver.send(&mut request, NO_TIME);
}

/// Sends `commands`, unless they are empty. `timeout` is how long the server may accept nothing.
pub(super) fn send(
    driver: &mut Wired,
    commands: &mut Output,
    timeout: Option<Duration>,
) -> Result<(), Cause> {
    if commands.is_empty() {
        return Ok(());
    }
    let mut request = Request { commands: Some(commands), ..Request::NOTHING };
    Ok(driver.send(&mut request, timeout)?)
}

/// Waits for the next value, and calls `look` with it.
pub(super) fn receive(
    driver: &mut Wired,
    deadline: &mut Deadline,
    look: &mut dyn FnMut(Value<'_>),
) -> Result<(), Cause> {
    let mut request = Request { look: Some(look), ..Request::NOTHING };
    let is_done = |request: &mut Request<'_>| request.error.is_some() || request.look.is_none();
    driver.receive(&mut request, deadline, is_done)?;
    request.error.map_or(Ok(()), |error| Err(Cause::Protocol(error)))
}

/// Decodes the answers of one connection.
#[derive(Debug)]
pub(super) struct ClientSession {
    codec: Client,
    /// How much input the decoder needs before it is called again.
    need: usize,
    /// How many bytes of answers are read while the caller requests none.
    input_max: usize,
}

impl ClientSession {
    /// Returns the driver of a connection. `input_max` is how many bytes of answers are read while
    /// the caller requests none.
    pub(super) fn drive(
        socket: Socket,
        layer: Option<Tls>,
        limits: resp::Limits,
        input_max: usize,
    ) -> Wired {
        let session = Self { codec: Client::with_limits(limits), need: 1, input_max };
        Driver::new(socket, Link::with_layer(session, layer, Arc::new(LIMITS)))
    }

    /// Decodes the next value if the request asks for one.
    fn show_next(&mut self, input: &mut Buffer, request: &mut Request<'_>) {
        while request.look.is_some() && input.len() >= self.need {
            match self.codec.decode(input.filled_mut(), &mut Output::new()) {
                Ok(Decoded::Message { message, consumed }) => {
                    if let Some(look) = request.look.take() {
                        look(message);
                    }
                    self.consume(input, consumed);
                }
                Ok(Decoded::Skip { consumed }) => self.consume(input, consumed),
                Ok(Decoded::Incomplete { need }) => {
                    self.need = need;
                    let missing = need.saturating_sub(input.len());
                    input.spare(missing.min(READ_AHEAD_MAX));
                }
                Err(error) => {
                    request.error = Some(error);
                    return;
                }
            }
        }
    }

    fn consume(&mut self, input: &mut Buffer, count: usize) {
        input.consume(count);
        self.need = 1;
        if input.is_empty() && input.capacity() > INPUT_KEPT_MAX {
            *input = Buffer::new();
        }
    }
}

impl Session<Request<'_>> for ClientSession {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Request<'_>>,
    ) -> Result<Flow, Reason> {
        let request = &mut *context.app;
        if let Some(commands) = request.commands.take() {
            // Commands are only passed on once all earlier ones were sent.
            std::mem::swap(output, commands);
        }
        if request.ends {
            return Ok(Flow::Close);
        }
        self.show_next(input, request);
        let reads = request.look.is_some() || input.len() < self.input_max;
        Ok(if reads { Flow::Continue } else { Flow::Pause })
    }
}
