//! `io_uring(7)`: operations that the kernel performs, and reports when they are done.
//!
//! Raw system calls serve it, as they serve `epoll`: the part of the interface that is in use is small,
//! and every block of memory that the kernel works on belongs to [`Operations`], which no caller can
//! take away from it. A crate for it would leave that part unsafe at every call.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};

use log::error;

mod abi;
mod arena;
mod mapping;
mod pool;
mod ring;
mod unread;

pub(crate) use abi::Done;
use abi::Entry;
use arena::Arenas;
pub(crate) use arena::Piece;
pub(crate) use pool::BLOCK_SIZE;
#[cfg(test)]
pub(crate) use pool::Fills;
use ring::Ring;
pub(crate) use ring::{Sizes, WaitFor};
use unread::Pools;
pub(crate) use unread::{Room, Unread};

/// The operations of a loop that the kernel performs, with the memory that they work on. The name of an
/// operation is a number of the caller, which its completion has.
pub(crate) struct Operations {
    ring: Ring,
    /// `None` while it is dropped.
    memory: Option<Memory>,
}

/// The memory that the kernel reads and writes.
struct Memory {
    pools: Pools,
    arenas: Arenas,
    /// What is being sent and may take long, by the name of the operation.
    outstanding: HashMap<u64, Box<[u8]>>,
}

/// Whether an operation begins again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    Never,
    Always,
}

impl Operations {
    /// Sets a ring up.
    ///
    /// # Errors
    /// When the kernel refuses. The error says what is missing.
    pub(crate) fn new(sizes: Sizes) -> io::Result<Self> {
        let ring = Ring::new(sizes)?;
        let pools = Pools::new(&ring, sizes.fills)?;
        let memory = Memory { pools, arenas: Arenas::default(), outstanding: HashMap::new() };
        Ok(Self { ring, memory: Some(memory) })
    }

    #[inline]
    fn memory(&mut self) -> &mut Memory {
        self.memory.as_mut().expect("it is taken by the drop alone")
    }

    #[inline]
    fn push(&mut self, entry: Entry) -> io::Result<()> {
        if self.ring.is_full() {
            self.enter(WaitFor::default())?;
        }
        if self.ring.is_full() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.ring.push(entry);
        Ok(())
    }

    /// Reports what a descriptor is ready for, once for each change (`poll(2)`). Events are a mask of
    /// `epoll(7)`.
    pub(crate) fn watch(&mut self, fd: RawFd, events: u32, name: u64) -> io::Result<()> {
        self.push(Entry {
            opcode: abi::POLL_ADD,
            fd,
            length: abi::POLL_MULTI,
            operation_flags: in_order(events),
            user_data: name,
            ..Entry::default()
        })
    }

    /// Returns whether there is urgent data or the like (`POLLPRI`, `poll(2)`). A watch of a socket may report
    /// it whenever data arrives.
    pub(crate) fn has_urgent(&self, fd: RawFd) -> bool {
        let mut entry = libc::pollfd { fd, events: libc::POLLPRI, revents: 0 };
        // SAFETY: `entry` is one valid entry and outlives the call.
        unsafe { libc::poll(&mut entry, 1, 0) == 1 }
    }

    /// Reports once that one of `events` has occurred.
    pub(crate) fn watch_once(&mut self, fd: RawFd, events: u32, name: u64) -> io::Result<()> {
        self.push(Entry {
            opcode: abi::POLL_ADD,
            fd,
            operation_flags: in_order(events),
            user_data: name,
            ..Entry::default()
        })
    }

    /// Changes the events of a watch. Only a failure is reported, under the name `about`.
    pub(crate) fn update_watch(&mut self, name: u64, events: u32, about: u64) -> io::Result<()> {
        self.push(Entry {
            opcode: abi::POLL_REMOVE,
            flags: abi::SKIP_SUCCESS,
            fd: -1,
            address: name,
            length: abi::POLL_UPDATE | abi::POLL_MULTI,
            operation_flags: in_order(events),
            user_data: about,
            ..Entry::default()
        })
    }

    /// Cancels an operation, which then reports that. Only a failure is reported, under the name `about`.
    pub(crate) fn cancel(&mut self, name: u64, about: u64) -> io::Result<()> {
        self.push(Entry {
            opcode: abi::ASYNC_CANCEL,
            flags: abi::SKIP_SUCCESS,
            fd: -1,
            address: name,
            user_data: about,
            ..Entry::default()
        })
    }

    /// Ends the sending side of a socket (`shutdown(2)`). Only a failure is reported, under the name `about`.
    pub(crate) fn shut_down(&mut self, fd: RawFd, about: u64) -> io::Result<()> {
        self.push(Entry {
            opcode: abi::SHUTDOWN,
            flags: abi::SKIP_SUCCESS,
            fd,
            length: libc::SHUT_WR.cast_unsigned(),
            user_data: about,
            ..Entry::default()
        })
    }

    /// Receives (`recv(2)`) once, or again and again until the stream ends.
    pub(crate) fn receive(
        &mut self,
        fd: RawFd,
        room: Room,
        repeats: Repeats,
        name: u64,
    ) -> io::Result<()> {
        let buffer_group = self.memory().pools.pool(room).group();
        self.push(Entry {
            opcode: abi::RECV,
            flags: abi::BUFFER_SELECT,
            priority: if repeats == Repeats::Always { abi::RECV_MULTISHOT } else { 0 },
            fd,
            user_data: name,
            buffer_group,
            ..Entry::default()
        })
    }

    /// Sends a copy of the bytes of `slices` at the next entry into the kernel, as many as the socket takes
    /// then (`send(2)`). Reports only that not all were sent. Returns `None` when the copy does not fit
    /// before the next entry.
    #[inline]
    pub(crate) fn send(
        &mut self,
        fd: RawFd,
        slices: &[IoSlice<'_>],
        name: u64,
    ) -> io::Result<Option<Piece>> {
        if self.ring.is_full() {
            return Ok(None);
        }
        let Some((piece, address)) = self.memory().arenas.copy(slices) else { return Ok(None) };
        self.push(Entry {
            opcode: abi::SEND,
            flags: abi::SKIP_SUCCESS,
            fd,
            address,
            length: piece.length,
            operation_flags: (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL)
                .cast_unsigned(),
            user_data: name,
            ..Entry::default()
        })?;
        Ok(Some(piece))
    }

    /// Returns bytes of the last entry into the kernel.
    pub(crate) fn sent(&mut self, piece: Piece) -> &[u8] {
        self.memory().arenas.submitted(piece)
    }

    /// Sends `bytes`, however long that takes, and reports how many were sent.
    pub(crate) fn send_patiently(
        &mut self,
        fd: RawFd,
        bytes: Box<[u8]>,
        name: u64,
    ) -> io::Result<()> {
        self.push(Entry {
            opcode: abi::SEND,
            fd,
            address: bytes.as_ptr() as u64,
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            operation_flags: (libc::MSG_NOSIGNAL | libc::MSG_WAITALL).cast_unsigned(),
            user_data: name,
            ..Entry::default()
        })?;
        // Moving the box does not move its bytes.
        self.memory().outstanding.insert(name, bytes);
        Ok(())
    }

    /// Takes the bytes of a patient send back, once it has reported.
    pub(crate) fn take_outstanding(&mut self, name: u64) -> Option<Box<[u8]>> {
        self.memory().outstanding.remove(&name)
    }

    /// Tells the kernel what is queued, lets it work, and waits.
    ///
    /// # Errors
    /// The error of the kernel (`io_uring_enter(2)`). What it has not taken remains queued.
    pub(crate) fn enter(&mut self, patience: WaitFor) -> io::Result<()> {
        let result = self.ring.enter(patience);
        if self.ring.waiting() == 0 {
            self.memory().arenas.turn_over();
        }
        result
    }

    /// Returns whether something is queued for the next entry.
    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        self.ring.waiting() != 0
    }

    /// Returns what was done, and not returned yet.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Done> {
        self.ring.next()
    }

    #[inline]
    pub(crate) fn has_done(&self) -> bool {
        self.ring.has_done()
    }

    /// Returns whether the kernel has more to report than it has reported.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.ring.is_behind()
    }

    /// Returns whether completions wait for room in their queue.
    #[inline]
    pub(crate) fn has_overflown(&self) -> bool {
        self.ring.has_overflown()
    }

    /// Appends what a receive has put into a block. Returns how many bytes that are.
    #[inline]
    pub(crate) fn append(&mut self, unread: &mut Unread, room: Room, done: Done) -> usize {
        let length = done.result.max(0) as usize;
        if let Some(block) = done.block() {
            let pools = &mut self.memory().pools;
            let portion = pools.pool(room).take(block, length, done.stays());
            if length > 0 {
                pools.append(unread, room, portion);
            } else {
                pools.pool(room).free(portion);
            }
        }
        length
    }

    /// Frees what a receive has put into a block, unread.
    pub(crate) fn refuse(&mut self, room: Room, done: Done) {
        if let Some(block) = done.block() {
            let pool = self.memory().pools.pool(room);
            let portion = pool.take(block, done.result.max(0) as usize, done.stays());
            pool.free(portion);
        }
    }

    /// Moves what was received into `buffer`, or as much as there is room for.
    #[inline]
    pub(crate) fn read(&mut self, unread: &mut Unread, buffer: &mut [u8]) -> usize {
        self.memory().pools.read(unread, buffer)
    }

    /// Exchanges the block for `storage`. Returns how many bytes it has.
    ///
    /// # Panics
    /// Unless [`is_exchanged`](Unread::is_exchanged) holds, and `storage` has the size of a block.
    #[inline]
    pub(crate) fn exchange(&mut self, unread: &mut Unread, storage: &mut Vec<u8>) -> usize {
        self.memory().pools.exchange(unread, storage)
    }

    /// Returns a copy of what was received.
    pub(crate) fn copy(&self, unread: &Unread) -> Vec<u8> {
        self.memory.as_ref().map_or_else(Vec::new, |memory| memory.pools.copy(unread))
    }

    /// Moves what was received out of the pools.
    pub(crate) fn set_aside(&mut self, unread: &mut Unread) {
        self.memory().pools.set_aside(unread);
    }

    /// Frees what was received, unread.
    pub(crate) fn discard(&mut self, unread: &mut Unread) {
        self.memory().pools.discard(unread);
    }

    /// Adds blocks if there may be more, after so many receives have found none, and returns whether
    /// there is one.
    pub(crate) fn make_room(&mut self, room: Room, starved: usize) -> bool {
        self.memory().pools.pool(room).make_room(starved)
    }

    /// Gives memory back that a crowd needed.
    pub(crate) fn trim(&mut self) {
        let pools = &mut self.memory().pools;
        pools.pool(Room::Shared).trim();
        pools.pool(Room::Block).trim();
    }

    /// Returns how many blocks have something that was received.
    #[cfg(test)]
    pub(crate) fn blocks_used(&mut self) -> usize {
        let pools = &mut self.memory().pools;
        pools.pool(Room::Shared).used() + pools.pool(Room::Block).used()
    }

    /// Returns the descriptor, which is readable when there is something to report.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }
}

impl Drop for Operations {
    fn drop(&mut self) {
        if let Err(error) = self.ring.cancel_all() {
            if error.raw_os_error() == Some(libc::EEXIST) {
                // This is a copy that a fork has made. The operations are those of the other process, and
                // work on its memory.
                return;
            }
            error!("operations of io_uring are not cancelled ({error}): their memory is kept");
            std::mem::forget(self.memory.take());
        }
    }
}

/// Returns a mask of events in the order of bytes that the kernel reads.
const fn in_order(events: u32) -> u32 {
    if cfg!(target_endian = "big") { events.rotate_left(16) } else { events }
}
