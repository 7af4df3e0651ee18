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
use protocol::{Buffer, Codec, Context, Decoded, Flow, Limits, Output, Reason, Session};

use super::Cause;
use crate::blocking::{Deadline, Driver, Socket};

/// The limits of a client. The session bounds its input itself. The caller bounds what it sends.
const LIMITS: Limits = Limits {
    message_size_max: usize::MAX,
    output_high: u64::MAX,
    output_max: u64::MAX,
    read_budget: usize::MAX,
    ..Limits::DEFAULT
};

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
}

/// Sends `commands`, unless they are empty. `timeout` is how long the server may accept nothing.
pub(super) fn send(
    driver: &mut Driver<ClientSession>,
    commands: &mut Output,
    timeout: Option<Duration>,
) -> Result<(), Cause> {
    if commands.is_empty() {
        return Ok(());
    }
    let mut request = Request { commands: Some(commands), look: None, error: None };
    Ok(driver.send(&mut request, timeout)?)
}

/// Waits for the next value, and calls `look` with it.
pub(super) fn receive(
    driver: &mut Driver<ClientSession>,
    deadline: &mut Deadline,
    look: &mut dyn FnMut(Value<'_>),
) -> Result<(), Cause> {
    let mut request = Request { commands: None, look: Some(look), error: None };
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
    pub(super) fn drive(socket: Socket, limits: resp::Limits, input_max: usize) -> Driver<Self> {
        let session = Self { codec: Client::with_limits(limits), need: 1, input_max };
        Driver::new(socket, Link::new(session, Arc::new(LIMITS)))
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
        self.show_next(input, request);
        let reads = request.look.is_some() || input.len() < self.input_max;
        Ok(if reads { Flow::Continue } else { Flow::Pause })
    }
}
