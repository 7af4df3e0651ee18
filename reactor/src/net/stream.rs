//! The stream driver: all the system calls of a connection, around a session that makes none.

use std::io::{self, IoSlice};
use std::sync::Arc;

use protocol::{Cause, ConnectionId, Context, Effects, Flow, Front, Leftover, Limits, Session};

mod linger;
mod opening;
mod stage;
mod watermarks;

use linger::{Linger, shut_down};
use stage::{Sending, Stage};
use watermarks::Watermarks;

use crate::net::files;
use crate::{Cx, Handler, Interest, LoopCx, Readiness, Reason, Timeout, Token};

/// How much room a read is given at least.
const READ_MIN: usize = 4 * 1024;
/// How many segments one write coalesced_waits at most.
const GATHER_MAX: usize = 32;

/// Something was sent since it was looked at what the peer has acknowledged.
const UNKNOWN: u32 = u32::MAX;

pub(crate) use protocol::Scratch;

/// The handler of a connection: reads, lets a [`Session`] make of it what it will, writes.
///
/// Reading stops while the session pauses and while more than
/// [`Limits::output_high`] bytes are unsent. One write follows all that was decoded, so a
/// pipelined burst costs one system call. A peer that ends its side still gets every reply.
pub struct Stream<S> {
    session: S,
    limits: Arc<Limits>,
    leftover: Leftover,
    /// Why and how it ends, once the session is done.
    ending: Option<Box<Linger>>,
    stage: Stage,
    input_ended: bool,
    paused: bool,
    watermarks: Watermarks,
    /// The session has been told that its peer has ended its stream.
    hung_up: bool,
    /// How many bytes the peer had not acknowledged when that was looked at last, or [`UNKNOWN`].
    unacknowledged: u32,
    /// The session is still to be told that it was woken before the connection stood,
    woken: bool,
    /// and that the loop winds down.
    stopping: bool,
    sending: Sending,
}

impl<S> Stream<S> {
    fn new(session: S, limits: Arc<Limits>, stage: Stage) -> Self {
        Self {
            session,
            limits,
            leftover: Leftover::default(),
            ending: None,
            stage,
            input_ended: false,
            paused: false,
            watermarks: Watermarks::default(),
            hung_up: false,
            unacknowledged: UNKNOWN,
            woken: false,
            stopping: false,
            sending: Sending::Open,
        }
    }

    /// Whether more input is wanted.
    fn wants_input(&self) -> bool {
        self.stage == Stage::Open && !self.paused && !self.watermarks.is_full() && !self.input_ended
    }

    /// Whether the session is still to be told that its peer has ended its stream: one that reads
    /// finds out by itself.
    fn heeds_hang_up(&self) -> bool {
        self.stage == Stage::Open && self.paused && !self.hung_up && !self.input_ended
    }

    /// Borrows what the connection owns into the shared buffers, works, and keeps what is left.
    fn with_scratch<A, R>(
        &mut self,
        cx: &mut Cx<'_, A>,
        work: impl FnOnce(&mut Self, &mut Scratch, &mut Cx<'_, A>) -> R,
    ) -> R {
        let mut scratch = cx.core.scratch.take().unwrap_or_default();
        let loan = self.leftover.lend(&mut scratch);
        let result = work(self, &mut scratch, cx);
        self.leftover.keep(&mut scratch, loan);
        cx.core.scratch = Some(scratch);
        result
    }

    /// Does all there is to do: calls the session for `cause`, reads, decodes, writes.
    fn drive<A>(
        &mut self,
        cause: Option<Cause>,
        scratch: &mut Scratch,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<()>
    where
        S: Session<A>,
    {
        if self.stage == Stage::Connecting && !self.connected(cx)? {
            self.woken |= cause == Some(Cause::Woken);
            return Ok(());
        }
        let heeds_errors = self.stage != Stage::Lingering && !self.wants_input();
        if heeds_errors && cx.readiness().contains(Readiness::ERROR) {
            // Nothing is about to be read or written that would tell.
            if let Some(error) = cx.take_error()? {
                cx.failed = Some("connection");
                return Err(error);
            }
        }
        if self.stage == Stage::Opening {
            self.stage = Stage::Open;
            self.advance(Cause::Opened, scratch, cx);
        }
        if std::mem::take(&mut self.stopping) {
            self.advance(Cause::Stopping, scratch, cx);
        }
        if let Some(cause) = cause {
            self.advance(cause, scratch, cx);
        }
        if std::mem::take(&mut self.woken) {
            self.advance(Cause::Woken, scratch, cx);
        }
        if self.watermarks.take_owed() {
            self.advance(Cause::Drained, scratch, cx);
        }
        if self.heeds_hang_up() && cx.readiness().contains(Readiness::READ_CLOSED) {
            self.hung_up = true;
            cx.allow_silence(false);
            self.advance(Cause::HungUp, scratch, cx);
        }
        let (mut to_read, mut to_write) = (self.limits.read_budget, self.limits.read_budget as u64);
        loop {
            self.receive(&mut to_read, scratch, cx)?;
            let drained = self.flush(&mut to_write, scratch, cx)?;
            if scratch.output.memory() > self.limits.output_max {
                cx.set_unsent(true);
                cx.end(Reason::Limit("output_max: the peer does not read"));
                return Ok(());
            }
            if !drained {
                break;
            }
            if to_write == 0 {
                // The peer takes whatever it is given: others have their turn before it gets more.
                self.watermarks.put_off();
                break;
            }
            self.advance(Cause::Drained, scratch, cx);
        }
        self.conclude(scratch, cx)
    }

    /// Whether the connection stands.
    fn connected<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<bool> {
        if !cx.readiness().intersects(Readiness::WRITABLE | Readiness::ERROR) {
            return Ok(false);
        }
        if let Some(error) = cx.take_error()? {
            cx.failed = Some("connect");
            return Err(error);
        }
        cx.set_timeout(None);
        cx.allow_silence(false);
        self.stage = Stage::Opening;
        Ok(true)
    }

    /// Calls the session, and carries out what it asks for besides bytes.
    fn advance<A>(&mut self, cause: Cause, scratch: &mut Scratch, cx: &mut Cx<'_, A>)
    where
        S: Session<A>,
    {
        if self.stage != Stage::Open {
            return;
        }
        let (now, me) = (cx.now(), cx.me().into());
        let mut context =
            Context::new(now, me, cx.app, &self.limits, &mut scratch.effects).because(cause);
        context.input_ended = self.input_ended;
        let result = self.session.advance(&mut scratch.input, &mut scratch.output, &mut context);
        if self.hung_up {
            scratch.effects.silence_allowed = None;
        }
        carry_out(&mut scratch.effects, cx);
        if std::mem::take(&mut scratch.effects.output_ended) && self.sending == Sending::Open {
            self.sending = Sending::Ending;
        }
        let Limits { output_low, output_high, .. } = *self.limits;
        self.watermarks.grown(scratch.output.len(), output_low, output_high);
        let reason = match result {
            Ok(Flow::Close) if self.input_ended => Reason::PeerClosed,
            Ok(Flow::Close) => Reason::Finished,
            Ok(flow) => {
                self.paused = flow == Flow::Pause;
                return;
            }
            Err(refusal) => Reason::Refused(refusal),
        };
        self.close(reason, scratch, cx);
    }

    /// Reads and decodes until there is nothing more, or the budget is used up.
    fn receive<A>(
        &mut self,
        budget: &mut usize,
        scratch: &mut Scratch,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<()>
    where
        S: Session<A>,
    {
        while self.wants_input() && *budget > 0 {
            // No more than there is room for the answers to, if they are of about that size.
            let room = self.limits.output_high.saturating_sub(scratch.output.len());
            let spare = scratch.input.spare(READ_MIN);
            let size = spare.len().min(room as usize).max(READ_MIN);
            let Some(count) = cx.read(&mut spare[..size])? else { return Ok(()) };
            scratch.input.commit(count);
            *budget = budget.saturating_sub(count);
            self.input_ended = count == 0;
            self.advance(Cause::Input, scratch, cx);
            if scratch.input.len()
                >= self.limits.message_size_max.saturating_add(Scratch::INPUT_SIZE)
            {
                let text = "message_size_max: the session does not consume its input";
                self.close(Reason::Limit(text), scratch, cx);
            }
            if !cx.readiness().contains(Readiness::READABLE) {
                // A short read has told that there is nothing more.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes until there is nothing more, the socket is full, or others should have their context.
    /// Returns whether the output has drained, so that the session may go on.
    fn flush<A>(
        &mut self,
        budget: &mut u64,
        scratch: &mut Scratch,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<bool> {
        let before = *budget;
        while *budget > 0 {
            let count = match scratch.output.front() {
                Front::Empty => break,
                Front::Whole(bytes) => cx.write(&[IoSlice::new(bytes)])?,
                Front::Memory => {
                    let mut slices = [IoSlice::new(&[]); GATHER_MAX];
                    let filled = scratch.output.gather(&mut slices);
                    cx.write(&slices[..filled])?
                }
                Front::File(range) => {
                    files::send_range(&range.file, range.offset, range.length, cx)?
                }
            };
            let Some(count) = count else { break };
            scratch.output.consume(count as u64);
            *budget = budget.saturating_sub(count as u64);
            if let Some(linger) = &mut self.ending {
                // As long as the peer takes something, it is waited for.
                linger.wait(self.limits.linger, cx);
            }
        }
        if *budget < before {
            // Where the socket is full, what the peer takes from here on is progress.
            let is_full =
                !scratch.output.is_empty() && !cx.readiness().contains(Readiness::WRITABLE);
            self.unacknowledged = if is_full { cx.unacknowledged() } else { UNKNOWN };
        }
        Ok(self.watermarks.shrunk(scratch.output.len(), self.limits.output_low))
    }

    /// Ends the connection when it is done, in order, and otherwise says what it waits for.
    fn conclude<A>(&mut self, scratch: &mut Scratch, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if self.stage == Stage::Closing && scratch.output.is_empty() {
            cx.set_unsent(false);
            if self.input_ended {
                cx.end(self.take_reason());
                return Ok(());
            }
            self.stage = Stage::Lingering;
            if let Some(linger) = &mut self.ending {
                linger.begin(self.limits.linger, cx)?;
            }
        }
        if self.stage == Stage::Lingering
            && let Some(linger) = &mut self.ending
        {
            let room = scratch.input.spare(READ_MIN);
            return Ok(linger.discard(room, self.limits.read_budget, cx));
        }
        if scratch.output.is_empty() && self.sending == Sending::Ending {
            self.sending = Sending::Ended;
            shut_down(cx)?;
        }
        let read = match self.wants_input() {
            true => Interest::READ,
            false if self.heeds_hang_up() => Interest::HANG_UP,
            false => Interest::NONE,
        };
        let has_more = !scratch.output.is_empty() || self.watermarks.owes();
        let write = if has_more { Interest::WRITE } else { Interest::NONE };
        let is_unsent = !scratch.output.is_empty();
        cx.core.update(cx.me, |source| {
            source.interest = read | write;
            source.is_unsent = is_unsent;
        });
        Ok(())
    }
}

impl From<Token> for ConnectionId {
    fn from(token: Token) -> Self {
        Self(token.to_bits())
    }
}

impl From<ConnectionId> for Token {
    fn from(peer: ConnectionId) -> Self {
        Self::from_bits(peer.0)
    }
}

/// Wakes whom a session asked to wake.
fn wake<A, P>(effects: &mut Effects, cx: &mut Cx<'_, A, P>) {
    for peer in effects.wakes.drain(..) {
        cx.wake(peer.into());
    }
}

/// Does what a session asked for besides bytes.
fn carry_out<A>(effects: &mut Effects, cx: &mut Cx<'_, A>) {
    wake(effects, cx);
    if let Some(deadline) = effects.deadline.take() {
        cx.set_timeout(deadline.map(|at| at.saturating_duration_since(cx.now())));
    }
    if let Some(allowed) = effects.silence_allowed.take() {
        cx.allow_silence(allowed);
    }
}

impl<A: 'static, S: Session<A>> Handler<A> for Stream<S> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let cause = cx.was_woken().then_some(Cause::Woken);
        self.with_scratch(cx, |stream, scratch, cx| stream.drive(cause, scratch, cx))
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let ends = cx.is_winding_down();
        // A session that pauses waits for something else than its peer, and a peer that is owed
        // something is waited for; the loop's patience is the limit.
        let is_owed = ends && (self.paused || self.leftover.has_output());
        match (timeout, self.stage) {
            (Timeout::Deadline, _) if self.outlasts(cx) => Ok(()),
            (Timeout::Idle, _) if self.is_taken(cx) => Ok(()),
            (_, Stage::Lingering) => {
                cx.end(self.take_reason());
                Ok(())
            }
            (Timeout::Idle, Stage::Open) if is_owed => Ok(()),
            // It has a limit of its own: the linger.
            (Timeout::Idle, Stage::Closing) if ends => Ok(()),
            (Timeout::Idle, _) if ends => {
                cx.end(Reason::Stopped);
                Ok(())
            }
            (Timeout::Deadline, Stage::Open) => {
                let cause = Some(Cause::Deadline);
                self.with_scratch(cx, |stream, scratch, cx| stream.drive(cause, scratch, cx))
            }
            (timeout, _) => {
                cx.end(Reason::TimedOut(timeout));
                Ok(())
            }
        }
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // What is under way goes on; who has nothing to say is let go.
        cx.set_idle_timeout(Some(self.limits.stopping_quiet))?;
        if self.stage == Stage::Open {
            let cause = Some(Cause::Stopping);
            return self.with_scratch(cx, |stream, scratch, cx| stream.drive(cause, scratch, cx));
        }
        self.stopping = true;
        Ok(())
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        let (now, me) = (cx.now(), cx.me().into());
        let mut effects = Effects::default();
        let error = (!reason.is_orderly()).then_some(&reason as &(dyn std::error::Error + 'static));
        let mut context = Context::new(now, me, cx.app, &self.limits, &mut effects);
        context.input_ended = self.input_ended;
        self.session.closed(error, &mut context);
        wake(&mut effects, cx);
    }
}
