//! One pass: the steps from the first event to the next wait.

use super::scratch::Pass;
use super::sealing::Sealing;
use super::{
    Event, Front, Layer, Link, Moment, Scratch, Stage, Step, Storage, UNKNOWN, Wait, WriteHalf,
};
use super::{cause, flag};
use crate::{Buffer, Cause, ConnectionId, Context, Flow, Output, Reason, Session};

/// How much room a read is given at least.
const READ_MIN: usize = 4 * 1024;

impl<S, L: Layer> Link<S, L> {
    /// Begins a pass: lends the shared buffers to the link until [`end`](Self::end). A driver of a
    /// single link may begin each pass without ending the one before; the link then keeps the
    /// buffers.
    ///
    /// The driver may read and write until it is told that either blocks
    /// ([`read_blocked`](Self::read_blocked), [`write_blocked`](Self::write_blocked)).
    #[inline]
    pub fn begin(&mut self, scratch: &mut Scratch, moment: Moment) {
        scratch.begin(Pass::new(moment.now, moment.lost, &self.limits), &mut self.rest);
        if self.pending & cause::DRAINED_LATER != 0 && !self.is_frozen() {
            self.pending = self.pending & !cause::DRAINED_LATER | cause::DRAINED;
        }
        if !L::IS_PLAIN && self.stage == Stage::New {
            self.stage = Stage::Opening;
            self.set(flag::LAYERED, true);
            self.layer.start(&mut scratch.wire);
            self.limit_handshake(scratch);
        }
    }

    /// Ends the pass: the link keeps what is left over.
    #[inline]
    pub fn end(&mut self, scratch: &mut Scratch) {
        scratch.end(&mut self.rest, L::IS_PLAIN);
    }

    /// Tells the link what happened. The session is told in one of the next steps.
    pub fn tell(&mut self, event: Event) {
        self.set(flag::STOPS, self.has(flag::STOPS) || event == Event::Stopping);
        let is_over = matches!(self.stage, Stage::Closing | Stage::Lingering | Stage::Over);
        if !is_over {
            self.pending |= match event {
                Event::Woken => cause::WOKEN,
                Event::Stopping => cause::STOPPING,
            };
        }
    }

    /// Tells the link that the peer has ended its stream, as far as the driver knows without reading.
    pub fn hung_up(&mut self, scratch: &mut Scratch) {
        scratch.pass.is_hung_up = true;
    }

    /// Tells the link that nothing can be read until the driver waits for it.
    #[inline]
    pub fn read_blocked(&mut self, scratch: &mut Scratch) {
        scratch.pass.can_read = false;
    }

    /// Tells the link that nothing can be written until the driver waits for it.
    #[inline]
    pub fn write_blocked(&mut self, scratch: &mut Scratch) {
        scratch.pass.can_write = false;
        scratch.pass.write_blocks = true;
    }

    /// Returns what the driver has to do next. After [`Step::Wait`] and [`Step::Close`], it calls
    /// [`end`](Self::end).
    #[inline(always)] // A driver calls it in one place.
    pub fn step<'a>(&mut self, scratch: &'a mut Scratch) -> Step<'a> {
        // The same in short for most links.
        if self.is_usual(cause::INPUT) {
            return Step::Call;
        }
        if self.is_usual(0) {
            if scratch.pass.can_read {
                return Step::Read(self.room(scratch));
            }
            if scratch.output.is_empty() {
                return Step::Wait(Wait::INPUT);
            }
            if scratch.pass.can_write {
                return Step::Write;
            }
        }
        self.step_unless_usual(scratch)
    }

    #[inline(never)]
    fn step_unless_usual<'a>(&mut self, scratch: &'a mut Scratch) -> Step<'a> {
        if self.is_frozen() {
            return Step::Wait(Wait::default());
        }
        if self.is_called() {
            return Step::Call;
        }
        if scratch.pass.can_read && self.reads() {
            return Step::Read(self.room(scratch));
        }
        if self.is_layered() && self.seal(scratch) == Sealing::NeedsFile {
            return Step::ReadFile;
        }
        let is_flushed = self.is_flushed(scratch);
        if !is_flushed && scratch.pass.can_write && !self.output(scratch).is_empty() {
            return Step::Write;
        }
        self.conclude(scratch, is_flushed)
    }

    /// Returns what is to be written next.
    #[inline(always)]
    pub fn front<'a>(&self, scratch: &'a Scratch) -> Front<'a> {
        self.output(scratch).front()
    }

    /// Returns what is to be written: where [`front`](Self::front) is [`Front::Memory`], the driver
    /// gathers from it.
    #[inline]
    pub fn output<'a>(&self, scratch: &'a Scratch) -> &'a Output {
        if self.writes_sealed(scratch) { &scratch.wire } else { &scratch.output }
    }

    fn writes_sealed(&self, scratch: &Scratch) -> bool {
        !L::IS_PLAIN && (self.is_layered() || !scratch.wire.is_empty())
    }

    #[inline]
    pub(super) fn is_flushed(&self, scratch: &Scratch) -> bool {
        scratch.output.is_empty() && (L::IS_PLAIN || scratch.wire.is_empty())
    }

    /// Returns how many bytes wait to be sent.
    #[inline]
    fn unsent(&self, scratch: &Scratch) -> u64 {
        scratch.output.len() + if L::IS_PLAIN { 0 } else { scratch.wire.len() }
    }

    #[inline]
    fn is_called(&self) -> bool {
        // A layer that is not ready holds back that the connection is open. A session that has started
        // its layer later is called during the handshake, and what it says waits.
        self.pending & !cause::DRAINED_LATER != 0 && (self.stage == Stage::Open || self.is_ready())
    }

    /// Returns room for what is read next.
    #[inline(always)]
    fn room<'a>(&self, scratch: &'a mut Scratch) -> &'a mut [u8] {
        let Scratch { input, sealed, output, .. } = scratch;
        let buffer = if self.is_layered() { sealed } else { input };
        if buffer.capacity() == 0 {
            *buffer = Buffer::with_capacity(Scratch::INPUT_SIZE);
        }
        // No more than there is room for the answers to, if they are of about that size.
        let room = self.limits.output_high.saturating_sub(output.len());
        let spare = buffer.spare(READ_MIN);
        let size = spare.len().min(room as usize).max(READ_MIN);
        &mut spare[..size]
    }

    /// Returns the storage that is read into next, for a driver that has what it has received in storage of
    /// the same size and exchanges the two. It then tells the link how many bytes it has received
    /// ([`received`](Self::received)).
    pub fn input_storage<'a>(&self, scratch: &'a mut Scratch) -> Storage<'a> {
        let is_layered = self.is_layered();
        let buffer = if is_layered { &scratch.sealed } else { &scratch.input };
        if !buffer.is_empty() {
            return Storage::Behind(self.room(scratch));
        }
        let buffer = if is_layered { &mut scratch.sealed } else { &mut scratch.input };
        Storage::Empty(buffer.storage_mut())
    }

    /// Tells the link that `count` bytes were read, and whether there may be more. Zero bytes are
    /// the end of the stream.
    #[inline]
    pub fn received(&mut self, scratch: &mut Scratch, count: usize, can_read: bool) {
        scratch.pass.to_read = scratch.pass.to_read.saturating_sub(count);
        scratch.pass.can_read = can_read && count > 0 && scratch.pass.to_read > 0;
        if self.is_lingering() {
            self.discard(count);
        } else if self.is_layered() {
            self.set(flag::WIRE_ENDED, count == 0);
            scratch.sealed.commit(count);
            self.open(scratch);
        } else {
            scratch.input.commit(count);
            self.pending |= cause::INPUT;
            if count == 0 {
                self.set(flag::INPUT_ENDED | flag::WIRE_ENDED, true);
            }
        }
    }

    /// Tells the link that `count` bytes of the output were written, and whether there may be room
    /// for more.
    #[inline(always)] // A message calls it once, and a program may have several drivers.
    pub fn sent(&mut self, scratch: &mut Scratch, count: u64, can_write: bool) {
        scratch.pass.to_write = scratch.pass.to_write.saturating_sub(count);
        scratch.pass.can_write = can_write && scratch.pass.to_write > 0;
        scratch.pass.write_blocks = !can_write;
        scratch.pass.has_sent = true;
        if self.writes_sealed(scratch) {
            scratch.wire.consume(count);
        } else {
            scratch.output.consume(count);
        }
        self.unacknowledged = UNKNOWN;
        if self.stage == Stage::Closing {
            // As long as the peer takes something, it is waited for.
            self.wait_for_peer(scratch, self.limits.linger);
        }
        if self.has(flag::ABOVE_LOW) && self.unsent(scratch) <= self.limits.output_low {
            self.set(flag::ABOVE_LOW, false);
            if self.stage == Stage::Open {
                let later = scratch.pass.to_write == 0;
                self.pending |= if later { cause::DRAINED_LATER } else { cause::DRAINED };
            }
        }
    }

    /// Ends the connection when it is done, in order. Otherwise returns what the link waits for.
    #[inline]
    fn conclude<'a>(&mut self, scratch: &'a mut Scratch, is_flushed: bool) -> Step<'a> {
        if self.stage == Stage::Open && is_flushed && self.write_half != WriteHalf::Ending {
            return self.wait(scratch, is_flushed);
        }
        self.conclude_more(scratch, is_flushed)
    }

    /// Concludes a step in every state except that of an open connection without output.
    fn conclude_more<'a>(&mut self, scratch: &'a mut Scratch, is_flushed: bool) -> Step<'a> {
        let memory = scratch.output.memory() + scratch.wire.memory();
        if memory > self.limits.output_max && self.stage != Stage::Over {
            self.abort(scratch, Reason::Limit("output_max: the peer does not read"));
        }
        match self.stage {
            Stage::Closing
                if is_flushed && (self.has(flag::WIRE_ENDED) || self.is_incomplete()) =>
            {
                return Step::Close;
            }
            Stage::Closing if is_flushed => {
                let is_told = self.write_half == WriteHalf::Ended;
                self.linger(scratch);
                return if is_told { self.step(scratch) } else { Step::ShutDown };
            }
            Stage::Over => return Step::Close,
            _ => {}
        }
        if is_flushed && self.write_half == WriteHalf::Ending {
            self.write_half = WriteHalf::Ended;
            return Step::ShutDown;
        }
        self.wait(scratch, is_flushed)
    }

    /// Returns what the link waits for.
    #[inline]
    fn wait<'a>(&mut self, scratch: &'a Scratch, is_flushed: bool) -> Step<'a> {
        let unless = flag::PAUSED | flag::INPUT_ENDED | flag::TOLD_HUNG_UP;
        let heeds_hang_up = self.stage == Stage::Open && self.flags & unless == flag::PAUSED;
        if heeds_hang_up && scratch.pass.is_hung_up {
            self.pending |= cause::HUNG_UP;
            return Step::Call;
        }
        Step::Wait(Wait {
            read: self.reads(),
            write: !self.output(scratch).is_empty() || self.pending & cause::DRAINED_LATER != 0,
            hang_up: heeds_hang_up,
            is_unsent: !is_flushed || self.is_incomplete(),
            is_full: !is_flushed && scratch.pass.has_sent && scratch.pass.write_blocks,
        })
    }

    /// Calls the session for the first of what it is to be told.
    #[inline]
    pub fn call<A>(&mut self, scratch: &mut Scratch, me: ConnectionId, app: &mut A)
    where
        S: Session<A>,
    {
        let cause = if self.pending == cause::INPUT {
            self.pending = 0;
            Some(Cause::Input)
        } else {
            self.take_cause(scratch)
        };
        if let Some(cause) = cause {
            self.advance(cause, scratch, me, app);
        }
    }

    /// Takes the first of what the session is to be told, if it is still to be told.
    #[inline(never)]
    fn take_cause(&mut self, scratch: &mut Scratch) -> Option<Cause> {
        let pending = self.pending & !cause::DRAINED_LATER;
        let bit = pending & pending.wrapping_neg();
        self.pending &= !bit;
        Some(match bit {
            cause::INPUT => Cause::Input,
            cause::OPENED => match std::mem::replace(&mut self.stage, Stage::Open) {
                Stage::Restored => Cause::Restored,
                _ => Cause::Opened,
            },
            cause::STOPPING => Cause::Stopping,
            cause::WOKEN => Cause::Woken,
            // The session has said more since, or what waits has become longer as it was sealed: the
            // session is told when that has drained.
            cause::DRAINED if self.unsent(scratch) > self.limits.output_low => {
                self.set(flag::ABOVE_LOW, true);
                return None;
            }
            cause::DRAINED => Cause::Drained,
            cause::HUNG_UP => {
                self.set(flag::TOLD_HUNG_UP, true);
                scratch.effects.allow_silence(false);
                Cause::HungUp
            }
            cause::TIMEOUT => match self.take_timeout(scratch.pass.now) {
                Some(key) => {
                    // Another may have passed as well.
                    self.pending |= cause::TIMEOUT;
                    Cause::Timeout(key)
                }
                None => return None,
            },
            _ => return None,
        })
    }

    /// Calls the session, and carries out the part of what it asks for that is the link's own.
    #[inline(always)] // It has one caller.
    fn advance<A>(&mut self, cause: Cause, scratch: &mut Scratch, me: ConnectionId, app: &mut A)
    where
        S: Session<A>,
    {
        let Scratch { input, output, effects, pass, .. } = &mut *scratch;
        let mut context = Context::new(pass.now, me, app, &self.limits, effects).because(cause);
        context.input_ended = self.flags & flag::INPUT_ENDED != 0;
        context.secured = if L::IS_PLAIN { None } else { self.layer.secured() };
        let result = self.session.advance(input, output, &mut context);
        if scratch.effects.is_asked {
            self.carry_out(scratch);
        }
        if self.unsent(scratch) > self.limits.output_low {
            self.set(flag::ABOVE_LOW, true);
        }
        if self.write_half == WriteHalf::Ended && !scratch.output.is_empty() {
            // The peer was told that nothing more comes.
            scratch.output.clear();
            // A session that pauses since its output is full waits to be told.
            if self.has(flag::ABOVE_LOW) {
                self.set(flag::ABOVE_LOW, false);
                self.pending |= cause::DRAINED_LATER;
            }
        }
        let reason = match result {
            Ok(flow @ (Flow::Continue | Flow::Pause)) => {
                self.set(flag::PAUSED, flow == Flow::Pause);
                let room = self.limits.message_size_max.saturating_add(Scratch::INPUT_SIZE);
                if scratch.input.len() < room || self.stage != Stage::Open {
                    return;
                }
                Reason::Limit("message_size_max: the session does not consume its input")
            }
            Ok(Flow::Close) if self.has(flag::INPUT_ENDED) => Reason::PeerClosed,
            Ok(Flow::Close) => Reason::Finished,
            Ok(Flow::Upgrade) => {
                Reason::refused("bug in the session: it hands over, and no other comes after it")
            }
            Err(reason) => reason,
        };
        self.close_open(scratch, reason);
    }

    #[cold]
    fn carry_out(&mut self, scratch: &mut Scratch) {
        if self.has(flag::TOLD_HUNG_UP) && scratch.effects.idle_limit.is_some() {
            scratch.effects.allow_silence(false);
        }
        let can_speak = matches!(self.write_half, WriteHalf::Open | WriteHalf::Incomplete);
        if let Some(is_incomplete) = scratch.effects.incomplete.take().filter(|_| can_speak) {
            self.write_half = if is_incomplete { WriteHalf::Incomplete } else { WriteHalf::Open };
        }
        if std::mem::take(&mut scratch.effects.output_ended) && can_speak {
            self.write_half = WriteHalf::Ending;
        }
        let mut timeouts = std::mem::take(&mut scratch.effects.timeouts);
        for (key, after) in timeouts.drain(..) {
            self.set_timeout(scratch, key, after);
        }
        scratch.effects.timeouts = timeouts;
        if let Some(count) = scratch.effects.layer_started.take() {
            self.start_layer(scratch, count);
        }
    }

    /// Tells the session that the connection is closed. The driver calls it once, as the last
    /// method. The session may still reach others: what it asks for itself is dropped, as its
    /// connection is gone. It learns how much of its output was not passed on
    /// ([`Context::unsent`]).
    pub fn closed<A>(
        &mut self,
        reason: &Reason,
        scratch: &mut Scratch,
        moment: Moment,
        me: ConnectionId,
        app: &mut A,
    ) where
        S: Session<A>,
    {
        let mut context = Context::new(moment.now, me, app, &self.limits, &mut scratch.effects);
        context.input_ended = self.flags & flag::INPUT_ENDED != 0;
        // What a layer has sealed may have been passed on in part, so it counts as passed on.
        context.secured = self.layer.secured();
        context.unsent = self.rest.as_ref().map_or(0, |rest| rest.output_unsent());
        self.session.closed(reason, &mut context);
        scratch.effects.forget_own();
    }
}
