//! One connection: says messages, and verifies what comes back.

use std::collections::VecDeque;
use std::error::Error;
use std::time::{Duration, Instant};

use protocol::{Buffer, Cause, Flow, Output, Refusal, Session, Turn};
use reactor::Reason;

use super::{ALPHABET, App};
use crate::Failure;

/// Where in the alphabet a message starts: another place on each connection and for each message.
fn offset(connection: usize, message: u64) -> usize {
    (connection + message as usize * 7) % ALPHABET
}

/// One connection.
pub(super) struct Worker {
    number: usize,
    role: Role,
    /// When each message in flight was sent.
    in_flight: VecDeque<Instant>,
    /// How many messages may still be begun.
    allowed: usize,
    /// How many were begun, and how much of the last is not in the output yet.
    sent: u64,
    unsent: usize,
    answered: u64,
    /// Bytes of the current answer that have been verified.
    verified: usize,
    opened: bool,
}

/// What a connection is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// To exchange messages.
    Active,
    /// To stand there.
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

    /// Says what may be said. It stays under the output's high mark, since nothing is read of who
    /// reaches that: the server would wait for this side as this side does for the server.
    fn send(&mut self, output: &mut Output, turn: &Turn<'_, App>) {
        let size = turn.app.load.size;
        loop {
            let room = (turn.limits.output_high - 1).saturating_sub(output.len());
            let done = self.allowed == 0 || turn.app.stopping;
            if room == 0 || (self.unsent == 0 && done) {
                return;
            }
            if self.unsent == 0 {
                self.allowed -= 1;
                self.in_flight.push_back(turn.now);
                self.sent += 1;
                self.unsent = size;
            }
            let count = self.unsent.min(room as usize);
            let from = offset(self.number, self.sent - 1) + size - self.unsent;
            output.append(&turn.app.sent[from..from + count]);
            self.unsent -= count;
        }
    }

    /// Verifies what came; returns false when it is wrong.
    fn verify(&mut self, mut bytes: &[u8], turn: &mut Turn<'_, App>) -> bool {
        let size = turn.app.load.size;
        while !bytes.is_empty() {
            if self.in_flight.is_empty() {
                return false;
            }
            let count = bytes.len().min(size - self.verified);
            let from = offset(self.number, self.answered) + self.verified;
            if bytes[..count] != turn.app.expected[from..from + count] {
                return false;
            }
            bytes = &bytes[count..];
            self.verified += count;
            if self.verified == size {
                self.verified = 0;
                self.answered += 1;
                let sent_at = self.in_flight.pop_front().unwrap_or(turn.now);
                self.record(turn.now - sent_at, turn);
                self.allowed += usize::from(!turn.app.stopping);
            }
        }
        true
    }

    fn record(&self, latency: Duration, turn: &mut Turn<'_, App>) {
        let (size, report) = (turn.app.load.size as u64, &mut turn.app.report);
        if turn.app.stopping {
            report.record_late(latency);
        } else if turn.app.started.is_some() {
            report.record(latency, size);
        }
    }
}

impl Session<App> for Worker {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        turn: &mut Turn<'_, App>,
    ) -> Result<Flow, Refusal> {
        if turn.cause == Cause::Opened {
            self.opened = true;
            turn.app.connecting -= 1;
            turn.app.standing += 1;
            if self.role == Role::Active {
                self.allowed = turn.app.load.depth;
            }
        }
        let right = self.verify(input.filled(), turn);
        input.clear();
        self.send(output, turn);
        if !right {
            return Err("the answer differs from what was expected".into());
        }
        if turn.input_ended {
            return Err("the server ended the connection".into());
        }
        let done = turn.app.stopping && self.in_flight.is_empty();
        Ok(if done { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, error: Option<&(dyn Error + 'static)>, turn: &mut Turn<'_, App>) {
        match self.opened {
            true => turn.app.standing -= 1,
            false => turn.app.connecting -= 1,
        }
        for sent_at in self.in_flight.drain(..) {
            turn.app.report.record_unanswered(turn.now - sent_at);
        }
        match error.and_then(|error| error.downcast_ref::<Reason>()) {
            // What has no answer was counted.
            Some(Reason::Stopped) | None => {}
            Some(reason) => {
                let failure = Failure::of_connection(&turn.app.load.address.to_string(), reason);
                turn.app.report.fail(failure.to_string());
            }
        }
    }
}
