//! Receiving frames: messages are put together, control frames come between.

use std::time::{Duration, Instant};

use flate2::Decompress;

use super::deflate::{self, Agreed, TAIL};
use super::frame::{Head, Opcode};
use super::mask::mask;
use super::utf8::{NotUtf8, Utf8};
use super::{Error, Kind, Message, Options, Piece};
use crate::planted::{self, Planted};
use crate::{Buffer, copying};

/// The largest piece of a compressed message in bytes.
const PIECE_MAX: usize = 16 * 1024;

/// The time for which control frames are counted.
const SECOND: Duration = Duration::from_secs(1);

impl From<NotUtf8> for Error {
    fn from(_: NotUtf8) -> Self {
        Self::NotUtf8
    }
}

/// What the input begins with.
pub(super) enum Received<'a> {
    /// Too little.
    Nothing,
    /// A part of a message, which was taken or has to wait for the rest.
    Part {
        /// How many bytes of input to remove.
        used: usize,
    },
    Message {
        message: Message<'a>,
        used: usize,
    },
    Piece {
        piece: Piece<'a>,
        used: usize,
    },
    Control {
        opcode: Opcode,
        payload: &'a [u8],
        used: usize,
    },
}

/// A frame whose head was read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Head,
    /// How many bytes of the payload were not taken. They are next in the input.
    left: u64,
    /// How many bytes at the front of the input are unmasked already.
    ready: usize,
}

/// A message that is put together from frames, or decompressed, or delivered in pieces.
#[derive(Debug)]
struct Assembly {
    kind: Kind,
    is_compressed: bool,
    fragments: u32,
    utf8: Utf8,
    /// How many bytes the message has so far.
    size: usize,
    /// The bytes of the message so far; if it is delivered in pieces, those of the last piece.
    bytes: Vec<u8>,
    decompress: Option<Box<Decompress>>,
    /// How many bytes of the tail were decompressed.
    tail: usize,
}

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    frame: Option<Frame>,
    /// Checks the text that is still in the input.
    utf8: Utf8,
    assembly: Option<Box<Assembly>>,
    /// A message has ended. Its bytes are lent to the service.
    is_over: bool,
    /// The context that the peer takes over from message to message.
    context: Option<Box<Decompress>>,
    /// How many control frames came since then.
    controls: u32,
    controls_since: Option<Instant>,
}

/// What a step of the reader depends on.
pub(super) struct Rules<'a> {
    pub(super) options: &'a Options,
    pub(super) agreed: Option<Agreed>,
    pub(super) is_client: bool,
    /// How many bytes of a message may wait in the input.
    pub(super) input_max: usize,
    pub(super) now: Instant,
    /// Messages are dropped, since a close frame was sent.
    pub(super) drops: bool,
}

impl Reader {
    /// Reads on. The caller removes what was used from the input, and calls
    /// [`release`](Self::release).
    #[inline]
    pub(super) fn read<'a>(
        &'a mut self,
        input: &'a mut Buffer,
        rules: &Rules<'_>,
    ) -> Result<Received<'a>, Error> {
        if self.frame.is_none() {
            let may_compress = rules.agreed.is_some();
            let head = Head::read(input.filled(), !rules.is_client, may_compress)?;
            let Some((head, size)) = head else { return Ok(Received::Nothing) };
            self.begin(&head, rules)?;
            input.consume(size);
            self.frame = Some(Frame { head, left: head.length, ready: 0 });
        }
        let Some(frame) = &mut self.frame else { return Ok(Received::Nothing) };
        let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let there = left.min(input.len());
        let is_whole = there == left;
        let bytes = &mut input.filled_mut()[..there];
        if let Some(key) = frame.head.key {
            let offset = frame.head.length - frame.left + frame.ready as u64;
            mask(&mut bytes[frame.ready..], key, offset);
        }
        let fresh = std::mem::replace(&mut frame.ready, there);
        let head = frame.head;
        if head.opcode.is_control() {
            if !is_whole {
                return Ok(Received::Nothing);
            }
            self.frame = None;
            if planted::is(Planted::FragmentsDropped) {
                self.assembly = None;
            }
            self.count_control(rules)?;
            return Ok(Received::Control { opcode: head.opcode, payload: bytes, used: there });
        }
        if there == 0 && !is_whole {
            return Ok(Received::Nothing);
        }
        if rules.drops {
            self.take(there, head.is_last);
            return Ok(Received::Part { used: there });
        }
        if self.assembly.is_some() {
            return self.assemble(bytes, head.is_last && is_whole, rules);
        }
        let is_text = head.opcode == Opcode::Data(Kind::Text);
        if !is_whole {
            if is_text {
                self.utf8.check(&bytes[fresh..])?;
            }
            return Ok(Received::Nothing);
        }
        self.frame = None;
        let message = if is_text {
            self.utf8 = Utf8::default();
            Message::Text(std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8)?)
        } else {
            Message::Binary(bytes)
        };
        Ok(Received::Message { message, used: there })
    }

    /// Checks the head of a frame, and begins a message that cannot stay in the input until it is
    /// whole.
    fn begin(&mut self, head: &Head, rules: &Rules<'_>) -> Result<(), Error> {
        let size_max = rules.options.message_size_max as u64;
        match head.opcode {
            Opcode::Continuation => {
                let assembly = self.assembly.as_mut().ok_or(Error::NothingToContinue)?;
                if head.is_compressed {
                    return Err(Error::CompressedContinuation);
                }
                assembly.fragments += 1;
                if assembly.fragments > rules.options.fragments_max {
                    return Err(Error::Fragments);
                }
                let size = (assembly.size as u64).saturating_add(head.length);
                if !assembly.is_compressed && size > size_max && !rules.drops {
                    return Err(Error::MessageSize);
                }
            }
            Opcode::Data(kind) => {
                if self.assembly.is_some() {
                    return Err(Error::NotContinued);
                }
                if !head.is_compressed && head.length > size_max && !rules.drops {
                    return Err(Error::MessageSize);
                }
                let stays = head.is_last
                    && !head.is_compressed
                    && !rules.options.in_pieces
                    && head.length <= rules.input_max as u64;
                if !stays {
                    self.assembly = Some(self.assembly_of(kind, head.is_compressed, rules));
                }
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        Ok(())
    }

    #[cold]
    fn assembly_of(&mut self, kind: Kind, is_compressed: bool, rules: &Rules<'_>) -> Box<Assembly> {
        let decompress = rules.agreed.filter(|_| is_compressed).map(|agreed| {
            if !agreed.peer_takeover {
                return deflate::decompressor();
            }
            self.context.take().unwrap_or_else(|| deflate::own_decompressor(agreed.peer_bits))
        });
        Box::new(Assembly {
            kind,
            is_compressed,
            fragments: 1,
            utf8: Utf8::default(),
            size: 0,
            bytes: Vec::new(),
            decompress,
            tail: 0,
        })
    }

    /// Frees a message that was delivered.
    #[inline]
    pub(super) fn release(&mut self, agreed: Option<Agreed>) {
        if self.is_over {
            self.free(agreed);
        }
    }

    #[cold]
    fn free(&mut self, agreed: Option<Agreed>) {
        self.is_over = false;
        let assembly = self.assembly.take();
        if let Some(decompress) = assembly.and_then(|assembly| assembly.decompress) {
            if agreed.is_some_and(|agreed| agreed.peer_takeover) {
                self.context = Some(decompress);
            } else {
                deflate::keep_decompressor(decompress);
            }
        }
    }

    /// Notes that bytes of the frame are used, and ends the message with it if it was the last one.
    fn take(&mut self, used: usize, is_last: bool) {
        let Some(frame) = &mut self.frame else { return };
        frame.left -= used as u64;
        frame.ready -= used;
        if frame.left == 0 {
            self.frame = None;
            self.is_over |= is_last;
        }
    }

    /// Takes bytes of a message that does not stay in the input. `ends`: they are its last ones.
    fn assemble<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        ends: bool,
        rules: &Rules<'_>,
    ) -> Result<Received<'a>, Error> {
        let Some(assembly) = &mut self.assembly else { return Ok(Received::Nothing) };
        if assembly.is_compressed {
            return self.inflate(bytes, ends, rules);
        }
        if assembly.kind == Kind::Text {
            assembly.utf8.check(bytes)?;
            if ends {
                assembly.utf8.finish()?;
            }
        }
        let used = bytes.len();
        assembly.size += used;
        if !rules.options.in_pieces {
            copying::append(&mut assembly.bytes, bytes);
        }
        self.take(used, ends);
        if rules.options.in_pieces {
            self.piece(Some(bytes), used, ends)
        } else {
            self.whole(used, ends)
        }
    }

    /// Decompresses bytes of a message.
    fn inflate<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        ends: bool,
        rules: &Rules<'_>,
    ) -> Result<Received<'a>, Error> {
        let Some(assembly) = &mut self.assembly else { return Ok(Received::Nothing) };
        let Some(state) = &mut assembly.decompress else { return Err(Error::Deflate) };
        let in_pieces = rules.options.in_pieces;
        let size_max = rules.options.message_size_max;
        // With one byte more, it is clear that a message is too large.
        let most = if in_pieces { PIECE_MAX } else { size_max.saturating_add(1) };
        if in_pieces {
            assembly.bytes.clear();
        }
        let before = assembly.bytes.len();
        let mut result = deflate::decompress(state, bytes, &mut assembly.bytes, most);
        let mut is_over = false;
        if ends && result == Ok(bytes.len()) && assembly.bytes.len() < most {
            match deflate::decompress(state, &TAIL[assembly.tail..], &mut assembly.bytes, most) {
                Ok(used) => assembly.tail += used,
                Err(error) => result = Err(error),
            }
            is_over = assembly.tail == TAIL.len() && assembly.bytes.len() < most;
        }
        // The first fault in the message counts, however its bytes arrive.
        let (new, room) = (&assembly.bytes[before..], size_max - assembly.size);
        if assembly.kind == Kind::Text {
            assembly.utf8.check(&new[..new.len().min(room)])?;
        }
        if new.len() > room {
            return Err(Error::MessageSize);
        }
        assembly.size += new.len();
        let used = result?;
        if assembly.kind == Kind::Text && is_over {
            assembly.utf8.finish()?;
        }
        if used < bytes.len() || !ends || is_over {
            self.take(used, is_over);
        } else if let Some(frame) = &mut self.frame {
            // The end of the message has more to give than a piece.
            (frame.left, frame.ready) = (0, 0);
        }
        if in_pieces { self.piece(None, used, is_over) } else { self.whole(used, is_over) }
    }

    /// Delivers a piece, which is in the input or was decompressed.
    fn piece<'a>(
        &'a mut self,
        bytes: Option<&'a mut [u8]>,
        used: usize,
        is_last: bool,
    ) -> Result<Received<'a>, Error> {
        let Some(assembly) = &mut self.assembly else { return Ok(Received::Nothing) };
        let bytes = bytes.unwrap_or(&mut assembly.bytes);
        if bytes.is_empty() && !is_last {
            return Ok(Received::Part { used });
        }
        Ok(Received::Piece { piece: Piece { kind: assembly.kind, bytes, is_last }, used })
    }

    /// Delivers a message, if it is whole.
    fn whole(&mut self, used: usize, is_whole: bool) -> Result<Received<'_>, Error> {
        let Some(assembly) = self.assembly.as_mut().filter(|_| is_whole) else {
            return Ok(Received::Part { used });
        };
        let message = match assembly.kind {
            Kind::Text => {
                let text = std::str::from_utf8(&assembly.bytes);
                Message::Text(text.map_err(|_| Error::NotUtf8)?)
            }
            Kind::Binary => Message::Binary(&mut assembly.bytes),
        };
        Ok(Received::Message { message, used })
    }

    /// Counts a control frame.
    fn count_control(&mut self, rules: &Rules<'_>) -> Result<(), Error> {
        let is_recent = |since: Instant| rules.now.saturating_duration_since(since) < SECOND;
        if !self.controls_since.is_some_and(is_recent) {
            (self.controls_since, self.controls) = (Some(rules.now), 0);
        }
        self.controls += 1;
        if self.controls > rules.options.controls_per_second_max {
            return Err(Error::Controls);
        }
        Ok(())
    }
}
