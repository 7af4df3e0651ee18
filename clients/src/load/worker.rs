//! One connection: sends messages and verifies the replies.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::{Buffer, Cause, Context, Flow, Output, Reason, Session};

use super::{ALPHABET, App};
use crate::Failure;

/// Returns where in the alphabet a message starts. It differs by connection and by message.
pub(super) fn offset(connection: usize, message: u64) -> usize {
    (connection + message as usize * 7) % ALPHABET
}

/// The session of one connection.
pub(super) struct Worker {
    number: usize,
    role: Role,
    /// When each message in flight was sent.
    in_flight: VecDeque<Instant>,
    /// The number of messages that may still be started.
    allowed: usize,
    /// The number of messages that were started.
    sent: u64,
    /// The bytes of the last message that are not in the output yet.
    unsent: usize,
    answered: u64,
    /// The number of bytes of the current reply that have been verified.
    verified: usize,
    opened: bool,
}

/// The purpose of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Exchanges messages.
    Active,
    /// Stays open and sends nothing.
    Idle,
}

impl Worker {
    pub(super) fn new(number: usize, role: Role) -> Self {
        Self {
            number,
            role,
            in_flight: VecDeque::new(),
            allowed: 0,
            sent: 0,
            unsent: 0,
            answered: 0,
            verified: 0,
            opened: false,
        }
    }

    /// Appends messages to the output, up to its high mark. The session goes on reading replies
    /// even if the server reads slowly.
    fn send(&mut self, output: &mut Output, context: &Context<'_, App>) {
        let size = context.app.load.size;
        loop {
            let room = context.limits.output_high.saturating_sub(output.len());
            let done = self.allowed == 0 || context.app.stopping;
            if room == 0 || (self.unsent == 0 && done) {
                return;
            }
            if self.unsent == 0 {
                self.allowed -= 1;
                self.in_flight.push_back(context.now);
                self.sent += 1;
                self.unsent = size;
            }
            let count = self.unsent.min(room as usize);
            let from = offset(self.number, self.sent - 1) + size - self.unsent;
            output.append(&context.app.sent[from..from + count]);
            self.unsent -= count;
        }
    }

    /// Verifies the input. Returns false if it is wrong.
    fn verify(&mut self, mut bytes: &[u8], context: &mut Context<'_, App>) -> bool {
        let size = context.app.load.size;
        while !bytes.is_empty() {
            if self.in_flight.is_empty() {
                return false;
            }
            let count = bytes.len().min(size - self.verified);
            let from = offset(self.number, self.answered) + self.verified;
            if bytes[..count] != context.app.expected[from..from + count] {
                return false;
            }
            bytes = &bytes[count..];
            self.verified += count;
            if self.verified == size {
                self.verified = 0;
                self.answered += 1;
                let sent_at = self.in_flight.pop_front().unwrap_or(context.now);
                self.record(context.now - sent_at, context);
                self.allowed += usize::from(!context.app.stopping);
            }
        }
        true
    }

    fn record(&self, latency: Duration, context: &mut Context<'_, App>) {
        let (size, report) = (context.app.load.size as u64, &mut context.app.report);
        if context.app.stopping {
            report.record_late(latency);
        } else if context.app.started.is_some() {
            report.record(latency, size);
        }
    }
}

impl Session<App> for Worker {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            self.opened = true;
            context.app.connecting -= 1;
            context.app.open += 1;
            if self.role == Role::Active {
                self.allowed = context.app.load.depth;
            }
        }
        let right = self.verify(input.filled(), context);
        input.clear();
        self.send(output, context);
        if !right {
            return Err(Reason::refused("the reply differs from the expected one"));
        }
        if context.input_ended {
            return Err(Reason::refused("the server ended the connection"));
        }
        let done = context.app.stopping && self.in_flight.is_empty();
        Ok(if done { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        match self.opened {
            true => context.app.open -= 1,
            false => context.app.connecting -= 1,
        }
        for sent_at in self.in_flight.drain(..) {
            context.app.report.record_unanswered(context.now - sent_at);
        }
        match reason {
            // The messages without a reply were counted above.
            Reason::Stopped | Reason::Finished | Reason::PeerClosed => {}
            reason => {
                let failure = Failure::of_connection(&context.app.load.server(), reason);
                context.app.report.fail(failure.to_string());
            }
        }
    }
}
