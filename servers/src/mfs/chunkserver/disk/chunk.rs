//! A chunk on disk, and what is done with it. All of it blocks, except for what says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::mfs::{BLOCK_SIZE, CHUNK_BLOCKS, ChunkId, Status, crc32};

use super::building::Building;
use super::folder::Folder;
use super::form::{self, Table};

/// Why something cannot be done with a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not possible. The chunk is as it was.
    Refused(Status),
    /// The chunk on this disk cannot be read or written, for the reason in the text.
    Damaged(Status, String),
}

impl Trouble {
    pub(crate) fn status(&self) -> Status {
        let (Self::Refused(status) | Self::Damaged(status, _)) = self;
        *status
    }

    pub(crate) fn io(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Refused(Status::NOSPACE),
            ErrorKind::NotFound => Self::Damaged(Status::NOCHUNK, error.to_string()),
            _ => Self::Damaged(Status::IO, error.to_string()),
        }
    }

    /// Returns that another chunk could not be written.
    pub(crate) fn refused(error: &io::Error) -> Self {
        match Self::io(error) {
            Self::Damaged(..) => Self::Refused(Status::IO),
            refused => refused,
        }
    }
}

/// What has been done with a chunk.
pub(crate) type Done<T> = Result<T, Trouble>;

/// The open file of a chunk.
#[derive(Debug)]
pub(crate) struct Open {
    pub(super) file: File,
    pub(super) crcs: Box<Table>,
    pub(super) blocks: u16,
    /// It was opened for writing too.
    is_writable: bool,
}

impl Open {
    /// Returns a file that is open for reading and writing.
    pub(super) fn new(file: File, crcs: Box<Table>, blocks: u16) -> Self {
        Self { file, crcs, blocks, is_writable: true }
    }

    /// Returns whether the chunk has a block. One without it reads as zeros.
    pub(super) fn has(&self, block: usize) -> bool {
        block < usize::from(self.blocks)
    }

    /// Reads a whole block, and checks its CRC.
    pub(super) fn read_block(&self, block: usize, room: &mut [u8]) -> Done<()> {
        self.file
            .read_exact_at(room, form::start_of(block))
            .map_err(|error| Trouble::io(&error))?;
        if crc32(room) == self.crcs[block] {
            return Ok(());
        }
        Err(Trouble::Damaged(Status::CRC, format!("the CRC of block {block} is wrong")))
    }

    /// Changes CRCs, in memory and on disk.
    pub(super) fn save_crcs(&self, from: usize, to: usize) -> io::Result<()> {
        let bytes = form::to_bytes(&self.crcs[from..to]);
        self.file.write_all_at(&bytes, form::TABLE_START + 4 * from as u64)
    }
}

/// The file of a chunk.
#[derive(Debug, Default)]
pub(super) struct State {
    /// It may be closed at any time.
    pub(super) open: Option<Open>,
    is_gone: bool,
}

/// A complete chunk. Its version changes, its folder does not.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) id: ChunkId,
    pub(crate) folder: Arc<Folder>,
    version: AtomicU32,
    is_damaged: AtomicBool,
    state: RwLock<State>,
}

impl Chunk {
    pub(crate) fn new(folder: Arc<Folder>, id: ChunkId, version: u32, open: Option<Open>) -> Self {
        let state = RwLock::new(State { open, is_gone: false });
        Self { id, folder, version: version.into(), is_damaged: false.into(), state }
    }

    /// Returns its version, without blocking.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// Marks it as damaged, without blocking. Returns whether it was not.
    pub(crate) fn mark_damaged(&self) -> bool {
        !self.is_damaged.swap(true, Ordering::Relaxed)
    }

    pub(super) fn for_reading(&self) -> RwLockReadGuard<'_, State> {
        // A job that has panicked has changed blocks before their CRCs at most, which is found when they
        // are read.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn for_writing(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the version that something needs. 0 is any: a master deletes copies with it of which it does
    /// not know the version.
    pub(super) fn check(&self, state: &State, version: u32) -> Done<()> {
        match state.is_gone {
            true => Err(Trouble::Refused(Status::NOCHUNK)),
            false if ![0, self.version()].contains(&version) => {
                Err(Trouble::Refused(Status::WRONGVERSION))
            }
            false => Ok(()),
        }
    }

    /// Opens its file, if it is not open.
    pub(super) fn open<'s>(&self, state: &'s mut State, writes: bool) -> Done<&'s mut Open> {
        let usable = state.open.take().filter(|it| it.is_writable || !writes);
        let open = match usable {
            Some(open) => open,
            None => self.open_file(writes)?,
        };
        Ok(state.open.insert(open))
    }

    fn open_file(&self, writes: bool) -> Done<Open> {
        let path = self.folder.path_of(self.id, self.version());
        let opened = || -> io::Result<(File, u64, Vec<u8>)> {
            let file = OpenOptions::new().read(true).write(writes).open(path)?;
            let size = file.metadata()?.len();
            let mut start = vec![0; form::DATA_START as usize];
            file.read_exact_at(&mut start, 0)?;
            Ok((file, size, start))
        };
        let (file, size, start) = opened().map_err(|error| Trouble::io(&error))?;
        let damaged = |text: &str| Trouble::Damaged(Status::IO, text.to_owned());
        let blocks = form::blocks_of(size).ok_or_else(|| damaged("its size is wrong"))?;
        if start[..form::HEADER_SIZE] != form::header(self.id, self.version()) {
            return Err(damaged("its header is wrong"));
        }
        let mut crcs = Box::new([0; CHUNK_BLOCKS]);
        let table = start[form::TABLE_START as usize..].as_chunks().0;
        crcs.iter_mut().zip(table).for_each(|(crc, bytes)| *crc = u32::from_be_bytes(*bytes));
        Ok(Open { file, crcs, blocks, is_writable: writes })
    }

    /// Does something with the open file while others may read too.
    pub(super) fn reading<T>(&self, version: u32, f: impl FnOnce(&Open) -> T) -> Done<T> {
        loop {
            let state = self.for_reading();
            self.check(&state, version)?;
            if let Some(open) = &state.open {
                return Ok(f(open));
            }
            drop(state);
            self.open(&mut self.for_writing(), false)?;
        }
    }

    /// Closes its file. It is opened again when it is needed.
    pub(crate) fn close(&self) {
        self.for_writing().open = None;
    }

    /// Returns how many blocks it has.
    pub(crate) fn blocks(&self, version: u32) -> Done<u16> {
        self.reading(version, |open| open.blocks)
    }

    /// Returns the CRCs of all blocks, as the file has them.
    pub(crate) fn checksums(&self, version: u32) -> Done<Vec<u8>> {
        self.reading(version, |open| form::to_bytes(&open.crcs[..]))
    }

    /// Checks that it can be written to.
    pub(crate) fn prepare(&self, version: u32) -> Done<()> {
        let mut state = self.for_writing();
        self.check(&state, version)?;
        self.open(&mut state, true).map(drop)
    }

    /// Checks the CRCs of all blocks.
    pub(crate) fn test(&self, version: u32) -> Done<()> {
        let mut room = vec![0; BLOCK_SIZE];
        for block in 0..CHUNK_BLOCKS {
            // A writer comes in between two blocks.
            let tested = |open: &Open| match open.has(block) {
                true => open.read_block(block, &mut room).map(|()| true),
                false => Ok(false),
            };
            if !self.reading(version, tested)?? {
                break;
            }
        }
        Ok(())
    }

    /// Removes it.
    pub(crate) fn delete(&self, version: u32) -> Done<()> {
        let mut state = self.for_writing();
        self.check(&state, version)?;
        match fs::remove_file(self.folder.path_of(self.id, self.version())) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Trouble::io(&error)),
            _ => {}
        }
        *state = State { open: None, is_gone: true };
        Ok(())
    }

    /// Changes its version.
    pub(crate) fn set_version(&self, old: u32, new: u32) -> Done<()> {
        let mut state = self.for_writing();
        self.check(&state, old)?;
        self.open(&mut state, true)?;
        self.change_version(&state, new)
    }

    fn change_version(&self, state: &State, new: u32) -> Done<()> {
        let (Some(open), old) = (&state.open, self.version()) else {
            return Err(Trouble::Refused(Status::NOTDONE));
        };
        if old == new {
            return Ok(());
        }
        let changed = || -> io::Result<()> {
            open.file.write_all_at(&new.to_be_bytes(), form::VERSION_START)?;
            fs::rename(self.folder.path_of(self.id, old), self.folder.path_of(self.id, new))
        };
        changed().map_err(|error| Trouble::io(&error))?;
        self.version.store(new, Ordering::Release);
        Ok(())
    }

    /// Changes its length in bytes, and its version.
    pub(crate) fn truncate(&self, length: u32, old: u32, new: u32) -> Done<()> {
        let mut state = self.for_writing();
        self.check(&state, old)?;
        let open = self.open(&mut state, true)?;
        let (whole, rest) = (length as usize / BLOCK_SIZE, length as usize % BLOCK_SIZE);
        let blocks = whole + usize::from(rest > 0);
        if blocks > CHUNK_BLOCKS {
            return Err(Trouble::Refused(Status::WRONGSIZE));
        }
        let cut =
            (rest > 0 && open.has(whole)).then(|| cut_block(open, whole, rest)).transpose()?;
        let before = usize::from(open.blocks);
        let mut changed = || -> io::Result<()> {
            open.file.set_len(form::start_of(blocks))?;
            if let Some((crc, zeros)) = &cut {
                open.file.write_all_at(zeros, form::start_of(whole) + rest as u64)?;
                open.crcs[whole] = *crc;
            }
            open.blocks = blocks as u16;
            open.crcs[blocks.min(before)..before].fill(form::EMPTY_CRC);
            open.save_crcs(whole.min(before), before.max(blocks))
        };
        changed().map_err(|error| Trouble::io(&error))?;
        self.change_version(&state, new)
    }

    /// Copies it to a new chunk on the same disk, with another length in bytes if there is one.
    pub(crate) fn copy(
        &self,
        version: u32,
        new: (ChunkId, u32),
        length: Option<u32>,
    ) -> Done<Arc<Chunk>> {
        let refused = |error: io::Error| Trouble::refused(&error);
        let mut building =
            Building::begin(Arc::clone(&self.folder), new.0, new.1).map_err(refused)?;
        let mut room = vec![0; BLOCK_SIZE];
        let own = usize::from(self.blocks(version)?);
        let (whole, rest) = match length {
            Some(length) => (length as usize / BLOCK_SIZE, length as usize % BLOCK_SIZE),
            None => (own, 0),
        };
        for block in 0..whole + usize::from(rest > 0) {
            let read = |open: &Open| match open.has(block) {
                true => open.read_block(block, &mut room).map(|()| open.crcs[block]),
                false => {
                    room.fill(0);
                    Ok(form::EMPTY_CRC)
                }
            };
            let mut crc = self.reading(version, read)??;
            if block == whole {
                room[rest..].fill(0);
                crc = crc32(&room);
            }
            building.append(crc, &room).map_err(refused)?;
        }
        building.finish().map_err(refused)
    }
}

/// Returns the CRC of a block whose end is cut off, and the zeros that replace it.
fn cut_block(open: &Open, block: usize, rest: usize) -> Done<(u32, Vec<u8>)> {
    let mut room = vec![0; BLOCK_SIZE];
    open.read_block(block, &mut room)?;
    room[rest..].fill(0);
    let crc = crc32(&room);
    Ok((crc, room.split_off(rest)))
}
