//! What passes through a layer: opening what was received, sealing what is to be sent.

use std::error::Error;
use std::io;

use super::layer::{Opened, SEALED_MAX};
use super::{Front, Layer, Link, Scratch, Stage, WriteHalf, cause, flag};
use crate::{FileRange, Reason};

/// The number of sealed bytes in the queue at which sealing stops.
const SEALED_AHEAD: u64 = 64 * 1024;

/// What sealing came to.
#[derive(PartialEq, Eq)]
pub(super) enum Sealing {
    /// Nothing more can be sealed for now.
    Done,
    /// A range of a file has to be read first.
    NeedsFile,
}

impl<S, L: Layer> Link<S, L> {
    /// Returns the file range of [`Step::ReadFile`](super::Step::ReadFile), and room for its bytes.
    pub fn file<'a>(&self, scratch: &'a mut Scratch) -> Option<(FileRange, &'a mut [u8])> {
        let Front::File(range) = scratch.output.front() else { return None };
        let size = SEALED_MAX.min(usize::try_from(range.length).unwrap_or(SEALED_MAX));
        Some((range, &mut scratch.sealed.spare(size)[..size]))
    }

    /// Opens what was received.
    pub(super) fn open(&mut self, scratch: &mut Scratch) {
        let is_cut = self.has(flag::WIRE_ENDED);
        let before = scratch.input.len();
        let Scratch { input, sealed, wire, .. } = &mut *scratch;
        let result = self.layer.open(sealed, input, wire).and_then(|opened| match opened {
            Opened::Ended => Ok(true),
            Opened::GoesOn if is_cut => self.layer.cut(sealed.filled()).map(|()| true),
            Opened::GoesOn => Ok(false),
        });
        match result {
            Ok(has_ended) => self.set(flag::INPUT_ENDED, self.has(flag::INPUT_ENDED) || has_ended),
            Err(error) => return self.refuse(scratch, error),
        }
        self.unlimit_handshake(scratch);
        if self.has(flag::INPUT_ENDED) && !self.layer.is_ready() {
            return self.refuse(scratch, "the peer ended the stream during the handshake".into());
        }
        if scratch.input.len() > before || self.has(flag::INPUT_ENDED) {
            self.pending |= cause::INPUT;
        }
    }

    /// Ends the connection since the layer cannot go on: what it did not seal is lost.
    fn refuse(&mut self, scratch: &mut Scratch, error: Box<dyn Error + Send + Sync>) {
        scratch.output.clear();
        // An end in order would pass for the end of everything that was said.
        self.set(flag::LAYER_FINISHED, true);
        if self.write_half == WriteHalf::Ended {
            // The alert cannot be sent any more, and the failure to send it would hide the error.
            scratch.wire.clear();
        }
        self.close(scratch, Reason::Refused(error));
    }

    /// Seals what there is room for.
    pub(super) fn seal(&mut self, scratch: &mut Scratch) -> Sealing {
        let mut failed = None;
        while self.layer.is_ready()
            && scratch.wire.len() < SEALED_AHEAD
            && !scratch.output.is_empty()
            && failed.is_none()
        {
            let mut slices = [io::IoSlice::new(&[])];
            let bytes: &[u8] = match scratch.output.front() {
                Front::File(_) => return Sealing::NeedsFile,
                Front::Whole(bytes) => bytes,
                Front::Memory | Front::Empty => {
                    scratch.output.gather(&mut slices);
                    &slices[0]
                }
            };
            let bytes = &bytes[..bytes.len().min(SEALED_MAX)];
            failed = self.layer.seal(bytes, &mut scratch.wire).err();
            let count = bytes.len() as u64;
            scratch.output.consume(count);
        }
        if let Some(error) = failed {
            self.refuse(scratch, error);
        }
        let has_ended = match self.write_half {
            WriteHalf::Open => self.stage == Stage::Closing,
            // The message of the layer would say that this was all.
            WriteHalf::Incomplete => false,
            WriteHalf::Ending | WriteHalf::Ended => true,
        };
        if has_ended && scratch.output.is_empty() && !self.has(flag::LAYER_FINISHED) {
            self.set(flag::LAYER_FINISHED, true);
            self.layer.finish(&mut scratch.wire);
        }
        Sealing::Done
    }

    /// Seals the last message of the layer, such as `close_notify`, since the connection is about to
    /// end although nothing is left to be sent. A driver calls it after
    /// [`Passed::Over`](super::Passed::Over). If it returns true, the driver writes what it can of
    /// the [`output`](Self::output) at once, and closes.
    pub fn take_leave(&mut self, scratch: &mut Scratch) -> bool {
        let is_open = self.is_layered() && self.layer.is_ready() && self.stage == Stage::Open;
        // The message would say that this was all.
        if !is_open
            || self.is_incomplete()
            || self.has(flag::LAYER_FINISHED)
            || !self.is_flushed(scratch)
        {
            return false;
        }
        self.set(flag::LAYER_FINISHED, true);
        self.layer.finish(&mut scratch.wire);
        !scratch.wire.is_empty()
    }

    /// Tells the link that `count` bytes of the file were read into the room of
    /// [`Step::ReadFile`](super::Step::ReadFile). Zero means that the file is shorter than the
    /// range that was promised, and the connection fails.
    pub fn file_read(&mut self, scratch: &mut Scratch, count: usize) {
        if count == 0 {
            return self
                .refuse(scratch, "a file is shorter than the range that was promised".into());
        }
        let Scratch { sealed, wire, .. } = &mut *scratch;
        let result = self.layer.seal(&sealed.spare(count)[..count], wire);
        scratch.output.consume(count as u64);
        if let Err(error) = result {
            self.refuse(scratch, error);
        }
    }

    /// Starts the layer: from now on, bytes pass through it. The first `count` bytes of the output were
    /// there before, and are sent unchanged.
    pub(super) fn start_layer(&mut self, scratch: &mut Scratch, count: u64) {
        if self.layer.is_absent() || self.has(flag::LAYERED) {
            let text = "bug in the session: it starts a layer, and the link has none to start";
            return self.close(scratch, Reason::refused(text));
        }
        self.set(flag::LAYERED, true);
        scratch.wire = scratch.output.split_to(count);
        scratch.sealed.extend_from_slice(scratch.input.filled());
        scratch.input.clear();
        self.layer.start(&mut scratch.wire);
        self.limit_handshake(scratch);
        self.open(scratch);
    }
}
