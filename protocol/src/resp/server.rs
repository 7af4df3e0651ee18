//! The server's side.

use super::number::{self, usual_line};
use super::quote::{self, UNQUOTE_SIZE_MAX};
use super::{Item, Limits, Protocol, Request, RequestError, Writer};
use crate::search::find_byte;
use crate::{Codec, Decoded, NotSaved, Output, Reply, SavedState, State, StateError};

/// The most arguments of a client that has not authenticated itself, as in Redis.
const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;

/// The largest such argument, in bytes.
const UNAUTHENTICATED_BULK_SIZE_MAX: usize = 16 * 1024;

/// The codec of a server: requests in, replies out.
///
/// As in Redis, an empty line and an empty array are not requests and get no answer. A line and a
/// bulk string end with two bytes. Only the first byte of a line end is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Server {
    limits: Limits,
    protocol: Protocol,
    unauthenticated: bool,
    progress: Progress,
}

/// How far the request at the front of the input has been validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Progress {
    /// The number of bulk strings of the request, 0 while it is not known.
    count: usize,
    /// How many of them have not been validated.
    left: usize,
    /// The offset of the first of them.
    first: usize,
    /// The offset of the next one to validate.
    at: usize,
    /// How many bytes from there have been searched for a line end.
    searched: usize,
}

/// The meaning of the number in a line.
#[derive(Clone, Copy)]
enum Line {
    /// The number of arguments.
    Count,
    /// The length of an argument.
    Length,
}

impl Server {
    /// Returns a codec with `limits`. A connection begins in RESP2.
    pub fn with_limits(limits: Limits) -> Self {
        let line_size_max = limits.line_size_max.min(UNQUOTE_SIZE_MAX);
        Self { limits: Limits { line_size_max, ..limits }, ..Self::default() }
    }

    /// Returns the version in which replies are encoded.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the version in which replies are encoded from now on, as `HELLO` requests.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Sets whether the client may use the limits in full. Before it has given its password, a
    /// request may have 10 arguments of 16 KiB each, as in Redis.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.unauthenticated = !authenticated;
    }

    #[inline]
    fn decode_array<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<Request<'a>>, RequestError> {
        if self.progress.count == 0 {
            let Some((count, consumed)) = self.line(input, Line::Count)? else {
                return Ok(Decoded::Incomplete { need: input.len() + 1 });
            };
            if count == 0 {
                return Ok(Decoded::Skip { consumed });
            }
            self.progress =
                Progress { count, left: count, first: consumed, at: consumed, searched: 0 };
        }
        while self.progress.left > 0 {
            let at = self.progress.at;
            let Some((length, header)) = self.line(&input[at..], Line::Length)? else {
                return Ok(Decoded::Incomplete { need: input.len() + 1 });
            };
            let end = (at + header + 2).saturating_add(length);
            if end > input.len() {
                return Ok(Decoded::Incomplete { need: end });
            }
            self.progress.at = end;
            self.progress.left -= 1;
        }
        let Progress { first, at, count, .. } = std::mem::take(&mut self.progress);
        Ok(Decoded::Message { message: Request::of_bulks(&input[first..at], count), consumed: at })
    }

    /// Returns the number in the line at the front of `bytes`, and the length of the line. A
    /// negative number of arguments counts as zero.
    #[inline]
    fn line(&mut self, bytes: &[u8], line: Line) -> Result<Option<(usize, usize)>, RequestError> {
        let usual = match line {
            _ if self.unauthenticated || self.progress.searched > 0 => None,
            Line::Count => {
                usual_line(bytes, b'*').filter(|(count, _)| *count <= self.limits.elements_max)
            }
            Line::Length => {
                usual_line(bytes, b'$').filter(|(length, _)| *length <= self.limits.bulk_size_max)
            }
        };
        match usual {
            None => self.unusual_line(bytes, line),
            usual => Ok(usual),
        }
    }

    /// Returns the same as [`line`](Self::line), with the checks in the order of Redis. Remembers
    /// how much of an unfinished line has been searched.
    #[cold]
    fn unusual_line(
        &mut self,
        bytes: &[u8],
        line: Line,
    ) -> Result<Option<(usize, usize)>, RequestError> {
        let from = self.progress.searched.min(bytes.len());
        let found = find_byte(&bytes[from..], b'\r').map(|place| from + place);
        let end = found.unwrap_or(bytes.len());
        if end > self.limits.line_size_max {
            return Err(match line {
                Line::Count => RequestError::CountTooLong,
                Line::Length => RequestError::LengthTooLong,
            });
        }
        self.progress.searched = end;
        // A whole line has one more byte, of any value.
        if end + 2 > bytes.len() {
            return Ok(None);
        }
        self.progress.searched = 0;
        let number = number::parse(&bytes[1..end.max(1)]);
        let number = match line {
            Line::Count => self.check_count(number),
            Line::Length => self.check_length(bytes[0], number),
        };
        number.map(|number| Some((number, end + 2)))
    }

    fn check_count(&self, number: Option<i64>) -> Result<usize, RequestError> {
        let number = number.ok_or(RequestError::InvalidCount)?;
        let count = usize::try_from(number.max(0)).unwrap_or(usize::MAX);
        if count > self.limits.elements_max {
            return Err(RequestError::InvalidCount);
        }
        if self.unauthenticated && count > UNAUTHENTICATED_ARGUMENTS_MAX {
            return Err(RequestError::UnauthenticatedCount);
        }
        Ok(count)
    }

    fn check_length(&self, kind: u8, number: Option<i64>) -> Result<usize, RequestError> {
        if kind != b'$' {
            return Err(RequestError::ExpectedBulk { got: kind });
        }
        let length = number.and_then(|number| usize::try_from(number).ok());
        let length = length
            .filter(|length| *length <= self.limits.bulk_size_max)
            .ok_or(RequestError::InvalidLength)?;
        if self.unauthenticated && length > UNAUTHENTICATED_BULK_SIZE_MAX {
            return Err(RequestError::UnauthenticatedLength);
        }
        Ok(length)
    }

    fn decode_inline<'a>(
        &mut self,
        input: &'a mut [u8],
    ) -> Result<Decoded<Request<'a>>, RequestError> {
        let from = self.progress.searched.min(input.len());
        let found = find_byte(&input[from..], b'\n').map(|place| from + place);
        let end = found.unwrap_or(input.len());
        if end > self.limits.line_size_max {
            return Err(RequestError::InlineTooLong);
        }
        if found.is_none() {
            self.progress.searched = end;
            return Ok(Decoded::Incomplete { need: end + 1 });
        }
        self.progress.searched = 0;
        let (line, consumed) = (&mut input[..=end], end + 1);
        let length = if line.ends_with(b"\r\n") { end - 1 } else { end };
        let count = quote::unquote(line, length).map_err(|_| RequestError::UnbalancedQuotes)?;
        Ok(match count {
            0 => Decoded::Skip { consumed },
            _ => Decoded::Message { message: Request::of_line(line, count), consumed },
        })
    }
}

impl Codec for Server {
    type In<'a> = Request<'a>;
    type Out<'a> = Item<'a>;
    type Error = RequestError;

    #[inline]
    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<Request<'a>>, RequestError> {
        match input.first() {
            None => Ok(Decoded::Incomplete { need: 1 }),
            Some(b'*') => self.decode_array(input),
            Some(_) => self.decode_inline(input),
        }
    }

    fn encode(&mut self, item: Item<'_>, output: &mut Output) {
        Writer::new(output, self.protocol).item(item);
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), RequestError> {
        match rest.len() {
            0 => Ok(()),
            got => Err(RequestError::Unterminated { got }),
        }
    }

    fn reject(&mut self, error: &RequestError, output: &mut Output) {
        let mut writer = Writer::new(output, self.protocol);
        match error {
            RequestError::Unterminated { .. } => {}
            RequestError::ExpectedBulk { got } => {
                writer.error_parts(&[b"ERR Protocol error: expected '$', got '", &[*got], b"'"]);
            }
            other => writer.error(format!("ERR {other}")),
        }
    }

    fn save(&self, state: &mut State) -> Result<(), NotSaved> {
        state.flag(self.protocol == Protocol::Resp3);
        state.flag(self.unauthenticated);
        Ok(())
    }

    fn restore(&mut self, state: &mut SavedState<'_>) -> Result<(), StateError> {
        self.protocol = if state.flag()? { Protocol::Resp3 } else { Protocol::Resp2 };
        self.unauthenticated = state.flag()?;
        Ok(())
    }
}

impl Reply<'_, Server> {
    /// Returns a writer for a reply of many parts, in the version that the client requested.
    pub fn writer(&mut self) -> Writer<'_> {
        let (codec, output) = self.parts();
        Writer::new(output, codec.protocol)
    }
}

#[cfg(test)]
mod tests;
