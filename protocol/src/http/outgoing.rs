//! The body of a message as it is sent, and the lines of its head.

use std::sync::Arc;

use super::fields::{has_control, is_token};
use crate::planted::{self, Planted};
use crate::{FileRange, Output, decimal};

/// How far a message that is sent has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Waiting,
    /// The first line has been written, and the head has not ended.
    Head,
    Body,
    Finished,
}

/// How the peer finds the end of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Length,
    Chunked,
    UntilClose,
}

/// What of a message has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outgoing {
    /// How many bytes of the body are still to be written, if its length is known.
    left: u64,
    pub(super) stage: Stage,
    framing: Framing,
    /// The body is not sent: only its head was asked for.
    is_silent: bool,
    /// What the program did wrong. The message is cut then.
    pub(super) bug: Option<Bug>,
}

/// A mistake of the program that writes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    TooLong,
    TooShort,
    NoHead,
    SecondHead,
    InvalidHead,
}

impl Bug {
    /// Returns the text for a service.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::TooLong => "bug in the service: it wrote more than the length that it announced",
            Self::TooShort => "bug in the service: it wrote less than the length that it announced",
            Self::NoHead => "bug in the service: it wrote a body before a complete head",
            Self::SecondHead => "bug in the service: it wrote a second head",
            Self::InvalidHead => "bug in the service: it wrote an invalid head",
        }
    }

    /// Returns the text for a requester.
    pub(super) fn of_request(self) -> &'static str {
        match self {
            Self::TooLong => {
                "bug in the requester: it wrote more than the length that it announced"
            }
            Self::TooShort => {
                "bug in the requester: it wrote less than the length that it announced"
            }
            Self::NoHead => "bug in the requester: it wrote a body before a complete head",
            Self::SecondHead => "bug in the requester: it wrote a second head",
            Self::InvalidHead => "bug in the requester: its method or its host is invalid",
        }
    }
}

impl Outgoing {
    /// A message that has not begun.
    pub(super) const NEW: Self = Self {
        left: 0,
        stage: Stage::Waiting,
        framing: Framing::Length,
        is_silent: false,
        bug: None,
    };

    /// Begins the body, whose length is `left` if the framing is a length.
    pub(super) fn begin_body(&mut self, framing: Framing, left: u64, is_silent: bool) {
        (self.framing, self.left, self.is_silent) = (framing, left, is_silent);
        // A body of which only the length is sent is complete with the head.
        let is_empty = framing == Framing::Length && (left == 0 || is_silent);
        self.stage = if is_empty { Stage::Finished } else { Stage::Body };
    }

    /// Ends a message that has no body.
    pub(super) fn finish_bodiless(&mut self) {
        self.stage = Stage::Finished;
    }

    /// Returns whether the head has begun.
    pub(super) fn is_begun(&self) -> bool {
        self.stage != Stage::Waiting
    }

    pub(super) fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    /// Returns whether an end of the connection now would pass for the end of the body.
    #[inline]
    pub(super) fn is_open_ended(&self) -> bool {
        self.framing == Framing::UntilClose && self.stage == Stage::Body && !self.is_silent
    }

    /// Returns whether bytes of the body are sent to the peer.
    pub(super) fn is_heard(&self) -> bool {
        !self.is_silent
    }

    /// Writes a part of the body of `length` bytes with `append`, in its framing.
    #[inline]
    fn put(&mut self, output: &mut Output, length: u64, append: impl FnOnce(&mut Output)) {
        if self.stage != Stage::Body {
            // What comes after the end is left out: the same code may answer other requests.
            if self.stage != Stage::Finished {
                self.bug = Some(Bug::NoHead);
            }
            return;
        }
        match self.framing {
            Framing::Length if length > self.left => {
                self.bug = Some(Bug::TooLong);
                return;
            }
            Framing::Length => {
                self.left -= length;
                if self.left == 0 {
                    self.stage = Stage::Finished;
                }
            }
            Framing::Chunked | Framing::UntilClose => {}
        }
        if self.is_silent || length == 0 {
            return;
        }
        if self.framing == Framing::Chunked {
            append_size(output, length);
            append(output);
            output.append(b"\r\n");
        } else {
            append(output);
        }
    }

    #[inline]
    pub(super) fn write(&mut self, output: &mut Output, bytes: &[u8]) {
        self.put(output, bytes.len() as u64, |output| output.append(bytes));
    }

    pub(super) fn share(&mut self, output: &mut Output, bytes: Arc<[u8]>) {
        self.put(output, bytes.len() as u64, |output| output.share(bytes));
    }

    pub(super) fn file(&mut self, output: &mut Output, range: FileRange) {
        self.put(output, range.length, |output| output.file(range));
    }

    /// Ends the body, with `trailers` if it is sent in chunks.
    pub(super) fn finish(&mut self, output: &mut Output, trailers: &[(&str, &[u8])]) {
        match self.stage {
            Stage::Finished => return,
            Stage::Waiting | Stage::Head => {
                self.bug = Some(Bug::NoHead);
                return;
            }
            Stage::Body => {}
        }
        match self.framing {
            Framing::Length => self.bug = Some(Bug::TooShort),
            Framing::Chunked if is_end_lost(output) => {}
            Framing::Chunked if !self.is_silent => {
                output.append(b"0\r\n");
                for (name, value) in trailers {
                    append_field(output, name, value);
                }
                output.append(b"\r\n");
            }
            Framing::Chunked | Framing::UntilClose => {}
        }
        self.stage = Stage::Finished;
    }
}

/// Returns whether the end of a body is not sent: for a planted fault.
#[inline]
fn is_end_lost(output: &Output) -> bool {
    const MUCH: u64 = 8 * 1024;
    planted::is(Planted::ChunkEndLost) && output.len() > MUCH
}

/// Appends a field line. A name that is no token is left out. Control bytes of the value become
/// spaces, so a value never makes another line.
#[inline]
pub(super) fn append_field(output: &mut Output, name: &str, value: &[u8]) {
    if !is_token(name.as_bytes()) {
        return;
    }
    output.append(name.as_bytes());
    output.append(b": ");
    append_value(output, value);
    output.append(b"\r\n");
}

#[inline]
fn append_value(output: &mut Output, value: &[u8]) {
    if !has_control(value) {
        return output.append(value);
    }
    for byte in value {
        let is_control = (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
        output.push(if is_control { b' ' } else { *byte });
    }
}

/// Appends `Content-Length` (or another name, with its colon and space) and a number.
#[inline]
pub(super) fn append_number(output: &mut Output, name: &[u8], number: u64) {
    let mut room = [0; decimal::SIZE_MAX + 2];
    let at = decimal::write(number, &mut room[..decimal::SIZE_MAX]);
    room[decimal::SIZE_MAX..].copy_from_slice(b"\r\n");
    output.append(name);
    output.append(&room[at..]);
}

/// Appends the line before the data of a chunk.
fn append_size(output: &mut Output, size: u64) {
    let mut room = [0; 18];
    let (mut at, mut rest) = (16, size);
    room[16..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        room[at] = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    output.append(&room[at..]);
}

/// Returns whether a field is written by the session itself: it describes the connection or the
/// framing (RFC 9110 section 7.6.1).
#[inline]
pub(super) fn is_of_session(name: &str) -> bool {
    match name.len() {
        10 => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"),
        14 => name.eq_ignore_ascii_case("content-length"),
        17 => name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    }
}
