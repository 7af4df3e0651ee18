//! What a chunkserver is ordered to do with a chunk.

use protocol::Reply;
use protocol::codecs::Packet;
use protocol::mfs::{
    ChunkId, Create, CreateAnswer, Delete, DeleteAnswer, Duplicate, DuplicateAnswer,
    DuplicateTruncated, DuplicateTruncatedAnswer, Kind, Message, MessageError, Replicate,
    ReplicateAnswer, SetVersion, SetVersionAnswer, Status, Truncate, TruncateAnswer,
};

/// An order to a chunkserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Create an empty chunk.
    Create(Create),
    /// Delete a chunk.
    Delete(Delete),
    /// Change the version of a chunk.
    SetVersion(SetVersion),
    /// Copy a chunk of its own.
    Duplicate(Duplicate),
    /// Change the length of a chunk, and its version.
    Truncate(Truncate),
    /// Copy a chunk of its own, with another length.
    DuplicateTruncated(DuplicateTruncated),
    /// Copy a chunk of another chunkserver.
    Replicate(Replicate),
}

impl Order {
    /// Returns the chunk that its answer names.
    pub const fn chunk(&self) -> ChunkId {
        match self {
            Self::Create(it) => it.chunk,
            Self::Delete(it) => it.chunk,
            Self::SetVersion(it) => it.chunk,
            Self::Duplicate(it) => it.chunk,
            Self::Truncate(it) => it.chunk,
            Self::DuplicateTruncated(it) => it.chunk,
            Self::Replicate(it) => it.chunk,
        }
    }

    /// Returns the type of its answer.
    const fn answer(&self) -> Kind {
        match self {
            Self::Create(_) => Kind::CREATE_ANSWER,
            Self::Delete(_) => Kind::DELETE_ANSWER,
            Self::SetVersion(_) => Kind::SET_VERSION_ANSWER,
            Self::Duplicate(_) => Kind::DUPLICATE_ANSWER,
            Self::Truncate(_) => Kind::TRUNCATE_ANSWER,
            Self::DuplicateTruncated(_) => Kind::DUPLICATE_TRUNCATED_ANSWER,
            Self::Replicate(_) => Kind::REPLICATE_ANSWER,
        }
    }

    /// Returns what tells its answer from those of other orders.
    pub(super) const fn key(&self) -> Key {
        Key { kind: self.answer(), chunk: self.chunk() }
    }

    pub(super) fn send(&self, reply: &mut Reply<'_, Packet>) {
        match self {
            Self::Create(it) => it.send(reply),
            Self::Delete(it) => it.send(reply),
            Self::SetVersion(it) => it.send(reply),
            Self::Duplicate(it) => it.send(reply),
            Self::Truncate(it) => it.send(reply),
            Self::DuplicateTruncated(it) => it.send(reply),
            Self::Replicate(it) => it.send(reply),
        }
    }
}

/// What belongs to one order at a time: an answer has nothing else that says to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    kind: Kind,
    chunk: ChunkId,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) key: Key,
    pub(super) status: Status,
}

impl Answered {
    /// Reads an answer. `None` if packets of this type are none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(kind: Kind, body: &[u8]) -> Result<Option<Self>, MessageError> {
        let (chunk, status) = match kind {
            Kind::CREATE_ANSWER => CreateAnswer::parse(body).map(|it| (it.chunk, it.status)),
            Kind::DELETE_ANSWER => DeleteAnswer::parse(body).map(|it| (it.chunk, it.status)),
            Kind::SET_VERSION_ANSWER => {
                SetVersionAnswer::parse(body).map(|it| (it.chunk, it.status))
            }
            Kind::DUPLICATE_ANSWER => DuplicateAnswer::parse(body).map(|it| (it.chunk, it.status)),
            Kind::TRUNCATE_ANSWER => TruncateAnswer::parse(body).map(|it| (it.chunk, it.status)),
            Kind::DUPLICATE_TRUNCATED_ANSWER => {
                DuplicateTruncatedAnswer::parse(body).map(|it| (it.chunk, it.status))
            }
            Kind::REPLICATE_ANSWER => ReplicateAnswer::parse(body).map(|it| (it.chunk, it.status)),
            _ => return Ok(None),
        }?;
        Ok(Some(Self { key: Key { kind, chunk }, status }))
    }
}
