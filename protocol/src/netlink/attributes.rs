//! The attributes of a message.

use super::error::{Fault, MessageError};
use super::message::aligned;

/// The size of the header of an attribute, in bytes (`struct rtattr`, `rtnetlink(3)`).
const HEADER_SIZE: usize = 4;
/// The bits of a type that are its number; the others say how its content is arranged.
const NUMBER: u16 = 0x3fff;

/// An attribute: a number that says what it is, and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// What it is. The meaning depends on the kind of the message.
    pub number: u16,
    /// Its content.
    pub content: &'a [u8],
    /// The offset of the attribute, in bytes.
    pub(super) at: usize,
}

impl<'a> Attribute<'a> {
    /// Returns the content as one number of eight bits.
    pub(super) fn u8(&self) -> Result<u8, MessageError> {
        self.content.first().copied().ok_or(self.wrong())
    }

    /// Returns the content as one number of 32 bits.
    pub(super) fn u32(&self) -> Result<u32, MessageError> {
        self.content.first_chunk().map(|it| u32::from_ne_bytes(*it)).ok_or(self.wrong())
    }

    /// Returns the content without the zero byte that ends a text, and what follows that.
    pub(super) fn text(&self) -> &'a [u8] {
        let end = self.content.iter().position(|byte| *byte == 0);
        &self.content[..end.unwrap_or(self.content.len())]
    }

    /// Returns the content as an IP address.
    pub(super) fn ip(&self, family: u8) -> Result<std::net::IpAddr, MessageError> {
        super::ip_address(family, self.content).ok_or(self.wrong())
    }

    /// Returns the attributes that this one consists of, once all of them are checked.
    pub(super) fn nested(&self) -> Result<Attributes<'a>, MessageError> {
        let nested = Attributes { rest: self.content, at: self.at + HEADER_SIZE };
        nested.clone().try_for_each(|it| it.map(drop))?;
        Ok(nested)
    }

    /// Appends it, with its padding.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        let size = HEADER_SIZE + self.content.len();
        // It has come out of 16 bits.
        bytes.extend((size as u16).to_ne_bytes());
        bytes.extend(self.number.to_ne_bytes());
        bytes.extend_from_slice(self.content);
        bytes.resize(bytes.len() + aligned(size) - size, 0);
    }

    pub(super) const fn wrong(&self) -> MessageError {
        MessageError::new(self.at, Fault::AttributeSize(self.number))
    }
}

/// Attributes one after the other. After an error, there are no more.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    /// Returns the attributes of a message, which begin after `offset` bytes of its body.
    pub fn new(body: &'a [u8], offset: usize) -> Self {
        let at = aligned(offset).min(body.len());
        Self { rest: &body[at..], at }
    }

    /// No attributes.
    pub(super) const fn none() -> Self {
        Self { rest: &[], at: 0 }
    }

    fn parse(&mut self) -> Result<Attribute<'a>, MessageError> {
        let Some(header) = self.rest.first_chunk::<HEADER_SIZE>() else {
            return Err(MessageError::new(self.at, Fault::Truncated));
        };
        let size = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        if size < HEADER_SIZE {
            return Err(MessageError::new(self.at, Fault::TooShort));
        }
        let Some(content) = self.rest.get(HEADER_SIZE..size) else {
            return Err(MessageError::new(self.at, Fault::Truncated));
        };
        let number = u16::from_ne_bytes([header[2], header[3]]) & NUMBER;
        let attribute = Attribute { number, content, at: self.at };
        let next = aligned(size).min(self.rest.len());
        self.at += next;
        self.rest = &self.rest[next..];
        Ok(attribute)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.parse();
        if attribute.is_err() {
            self.rest = &[];
        }
        Some(attribute)
    }
}
