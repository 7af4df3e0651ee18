//! Requests, as views of the input.

// Law 5: messages are validated views of the input, not copies.

use std::fmt;

use super::quote::{QUOTED, is_separator, is_space};

/// A request: the name of a command and its arguments, as views of the input. Decoding has
/// validated them. A request has at least one part, the name.
///
/// A copy costs a few words. The parts follow one another in the input. Iterating over all of them
/// reads each length once; access by index iterates from the first.
///
/// ```
/// use protocol::resp::{Request, Server};
/// use protocol::{Codec, Decoded, Output};
///
/// let mut input = *b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
/// let decoded = Server::default().decode(&mut input, &mut Output::new())?;
/// let Decoded::Message { message: request, .. } = decoded else { panic!("it is whole") };
/// assert_eq!(request.name(), b"SET");
/// assert_eq!(request.args().exactly(), Some([&b"k"[..], b"v"]));
/// # Ok::<(), protocol::resp::RequestError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Request<'a> {
    name: &'a [u8],
    rest: &'a [u8],
    args: usize,
    form: Form,
}

/// The form of the parts in the input.
#[derive(Clone, Copy)]
enum Form {
    /// As bulk strings.
    Bulk,
    /// As a command line whose quotes were removed.
    Inline,
}

impl<'a> Request<'a> {
    /// Returns the request of the `count` bulk strings in `bytes`. Both have been validated.
    pub(super) fn of_bulks(bytes: &'a [u8], count: usize) -> Self {
        let (name, rest) = take_bulk(bytes);
        Self { name, rest, args: count - 1, form: Form::Bulk }
    }

    /// Returns the request of a command line of `count` arguments, whose quotes were removed.
    pub(super) fn of_line(line: &'a [u8], count: usize) -> Self {
        let (name, rest) = take_inline(line);
        Self { name, rest, args: count - 1, form: Form::Inline }
    }

    /// Returns the name of the command, as the client wrote it.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// Returns the parts after the name.
    pub fn args(&self) -> Arguments<'a> {
        Arguments { rest: self.rest, left: self.args, form: self.form }
    }

    /// Returns the number of parts, including the name: `argc` of Redis, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a request is never empty")]
    pub fn len(&self) -> usize {
        self.args + 1
    }

    /// Returns the part at `index`. The name has index 0.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        match index.checked_sub(1) {
            None => Some(self.name),
            Some(index) => self.args().nth(index),
        }
    }

    /// Returns all parts, the name first.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        std::iter::once(self.name).chain(self.args())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request")?;
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// An iterator over the arguments of a [`Request`]. A copy advances on its own.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    rest: &'a [u8],
    left: usize,
    form: Form,
}

impl<'a> Arguments<'a> {
    /// Returns the remaining arguments if there are exactly `N`.
    pub fn exactly<const N: usize>(mut self) -> Option<[&'a [u8]; N]> {
        if self.left != N {
            return None;
        }
        let mut taken = [&b""[..]; N];
        for (slot, argument) in taken.iter_mut().zip(&mut self) {
            *slot = argument;
        }
        Some(taken)
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (argument, rest) = match self.form {
            Form::Bulk => take_bulk(self.rest),
            Form::Inline => take_inline(self.rest),
        };
        self.rest = rest;
        Some(argument)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Arguments<'_> {}

impl fmt::Debug for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.map(String::from_utf8_lossy)).finish()
    }
}

/// Removes one bulk string, which is known to be whole, from the front.
#[inline]
fn take_bulk(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (mut length, mut at) = (0, 1);
    while bytes[at] != b'\r' {
        length = length * 10 + usize::from(bytes[at] - b'0');
        at += 1;
    }
    let (argument, rest) = bytes[at + 2..].split_at(length);
    (argument, &rest[2..])
}

/// Removes one argument from the front of a line whose quotes were removed.
fn take_inline(line: &[u8]) -> (&[u8], &[u8]) {
    let start = line.iter().take_while(|byte| is_space(**byte) && **byte != QUOTED).count();
    if let [QUOTED, high, low, text @ ..] = &line[start..] {
        return text.split_at(usize::from(u16::from_be_bytes([*high, *low])));
    }
    let size = line[start..].iter().take_while(|byte| !is_separator(**byte)).count();
    line[start..].split_at(size)
}
