//! What a client and a server say to each other: the bytes that the client sends again and again,
//! and those that it expects.

use std::io;
use std::ops::Range;

use clap::ValueEnum;

use super::CHUNK;
use super::wire::Wire;

/// The repeated text of the bodies that servers send and messages have.
const TEXT: &[u8] = b"Hello, world!\n";
/// The maximum size of the head of a response.
const HEAD_MAX: usize = 4096;
/// The size of the date in a response (RFC 9110, 5.6.7).
const DATE_SIZE: usize = 29;
/// The key of the example in RFC 6455, 1.3, and what a server has to answer to it.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// The mask of all messages of the client. A server cannot know that it is always the same.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The words between a client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Talk {
    /// Lines, which the server sends back.
    Echo,
    /// Lines, which the server sends back in upper case.
    Uppercase,
    /// Requests of HTTP/1.1 for [`content`] of the size of the load, as [`path`] names it.
    Http,
    /// Messages of a WebSocket, which the server sends back.
    Websocket,
}

/// Returns the body of a response of this size.
pub fn content(size: usize) -> Vec<u8> {
    TEXT.iter().copied().cycle().take(size).collect()
}

/// Returns the path of a body of this size.
pub fn path(size: usize) -> String {
    format!("/{size}.txt")
}

/// Returns the request for a path.
pub fn request_of(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A part of the endless repetition of one message.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) size: usize,
    bytes: Vec<u8>,
    /// The place of a date in the message, which is not always the same.
    date: Range<usize>,
}

impl Pattern {
    fn new(message: &[u8], date: Range<usize>) -> Self {
        let size = message.len();
        Self { size, bytes: message.iter().copied().cycle().take(size + CHUNK).collect(), date }
    }

    /// Returns the repetition of one line.
    fn line(size: usize, first: u8) -> Self {
        let letter = |place: usize| match place {
            last if last == size - 1 => b'\n',
            place => first + (place * 7 % 26) as u8,
        };
        Self::new(&(0..size).map(letter).collect::<Vec<u8>>(), 0..0)
    }

    /// Returns the bytes at a position of the repetition.
    pub(super) fn at(&self, position: usize, count: usize) -> &[u8] {
        let from = position % self.size;
        &self.bytes[from..from + count.min(CHUNK)]
    }

    /// Returns whether these bytes are at a position. A date may be any other.
    pub(super) fn is_at(&self, position: usize, bytes: &[u8]) -> bool {
        if self.date.is_empty() && bytes.len() <= CHUNK {
            return bytes == self.at(position, bytes.len());
        }
        let (mut place, mut rest) = (position % self.size, bytes);
        while !rest.is_empty() {
            let (end, is_date) = match place {
                place if place < self.date.start => (self.date.start, false),
                place if place < self.date.end => (self.date.end, true),
                _ => (self.size, false),
            };
            let (part, others) = rest.split_at((end - place).min(rest.len()));
            let is_right = match is_date {
                true => part.iter().all(|it| matches!(it, b' '..=b'~')),
                false => *part == self.bytes[place..place + part.len()],
            };
            if !is_right {
                return false;
            }
            (place, rest) = ((place + part.len()) % self.size, others);
        }
        true
    }
}

impl Talk {
    /// Begins on a new connection, which blocks: makes it one of WebSocket.
    ///
    /// # Errors
    /// Fails if the connection fails, or the server does not agree.
    pub(super) fn begin(self, wire: &mut Wire) -> io::Result<()> {
        if self != Self::Websocket {
            return Ok(());
        }
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            KEY.0
        );
        wire.say(request.as_bytes())?;
        let head = String::from_utf8_lossy(&head(wire)?).into_owned();
        match head.starts_with("HTTP/1.1 101 ") && head.contains(KEY.1) {
            true => Ok(()),
            false => Err(io::Error::other(format!("the server does not switch: {head:?}"))),
        }
    }

    /// Returns what the client sends for messages of this size.
    pub(super) fn sent(self, size: usize) -> Pattern {
        match self {
            Self::Echo | Self::Uppercase => Pattern::line(size, b'a'),
            Self::Http => Pattern::new(request_of(&path(size)).as_bytes(), 0..0),
            Self::Websocket => {
                let masked = content(size).into_iter().zip(MASK.into_iter().cycle());
                let mut frame = frame_head(size, 0x80);
                frame.extend(MASK);
                frame.extend(masked.map(|(byte, mask)| byte ^ mask));
                Pattern::new(&frame, 0..0)
            }
        }
    }

    /// Returns what the server has to answer. Fields of responses differ from server to server, so
    /// one request is sent on a connection of its own, which blocks, to learn them. The body is
    /// known.
    ///
    /// # Errors
    /// Fails if the connection fails, or the answer is no response with that body.
    pub(super) fn expected(
        self,
        size: usize,
        connect: impl Fn() -> io::Result<Wire>,
    ) -> io::Result<Pattern> {
        match self {
            Self::Echo => Ok(Pattern::line(size, b'a')),
            Self::Uppercase => Ok(Pattern::line(size, b'A')),
            Self::Http => {
                let (request, mut wire) = (self.sent(size), connect()?);
                wire.say(request.at(0, request.size))?;
                response(head(&mut wire)?, size, &mut wire)
            }
            Self::Websocket => {
                Ok(Pattern::new(&[frame_head(size, 0), content(size)].concat(), 0..0))
            }
        }
    }
}

/// Returns the start of a frame with a whole binary message (RFC 6455, 5.2).
fn frame_head(size: usize, masked: u8) -> Vec<u8> {
    let mut head = vec![0x82];
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(size @ ..=125), _) => head.push(masked | size),
        (_, Ok(size)) => {
            head.push(masked | 126);
            head.extend(size.to_be_bytes());
        }
        _ => {
            head.push(masked | 127);
            head.extend((size as u64).to_be_bytes());
        }
    }
    head
}

/// Reads until the end of a head, and nothing behind it.
fn head(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        wire.hear(&mut byte)?;
        head.extend(byte);
        if head.len() > HEAD_MAX {
            return Err(io::Error::other("the head of a response has no end"));
        }
    }
    Ok(head)
}

/// Reads the body of a response. Returns the pattern of such responses.
fn response(mut bytes: Vec<u8>, size: usize, wire: &mut Wire) -> io::Result<Pattern> {
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let is_right = text.starts_with("http/1.1 200 ")
        && text.contains(&format!("\r\ncontent-length: {size}\r\n"))
        && !text.contains("\r\nconnection: close\r\n");
    if !is_right {
        return Err(io::Error::other(format!("it is no response of {size} bytes: {text:?}")));
    }
    const FIELD: &str = "\r\ndate: ";
    let date = text.find(FIELD).map_or(0..0, |it| it + FIELD.len()..it + FIELD.len() + DATE_SIZE);
    let mut body = vec![0; size];
    wire.hear(&mut body)?;
    if body != content(size) {
        return Err(io::Error::other("the body of a response differs from the expected one"));
    }
    bytes.extend(body);
    Ok(Pattern::new(&bytes, date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_but_the_date_is_compared() {
        let message = b"HTTP/1.1 200 OK\r\nDate: 0123\r\n\r\nbody";
        let pattern = Pattern::new(message, 23..27);
        let three = message.repeat(3);
        for from in 0..message.len() {
            for to in from..three.len() {
                assert!(pattern.is_at(from, &three[from..to]), "{from}..{to}");
            }
        }
        for place in 0..three.len() {
            let mut other = three.clone();
            other[place] ^= 1;
            let is_date = (23..27).contains(&(place % message.len()));
            assert_eq!(pattern.is_at(0, &other), is_date, "{place}");
        }
        let mut broken = three.clone();
        broken[24] = b'\n';
        assert!(!pattern.is_at(0, &broken), "a line feed is no part of a date");
    }

    #[test]
    fn messages_are_repeated_at_any_position() {
        let pattern = Pattern::line(8, b'a');
        assert_eq!(pattern.at(0, 8), b"ahovcjq\n");
        assert_eq!(pattern.at(8 * 5 + 6, 4), b"q\nah");
        assert!(pattern.is_at(6, b"q\nah") && !pattern.is_at(6, b"q\nax"));
        assert_eq!(pattern.at(3, 2 * CHUNK).len(), CHUNK);
    }

    #[test]
    fn frames_have_the_bytes_of_the_standard() {
        // The examples of RFC 6455, 5.7: 256 bytes and 64 KiB of binary data.
        assert_eq!(frame_head(256, 0), [0x82, 0x7E, 0x01, 0x00]);
        assert_eq!(frame_head(65536, 0), [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(
            (frame_head(125, 0x80), frame_head(126, 0)),
            (vec![0x82, 0xFD], vec![0x82, 126, 0, 126])
        );
        let sent = Talk::Websocket.sent(5);
        assert_eq!(sent.at(0, 2), [0x82, 0x85]);
        // The masked "Hello" of 5.7.
        assert_eq!(sent.at(2, 9), [0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
