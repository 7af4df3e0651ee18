//! Standard input and standard output as sources of a loop, beside the connection of a tool. Neither
//! blocks the loop, and each is paused while the other side is slow.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use protocol::Buffer;
use reactor::{Cx, Handler, Interest, LoopCx, Reason, Registration, Token};

use crate::Failure;

/// The number of queued bytes in one direction at which the source of the bytes is paused.
pub(crate) const QUEUE_MAX: usize = 256 * 1024;
/// The number of bytes that one read of standard input takes at most.
const READ_SIZE: usize = 64 * 1024;

/// The application of a loop with one connection, standard input and standard output. `T` is what the
/// tool adds.
pub(crate) struct Pipes<T> {
    pub(crate) tool: T,
    /// Bytes on the way from standard input to the server.
    pub(crate) up: Buffer,
    pub(crate) up_ended: bool,
    /// Bytes on the way from the server to standard output.
    pub(crate) down: Buffer,
    /// The loop stops when standard output has everything.
    pub(crate) down_ended: bool,
    pub(crate) input: Token,
    pub(crate) output: Token,
    /// The connection, which is woken when there is something to send, and when there is room for
    /// output.
    pub(crate) connection: Token,
    /// Why standard input or output has failed, or what else went wrong first.
    pub(crate) failure: Option<Failure>,
}

impl<T> Pipes<T> {
    pub(crate) fn new(tool: T) -> Self {
        Self {
            tool,
            up: Buffer::new(),
            up_ended: false,
            down: Buffer::new(),
            down_ended: false,
            input: Token::NONE,
            output: Token::NONE,
            connection: Token::NONE,
            failure: None,
        }
    }

    /// Returns whether nothing of standard input is left.
    pub(crate) fn is_sent(&self) -> bool {
        self.up_ended && self.up.is_empty()
    }

    /// Returns whether the connection has to wait for standard output.
    pub(crate) fn is_full(&self) -> bool {
        self.down.len() >= QUEUE_MAX
    }
}

/// Returns the registration of a descriptor that is shared with other processes, such as the shell.
fn shared(interest: Interest) -> Registration {
    Registration::new(interest).keep_blocking()
}

/// Begins to write what is put into [`Pipes::down`].
pub(crate) fn open_output<T: 'static>(cx: &mut LoopCx<'_, Pipes<T>>) -> io::Result<()> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    cx.app.output = cx.register(output, shared(Interest::NONE), Print)?;
    Ok(())
}

/// Begins to read standard input, and to write what is put into [`Pipes::down`]. The connection was
/// made before.
pub(crate) fn open<T: 'static>(cx: &mut LoopCx<'_, Pipes<T>>) -> io::Result<()> {
    open_output(cx)?;
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    cx.app.input = cx.register(input, shared(Interest::READ), Input)?;
    let input = cx.app.input;
    cx.wake(input);
    Ok(())
}

/// Reads standard input.
struct Input;

impl<T> Handler<Pipes<T>> for Input {
    fn ready(&mut self, cx: &mut Cx<'_, Pipes<T>>) -> io::Result<()> {
        let mut chunk = vec![0; READ_SIZE];
        let connection = cx.app.connection;
        while cx.app.up.len() < QUEUE_MAX && !cx.app.up_ended {
            let Some(count) = cx.read(&mut chunk)? else { break };
            cx.app.up.extend_from_slice(&chunk[..count]);
            cx.app.up_ended = count == 0;
            cx.wake(connection);
        }
        let waits = cx.app.up.len() >= QUEUE_MAX || cx.app.up_ended;
        cx.set_interest(if waits { Interest::NONE } else { Interest::READ });
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Pipes<T>>) {
        end(&reason, cx, |error| Failure::new(format!("standard input: {error}")));
    }
}

/// Writes standard output.
struct Print;

impl<T> Handler<Pipes<T>> for Print {
    fn ready(&mut self, cx: &mut Cx<'_, Pipes<T>>) -> io::Result<()> {
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
        if !cx.app.is_full() {
            cx.wake(connection);
        }
        let idle = cx.app.down.is_empty();
        cx.set_interest(if idle { Interest::NONE } else { Interest::WRITE });
        if idle && cx.app.down_ended {
            cx.stop();
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Pipes<T>>) {
        end(&reason, cx, Failure::of_output);
    }
}

/// Ends the tool after standard input or output has ended. The failure contains the error of the
/// system alone: the text of a [`Reason`] is about a peer, and these sources have none.
fn end<T>(
    reason: &Reason,
    cx: &mut LoopCx<'_, Pipes<T>>,
    convert: impl FnOnce(&io::Error) -> Failure,
) {
    let failure = match reason {
        Reason::Stopped => return,
        Reason::Failed { error, .. } => convert(error),
        other => convert(&io::Error::other(other.to_string())),
    };
    cx.app.failure.get_or_insert(failure);
    cx.stop();
}
