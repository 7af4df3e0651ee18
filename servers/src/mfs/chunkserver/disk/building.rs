//! A chunk that is being made. It gets its name when it is complete. All of it blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::mfs::{BLOCK_SIZE, CHUNK_BLOCKS, ChunkId};

use super::chunk::{Chunk, Open};
use super::folder::Folder;
use super::form::{self, Table};

/// The file of a chunk that is not complete. It is removed on drop.
#[derive(Debug)]
pub(crate) struct Building {
    id: ChunkId,
    version: u32,
    folder: Arc<Folder>,
    path: PathBuf,
    crcs: Box<Table>,
    blocks: u16,
    /// `None` once the chunk is complete.
    file: Option<File>,
}

impl Building {
    /// Begins a chunk without blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn begin(folder: Arc<Folder>, id: ChunkId, version: u32) -> io::Result<Self> {
        let path = folder.partial_path_of(id);
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let file = match options.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                folder.make_subfolder(id)?;
                options.open(&path)?
            }
            file => file?,
        };
        let crcs = Box::new([form::EMPTY_CRC; CHUNK_BLOCKS]);
        Ok(Self { id, version, folder, path, crcs, blocks: 0, file: Some(file) })
    }

    /// Appends a block of which the CRC is known.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn append(&mut self, crc: u32, block: &[u8]) -> io::Result<()> {
        let (Some(file), number) = (&self.file, usize::from(self.blocks)) else {
            return Err(io::Error::other("the chunk is complete"));
        };
        if number >= CHUNK_BLOCKS || block.len() != BLOCK_SIZE {
            return Err(io::Error::other("a chunk has 1024 blocks of 65536 bytes at most"));
        }
        // Zeros need no space.
        if crc != form::EMPTY_CRC || block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, form::start_of(number))?;
        }
        self.crcs[number] = crc;
        self.blocks += 1;
        Ok(())
    }

    /// Makes the chunk appear.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn finish(mut self) -> io::Result<Arc<Chunk>> {
        let Some(file) = &self.file else { return Err(io::Error::other("it is complete")) };
        file.set_len(form::start_of(self.blocks.into()))?;
        file.write_all_at(&form::header(self.id, self.version), 0)?;
        file.write_all_at(&form::to_bytes(&self.crcs[..]), form::TABLE_START)?;
        fs::rename(&self.path, self.folder.path_of(self.id, self.version))?;
        let crcs = std::mem::replace(&mut self.crcs, Box::new([0; CHUNK_BLOCKS]));
        let open = self.file.take().map(|file| Open::new(file, crcs, self.blocks));
        Ok(Arc::new(Chunk::new(Arc::clone(&self.folder), self.id, self.version, open)))
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if self.file.is_some() {
            // It is removed at the next start otherwise.
            let _ = fs::remove_file(&self.path);
        }
    }
}
