//! Requests about what files contain: their lengths and their chunks.

use protocol::mfs::{Attributes, CHUNK_SIZE, ChunkId, Credentials, FileType, Status};

use super::change::{Change, Writing};
use super::node::{CHUNK_WEIGHT, Mask};
use super::{LENGTH_MAX, Tree};

/// What a chunk is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkUse {
    pub(crate) inode: u32,
    pub(crate) index: u32,
}

/// A chunk that ends within itself once a file is truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) chunk: ChunkId,
    /// Its place in the file.
    pub(crate) index: u32,
    /// Its length from then on, in bytes.
    pub(crate) length: u32,
}

impl Tree {
    /// Returns the length of a file, and one of its chunks, which may be a hole.
    ///
    /// # Errors
    /// When it is no file.
    pub(crate) fn chunk_at(
        &self,
        inode: u32,
        index: u32,
    ) -> Result<(u64, Option<ChunkId>), Status> {
        let node = self.node(inode)?;
        if u64::from(index) >= LENGTH_MAX / CHUNK_SIZE {
            return Err(Status::INDEXTOOBIG);
        }
        Ok((node.attributes.length, node.chunks()?.get(&index).copied()))
    }

    /// Returns what a chunk is part of.
    pub(crate) fn chunk(&self, chunk: ChunkId) -> Option<ChunkUse> {
        self.chunks.get(&chunk.0).copied()
    }

    /// Returns how many chunks there are.
    #[cfg(test)]
    pub(crate) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Checks whether a file may get another chunk.
    ///
    /// # Errors
    /// When it is no file, or a limit is reached.
    pub(crate) fn check_new_chunk(&self, inode: u32, index: u32) -> Result<(), Status> {
        self.chunk_at(inode, index)?;
        self.check_memory(CHUNK_WEIGHT)
    }

    /// Adds a chunk, which chunkservers have by now.
    ///
    /// # Errors
    /// When the file is gone, or has got another chunk there.
    pub(crate) fn add_chunk(
        &mut self,
        time: u32,
        inode: u32,
        index: u32,
        chunk: ChunkId,
    ) -> Result<(), Status> {
        if self.chunk_at(inode, index)?.1.is_some() {
            return Err(Status::CHUNKEXIST);
        }
        self.change(time, &Change::Write { inode, index, writing: Writing::New, chunk })
    }

    /// Logs that a client begins to write to a chunk.
    ///
    /// # Errors
    /// When the chunk is not part of the file.
    pub(crate) fn begin_write(
        &mut self,
        time: u32,
        inode: u32,
        index: u32,
        chunk: ChunkId,
    ) -> Result<(), Status> {
        if self.chunk_at(inode, index)?.1 != Some(chunk) {
            return Err(Status::NOCHUNK);
        }
        self.change(time, &Change::Write { inode, index, writing: Writing::Same, chunk })
    }

    /// Logs that a client no longer writes to a chunk. A chunk that is gone needs no log.
    ///
    /// # Errors
    /// When the change was not made.
    pub(crate) fn end_write(&mut self, time: u32, chunk: ChunkId) -> Result<(), Status> {
        if self.chunks.contains_key(&chunk.0) {
            self.change(time, &Change::Unlock { chunk })?;
        }
        Ok(())
    }

    /// Notes that a client has written up to a place: the file is so long from now on, if it was shorter.
    ///
    /// # Errors
    /// When it is no file, or would be too long.
    pub(crate) fn written(&mut self, time: u32, inode: u32, length: u64) -> Result<u64, Status> {
        let node = self.node(inode)?;
        node.chunks()?;
        if length > LENGTH_MAX {
            return Err(Status::EINVAL);
        }
        let length = length.max(node.attributes.length);
        self.change(time, &Change::Length { inode, length })?;
        Ok(length)
    }

    /// Checks whether a user may truncate a file. One that has it open was checked before.
    ///
    /// Returns the length of the file, and the chunk that has to be cut first, if there is one.
    ///
    /// # Errors
    /// When the user may not, or it is no file, or would be too long.
    pub(crate) fn plan_truncation(
        &self,
        who: &Credentials<'_>,
        inode: u32,
        is_open: bool,
        length: u64,
    ) -> Result<(u64, Option<Cut>), Status> {
        let node = self.node(inode)?;
        if node.file_type() != FileType::File {
            return Err(Status::EPERM);
        }
        if !is_open {
            node.check(who, Mask::WRITE)?;
        }
        if length > LENGTH_MAX {
            return Err(Status::EINVAL);
        }
        Ok((node.attributes.length, self.cut(inode, length)?))
    }

    /// Returns the chunk in which a file would end, if it is shorter then.
    fn cut(&self, inode: u32, length: u64) -> Result<Option<Cut>, Status> {
        let node = self.node(inode)?;
        let within = (length % CHUNK_SIZE) as u32;
        if length >= node.attributes.length || within == 0 {
            return Ok(None);
        }
        let index = (length / CHUNK_SIZE) as u32;
        let chunk = node.chunks()?.get(&index).copied();
        Ok(chunk.map(|chunk| Cut { chunk, index, length: within }))
    }

    /// Gives a file its length. The chunks behind it are free from now on. The chunk that had to be cut is
    /// cut by now.
    ///
    /// # Errors
    /// When it is no file any more.
    pub(crate) fn set_length(
        &mut self,
        time: u32,
        inode: u32,
        length: u64,
    ) -> Result<Attributes, Status> {
        self.node(inode)?.chunks()?;
        self.change(time, &Change::Truncate { inode, length })?;
        self.attributes(inode)
    }

    /// Notes when a client has used a file. Nothing is logged if that changes nothing.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn used(
        &mut self,
        time: u32,
        inode: u32,
        (atime, mtime): (u32, u32),
    ) -> Result<(), Status> {
        let attributes = self.node(inode)?.attributes;
        // A clock that is ahead must not set a time that all later ones are before.
        let (atime, mtime) = (atime.min(time), mtime.min(time));
        let is_later = |used: u32, known: u32| used > known.max(attributes.ctime);
        if is_later(atime, attributes.atime) || is_later(mtime, attributes.mtime) {
            return self.change(time, &Change::Used { inode, atime, mtime });
        }
        Ok(())
    }
}
