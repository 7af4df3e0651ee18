//! Field lines: names and values of a head, or of trailers.

use std::fmt;

use super::Refusal;
use crate::search::{find_byte, find_control};

/// Where the parts of a field line are in its section. Two bytes each, since a head is smaller.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    name: u16,
    name_end: u16,
    value: u16,
    value_end: u16,
}

/// The largest section whose lines can be described.
pub(super) const SECTION_MAX: usize = u16::MAX as usize;
/// The largest number of fields.
pub(super) const FIELDS_MAX: usize = 256;
/// How many fields nearly all heads have at most: the room for them is on the stack.
pub(super) const FIELDS_USUAL: usize = 32;

/// The bytes of a token (RFC 9110 section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric()
            || matches!(
                it,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Returns the length of the token at the beginning of `bytes`.
#[inline]
pub(super) fn token_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while length < bytes.len() && TOKEN[usize::from(bytes[length])] {
        length += 1;
    }
    length
}

/// Returns whether `bytes` are a token: the name of a field, or a method.
#[inline]
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_length(bytes) == bytes.len()
}

/// Returns whether there is a control byte other than the tabulator.
#[inline]
pub(super) fn has_control(bytes: &[u8]) -> bool {
    find_control(bytes).is_some()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns `bytes` without white space around them.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Parses field lines from `from` on, up to the empty line that ends them. Returns how many there
/// are and where the empty line ends, or `None` if that has not arrived. `lines` is their room;
/// more of them are refused.
pub(super) fn parse_lines(
    section: &[u8],
    from: usize,
    lines: &mut [Line],
) -> Result<Option<(usize, usize)>, Refusal> {
    let (mut at, mut count) = (from, 0);
    loop {
        match section[at..] {
            [b'\r', b'\n', ..] => return Ok(Some((count, at + 2))),
            [b'\r'] | [] => return Ok(None),
            [b' ' | b'\t', ..] => return Err(Refusal::Folded),
            [b'\r' | b'\n', ..] => return Err(Refusal::LineEnd),
            _ => {}
        }
        let name_end = at + token_length(&section[at..]);
        if name_end == section.len() {
            return Ok(None);
        }
        if section[name_end] != b':' || name_end == at {
            return Err(Refusal::FieldName);
        }
        let mut value = name_end + 1;
        while value < section.len() && is_space(section[value]) {
            value += 1;
        }
        let Some(length) = find_control(&section[value..]) else { return Ok(None) };
        let next = match section[value + length..] {
            [b'\r', b'\n', ..] => value + length + 2,
            [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(Refusal::LineEnd),
            _ => return Err(Refusal::Control),
        };
        let mut value_end = value + length;
        while value_end > value && is_space(section[value_end - 1]) {
            value_end -= 1;
        }
        if next > SECTION_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        let line = lines.get_mut(count).ok_or(Refusal::TooManyFields)?;
        *line = Line {
            name: at as u16,
            name_end: name_end as u16,
            value: value as u16,
            value_end: value_end as u16,
        };
        count += 1;
        at = next;
    }
}

/// How far the search for the end of a section has got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Where the line begins whose end has not been found.
    line: u32,
    /// Everything before this has been searched.
    searched: u32,
}

impl Progress {
    /// Returns whether nothing has been searched.
    pub(super) fn is_new(self) -> bool {
        self.searched == 0
    }

    /// Returns whether the first line has ended.
    pub(super) fn has_line(self) -> bool {
        self.line > 0
    }

    /// Searches `bytes` for the end of an empty line, from where the last search ended. They begin with those
    /// of the last search. Refuses what no section has, each time.
    pub(super) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        loop {
            let from = self.searched as usize;
            let Some(length) = find_byte(&bytes[from..], b'\n') else {
                let rest = &bytes[from..];
                // A carriage return may be followed by a line feed that has not arrived.
                let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
                if has_control(rest) {
                    return Err(Refusal::Control);
                }
                self.searched = bytes.len() as u32;
                return Ok(None);
            };
            let end = from + length + 1;
            let line = &bytes[self.line as usize..end - 1];
            if line.last() != Some(&b'\r') {
                return Err(Refusal::LineEnd);
            }
            if line.len() == 1 {
                *self = Self::default();
                return Ok(Some(end));
            }
            (self.line, self.searched) = (end as u32, end as u32);
        }
    }

    /// Parses the trailers that `bytes` begins with into `lines`. Returns their length in bytes and
    /// their number, or `None` if their end is not there.
    pub(super) fn find_trailers(
        &mut self,
        bytes: &[u8],
        size_max: usize,
        lines: &mut [Line],
    ) -> Result<Option<(usize, usize)>, Refusal> {
        let Some(length) = self.find_end(bytes)? else {
            return if bytes.len() >= size_max { Err(Refusal::HeadTooLarge) } else { Ok(None) };
        };
        if length > size_max {
            return Err(Refusal::HeadTooLarge);
        }
        let count = parse_lines(&bytes[..length], 0, lines)?.map_or(0, |(count, _)| count);
        Ok(Some((length, count)))
    }
}

/// A field: its name as it was received, and its value without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name. Compare it without regard to case ([`str::eq_ignore_ascii_case`]).
    pub name: &'a str,
    /// The value: any bytes but control bytes. Usually ASCII.
    pub value: &'a [u8],
}

/// The fields of a head, or of the trailers of a body, as they were received (RFC 9110 section 5).
///
/// ```
/// use protocol::http::OwnedRequestHead;
///
/// let text = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br, gzip\r\naccept-encoding: zstd\r\n\r\n";
/// let (head, _) = OwnedRequestHead::parse(text)?.expect("it is whole");
/// let fields = head.view().fields();
/// assert_eq!(fields.get("host"), Some(&b"a"[..]));
/// assert_eq!(fields.tokens("accept-encoding").collect::<Vec<_>>(), ["br", "gzip", "zstd"]);
/// assert!(fields.contains_token("accept-encoding", "GZIP"));
/// # Ok::<(), protocol::http::Refusal>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct Fields<'a> {
    section: &'a [u8],
    lines: &'a [Line],
}

impl<'a> Fields<'a> {
    /// No fields.
    pub const EMPTY: Self = Self { section: &[], lines: &[] };

    pub(super) fn new(section: &'a [u8], lines: &'a [Line]) -> Self {
        Self { section, lines }
    }

    pub(super) fn lines(&self) -> &'a [Line] {
        self.lines
    }

    /// Returns how many field lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the fields in the order in which they were received.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let Self { section, lines } = *self;
        lines
            .iter()
            .map(move |line| Field { name: name(section, line), value: value(section, line) })
    }

    /// Returns names and values as bytes, which costs less.
    #[inline]
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let Self { section, lines } = *self;
        lines.iter().map(move |line| (name_bytes(section, line), value(section, line)))
    }

    /// Returns the value of the first field of this name, without regard to case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// Returns the value of the first field of this name as text: `None` also if it is not UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.get(name)?).ok()
    }

    /// Returns the values of all fields of this name, without regard to case.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let Self { section, lines } = *self;
        let is_named = move |line: &&Line| {
            usize::from(line.name_end - line.name) == name.len()
                && name_bytes(section, line).eq_ignore_ascii_case(name.as_bytes())
        };
        lines.iter().filter(is_named).map(move |line| value(section, line))
    }

    /// Returns the elements of the lists in all fields of this name (RFC 9110 section 5.6.1),
    /// separated by commas outside of quotes, without white space around them. Empty ones, and those
    /// that are not UTF-8, are left out.
    pub fn tokens<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.get_all(name).flat_map(elements)
    }

    /// Returns whether a list has an element, without regard to case.
    pub fn contains_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|it| it.eq_ignore_ascii_case(token))
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.iter().map(|field| (field.name, field.value.escape_ascii().to_string()));
        f.debug_map().entries(pairs).finish()
    }
}

#[inline]
fn name_bytes<'a>(section: &'a [u8], line: &Line) -> &'a [u8] {
    &section[usize::from(line.name)..usize::from(line.name_end)]
}

fn name<'a>(section: &'a [u8], line: &Line) -> &'a str {
    str::from_utf8(name_bytes(section, line)).expect("a token is ASCII")
}

#[inline]
fn value<'a>(section: &'a [u8], line: &Line) -> &'a [u8] {
    &section[usize::from(line.value)..usize::from(line.value_end)]
}

/// Returns the elements of a list.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |byte| {
        let escapes = is_quoted && !is_escaped && *byte == b'\\';
        is_quoted ^= *byte == b'"' && !is_escaped;
        is_escaped = escapes;
        *byte == b',' && !is_quoted
    })
    .map(trim)
    .filter(|element| !element.is_empty())
    .filter_map(|element| str::from_utf8(element).ok())
}
