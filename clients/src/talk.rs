//! Sends standard input to a server and prints its replies.

use std::collections::VecDeque;
use std::io;

use protocol::link::Link;
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Session};
use reactor::{Address, BackendKind, ConnectOptions, LoopCx, LoopLimits, Reactor, Stream, Token};

use crate::Failure;
use crate::pipes::{self, Pipes};
use crate::tls::Endpoint;

mod datagrams;

/// The state of the loop.
type App = Pipes<Talk>;

/// What `talk` adds to the pipes.
#[derive(Default)]
struct Talk {
    /// What messages call the server.
    address: String,
    /// Over datagrams: further addresses of the server, which are tried while each refuses.
    others: VecDeque<Address>,
    /// What was sent so far, as long as there are others.
    kept: Vec<u8>,
    /// The address has refused a datagram, and nothing has come from it.
    is_refused: bool,
}

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
            let failure = Failure::of_connection(&context.app.tool.address, reason);
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
/// All addresses of a name are tried, in the order of the system. Of those of datagrams, it uses the
/// first that does not refuse: as long as there are others and no reply has come, what was sent to an
/// address that refuses is sent to the next one.
///
/// # Errors
/// Fails if the name, the connection, standard input or standard output fails. If standard output
/// was closed, the error is [`Failure::OutputClosed`].
pub fn talk(address: &str, endpoint: &Endpoint) -> Result<(), Failure> {
    let mut app = Pipes::new(Talk { address: address.to_owned(), ..Talk::default() });
    if endpoint.location.is_datagram() {
        app.tool.others = endpoint.location.addresses()?.into();
    }
    loop {
        let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
        let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
        let mut cx = reactor.cx();
        cx.app.connection = match endpoint.location.is_datagram() {
            true => datagrams::open_next(&mut cx)?,
            false => connect(endpoint, &mut cx)?,
        };
        pipes::open(&mut cx)?;
        let connection = cx.app.connection;
        cx.wake(connection);
        reactor.run()?;
        app = std::mem::replace(&mut reactor.app, Pipes::new(Talk::default()));
        if !std::mem::take(&mut app.tool.is_refused) {
            return app.failure.take().map_or(Ok(()), Err);
        }
        // What was sent in vain comes before what was not sent.
        let mut up = Buffer::new();
        up.extend_from_slice(&std::mem::take(&mut app.tool.kept));
        up.extend_from_slice(app.up.filled());
        app.up = up;
    }
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
