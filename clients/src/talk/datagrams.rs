//! The conversation over datagrams: each line of standard input is one, and each reply is printed.

use std::io;
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Context, DatagramFailure, Effects, Flow, Limits, Reason, Reply, Service};
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, LoopCx, Token};

use super::{App, Talk};
use crate::output::complain;
use crate::pipes::QUEUE_MAX;
use crate::{Failure, signals_to_end};

/// How long the last replies may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The timeout of the last replies.
const SILENCE: u8 = 0;
/// The longest line that fits into a datagram of UDP over IPv4.
const UDP_MAX: usize = 65_507;
/// The longest line that is sent as a Unix datagram. Standard input is read until that many bytes
/// wait.
const UNIX_MAX: usize = QUEUE_MAX / 2;

/// Opens a socket for the next address of the server, over which the tool talks. An address to which
/// there is no way is passed over.
pub(super) fn open_next(cx: &mut LoopCx<'_, App>) -> io::Result<Token> {
    loop {
        let next = cx.app.tool.others.pop_front();
        let target = next.ok_or_else(|| io::Error::other("the server has no address"))?;
        match open(&target, cx) {
            Err(_) if !cx.app.tool.others.is_empty() => {}
            result => return result,
        }
    }
}

/// Opens a socket for `target`.
fn open(target: &Address, cx: &mut LoopCx<'_, App>) -> io::Result<Token> {
    // Its socket has a file.
    if let Address::UnixDatagram(_) = target {
        end_on_signals(cx)?;
    }
    // Replies wait there while they are printed.
    let options = DatagramOptions { receive_buffer: Some(4 << 20), ..DatagramOptions::default() };
    let socket = DatagramSocket::connect(target, &options)?;
    let line_max = if target.is_unix() { UNIX_MAX } else { UDP_MAX };
    let lines = Lines { line_max, sent: 0, answered: 0 };
    Datagrams::serve(socket, Bytes, lines, Limits::DEFAULT, cx)
}

/// Ends the tool in order when it is told to, so that the file of its socket is removed.
fn end_on_signals(cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    cx.on_signals(&signals_to_end(), |signal, cx| {
        cx.app.failure.get_or_insert(Failure::new(format!("ended by {signal}")));
        cx.stop();
    })
    .map(drop)
}

/// Sends the lines of standard input, each as a datagram.
struct Lines {
    line_max: usize,
    sent: u64,
    answered: u64,
}

impl Lines {
    /// Sends the lines that wait, as far as there is room.
    fn send(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) {
        let before = self.sent;
        while reply.backlog() < context.limits.output_high {
            let waiting = context.app.up.filled();
            let end = waiting.iter().position(|byte| *byte == b'\n').map(|place| place + 1);
            let is_last = context.app.up_ended && !waiting.is_empty();
            let Some(length) = end.or(is_last.then_some(waiting.len())) else { break };
            if length > self.line_max {
                return self.refuse_line(context);
            }
            reply.send(&waiting[..length]);
            keep(&mut context.app.tool, &waiting[..length]);
            context.app.up.consume(length);
            self.sent += 1;
        }
        if context.app.up.len() > self.line_max && !context.app.up.filled().contains(&b'\n') {
            return self.refuse_line(context);
        }
        if self.sent > before {
            context.effects.wake(context.app.input.into());
        }
        if context.app.is_sent() {
            self.await_last(context);
        }
    }

    fn refuse_line(&self, context: &mut Context<'_, App>) {
        let text =
            format!("a line of more than {} bytes does not fit in a datagram", self.line_max);
        fail(Failure::new(text), context.app, context.effects);
    }

    /// Ends the conversation if every datagram was answered. Otherwise waits for the last replies.
    fn await_last(&self, context: &mut Context<'_, App>) {
        if self.answered >= self.sent {
            finish(context.app, context.effects);
        } else {
            context.effects.set_timeout(SILENCE, Some(PATIENCE));
        }
    }
}

/// Keeps what was sent for the next address. What is too much is not kept, and no other is tried.
fn keep(tool: &mut Talk, datagram: &[u8]) {
    if tool.kept.len() > QUEUE_MAX {
        tool.others.clear();
    }
    if tool.others.is_empty() {
        tool.kept = Vec::new();
    } else {
        tool.kept.extend_from_slice(datagram);
    }
}

/// Ends the tool after everything was printed.
fn finish(app: &mut App, effects: &mut Effects) {
    app.down_ended = true;
    effects.wake(app.output.into());
}

/// Ends the tool with a failure, after everything was printed.
fn fail(failure: Failure, app: &mut App, effects: &mut Effects) {
    app.failure.get_or_insert(failure);
    finish(app, effects);
}

impl Service<Bytes, App> for Lines {
    fn call(
        &mut self,
        datagram: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.answered += 1;
        // This is the address.
        context.app.tool.others.clear();
        context.app.down.extend_from_slice(datagram);
        context.effects.wake(context.app.output.into());
        if context.app.is_sent() {
            self.await_last(context);
        }
        // The output wakes this service when it has printed the queue.
        if context.app.is_full() { Flow::Pause } else { Flow::Continue }
    }

    fn resume(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        self.send(reply, context);
        if context.app.is_full() { Flow::Pause } else { Flow::Continue }
    }

    fn drained(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        self.send(reply, context);
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _key: u8,
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let (missing, sent) = (self.sent.saturating_sub(self.answered), self.sent);
        let address = &context.app.tool.address;
        let text = format!("{address}: {missing} of {sent} datagrams were not answered");
        fail(Failure::new(text), context.app, context.effects);
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        match failure {
            DatagramFailure::Undelivered(_) if !context.app.tool.others.is_empty() => {
                context.app.tool.is_refused = true;
                context.effects.stop();
            }
            DatagramFailure::Undelivered(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::ConnectionRefused => ": nothing listens there",
                    _ => "",
                };
                let text = format!("{}: {error}{hint}", context.app.tool.address);
                fail(Failure::new(text), context.app, context.effects);
            }
            other => complain(format_args!("talk: {}: {other}", context.app.tool.address)),
        }
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        if !matches!(reason, Reason::Stopped | Reason::Finished) {
            let failure = Failure::of_connection(&context.app.tool.address, reason);
            context.app.failure.get_or_insert(failure);
        }
        finish(context.app, context.effects);
    }
}
