//! Messages as packets, and as texts.

use std::fmt;
use std::sync::Arc;

use super::error::{Fault, MessageError};
use super::field::{Field, Pass, Reader, Record};
use super::{Kind, Status};
use crate::codecs::{Packet, PacketMessage};
use crate::{Codec, Reply};

/// The body of a packet of one type.
pub trait Message<'a>: Field<'a> {
    /// The type of its packets.
    const KIND: Kind;

    /// Reads a body, which must be this message and nothing else.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let fault = match Self::read(&mut reader) {
            Ok(message) if reader.left() == 0 => return Ok(message),
            Ok(_) => Fault::TooLong,
            Err(fault) => fault,
        };
        Err(MessageError { kind: Self::KIND, size: body.len(), field: reader.name(), fault })
    }

    /// Returns its body.
    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.append(&mut body);
        body
    }

    /// Sends it.
    ///
    /// # Panics
    /// When the body has 4 GiB or more.
    fn send(&self, reply: &mut Reply<'_, Packet>) {
        reply.send(PacketMessage { kind: Self::KIND.0, body: &self.body() });
    }

    /// Returns its packet, of which one serves any number of connections.
    ///
    /// # Panics
    /// When the body has 4 GiB or more.
    fn packet(&self) -> Arc<[u8]> {
        let body = self.body();
        Packet::default().encode_shared(PacketMessage { kind: Self::KIND.0, body: &body })
    }

    /// Returns its text form for a log: one line, of a bounded length, without data and digests.
    fn text(&self) -> impl fmt::Display {
        struct Line<'m, M>(&'m M);

        impl<'a, M: Message<'a>> fmt::Display for Line<'_, M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ", M::KIND)?;
                self.0.show(f)
            }
        }
        Line(self)
    }
}

/// A message of a client to the master, or of the master to a client, after the number that says which
/// answer belongs to which request. Notices of the master have the number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbered<T> {
    /// The number.
    pub number: u32,
    /// The message.
    pub message: T,
}

impl<'a, T: Field<'a> + Clone + Default> Record<'a> for Numbered<T> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("number", &mut self.number)?;
        pass.field("message", &mut self.message)
    }
}

impl<'a, T: Message<'a> + Clone + Default> Message<'a> for Numbered<T> {
    const KIND: Kind = T::KIND;
}

/// What the master answers to a client: what was asked for, or a status. A body of one byte is a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Done(T),
    /// The operation has failed, or was one that is answered with a status only.
    Status(Status),
}

impl<T> Answer<T> {
    /// Returns the answer, or the status that is there instead.
    ///
    /// # Errors
    /// The status.
    pub fn done(self) -> Result<T, Status> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::Status(status) => Err(status),
        }
    }

    /// Returns whether an operation has succeeded that is answered with a status only.
    ///
    /// # Errors
    /// The status, unless it is [`Status::OK`].
    pub fn succeeded(self) -> Result<(), Status> {
        match self {
            Self::Done(_) => Ok(()),
            Self::Status(status) => status.done(),
        }
    }
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self::Status(Status::OK)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Answer<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        match reader.left() {
            1 => Status::read(reader).map(Self::Status),
            _ => T::read(reader).map(Self::Done),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        match self {
            Self::Done(answer) => answer.append(body),
            Self::Status(status) => status.append(body),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(answer) => answer.show(f),
            Self::Status(status) => status.show(f),
        }
    }
}

impl<'a, T: Message<'a>> Message<'a> for Answer<T> {
    const KIND: Kind = T::KIND;
}
