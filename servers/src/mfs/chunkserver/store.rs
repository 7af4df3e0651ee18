//! What the loop knows of the chunks: which there are, and on which disks. Nothing here blocks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use protocol::mfs::{ChunkId, ChunkVersion, Counters, Disk as DiskEntry, Field, Name, Space};
use reactor::Offload;

use super::disk::{Chunk, Folder, Room};

/// After how many seconds without an answer nothing is created on a disk.
pub(super) const LATE_MAX: u32 = 3;

/// A disk with the threads that work on it. A disk that is slow holds back no other.
pub(super) struct Disk {
    pub(super) folder: Arc<Folder>,
    pub(super) offload: Offload,
    /// What it has, once that is known.
    pub(super) room: Option<Room>,
    /// It is being asked for its room, since so many seconds if there are any.
    pub(super) is_asked: bool,
    pub(super) late: u32,
    /// The next subfolder to look for chunks in.
    pub(super) scanned: usize,
    chunks: u32,
    error: (ChunkId, u32),
}

/// The chunks of all disks.
pub(super) struct Store {
    pub(super) disks: Vec<Disk>,
    chunks: HashMap<ChunkId, Arc<Chunk>>,
    /// Chunks that are being made.
    reserved: HashSet<ChunkId>,
    /// When the files were used last that may be open, by a count of uses.
    used: HashMap<ChunkId, u64>,
    uses: u64,
    open_max: usize,
}

impl Store {
    /// Returns the store of disks. At most `open_max` files are open, besides those that are in use.
    pub(super) fn new(open_max: usize) -> Self {
        let (chunks, reserved) = (HashMap::new(), HashSet::new());
        Self { disks: Vec::new(), chunks, reserved, used: HashMap::new(), uses: 0, open_max }
    }

    pub(super) fn add_disk(&mut self, folder: Folder, offload: Offload) {
        self.disks.push(Disk {
            folder: Arc::new(folder),
            offload,
            room: None,
            is_asked: false,
            late: 0,
            scanned: 0,
            chunks: 0,
            error: (ChunkId(0), 0),
        });
    }

    fn disk_of(&mut self, folder: &Arc<Folder>) -> Option<&mut Disk> {
        self.disks.iter_mut().find(|disk| Arc::ptr_eq(&disk.folder, folder))
    }

    /// Returns what hands work on a chunk over.
    pub(super) fn offload_of(&self, chunk: &Chunk) -> Option<&Offload> {
        let disk = self.disks.iter().find(|disk| Arc::ptr_eq(&disk.folder, &chunk.folder))?;
        Some(&disk.offload)
    }

    /// Returns a chunk that is about to be used.
    pub(super) fn get(&mut self, id: ChunkId) -> Option<Arc<Chunk>> {
        let chunk = self.chunks.get(&id)?;
        self.uses += 1;
        self.used.insert(id, self.uses);
        Some(Arc::clone(chunk))
    }

    /// Returns whether a chunk is there or is being made.
    pub(super) fn has(&self, id: ChunkId) -> bool {
        self.chunks.contains_key(&id) || self.reserved.contains(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Returns which chunks there are, for the master.
    pub(super) fn list(&self) -> Vec<ChunkVersion> {
        let entry = |it: &Arc<Chunk>| ChunkVersion { chunk: it.id, version: it.version() };
        self.chunks.values().map(entry).collect()
    }

    /// Reserves the id of a chunk that is being made.
    pub(super) fn reserve(&mut self, id: ChunkId) {
        self.reserved.insert(id);
    }

    /// Ends the making of a chunk.
    pub(super) fn release(&mut self, id: ChunkId) {
        self.reserved.remove(&id);
    }

    /// Adds a chunk that was made. Its file is open.
    pub(super) fn add(&mut self, chunk: Arc<Chunk>) {
        self.uses += 1;
        self.used.insert(chunk.id, self.uses);
        self.insert(chunk);
    }

    /// Adds a chunk that was found. If there is another with this id, the one with the higher version
    /// counts. Returns whether it is the new one.
    pub(super) fn find(&mut self, chunk: Arc<Chunk>) -> bool {
        let known = self.chunks.get(&chunk.id);
        let is_newer = known.is_none_or(|it| it.version() < chunk.version());
        if is_newer {
            self.insert(chunk);
        }
        is_newer
    }

    fn insert(&mut self, chunk: Arc<Chunk>) {
        let folder = Arc::clone(&chunk.folder);
        self.forget(chunk.id);
        self.chunks.insert(chunk.id, chunk);
        if let Some(disk) = self.disk_of(&folder) {
            disk.chunks += 1;
        }
    }

    /// Forgets a chunk.
    pub(super) fn forget(&mut self, id: ChunkId) {
        self.used.remove(&id);
        let Some(chunk) = self.chunks.remove(&id) else { return };
        if let Some(disk) = self.disk_of(&chunk.folder) {
            disk.chunks = disk.chunks.saturating_sub(1);
        }
    }

    /// Notes an error of a chunk, for the list of the disks.
    pub(super) fn note_error(&mut self, chunk: &Chunk) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if let Some(disk) = self.disk_of(&chunk.folder) {
            disk.error = (chunk.id, since.as_secs().try_into().unwrap_or(u32::MAX));
        }
    }

    /// Returns the disk for a new chunk: the one with the most room of those that answer. `None` if all are
    /// full.
    pub(super) fn roomiest(&self) -> Option<&Disk> {
        let answers = |disk: &&Disk| disk.late < LATE_MAX;
        let free = |disk: &&Disk| disk.room.filter(|_| answers(disk)).map_or(0, |room| room.free);
        self.disks.iter().max_by_key(free).filter(|it| free(it) > 0)
    }

    /// Returns whether all disks were looked through.
    pub(super) fn is_scanned(&self) -> bool {
        self.disks.iter().all(|disk| disk.scanned >= super::disk::SUBFOLDERS)
    }

    /// Returns the space of all disks.
    pub(super) fn space(&self) -> Space {
        let rooms = || self.disks.iter().filter_map(|disk| disk.room);
        let total = rooms().map(|it| it.total).fold(0, u64::saturating_add);
        let free = rooms().map(|it| it.free).fold(0, u64::saturating_add);
        let chunks = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        Space { used: total.saturating_sub(free), total, chunks, ..Space::default() }
    }

    /// Returns the files to close, so that no more are open than may be.
    pub(super) fn superfluous(&mut self) -> Vec<Arc<Chunk>> {
        if self.used.len() <= self.open_max {
            return Vec::new();
        }
        // Some more than needed, so that this is rare.
        let kept = self.open_max - self.open_max / 8;
        let mut uses: Vec<(u64, ChunkId)> = self.used.iter().map(|(id, at)| (*at, *id)).collect();
        uses.sort_unstable();
        uses.truncate(self.used.len() - kept);
        for (_, id) in &uses {
            self.used.remove(id);
        }
        uses.iter().filter_map(|(_, id)| self.chunks.get(id).cloned()).collect()
    }

    /// Returns the entries of the disks, for tools.
    pub(super) fn entries(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for disk in &self.disks {
            let path = disk.folder.path().as_os_str().as_encoded_bytes();
            let path = &path[..path.len().min(usize::from(u8::MAX))];
            let Some(path) = Name::new(path) else { continue };
            let room = disk.room.unwrap_or_default();
            DiskEntry {
                size: 226 + path.bytes().len() as u16,
                path,
                flags: 0,
                error_chunk: disk.error.0,
                error_time: disk.error.1,
                used: room.total.saturating_sub(room.free),
                total: room.total,
                chunks: disk.chunks,
                counters: Counters::default(),
            }
            .append(&mut bytes);
        }
        bytes
    }
}
