//! The body of a message as it is received (RFC 9112 sections 6 and 7).

use super::fields::has_control;
use super::{BodyLength, Refusal};
use crate::search::find_byte;

/// The longest line of a chunk that is accepted: its size and extensions, which hardly any program
/// sends.
const CHUNK_LINE_MAX: usize = 1024;
/// Hexadecimal digits of the largest size.
const SIZE_DIGITS_MAX: usize = 16;

/// What comes next in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// This many bytes of the body. [`Incoming::took`] is to be called for those that were taken.
    Data(usize),
    /// This many bytes that belong to the framing. They are to be consumed.
    Skip(usize),
    /// More input is needed.
    Starved,
    /// The body is complete. This many bytes are to be consumed.
    End(usize),
    /// The body is complete, and its trailers follow.
    Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Known,
    ChunkSize,
    ChunkData,
    ChunkEnd,
    Trailers,
    UntilClose,
}

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    /// How many bytes of the body, or of the chunk, have not been taken.
    left: u64,
    /// How many bytes have been taken, those of extensions included.
    taken: u64,
    stage: Stage,
}

impl Incoming {
    pub(super) fn new(length: BodyLength) -> Self {
        let (stage, left) = match length {
            BodyLength::Known(length) => (Stage::Known, length),
            BodyLength::Chunked => (Stage::ChunkSize, 0),
            BodyLength::UntilClose => (Stage::UntilClose, 0),
        };
        Self { left, taken: 0, stage }
    }

    /// Returns how many bytes of the body have been taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns how many bytes of the body are known to exist.
    pub(super) fn announced(&self) -> u64 {
        self.taken.saturating_add(self.left)
    }

    /// Returns whether nothing is to come.
    pub(super) fn is_empty(&self) -> bool {
        self.stage == Stage::Known && self.left == 0
    }

    /// Returns whether the end of the stream is the end of the body.
    pub(super) fn ends_with_stream(&self) -> bool {
        self.stage == Stage::UntilClose
    }

    /// Returns what the input begins with.
    pub(super) fn next(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        let available = input.len();
        match self.stage {
            Stage::Known if self.left == 0 => Ok(Piece::End(0)),
            _ if available == 0 => Ok(Piece::Starved),
            Stage::Known | Stage::ChunkData => {
                Ok(Piece::Data(usize::try_from(self.left).unwrap_or(available).min(available)))
            }
            Stage::UntilClose => Ok(Piece::Data(available)),
            Stage::ChunkSize => self.begin_chunk(input),
            Stage::ChunkEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.stage = Stage::ChunkSize;
                    Ok(Piece::Skip(2))
                }
                [b'\r'] => Ok(Piece::Starved),
                _ => Err(Refusal::ChunkEnd),
            },
            Stage::Trailers => match input {
                [b'\r', b'\n', ..] => Ok(Piece::End(2)),
                [b'\r'] => Ok(Piece::Starved),
                _ => Ok(Piece::Trailers),
            },
        }
    }

    /// Counts bytes of the body that were taken.
    #[inline]
    pub(super) fn took(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count as u64);
        if self.stage == Stage::UntilClose {
            return;
        }
        self.left -= count as u64;
        if self.left == 0 && self.stage == Stage::ChunkData {
            self.stage = Stage::ChunkEnd;
        }
    }

    fn begin_chunk(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        let Some((size, extension)) = parse_chunk_line(input)? else { return Ok(Piece::Starved) };
        let digits = input.iter().take_while(|it| it.is_ascii_hexdigit()).count();
        self.left = size;
        self.taken = self.taken.saturating_add(extension as u64);
        self.stage = if size == 0 { Stage::Trailers } else { Stage::ChunkData };
        Ok(Piece::Skip(digits + extension + 2))
    }
}

/// Parses the line before the data of a chunk. Returns the size of the data and the length of the
/// extensions, or `None` if the line has not ended.
fn parse_chunk_line(input: &[u8]) -> Result<Option<(u64, usize)>, Refusal> {
    let mut size = 0_u64;
    let mut digits = 0;
    while let Some(digit) = input.get(digits).and_then(|it| char::from(*it).to_digit(16)) {
        if digits == SIZE_DIGITS_MAX {
            return Err(Refusal::ChunkSize);
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    match input[digits..] {
        [] => return Ok(None),
        _ if digits == 0 => return Err(Refusal::ChunkSize),
        [b'\r', b'\n', ..] => return Ok(Some((size, 0))),
        [b'\r'] => return Ok(None),
        [b'\r' | b'\n', ..] => return Err(Refusal::LineEnd),
        [b';' | b' ' | b'\t', ..] => {}
        _ => return Err(Refusal::ChunkSize),
    }
    let rest = &input[digits..];
    let Some(end) = find_byte(&rest[..rest.len().min(CHUNK_LINE_MAX)], b'\n') else {
        return if rest.len() >= CHUNK_LINE_MAX { Err(Refusal::ChunkSize) } else { Ok(None) };
    };
    let extension = rest[..end].strip_suffix(b"\r").ok_or(Refusal::LineEnd)?;
    // White space is only allowed before an extension (RFC 9112 section 7.1.1).
    let begins = extension.iter().find(|it| !matches!(it, b' ' | b'\t'));
    if begins != Some(&b';') || has_control(extension) {
        return Err(Refusal::ChunkSize);
    }
    Ok(Some((size, extension.len())))
}
