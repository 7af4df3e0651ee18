//! Sends standard input to a server and prints its replies.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use protocol::link::Link;
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Session};
use reactor::{
    BackendKind, ConnectOptions, Cx, Handler, Interest, LoopCx, LoopLimits, Reactor, Reason,
    Registration, Stream, Token,
};

use crate::tls::Endpoint;
use crate::{Failure, first_address};

mod datagrams;

/// The number of queued bytes in one direction at which the source of the bytes is paused.
const QUEUE_MAX: usize = 256 * 1024;
/// The number of bytes that one read of standard input takes at most.
const READ_SIZE: usize = 64 * 1024;

/// The state that the three sources share.
struct App {
    address: String,
    /// Bytes on the way from standard input to the server.
    up: Buffer,
    up_ended: bool,
    /// Bytes on the way from the server to standard output.
    down: Buffer,
    down_ended: bool,
    input: Token,
    output: Token,
    connection: Token,
    failure: Option<Failure>,
}

/// Reads standard input.
struct Input;

impl Handler<App> for Input {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        let mut chunk = vec![0; READ_SIZE];
        let connection = cx.app.connection;
        while cx.app.up.len() < QUEUE_MAX {
            let Some(count) = cx.read(&mut chunk)? else { break };
            cx.app.up.extend_from_slice(&chunk[..count]);
            cx.app.up_ended = count == 0;
            cx.wake(connection);
            if count == 0 {
                cx.set_interest(Interest::NONE);
                return Ok(());
            }
        }
        let full = cx.app.up.len() >= QUEUE_MAX;
        cx.set_interest(if full { Interest::NONE } else { Interest::READ });
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, App>) {
        end(&reason, cx, |error| Failure::new(format!("standard input: {error}")));
    }
}

/// Writes standard output.
struct Print;

impl Handler<App> for Print {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        while !cx.app.down.is_empty() {
            // The buffer is taken out because the call borrows the application too.
            let mut down = std::mem::take(&mut cx.app.down);
            let written = cx.write(&[IoSlice::new(down.filled())]);
            if let Ok(Some(count)) = written {
                down.consume(count);
            }
            cx.app.down = down;
            if written?.is_none() {
                break;
            }
        }
        let connection = cx.app.connection;
        if cx.app.down.len() < QUEUE_MAX {
            cx.wake(connection);
        }
        let idle = cx.app.down.is_empty();
        cx.set_interest(if idle { Interest::NONE } else { Interest::WRITE });
        if idle && cx.app.down_ended {
            cx.stop();
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, App>) {
        end(&reason, cx, Failure::of_output);
    }
}

/// Ends the tool after standard input or output has ended. The failure contains the error of the
/// system alone: the text of a [`Reason`] is about a peer, and these sources have none.
fn end(reason: &Reason, cx: &mut LoopCx<'_, App>, convert: impl FnOnce(&io::Error) -> Failure) {
    let failure = match reason {
        Reason::Stopped => return,
        Reason::Failed { error, .. } => convert(error),
        other => convert(&io::Error::other(other.to_string())),
    };
    cx.app.failure.get_or_insert(failure);
    cx.stop();
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
        if context.app.up_ended && context.app.up.is_empty() {
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
        let full = context.app.down.len() >= QUEUE_MAX && context.cause != Cause::Opened;
        Ok(if full { Flow::Pause } else { Flow::Continue })
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, App>) {
        if !reason.is_orderly() && !matches!(reason, protocol::Reason::Stopped) {
            let failure = Failure::of_connection(&context.app.address, reason);
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
    let app = App {
        address: address.to_owned(),
        up: Buffer::new(),
        up_ended: false,
        down: Buffer::new(),
        down_ended: false,
        input: Token::NONE,
        output: Token::NONE,
        connection: Token::NONE,
        failure: None,
    };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.app.connection = match target.is_datagram() {
        true => datagrams::open(&first_address(address)?, &mut cx)?,
        false => connect(endpoint, &mut cx)?,
    };
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    cx.app.output = cx.register(output, shared(Interest::NONE), Print)?;
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    cx.app.input = register_input(&mut cx, input)?;
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

/// Returns a registration for a descriptor that is shared with other processes, such as the shell.
fn shared(interest: Interest) -> Registration {
    Registration::new(interest).keep_blocking()
}

fn register_input(cx: &mut LoopCx<'_, App>, input: OwnedFd) -> io::Result<Token> {
    let token = cx.register(input, shared(Interest::READ), Input)?;
    cx.wake(token);
    Ok(token)
}
