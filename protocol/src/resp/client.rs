//! The client's side.

use super::number::{self, usual_line};
use super::{Limits, Protocol, Value, ValueError, Writer};
use crate::search::find_byte;
use crate::{Codec, Decoded, Output, Reply};

/// The codec of a client: replies and pushes in, commands out.
///
/// It needs no version: RESP3 only adds types.
#[derive(Clone, Debug, Default)]
pub struct Client {
    limits: Limits,
    /// The offset of the first part that has not been validated.
    at: usize,
    /// How many bytes from there have been searched for a line end.
    searched: usize,
    /// The aggregates that contain this part, the outermost first.
    open: Vec<Open>,
}

/// An aggregate whose elements have not all arrived.
#[derive(Clone, Copy, Debug)]
struct Open {
    left: usize,
    /// Attributes do not count as an element of the aggregate that contains them.
    is_attribute: bool,
}

/// The kind of a part, as far as the step to the next part depends on it.
enum Part {
    Simple { size: usize },
    Head { size: usize, elements: usize, is_attribute: bool },
    Partial { need: usize },
}

impl Client {
    /// Returns a codec with `limits`.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn part(&mut self, bytes: &[u8]) -> Result<Part, ValueError> {
        let Some(kind) = bytes.first() else { return Ok(Part::Partial { need: 1 }) };
        match kind {
            b'+' | b'-' | b':' | b',' | b'_' | b'#' | b'(' => self.line_part(*kind, bytes),
            b'$' | b'!' | b'=' => self.bulk_part(*kind, bytes),
            b'*' | b'~' | b'>' | b'%' | b'|' => self.head_part(*kind, bytes),
            got => Err(ValueError::UnknownType { got: *got }),
        }
    }

    fn line_part(&mut self, kind: u8, bytes: &[u8]) -> Result<Part, ValueError> {
        let Some(end) = self.line(bytes)? else {
            return Ok(Part::Partial { need: bytes.len() + 1 });
        };
        let text = &bytes[1..end];
        let error = match kind {
            b':' if number::parse_lenient(text).is_none() => ValueError::BadInteger,
            b',' if number::parse_double(text).is_none() => ValueError::BadDouble,
            b'_' if !text.is_empty() => ValueError::BadNull,
            b'#' if !matches!(text, b"t" | b"f") => ValueError::BadBoolean,
            b'(' if !is_big_number(text) => ValueError::BadBigNumber,
            _ => return Ok(Part::Simple { size: end + 2 }),
        };
        Err(error)
    }

    fn bulk_part(&mut self, kind: u8, bytes: &[u8]) -> Result<Part, ValueError> {
        let Some((length, header)) = self.number(bytes, kind, ValueError::BadLength)? else {
            return Ok(Part::Partial { need: bytes.len() + 1 });
        };
        if length == -1 && kind == b'$' {
            return Ok(Part::Simple { size: header });
        }
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.limits.bulk_size_max)
            .ok_or(ValueError::LengthOutOfRange)?;
        if kind == b'=' && length < 4 {
            return Err(ValueError::BadVerbatim);
        }
        let end = header.saturating_add(length);
        let size = end.saturating_add(2);
        if bytes.len() < size {
            return Ok(Part::Partial { need: size });
        }
        if bytes[end..size] != *b"\r\n" {
            return Err(ValueError::BadEnd);
        }
        if kind == b'=' && bytes[header + 3] != b':' {
            return Err(ValueError::BadVerbatim);
        }
        Ok(Part::Simple { size })
    }

    fn head_part(&mut self, kind: u8, bytes: &[u8]) -> Result<Part, ValueError> {
        let Some((count, size)) = self.number(bytes, kind, ValueError::BadCount)? else {
            return Ok(Part::Partial { need: bytes.len() + 1 });
        };
        if count == -1 && kind == b'*' {
            return Ok(Part::Simple { size });
        }
        let is_attribute = kind == b'|';
        let each = if is_attribute || kind == b'%' { 2 } else { 1 };
        let elements = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(each))
            .filter(|elements| *elements <= self.limits.elements_max)
            .ok_or(ValueError::CountOutOfRange)?;
        Ok(Part::Head { size, elements, is_attribute })
    }

    /// Returns the number in the line at the front of `bytes`, and the length of the line.
    #[inline]
    fn number(
        &mut self,
        bytes: &[u8],
        kind: u8,
        error: ValueError,
    ) -> Result<Option<(i64, usize)>, ValueError> {
        if self.searched == 0
            && let Some((number, size)) = usual_line(bytes, kind)
            && bytes[size - 1] == b'\n'
        {
            return Ok(Some((number as i64, size)));
        }
        let Some(end) = self.line(bytes)? else { return Ok(None) };
        let number = number::parse(&bytes[1..end]).ok_or(error)?;
        Ok(Some((number, end + 2)))
    }

    /// Returns the end of the text of the line at the front of `bytes`, if the line is complete.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<usize>, ValueError> {
        let size_max = self.limits.line_size_max;
        let from = self.searched.min(bytes.len());
        let found = find_byte(&bytes[from..], b'\n').map(|place| from + place);
        // A carriage return at the end may be the first half of a line end.
        let line = &bytes[..found.unwrap_or(bytes.len())];
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.len() > size_max {
            return Err(ValueError::LineTooLong { size_max });
        }
        if found.is_none() {
            self.searched = bytes.len();
            return Ok(None);
        }
        self.searched = 0;
        if text.len() == line.len() || find_byte(text, b'\r').is_some() {
            return Err(ValueError::BadLine);
        }
        Ok(Some(text.len()))
    }

    /// Opens an aggregate whose head has arrived.
    fn open(&mut self, elements: usize, is_attribute: bool) -> Result<(), ValueError> {
        let depth_max = self.limits.depth_max;
        if self.open.len() >= depth_max {
            return Err(ValueError::TooDeep { depth_max });
        }
        self.open.push(Open { left: elements, is_attribute });
        Ok(())
    }

    /// Counts a complete value. Returns whether the outermost value is complete now.
    fn complete(&mut self) -> bool {
        while let Some(open) = self.open.last_mut() {
            open.left -= 1;
            if open.left > 0 {
                return false;
            }
            let is_attribute = open.is_attribute;
            self.open.pop();
            if is_attribute {
                return false;
            }
        }
        true
    }
}

/// Returns whether `text` is an optional sign and digits.
fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

impl Codec for Client {
    type In<'a> = Value<'a>;
    type Out<'a> = &'a [&'a [u8]];
    type Error = ValueError;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<Value<'a>>, ValueError> {
        let input = &*input;
        loop {
            let whole = match self.part(&input[self.at..])? {
                Part::Partial { need } => {
                    return Ok(Decoded::Incomplete { need: self.at.saturating_add(need) });
                }
                Part::Simple { size } => {
                    self.at += size;
                    self.complete()
                }
                Part::Head { size, elements, is_attribute } => {
                    self.at += size;
                    if elements > 0 {
                        self.open(elements, is_attribute)?;
                        false
                    } else {
                        !is_attribute && self.complete()
                    }
                }
            };
            if whole {
                let consumed = std::mem::take(&mut self.at);
                return Ok(Decoded::Message { message: Value::of(&input[..consumed]), consumed });
            }
        }
    }

    fn encode(&mut self, command: &[&[u8]], output: &mut Output) {
        Writer::new(output, Protocol::Resp2).command(command);
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), ValueError> {
        match rest.len() {
            0 => Ok(()),
            got => Err(ValueError::Unterminated { got }),
        }
    }
}

impl Reply<'_, Client> {
    /// Appends a command: its name and its arguments, which need not be in one slice.
    pub fn command<T: AsRef<[u8]>>(
        &mut self,
        parts: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) {
        let (_codec, output) = self.parts();
        Writer::new(output, Protocol::Resp2).command(parts);
    }
}

#[cfg(test)]
mod tests;
