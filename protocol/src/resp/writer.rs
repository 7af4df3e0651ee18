//! Writing replies.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::{Protocol, Value, number};
use crate::Output;

/// One part of a reply: a whole simple value, or the head of an aggregate, whose elements follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// A short text without line ends, such as `OK`.
    Simple(&'a [u8]),
    /// An error: a code in capitals, a space, and a text for people.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(&'a [u8]),
    /// A null in place of a string.
    Null,
    /// A null in place of an array. RESP3 has one null for both.
    NullArray,
    /// The head of an array of this many elements.
    Array(usize),
    /// True or false. RESP2 sends 1 or 0.
    Boolean(bool),
    /// A floating point number, which may be infinite or not a number.
    Double(f64),
    /// An integer of any size, in decimal.
    BigNumber(&'a [u8]),
    /// An error of any bytes. RESP2 sends a simple error.
    BulkError(&'a [u8]),
    /// A text for people.
    Verbatim {
        /// Its format: `txt` or `mkd`.
        format: [u8; 3],
        /// The text. RESP2 sends the text alone.
        text: &'a [u8],
    },
    /// The head of a map of this many pairs. RESP2 sends an array of twice as many elements.
    Map(usize),
    /// The head of a set of this many elements. RESP2 sends an array.
    Set(usize),
    /// The head of a push of this many elements, which answers no command. RESP2 sends an array.
    Push(usize),
}

/// Writes replies part by part into an output, in one version of RESP. Nothing is allocated for a
/// reply or a part of one.
///
/// An aggregate is its head, followed by exactly as many elements as the head announces.
///
/// ```
/// use protocol::Output;
/// use protocol::resp::{Protocol, Writer};
///
/// let mut output = Output::new();
/// let mut writer = Writer::new(&mut output, Protocol::Resp2);
/// writer.map(1);
/// writer.bulk("hits");
/// writer.integer(3);
/// assert_eq!(output.to_vec(), b"*2\r\n$4\r\nhits\r\n:3\r\n");
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    output: &'a mut Output,
    protocol: Protocol,
}

impl<'a> Writer<'a> {
    /// Returns a writer into `output` for `protocol`.
    pub fn new(output: &'a mut Output, protocol: Protocol) -> Self {
        Self { output, protocol }
    }

    /// Returns the version in which replies are written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the version of the parts that follow, as for the answer to `HELLO`.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Returns how many bytes wait to be sent, of this reply and of those before it. A service can
    /// stop a long reply when its peer does not read.
    pub fn backlog(&self) -> u64 {
        self.output.len()
    }

    /// Returns a writer into the same output with a shorter lifetime, for a part of the reply.
    pub fn reborrow(&mut self) -> Writer<'_> {
        Writer { output: self.output, protocol: self.protocol }
    }

    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Appends any part.
    pub fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Simple(text) => self.simple(text),
            Item::Error(text) => self.error(text),
            Item::Integer(value) => self.integer(value),
            Item::Bulk(bytes) => self.bulk(bytes),
            Item::Null => self.null(),
            Item::NullArray => self.null_array(),
            Item::Array(length) => self.array(length),
            Item::Boolean(value) => self.boolean(value),
            Item::Double(value) => self.double(value),
            Item::BigNumber(digits) => self.big_number(digits),
            Item::BulkError(text) => self.bulk_error(text),
            Item::Verbatim { format, text } => self.verbatim(format, text),
            Item::Map(pairs) => self.map(pairs),
            Item::Set(length) => self.set(length),
            Item::Push(length) => self.push(length),
        }
    }

    /// Appends `OK`.
    pub fn ok(&mut self) {
        self.output.append(b"+OK\r\n");
    }

    /// Appends a short text. Line ends in it become spaces, since they would end the reply.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', &[text.as_ref()]);
    }

    /// Appends an error: its code in capitals, a space, and a text for people. Line ends in it
    /// become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', &[text.as_ref()]);
    }

    /// Appends an error that consists of several parts, some of which may be bytes of the client.
    pub fn error_parts(&mut self, parts: &[&[u8]]) {
        self.line(b'-', parts);
    }

    /// Appends a number.
    pub fn integer(&mut self, value: i64) {
        let mut room = [0; number::SIZE_MAX + 3];
        let end = room.len() - 2;
        let at = number::write_signed(value, &mut room[..end]) - 1;
        room[at] = b':';
        room[end..].copy_from_slice(b"\r\n");
        self.output.append(&room[at..]);
    }

    /// Appends any bytes.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        self.bulk_of(b'$', bytes.as_ref());
    }

    /// Appends a number as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut room = [0; number::SIZE_MAX];
        let at = number::write_signed(value, &mut room);
        self.bulk(&room[at..]);
    }

    /// Appends a formatted text as a bulk string: `format_args!("{a}:{b}")`.
    pub fn bulk_display(&mut self, text: impl fmt::Display) {
        let before = self.output.len();
        // Writing to an output cannot fail. If formatting fails, the text so far is sent.
        let _ = write!(Text(self.output), "{text}");
        let length = self.output.len() - before;
        self.output.insert(length, Head::new(b'$', length).as_bytes());
        self.output.append(b"\r\n");
    }

    /// Appends a null in place of a string.
    pub fn null(&mut self) {
        self.output.append(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Appends a null in place of an array.
    pub fn null_array(&mut self) {
        self.output.append(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Appends the head of an array of `length` elements.
    pub fn array(&mut self, length: usize) {
        self.head(b'*', length as u64);
    }

    /// Appends the head of a map of `pairs` keys, each followed by its value.
    pub fn map(&mut self, pairs: usize) {
        self.aggregate(Item::Map(pairs));
    }

    /// Appends the head of a set of `length` elements.
    pub fn set(&mut self, length: usize) {
        self.aggregate(Item::Set(length));
    }

    /// Appends the head of a push of `length` elements.
    pub fn push(&mut self, length: usize) {
        self.aggregate(Item::Push(length));
    }

    fn aggregate(&mut self, item: Item<'_>) {
        let head = self.head_of(item);
        self.output.append(head.as_bytes());
    }

    /// Appends an aggregate whose length is not known beforehand. `say` appends the elements and
    /// returns the argument of `head`, which is a variant such as `Item::Array`.
    ///
    /// ```
    /// use protocol::Output;
    /// use protocol::resp::{Item, Protocol, Writer};
    ///
    /// let mut output = Output::new();
    /// Writer::new(&mut output, Protocol::Resp2).counted(Item::Array, |writer| {
    ///     let even = (0..5).filter(|number| number % 2 == 0);
    ///     even.map(|number| writer.integer(number)).count()
    /// });
    /// assert_eq!(output.to_vec(), b"*3\r\n:0\r\n:2\r\n:4\r\n");
    /// ```
    pub fn counted(
        &mut self,
        head: impl FnOnce(usize) -> Item<'static>,
        say: impl FnOnce(&mut Self) -> usize,
    ) {
        let before = self.output.len();
        let count = say(self);
        let length = self.output.len() - before;
        let head = self.head_of(head(count));
        self.output.insert(length, head.as_bytes());
    }

    /// Returns the byte and the number of the head of an aggregate.
    ///
    /// # Panics
    /// When `item` is no aggregate.
    fn head_of(&self, item: Item<'_>) -> Head {
        let (kind, resp2, resp3) = match item {
            Item::Array(length) => (b'*', length, length),
            Item::Map(pairs) => (b'%', pairs * 2, pairs),
            Item::Set(length) => (b'~', length, length),
            Item::Push(length) => (b'>', length, length),
            other => panic!("{other:?} has no elements"),
        };
        match self.protocol {
            Protocol::Resp2 => Head::new(b'*', resp2 as u64),
            Protocol::Resp3 => Head::new(kind, resp3 as u64),
        }
    }

    /// Appends attributes of the reply that follows: `pairs` keys, each followed by its value,
    /// which `say` appends. RESP2 has no attributes, so `say` is not called there.
    pub fn attribute(&mut self, pairs: usize, say: impl FnOnce(&mut Self)) {
        if self.is_resp3() {
            self.head(b'|', pairs as u64);
            say(self);
        }
    }

    /// Appends true or false; in RESP2, 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.output.append(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// Appends a floating point number with 17 digits, which distinguish it from any other, as
    /// Redis 7.0 does.
    pub fn double(&mut self, value: f64) {
        let text = number::Double::new(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', &[text.as_bytes()]),
        }
    }

    /// Appends an integer of any size. `digits` are its decimal digits, after a minus if it is
    /// negative.
    pub fn big_number(&mut self, digits: impl AsRef<[u8]>) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', &[digits.as_ref()]),
        }
    }

    /// Appends an error of any bytes, including line ends.
    pub fn bulk_error(&mut self, text: impl AsRef<[u8]>) {
        match self.protocol {
            Protocol::Resp2 => self.error(text),
            Protocol::Resp3 => self.bulk_of(b'!', text.as_ref()),
        }
    }

    /// Appends a text for people in `format`: `*b"txt"` or `*b"mkd"`.
    pub fn verbatim(&mut self, format: [u8; 3], text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.head(b'=', text.len() as u64 + 4);
                self.output.append(&[format[0], format[1], format[2], b':']);
                self.output.append(text);
                self.output.append(b"\r\n");
            }
        }
    }

    /// Appends a value of another server, in the version of this conversation. [`Value::encoded`]
    /// has its original bytes.
    pub fn value(&mut self, value: Value<'_>) {
        let attributes = value.attributes();
        if attributes.len() > 0 {
            self.attribute(attributes.len(), |writer| {
                for (key, value) in attributes {
                    writer.value(key);
                    writer.value(value);
                }
            });
        }
        self.item(value.item());
        value.elements().for_each(|element| self.value(element));
    }

    /// Appends bytes that are already encoded.
    pub fn encoded(&mut self, bytes: &[u8]) {
        self.output.append(bytes);
    }

    /// Appends bytes that [`shared`] has encoded, without copying them.
    pub fn share(&mut self, encoded: Arc<[u8]>) {
        self.output.share(encoded);
    }

    /// Appends a command of a client: its name and its arguments, as bulk strings.
    pub fn command<T: AsRef<[u8]>>(
        &mut self,
        parts: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) {
        let parts = parts.into_iter();
        self.array(parts.len());
        for part in parts {
            self.bulk(part);
        }
    }

    /// Appends a type byte, a number, and a line end.
    fn head(&mut self, kind: u8, number: u64) {
        let head = Head::new(kind, number);
        self.output.append(head.as_bytes());
    }

    #[inline]
    fn bulk_of(&mut self, kind: u8, bytes: &[u8]) {
        /// Shorter strings are assembled here and appended at once, which costs less than three
        /// appends.
        const SHORT: usize = 96;
        if bytes.len() < SHORT {
            let mut room = [0; SHORT + 7];
            room[0] = kind;
            let digits = if bytes.len() < 10 { 1 } else { 2 };
            room[1] = b'0' + (bytes.len() / 10) as u8;
            room[digits] = b'0' + (bytes.len() % 10) as u8;
            let start = digits + 3;
            let end = start + bytes.len();
            room[digits + 1..start].copy_from_slice(b"\r\n");
            room[start..end].copy_from_slice(bytes);
            room[end..end + 2].copy_from_slice(b"\r\n");
            self.output.append(&room[..end + 2]);
            return;
        }
        self.head(kind, bytes.len() as u64);
        self.output.append(bytes);
        self.output.append(b"\r\n");
    }

    fn line(&mut self, kind: u8, parts: &[&[u8]]) {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        self.output.push(kind);
        for part in parts {
            let mut pieces = part.split(is_end);
            self.output.append(pieces.next().unwrap_or_default());
            for piece in pieces {
                self.output.push(b' ');
                self.output.append(piece);
            }
        }
        self.output.append(b"\r\n");
    }
}

/// A type byte, a number, and a line end.
struct Head {
    room: [u8; number::SIZE_MAX + 3],
    start: usize,
}

impl Head {
    fn new(kind: u8, number: u64) -> Self {
        let mut room = [0; number::SIZE_MAX + 3];
        let end = room.len() - 2;
        let start = number::write(number, &mut room[..end]) - 1;
        room[start] = kind;
        room[end..].copy_from_slice(b"\r\n");
        Self { room, start }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.room[self.start..]
    }
}

/// A formatter that appends to an output.
struct Text<'a>(&'a mut Output);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.append(text.as_bytes());
        Ok(())
    }
}

/// Returns what `say` appends, encoded once for any number of connections of one version. Pass it
/// to [`Reply::share`](crate::Reply::share) or [`Writer::share`].
pub fn shared(protocol: Protocol, say: impl FnOnce(&mut Writer<'_>)) -> Arc<[u8]> {
    let mut output = Output::new();
    say(&mut Writer::new(&mut output, protocol));
    output.to_vec().into()
}

#[cfg(test)]
mod tests;
