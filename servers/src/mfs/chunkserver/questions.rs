//! Questions about a chunk or about this program, of the master and of others.

use std::sync::Arc;

use protocol::mfs::{
    Answer, ChunkBlocks, ChunkChecksum, ChunkChecksums, ChunkId, Crc, GetChunkBlocks,
    GetChunkChecksum, GetChunkChecksums, List, Message, Numbered, Rest, Status, Version,
    VersionAnswer, crc32,
};

use super::disk::{Chunk, Done};

/// A question about a chunk, for which its file may have to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Blocks(GetChunkBlocks),
    Checksum(GetChunkChecksum),
    Checksums(GetChunkChecksums),
}

impl Question {
    /// Returns the chunk.
    pub(super) fn chunk(&self) -> ChunkId {
        match self {
            Self::Blocks(it) => it.chunk,
            Self::Checksum(it) => it.chunk,
            Self::Checksums(it) => it.chunk,
        }
    }

    /// Returns the answer. This blocks.
    pub(super) fn answer(&self, found: &Chunk) -> Done<Arc<[u8]>> {
        Ok(match *self {
            Self::Blocks(GetChunkBlocks { chunk, version }) => {
                let blocks = found.blocks(version)?;
                ChunkBlocks { chunk, version, blocks, status: Status::OK }.packet()
            }
            Self::Checksum(GetChunkChecksum { chunk, version }) => {
                // The real chunkserver has another checksum of the same CRCs. Nothing compares it.
                let checksum = Answer::Done(Crc(crc32(&found.checksums(version)?)));
                ChunkChecksum { chunk, version, checksum }.packet()
            }
            Self::Checksums(GetChunkChecksums { chunk, version }) => {
                let bytes = found.checksums(version)?;
                let checksums = Answer::Done(List::new(&bytes).unwrap_or_default());
                ChunkChecksums { chunk, version, checksums }.packet()
            }
        })
    }

    /// Returns the answer that there is none.
    pub(super) fn refused(&self, status: Status) -> Arc<[u8]> {
        match *self {
            Self::Blocks(GetChunkBlocks { chunk, version }) => {
                ChunkBlocks { chunk, version, blocks: 0, status }.packet()
            }
            Self::Checksum(GetChunkChecksum { chunk, version }) => {
                ChunkChecksum { chunk, version, checksum: Answer::Status(status) }.packet()
            }
            Self::Checksums(GetChunkChecksums { chunk, version }) => {
                ChunkChecksums { chunk, version, checksums: Answer::Status(status) }.packet()
            }
        }
    }
}

/// Returns the packet that says which version this is.
pub(super) fn version(number: Option<u32>) -> Arc<[u8]> {
    let message = VersionAnswer { version: Version::OURS, text: Rest(b"3.0.117-1") };
    match number {
        Some(number) => Numbered { number, message }.packet(),
        None => message.packet(),
    }
}
