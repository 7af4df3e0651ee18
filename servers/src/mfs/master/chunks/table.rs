//! The table of the chunks.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use protocol::mfs::{ChunkId, ChunkVersion, Delete};
use slab::Slab;

use super::operations::Operation;
use super::{Located, Place};
use crate::mfs::master::app::Master;
use crate::mfs::master::chunkservers::{Chunkservers, Order, State};

/// How many operations wait for one chunk at most.
const WAITING_MAX: usize = 100;
/// How old the figures of a large table may be.
const FIGURES_AGE_MAX: Duration = Duration::from_secs(1);
/// The number of chunks from which on a table is large.
const LARGE: usize = 10_000;
/// How many copies of deleted chunks wait until they are deleted.
const STRAYS_MAX: usize = 100_000;
/// How far the number of an unknown chunk may be above all others: as far as for the real master.
const NUMBER_STEP_MAX: u64 = 1_000_000_000;
/// How many copies the figures tell apart. More count as so many.
pub(in crate::mfs::master) const COPIES_MAX: usize = 10;

/// A chunk.
#[derive(Debug, Default)]
struct Chunk {
    version: u32,
    /// Copies of registrations that have ended are void, and are removed when there is another reason
    /// to look at them.
    copies: Vec<Holder>,
}

/// A chunkserver that has a copy of a chunk, in one of its registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) csid: u16,
    pub(super) epoch: u32,
}

impl Holder {
    fn is_valid(self, servers: &Chunkservers) -> bool {
        servers.of_epoch(self.csid, self.epoch).is_some()
    }
}

/// An operation that waits for a chunk.
pub(super) type Waiting = Box<dyn FnOnce(&mut Master)>;

/// All chunks that are known.
#[derive(Default)]
pub(in crate::mfs::master) struct Chunks {
    table: HashMap<ChunkId, Chunk>,
    /// The highest number that a chunk has had.
    last: u64,
    /// The highest number that this file system has given a chunk. An unknown chunk with such a number was
    /// deleted while its chunkserver was away.
    given: u64,
    /// Copies of such chunks, which are to be deleted.
    strays: Vec<Stray>,
    /// The chunks that an operation is about, with those that wait for them.
    busy: HashMap<ChunkId, VecDeque<Waiting>>,
    pub(super) operations: Slab<Operation>,
    figures: Option<(Instant, Figures)>,
}

/// A copy of a chunk that was deleted.
#[derive(Clone, Copy, Debug)]
struct Stray {
    chunk: ChunkId,
    version: u32,
    holder: Holder,
}

/// How many chunks have how many copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mfs::master) struct Figures {
    pub(in crate::mfs::master) copies: u64,
    /// Chunks by their number of copies. The last number stands for more, too.
    pub(in crate::mfs::master) by_copies: [u32; COPIES_MAX + 1],
}

impl Chunks {
    /// Returns how many there are.
    pub(in crate::mfs::master) fn len(&self) -> usize {
        self.table.len()
    }

    pub(in crate::mfs::master) fn contains(&self, chunk: ChunkId) -> bool {
        self.table.contains_key(&chunk)
    }

    /// Returns the version of a chunk.
    pub(super) fn version(&self, chunk: ChunkId) -> Option<u32> {
        self.table.get(&chunk).map(|it| it.version)
    }

    /// Returns the number of a new chunk, unless all are taken.
    pub(super) fn next(&mut self) -> Option<ChunkId> {
        self.last = self.last.checked_add(1)?;
        self.given = self.last;
        Some(ChunkId(self.last))
    }

    /// Returns whether an unknown chunk may be one of a file system. Another one, which a damaged disk has,
    /// would take the numbers of new chunks, or those that stand for no chunk and no version.
    fn is_likely(&self, it: ChunkVersion) -> bool {
        let numbers = 1..=self.last.saturating_add(NUMBER_STEP_MAX);
        it.version > 0 && numbers.contains(&it.chunk.0)
    }

    /// Adds a chunk, or gives it another version, with these copies.
    pub(super) fn set(&mut self, chunk: ChunkId, version: u32, copies: Vec<Holder>) {
        self.last = self.last.max(chunk.0);
        self.table.insert(chunk, Chunk { version, copies });
    }

    /// Adds a chunk that was made before the start, or gives it another version. Version 0 is that of
    /// one that was deleted. Its chunkservers tell where it is.
    pub(in crate::mfs::master) fn restore(&mut self, chunk: ChunkId, version: u32) {
        self.given = self.given.max(chunk.0);
        match version {
            0 => {
                self.table.remove(&chunk);
                self.last = self.last.max(chunk.0);
            }
            _ => self.set(chunk, version, Vec::new()),
        }
    }

    /// Returns all chunks with their versions. The first one has version 0 and the highest number that a
    /// chunk has had: no other one may get it, though that chunk may be deleted.
    pub(in crate::mfs::master) fn iter(&self) -> impl Iterator<Item = ChunkVersion> {
        let highest = ChunkVersion { chunk: ChunkId(self.last), version: 0 };
        let version_of =
            |(chunk, it): (&ChunkId, &Chunk)| ChunkVersion { chunk: *chunk, version: it.version };
        std::iter::once(highest).chain(self.table.iter().map(version_of))
    }

    /// Notes that a chunkserver has an unknown chunk. Returns false unless the chunk was deleted before.
    fn is_stray(&mut self, chunk: ChunkId, version: u32, holder: Holder) -> bool {
        let is_one = chunk.0 <= self.given && !self.busy.contains_key(&chunk);
        // The next registration tells of those that are too many.
        if is_one && self.strays.len() < STRAYS_MAX {
            self.strays.push(Stray { chunk, version, holder });
        }
        is_one
    }

    pub(super) fn remove(&mut self, chunk: ChunkId) {
        self.table.remove(&chunk);
    }

    /// Returns the copies that can be used.
    pub(super) fn copies(&self, chunk: ChunkId, servers: &Chunkservers) -> Vec<Holder> {
        let copies = self.table.get(&chunk).map(|it| it.copies.as_slice()).unwrap_or_default();
        copies.iter().copied().filter(|copy| copy.is_valid(servers)).collect()
    }

    /// Returns whether a chunkserver that is not connected now has had a copy of the present version.
    fn lacks_copies(&self, chunk: ChunkId, servers: &Chunkservers) -> bool {
        let copies = self.table.get(&chunk).map(|it| it.copies.as_slice()).unwrap_or_default();
        copies.iter().any(|copy| !copy.is_valid(servers))
    }

    /// Notes that a chunkserver no longer has a copy that can be used.
    pub(in crate::mfs::master) fn lost(&mut self, chunk: ChunkId, csid: u16) {
        if let Some(chunk) = self.table.get_mut(&chunk) {
            chunk.copies.retain(|copy| copy.csid != csid);
        }
    }

    /// Notes that a chunk has another copy.
    pub(super) fn found(&mut self, chunk: ChunkId, version: u32, copy: Holder) {
        if let Some(chunk) = self.table.get_mut(&chunk).filter(|it| it.version == version) {
            chunk.copies.retain(|it| it.csid != copy.csid);
            chunk.copies.push(copy);
        }
    }

    /// Marks a chunk as being changed. Returns false if it was already.
    pub(super) fn occupy(&mut self, chunk: ChunkId) -> bool {
        if self.busy.contains_key(&chunk) {
            return false;
        }
        self.busy.insert(chunk, VecDeque::new());
        true
    }

    /// Returns whether as many operations wait for a chunk as may.
    pub(super) fn is_crowded(&self, chunk: ChunkId) -> bool {
        self.busy.get(&chunk).is_some_and(|queue| queue.len() >= WAITING_MAX)
    }

    /// Adds an operation to those that wait for a chunk.
    pub(super) fn wait(&mut self, chunk: ChunkId, waiting: Waiting) {
        self.busy.entry(chunk).or_default().push_back(waiting);
    }

    /// Ends an operation, and returns those that wait for the chunk.
    pub(super) fn release(&mut self, chunk: ChunkId) -> VecDeque<Waiting> {
        self.busy.remove(&chunk).unwrap_or_default()
    }

    /// Returns how many chunks have how many copies. Those of a large table may be a second old.
    pub(in crate::mfs::master) fn figures(
        &mut self,
        servers: &Chunkservers,
        now: Instant,
    ) -> Figures {
        if let Some((at, figures)) = self.figures
            && self.table.len() >= LARGE
            && now.saturating_duration_since(at) < FIGURES_AGE_MAX
        {
            return figures;
        }
        let mut figures = Figures::default();
        for chunk in self.table.values() {
            let copies = chunk.copies.iter().filter(|copy| copy.is_valid(servers)).count();
            figures.copies += copies as u64;
            figures.by_copies[copies.min(COPIES_MAX)] += 1;
        }
        self.figures = Some((now, figures));
        figures
    }

    /// Returns the chunks without a copy, `count_max` at most.
    pub(in crate::mfs::master) fn missing(
        &self,
        servers: &Chunkservers,
        count_max: usize,
    ) -> Vec<ChunkId> {
        let is_missing = |chunk: &Chunk| !chunk.copies.iter().any(|copy| copy.is_valid(servers));
        let missing = self.table.iter().filter(|(_, chunk)| is_missing(chunk));
        missing.map(|(id, _)| *id).take(count_max).collect()
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} chunks, {} of them busy", self.table.len(), self.busy.len())
    }
}

impl Master {
    /// Returns where a chunk is, if it is known.
    pub fn locate(&self, chunk: ChunkId) -> Option<Located> {
        let version = self.chunks.version(chunk)?;
        let copies = self.chunks.copies(chunk, &self.chunkservers);
        Some(self.located(chunk, version, &copies))
    }

    /// Returns whether a copy of a chunk is on a chunkserver that is not connected now.
    pub(in crate::mfs::master) fn lacks_copies(&self, chunk: ChunkId) -> bool {
        self.chunks.lacks_copies(chunk, &self.chunkservers)
    }

    /// Deletes copies of chunks that were deleted while their chunkservers were away.
    pub(in crate::mfs::master) fn delete_strays(&mut self) {
        for stray in std::mem::take(&mut self.chunks.strays) {
            let Stray { chunk, version, holder } = stray;
            match self.chunkservers.of_epoch(holder.csid, holder.epoch).map(|it| it.state) {
                Some(State::Registered) => {
                    let order = Order::Delete(Delete { chunk, version });
                    self.order(holder.csid, order, |_, _| {});
                }
                // It tells the rest of its chunks first.
                Some(State::Registering) => self.chunks.strays.push(stray),
                _ => {}
            }
        }
    }

    /// Returns a place for each copy.
    pub(super) fn located(&self, chunk: ChunkId, version: u32, copies: &[Holder]) -> Located {
        let place = |copy: &Holder| {
            let server = self.chunkservers.of_epoch(copy.csid, copy.epoch)?;
            let (endpoint, version, labels) = (server.place, server.version, server.labels);
            Some(Place { csid: copy.csid, endpoint, version, labels })
        };
        let mut places: Vec<Place> = copies.iter().filter_map(place).collect();
        fastrand::shuffle(&mut places);
        Located { chunk, version, places }
    }

    /// Notes that a chunkserver has a chunk.
    ///
    /// A chunk that is not known is taken as it is, unless it was deleted, or its number or its version cannot
    /// be right. One without a usable copy takes a later version: it
    /// is that of an operation whose result was lost. Other copies are stale, and are not used.
    pub(in crate::mfs::master) fn chunk_is_at(&mut self, it: ChunkVersion, csid: u16, epoch: u32) {
        let ChunkVersion { chunk, version } = it;
        let copy = Holder { csid, epoch };
        let copies = self.chunks.copies(chunk, &self.chunkservers);
        match self.chunks.version(chunk) {
            Some(known) if known == version => self.chunks.found(chunk, version, copy),
            Some(known) if version < known || !copies.is_empty() => {}
            None if !self.chunks.is_likely(it) => {}
            None if self.chunks.is_stray(chunk, version, copy) => {}
            _ => self.chunks.set(chunk, version, vec![copy]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_chunks_end_and_do_not_begin_again() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.next(), Some(ChunkId(1)));
        chunks.restore(ChunkId(u64::MAX - 1), 1);
        assert_eq!((chunks.next(), chunks.next()), (Some(ChunkId(u64::MAX)), None));
        assert_eq!(chunks.next(), None);
    }

    #[test]
    fn numbers_that_cannot_be_right_are_told_from_others() {
        let mut chunks = Chunks::default();
        chunks.restore(ChunkId(10), 1);
        let is_likely =
            |chunk, version| chunks.is_likely(ChunkVersion { chunk: ChunkId(chunk), version });
        assert!(is_likely(1, 1) && is_likely(1_000_000_010, u32::MAX));
        assert!(!is_likely(0, 1) && !is_likely(1, 0) && !is_likely(1_000_000_011, 1));
        assert!(!is_likely(u64::MAX, 1));
    }
}
