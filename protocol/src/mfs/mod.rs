//! The protocol of MooseFS 3.0.117: the messages between its master, metaloggers, chunkservers, clients
//! and tools.
//!
//! [`Packet`](crate::codecs::Packet) frames packets of a type and a body. [`Message::parse`] checks a
//! whole body once, and what it returns are views of it. [`Message::send`] and [`Message::packet`] encode,
//! and [`Message::text`] is for logs. Each message describes its fields once, as a [`Record`], so its
//! bytes and its text cannot differ.
//!
//! ```
//! use protocol::mfs::{ChunkId, Kind, Message, ReadStatus, Status};
//!
//! let body = [0, 0, 0, 0, 0, 0, 0, 0xba, 13];
//! let message = ReadStatus::parse(&body)?;
//! assert_eq!(message, ReadStatus { chunk: ChunkId(0xba), status: Status::NOCHUNK });
//! assert_eq!(ReadStatus::KIND, Kind(201));
//! assert_eq!(message.body(), body);
//! assert_eq!(
//!     message.text().to_string(),
//!     "READ_STATUS chunk=00000000000000BA status=no such chunk (13)"
//! );
//! let error = ReadStatus::parse(&body[1..]).expect_err("a byte is missing");
//! assert_eq!(
//!     error.to_string(),
//!     "READ_STATUS with 8 bytes: it ends within the field \"status\""
//! );
//! # Ok::<(), protocol::mfs::MessageError>(())
//! ```
//!
//! Clients and the master number their messages ([`Numbered`], [`Answer`]); [`Request`] says which answer
//! belongs to which request. [`Form`] has all messages in a table.
//!
//! The feature `mfs-crc` makes CRCs several times as fast, for the price of a dependency.
//!
//! This is for programs that prove a framework, and not for a file system to keep data in: that is the
//! real MooseFS.
//!
//! # Limits
//!
//! A real peer closes a connection on which a longer packet comes: [`limit`] has the sizes.

mod attributes;
mod chunkserver;
mod common;
mod contents;
mod crc;
mod data;
mod digest;
mod error;
mod extras;
mod field;
mod figures;
mod files;
mod forms;
mod kind;
mod listing;
mod message;
mod metalogger;
mod names;
mod numbers;
mod orders;
mod payload;
mod registration;
mod reports;
mod session;
mod status;
mod tables;
mod values;

pub use attributes::*;
pub use chunkserver::*;
pub use common::*;
pub use contents::*;
pub use crc::{crc32, crc32_combine, crc32_from};
pub use data::*;
pub use digest::{auth_code_digest, password_digest};
pub use error::{Fault, MessageError};
pub use extras::*;
pub use field::{Field, Pass, Reader, Record};
pub use figures::*;
pub use files::*;
pub use forms::{Form, describe};
pub use kind::Kind;
pub use listing::*;
pub use message::{Answer, Message, Numbered};
pub use metalogger::*;
pub use names::*;
pub use numbers::{Counters, ReadForm, SESSION_COUNTERS, SessionCounters, StatCount};
pub use orders::*;
pub use payload::Data;
pub use registration::*;
pub use reports::*;
pub use session::*;
pub use status::Status;
pub use tables::*;
pub use values::{
    ChunkId, Crc, Credentials, Endpoint, Ip, List, ListIter, Name, Rest, Text, Version, append_all,
};

/// A request of a client to the master, which is answered.
pub trait Request {
    /// The answer, unless it is a status.
    type Answer<'a>: Message<'a> + Clone + Default;
}

/// The size of a block of a chunk, in bytes.
pub const BLOCK_SIZE: usize = 65_536;
/// How many blocks a chunk has at most.
pub const CHUNK_BLOCKS: usize = 1024;
/// How long a chunk is at most, in bytes.
pub const CHUNK_SIZE: u64 = (BLOCK_SIZE * CHUNK_BLOCKS) as u64;

/// The largest bodies that the real programs take, in bytes. They close the connection on which a larger
/// one comes.
pub mod limit {
    /// What the master takes from a chunkserver.
    pub const FROM_CHUNKSERVER: u32 = 500_000_000;
    /// What the master takes from a client.
    pub const FROM_CLIENT: u32 = 50_000_000;
    /// What the master and a metalogger take from each other.
    pub const METALOGGER: u32 = 1_500_000;
    /// What a chunkserver takes from the master.
    pub const TO_CHUNKSERVER: u32 = 10_000;
    /// What the data port of a chunkserver takes. A packet with data of a block has at most 65,560.
    pub const DATA_PORT: u32 = 100_000;
}
