//! What a server says, as views of the input.

use std::fmt;

use super::{Item, number};
use crate::search::find_byte;

/// What a server says: a reply or a push of any type, as a view of the input that was validated
/// when it was decoded.
///
/// A copy costs a few words. The elements of an aggregate stand one behind the other in the input;
/// going on to the next walks over the one before.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    /// Begins with the value, or with attributes before it, and goes on behind it.
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The value at the front of `bytes`, which have been validated.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// All of a simple value, or the head of an aggregate. Attributes are passed over.
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

    /// The text of a simple value, just as it came: the digits of a number, the bytes of a string,
    /// the words of an error. Nothing for an aggregate or a null.
    pub fn text(&self) -> &'a [u8] {
        let Part { kind, text, .. } = self.part();
        if kind == b'=' { &text[4..] } else { text }
    }

    /// The elements of an aggregate; those of a map are its keys, each with its value behind it.
    /// None for anything else.
    pub fn elements(&self) -> Elements<'a> {
        let start = self.start();
        let part = part(&self.bytes[start..]);
        Elements { rest: &self.bytes[start + part.size..], left: part.elements }
    }

    /// The keys and values of a map, or of an array that stands for one, as in RESP2. The last
    /// element of an odd number is left out.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { elements: self.elements() }
    }

    /// What the server says about the value: keys and values that stand before it.
    pub fn attributes(&self) -> Pairs<'a> {
        let part = part(self.bytes);
        let left = if part.kind == b'|' { part.elements } else { 0 };
        Pairs { elements: Elements { rest: &self.bytes[part.size..], left } }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self.part().kind, b'-' | b'!')
    }

    /// Whether nobody asked for it: it answers no command.
    pub fn is_push(&self) -> bool {
        self.part().kind == b'>'
    }

    /// The bytes of the value as they came, its attributes before it.
    pub fn encoded(&self) -> &'a [u8] {
        &self.bytes[..size(self.bytes)]
    }

    /// Where the value begins, behind its attributes.
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

/// The elements of an aggregate that have not been taken. A copy goes its own way.
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

/// The keys and values of a map that have not been taken. A copy goes its own way.
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
    /// How many elements follow.
    elements: usize,
    /// Whether it is a null, in whatever form.
    is_null: bool,
    /// How many bytes it takes.
    size: usize,
}

/// The part at the front of `bytes`, which have been validated.
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

/// How many bytes the value at the front of `bytes` takes, its elements and attributes included.
fn size(bytes: &[u8]) -> usize {
    let (mut size, mut left) = (0, 1);
    while left > 0 {
        let part = part(&bytes[size..]);
        size += part.size;
        // The value that attributes belong to is still to come.
        left += part.elements;
        left -= usize::from(part.kind != b'|');
    }
    size
}
