//! Sends standard input to a server and prints its replies.

use std::io;

use protocol::link::Link;
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Session};
use reactor::{BackendKind, ConnectOptions, LoopCx, LoopLimits, Reactor, Stream, Token};

use crate::pipes::{self, Pipes};
use crate::tls::Endpoint;
use crate::{Failure, first_address};

mod datagrams;

/// The state of the loop. The tool adds the address, as messages call it.
type App = Pipes<String>;

/// The session of the connection. Moves bytes between the queues and the connection.
struct Relay;

impl Session<App> for Relay {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, protocol::Reason> {
        let (to_input, to_output) = (context.app.input.into(), context.app.output.into());
        // The session goes on reading replies even if the server reads slowly.
        let room = context.limits.output_high.saturating_sub(output.len()) as usize;
        let count = room.min(context.app.up.len());
        if count > 0 {
            output.append(&context.app.up.filled()[..count]);
            context.app.up.consume(count);
            context.effects.wake(to_input);
        }
        if context.app.is_sent() {
            context.effects.end_output();
        }
        if !input.is_empty() {
            context.app.down.extend_from_slice(input.filled());
            input.clear();
            context.effects.wake(to_output);
        }
        if context.input_ended {
            context.app.down_ended = true;
            context.effects.wake(to_output);
            return Ok(Flow::Close);
        }
        // The output wakes this session when it has printed the queue.
        let full = context.app.is_full() && context.cause != Cause::Opened;
        Ok(if full { Flow::Pause } else { Flow::Continue })
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, App>) {
        if !reason.is_orderly() && !matches!(reason, protocol::Reason::Stopped) {
            let failure = Failure::of_connection(&context.app.tool, reason);
            context.app.failure = Some(failure);
        }
        context.app.down_ended = true;
        context.effects.wake(context.app.output.into());
    }
}

/// Sends standard input to a server and prints the replies until it ends the connection.
/// At the end of standard input, it ends its sending side and waits for the remaining replies.
///
/// The server is at `endpoint`, and messages call it `address`. To an address of datagrams, each
/// line is sent as a datagram. At the end of standard input, it waits until there are as many
/// replies as datagrams, or no reply has come for 2 s.
///
/// # Errors
/// Fails if the name, the connection, standard input or standard output fails. If standard output
/// was closed, the error is [`Failure::OutputClosed`].
pub fn talk(address: &str, endpoint: &Endpoint) -> Result<(), Failure> {
    let target = &endpoint.location;
    let app = Pipes::new(address.to_owned());
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.app.connection = match target.is_datagram() {
        true => datagrams::open(&first_address(address)?, &mut cx)?,
        false => connect(endpoint, &mut cx)?,
    };
    pipes::open(&mut cx)?;
    reactor.run()?;
    reactor.app.failure.take().map_or(Ok(()), Err)
}

/// Connects to a server of streams.
fn connect(endpoint: &Endpoint, cx: &mut LoopCx<'_, App>) -> io::Result<Token> {
    let (target, options) = (&endpoint.location, ConnectOptions::DEFAULT);
    match &endpoint.encryption {
        None => Stream::new(Relay, Limits::DEFAULT).connect(target, &options, cx),
        Some(encryption) => {
            let link =
                Link::with_layer(Relay, encryption.layer(target)?, Limits::DEFAULT.shared()?);
            Stream::over(link).connect(target, &options, cx)
        }
    }
}
