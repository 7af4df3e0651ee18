//! The registration of a chunkserver with the master.

use std::fmt;

use super::Kind;
use super::chunkserver::{ChunkVersion, Space};
use super::error::Fault;
use super::field::{Field, Pass, Reader, Record};
use super::message::Message;
use super::values::{Endpoint, Ip, List, Version};

/// A step of the registration of a chunkserver, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkserverRegister<'a> {
    /// The first step. The master answers with [`MasterAck::Accepted`] or [`MasterAck::Challenge`].
    Begin(ChunkserverBegin),
    /// Chunks, 10,000 at most. The master answers each with [`MasterAck::Next`].
    Chunks(List<'a, ChunkVersion>),
    /// All chunks were told.
    Done,
    /// The chunkserver is about to stop.
    Leaves,
}

/// What a chunkserver registers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkserverBegin {
    /// The proof that it has the code of the master ([`auth_code_digest`](super::auth_code_digest)).
    pub proof: Option<[u8; 16]>,
    /// What it says about itself.
    pub about: ChunkserverAbout,
}

/// What a chunkserver says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkserverAbout {
    /// Its version.
    pub version: Version,
    /// Its data port. The address 0 is that of its connection.
    pub place: Endpoint,
    /// After how many seconds of silence each side closes the connection. The master chooses instead of 0.
    pub timeout: u16,
    /// Its number, or 0 if the master has to give it one.
    pub csid: u16,
    /// Its space. All of it is 0 while its disks are being read.
    pub space: Space,
}

impl<'a> Record<'a> for ChunkserverAbout {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("place", &mut self.place)?;
        pass.field("timeout", &mut self.timeout)?;
        pass.field("csid", &mut self.csid)?;
        pass.field("space", &mut self.space)
    }
}

/// The size of what a chunkserver says about itself, in bytes.
const ABOUT_SIZE: usize = 54;

impl<'a> Field<'a> for ChunkserverRegister<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        match u8::read(reader)? {
            60 => {
                let has_proof = reader.left() > ABOUT_SIZE;
                let proof = has_proof.then(|| reader.array()).transpose()?;
                Ok(Self::Begin(ChunkserverBegin { proof, about: Field::read(reader)? }))
            }
            61 => List::read(reader).map(Self::Chunks),
            62 => Ok(Self::Done),
            63 => Ok(Self::Leaves),
            _ => Err(Fault::Value),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        match self {
            Self::Begin(begin) => {
                body.push(60);
                begin.proof.append(body);
                begin.about.append(body);
            }
            Self::Chunks(chunks) => {
                body.push(61);
                chunks.append(body);
            }
            Self::Done => body.push(62),
            Self::Leaves => body.push(63),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(begin) => {
                f.write_str(if begin.proof.is_some() { "begin with a code " } else { "begin " })?;
                begin.about.show(f)
            }
            Self::Chunks(chunks) => {
                f.write_str("chunks=")?;
                chunks.show(f)
            }
            Self::Done => f.write_str("done"),
            Self::Leaves => f.write_str("leaves"),
        }
    }
}

impl<'a> Message<'a> for ChunkserverRegister<'a> {
    const KIND: Kind = Kind::REGISTER;
}

/// What the master answers to a step of the registration. Its size tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterAck {
    /// The next chunks may come.
    Next,
    /// The chunkserver is accepted.
    Accepted(Accepted),
    /// Another master is responsible.
    Elsewhere(Ip),
    /// The chunkserver has to wait.
    Wait(WaitFor),
    /// The chunkserver has to prove that it has the code of the master.
    Challenge([u8; 32]),
}

/// A chunkserver is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The version of the master.
    pub version: Version,
    /// After how many seconds of silence each side closes the connection.
    pub timeout: u16,
    /// The number of the chunkserver, which it keeps.
    pub csid: u16,
    /// The id of the metadata. A chunkserver that has another one ends. It does not check 0.
    pub meta_id: u64,
}

impl<'a> Record<'a> for Accepted {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("timeout", &mut self.timeout)?;
        pass.field("csid", &mut self.csid)?;
        pass.field("meta_id", &mut self.meta_id)
    }
}

/// A chunkserver has to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitFor {
    /// The version of the master.
    pub version: Version,
    /// After how many seconds of silence each side closes the connection.
    pub timeout: u16,
    /// The id of the metadata.
    pub meta_id: Option<u64>,
}

impl<'a> Record<'a> for WaitFor {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("timeout", &mut self.timeout)?;
        pass.field("meta_id", &mut self.meta_id)
    }
}

impl<'a> Field<'a> for MasterAck {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let is_alone = reader.left() == 1;
        match u8::read(reader)? {
            0 if is_alone => Ok(Self::Next),
            0 => Field::read(reader).map(Self::Accepted),
            1 => Ip::read(reader).map(Self::Elsewhere),
            2 => Field::read(reader).map(Self::Wait),
            3 => reader.array().map(Self::Challenge),
            _ => Err(Fault::Value),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        match self {
            Self::Next => body.push(0),
            Self::Accepted(accepted) => {
                body.push(0);
                accepted.append(body);
            }
            Self::Elsewhere(ip) => {
                body.push(1);
                ip.append(body);
            }
            Self::Wait(wait) => {
                body.push(2);
                wait.append(body);
            }
            Self::Challenge(challenge) => {
                body.push(3);
                challenge.append(body);
            }
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("next"),
            Self::Accepted(accepted) => accepted.show(f),
            Self::Elsewhere(ip) => write!(f, "elsewhere={ip}"),
            Self::Wait(wait) => {
                f.write_str("wait ")?;
                wait.show(f)
            }
            Self::Challenge(_) => f.write_str("challenge"),
        }
    }
}

impl<'a> Message<'a> for MasterAck {
    const KIND: Kind = Kind::MASTER_ACK;
}
