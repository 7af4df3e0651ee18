//! The session of a blocking client: it sends commands, and decodes a value on request.

use protocol::resp::{Client, Limits, Value, ValueError};
use protocol::{Buffer, Codec, Context, Decoded, Flow, Output, Reason, Session};

/// An empty input buffer is freed if it is larger than this, in bytes.
const INPUT_KEPT_MAX: usize = 1024 * 1024;

/// The most room in bytes that is made for an announced value before its bytes come.
const READ_AHEAD_MAX: usize = 1024 * 1024;

/// What the caller requests from the session in one pass.
pub(super) struct Request<'a> {
    /// The commands to send.
    pub(super) commands: Option<&'a mut Output>,
    /// What is called with the next value. `None` after the call.
    pub(super) look: Option<&'a mut dyn FnMut(Value<'_>)>,
    /// Why the input is not RESP.
    pub(super) error: Option<ValueError>,
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
    pub(super) fn new(limits: Limits, input_max: usize) -> Self {
        Self { codec: Client::with_limits(limits), need: 1, input_max }
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
