//! Lending buffers: the links of one driver share one set, and keep only what is left over.

use std::time::{Duration, Instant};

use crate::{Buffer, Effects, Limits, Output};

/// How many boxes for what is left over are kept for the next link that needs one.
const POOL_MAX: usize = 64;

/// The buffers that all links of a driver share. They are lent to one link for one pass, so an idle
/// connection owns none.
#[derive(Debug)]
pub struct Scratch {
    pub(super) input: Buffer,
    pub(super) output: Output,
    /// What was received and not yet opened, and what was sealed and not yet sent: empty without a
    /// layer.
    pub(super) sealed: Buffer,
    pub(super) wire: Output,
    pub(super) effects: Effects,
    pub(super) pass: Pass,
    loan: Loan,
    #[allow(clippy::vec_box)] // A link keeps the box itself: that is what is pooled.
    pool: Vec<Box<Rest>>,
}

/// What is known during one pass.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) now: Instant,
    /// The time that the driver itself has lost since it started.
    pub(super) lost: Duration,
    /// How many more bytes may be read and written in this pass.
    pub(super) to_read: usize,
    pub(super) to_write: u64,
    /// Nothing is known to block, and the budget is not used up.
    pub(super) can_read: bool,
    pub(super) can_write: bool,
    /// The last write left no room for more, or there was none for it.
    pub(super) write_blocks: bool,
    pub(super) has_sent: bool,
    /// The driver knows that the peer has ended its stream.
    pub(super) is_hung_up: bool,
    pub(super) deadline_changed: bool,
}

/// What one link keeps between two passes, while there is any of it.
#[derive(Debug, Default)]
pub(super) struct Rest {
    input: Buffer,
    output: Output,
    sealed: Buffer,
    wire: Output,
}

impl Rest {
    /// Returns how many bytes wait to be sent.
    pub(super) fn unsent(&self) -> u64 {
        self.output.len() + self.wire.len()
    }

    /// Returns how many bytes of the session's output wait, those that a layer has sealed excepted.
    pub(super) fn output_unsent(&self) -> u64 {
        self.output.len()
    }

    pub(super) fn input(&self) -> &Buffer {
        &self.input
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Puts input behind the unread input, and output in front of the unsent output.
    pub(super) fn take_back(&mut self, input: &[u8], output: &[u8]) {
        self.input.extend_from_slice(input);
        self.output.put_back(output);
    }

    /// Returns what a link without a layer keeps.
    pub(super) fn of(input: Buffer, output: Output) -> Self {
        Self { input, output, ..Self::default() }
    }

    /// Returns what a link stores: nothing where there is nothing.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.input.is_empty()
            && self.sealed.is_empty()
            && self.output.is_empty()
            && self.wire.is_empty()
    }
}

/// The shared buffers that were put aside for a link's own.
#[derive(Debug, Default)]
struct Loan {
    aside: Option<Box<Rest>>,
    owns_input: bool,
    owns_output: bool,
    owns_sealed: bool,
    owns_wire: bool,
}

impl Scratch {
    /// The size of the shared input buffer. A read takes no more, or twice that once a message has made
    /// the buffer grow. A message of 64 KiB fits with its head, and a read that does not fill the buffer
    /// tells that there is no more, so no further call has to ask for that.
    pub const INPUT_SIZE: usize = 68 * 1024;

    /// Returns the buffers of a driver that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            input: Buffer::with_capacity(Self::INPUT_SIZE),
            output: Output::new(),
            sealed: Buffer::new(),
            wire: Output::new(),
            effects: Effects::default(),
            pass: Pass::new(now, Duration::ZERO, &Limits::DEFAULT),
            loan: Loan::default(),
            pool: Vec::new(),
        }
    }

    /// Returns what sessions have requested in this pass.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// Returns what sessions have requested in this pass, so that the driver can carry it out.
    pub fn effects_mut(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Returns whether the link's deadline has changed in this pass.
    pub fn deadline_changed(&self) -> bool {
        self.pass.deadline_changed
    }

    /// Returns whether all output of the link was sent.
    pub fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.wire.is_empty()
    }

    #[inline]
    pub(super) fn begin(&mut self, pass: Pass, rest: &mut Option<Box<Rest>>) {
        self.pass = pass;
        if let Some(rest) = rest.take() {
            self.lend(rest);
        }
    }

    /// Puts what a link has kept where it is worked on.
    fn lend(&mut self, mut rest: Box<Rest>) {
        let loan = &mut self.loan;
        loan.owns_input = lend_buffer(&mut rest.input, &mut self.input);
        loan.owns_sealed = lend_buffer(&mut rest.sealed, &mut self.sealed);
        loan.owns_output = lend_output(&mut rest.output, &mut self.output);
        loan.owns_wire = lend_output(&mut rest.wire, &mut self.wire);
        loan.aside = Some(rest);
    }

    /// Keeps what is left, and puts the shared buffers back. `is_plain` is whether there is no layer.
    #[inline]
    pub(super) fn end(&mut self, rest: &mut Option<Box<Rest>>, is_plain: bool) {
        let is_clean = |buffer: &Buffer| buffer.is_empty() && !has_grown(buffer);
        if is_clean(&self.input)
            && self.output.is_empty()
            && self.loan.aside.is_none()
            && (is_plain || is_clean(&self.sealed) && self.wire.is_empty())
        {
            return;
        }
        self.keep(rest);
    }

    fn keep(&mut self, rest: &mut Option<Box<Rest>>) {
        let mut loan = std::mem::take(&mut self.loan);
        let mut aside = loan.aside.take().or_else(|| self.pool.pop()).unwrap_or_default();
        keep_buffer(&mut self.input, &mut aside.input, loan.owns_input);
        keep_buffer(&mut self.sealed, &mut aside.sealed, loan.owns_sealed);
        keep_output(&mut self.output, &mut aside.output, loan.owns_output);
        keep_output(&mut self.wire, &mut aside.wire, loan.owns_wire);
        if !aside.is_empty() {
            *rest = Some(aside);
        } else if self.pool.len() < POOL_MAX {
            *aside = Rest::default();
            self.pool.push(aside);
        }
    }
}

impl Pass {
    #[inline]
    pub(super) fn new(now: Instant, lost: Duration, limits: &Limits) -> Self {
        Self {
            now,
            lost,
            to_read: limits.read_budget,
            to_write: limits.read_budget as u64,
            can_read: true,
            can_write: true,
            write_blocks: false,
            has_sent: false,
            is_hung_up: false,
            deadline_changed: false,
        }
    }
}

/// Returns whether the shared buffer has grown by more than one step. That one is kept: a message that
/// is a little larger than a read would take it each time, with its copies.
fn has_grown(shared: &Buffer) -> bool {
    shared.capacity() > 2 * Scratch::INPUT_SIZE
}

/// Lends a link's own bytes: few are copied into the shared buffer, whose room then makes for large
/// reads; many take its place. Returns whether they did.
fn lend_buffer(own: &mut Buffer, shared: &mut Buffer) -> bool {
    let is_large = own.len() > Scratch::INPUT_SIZE / 2;
    if is_large {
        std::mem::swap(shared, own);
    } else {
        shared.extend_from_slice(own.filled());
        own.clear();
    }
    is_large
}

/// Keeps the rest of a buffer in `own`, with no more room than it needs unless it is large, and puts
/// the shared buffer back.
fn keep_buffer(buffer: &mut Buffer, own: &mut Buffer, is_own: bool) {
    if !is_own && !has_grown(buffer) {
        *own = fitted(buffer);
        buffer.clear();
        return;
    }
    let shared =
        if is_own { std::mem::take(own) } else { Buffer::with_capacity(Scratch::INPUT_SIZE) };
    let used = std::mem::replace(buffer, shared);
    let is_large = used.len() > Scratch::INPUT_SIZE / 2 && used.len() > used.capacity() / 4;
    *own = if is_large { used } else { fitted(&used) };
}

/// Returns a copy with no more room than it needs.
fn fitted(buffer: &Buffer) -> Buffer {
    if buffer.is_empty() { Buffer::new() } else { Buffer::from(buffer.filled().to_vec()) }
}

fn lend_output(own: &mut Output, shared: &mut Output) -> bool {
    let is_own = !own.is_empty();
    if is_own {
        std::mem::swap(shared, own);
    }
    is_own
}

fn keep_output(output: &mut Output, own: &mut Output, is_own: bool) {
    if is_own {
        std::mem::swap(output, own);
    } else if !output.is_empty() {
        *own = output.take();
    }
}
