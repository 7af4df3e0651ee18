//! Replies and pushes of a server, as views of the input.

use std::fmt;

use super::{Item, number};
use crate::search::find_byte;

/// A reply or a push of any type, as a view of the input. Decoding has validated it.
///
/// A copy costs a few words. The elements of an aggregate follow one another in the input.
/// Advancing to an element parses the one before it.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    /// The input from the value on, or from the attributes before it. It may extend beyond the
    /// value.
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// Returns the value at the front of `bytes`, which have been validated.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Returns the whole simple value, or the head of an aggregate. Skips attributes.
    pub fn item(&self) -> Item<'a> {
        let Part { kind, text, elements, is_null, .. } = self.part();
        match kind {
            b'*' if is_null => Item::NullArray,
            _ if is_null => Item::Null,
            b'+' => Item::Simple(text),
            b'-' => Item::Error(text),
            b':' => Item::Integer(number::parse_lenient(text).unwrap_or_default()),
            b'$' => Item::Bulk(text),
            b'*' => Item::Array(elements),
            b'#' => Item::Boolean(text == b"t"),
            b',' => Item::Double(number::parse_double(text).unwrap_or_default()),
            b'(' => Item::BigNumber(text),
            b'!' => Item::BulkError(text),
            b'=' => {
                let (format, text) = text.split_at(4);
                Item::Verbatim { format: [format[0], format[1], format[2]], text }
            }
            b'%' => Item::Map(elements / 2),
            b'~' => Item::Set(elements),
            _ => Item::Push(elements),
        }
    }

    /// Returns the text of a simple value as it was received: the digits of a number, the bytes of
    /// a string, the text of an error. It is empty for an aggregate or a null.
    pub fn text(&self) -> &'a [u8] {
        let Part { kind, text, .. } = self.part();
        if kind == b'=' { &text[4..] } else { text }
    }

    /// Returns the elements of an aggregate. A map has its keys as elements, each followed by its
    /// value. Any other value has no elements.
    pub fn elements(&self) -> Elements<'a> {
        let start = self.start();
        let part = part(&self.bytes[start..]);
        Elements { rest: &self.bytes[start + part.size..], left: part.elements }
    }

    /// Returns the keys and values of a map, or of an array that represents one, as in RESP2. If
    /// the number of elements is odd, the last is left out.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { elements: self.elements() }
    }

    /// Returns the attributes of the value: the keys and values that precede it.
    pub fn attributes(&self) -> Pairs<'a> {
        let part = part(self.bytes);
        let left = if part.kind == b'|' { part.elements } else { 0 };
        Pairs { elements: Elements { rest: &self.bytes[part.size..], left } }
    }

    /// Returns whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self.part().kind, b'-' | b'!')
    }

    /// Returns whether it is a push, which answers no command.
    pub fn is_push(&self) -> bool {
        self.part().kind == b'>'
    }

    /// Returns the bytes of the value as they were received, with the attributes before it.
    pub fn encoded(&self) -> &'a [u8] {
        &self.bytes[..size(self.bytes)]
    }

    /// Returns the offset of the value, after its attributes.
    fn start(&self) -> usize {
        let mut at = 0;
        while self.bytes[at] == b'|' {
            let head = part(&self.bytes[at..]);
            at += head.size;
            for _ in 0..head.elements {
                at += size(&self.bytes[at..]);
            }
        }
        at
    }

    fn part(&self) -> Part<'a> {
        part(&self.bytes[self.start()..])
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.encoded().escape_ascii())
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.encoded() == other.encoded()
    }
}

/// An iterator over the elements of an aggregate. A copy advances on its own.
#[derive(Clone, Copy)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        let value = Value { bytes: self.rest };
        self.rest = &self.rest[size(self.rest)..];
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// An iterator over the keys and values of a map. A copy advances on its own.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    elements: Elements<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.elements.next()?, self.elements.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.elements.left / 2, Some(self.elements.left / 2))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// A simple value, or the head of an aggregate.
struct Part<'a> {
    kind: u8,
    /// The text of a simple value.
    text: &'a [u8],
    /// The number of elements that follow.
    elements: usize,
    /// Whether it is a null, of any form.
    is_null: bool,
    /// Its length in bytes.
    size: usize,
}

/// Returns the part at the front of `bytes`, which have been validated.
fn part(bytes: &[u8]) -> Part<'_> {
    let end = find_byte(bytes, b'\r').unwrap_or(bytes.len());
    let (kind, line) = (bytes[0], &bytes[1..end]);
    let is_null = kind == b'_' || matches!(kind, b'$' | b'*') && line == b"-1";
    let simple = Part { kind, text: b"", elements: 0, is_null, size: end + 2 };
    match kind {
        _ if is_null => simple,
        b'$' | b'!' | b'=' => {
            let length = digits(line);
            Part { text: &bytes[end + 2..][..length], size: end + 2 + length + 2, ..simple }
        }
        b'*' | b'~' | b'>' => Part { elements: digits(line), ..simple },
        b'%' | b'|' => Part { elements: 2 * digits(line), ..simple },
        _ => Part { text: line, ..simple },
    }
}

fn digits(line: &[u8]) -> usize {
    line.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Returns the length of the value at the front of `bytes`, including its elements and attributes.
fn size(bytes: &[u8]) -> usize {
    let (mut size, mut left) = (0, 1);
    while left > 0 {
        let part = part(&bytes[size..]);
        size += part.size;
        // The value that the attributes belong to follows.
        left += part.elements;
        left -= usize::from(part.kind != b'|');
    }
    size
}
