//! What the ring of a simulated host does for connections.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use crate::sim::calls::{Simulated, error};
use crate::sim::moving::{End, Moved, Place, Receiving, Sending, number_of};
use crate::sim::operations::{note_end, note_late, send};
use crate::sim::socket::{Socket, SocketId, Watch};
use crate::sim::world::World;
use crate::sys::BLOCK_SIZE;
use crate::{Completion, Exchanged, Interest, Left, Readiness, Storage, Tag, kernel};

/// More bytes than this are sent at once.
const COPY_MAX: usize = 16 * 1024;

/// How much of what a socket had no room for is taken.
const REST_MAX: usize = 16 * 1024;

impl Simulated {
    pub(super) fn has_ring(&self) -> bool {
        self.world.lock().hosts[self.host].has_ring()
    }
}

/// Returns a connection whose bytes are moved.
fn found(world: &mut World, fd: BorrowedFd<'_>) -> io::Result<SocketId> {
    let id = world.find(fd);
    id.filter(|id| world.moved(*id).is_some()).map_or_else(|| error(libc::ENOENT), Ok)
}

/// Returns the ring's side of it.
fn moved(world: &mut World, id: SocketId) -> io::Result<&mut Moved> {
    world.moved(id).map_or_else(|| error(libc::ENOENT), Ok)
}

/// Returns an error if nothing can be written now.
fn check_writable(moved: &Moved) -> io::Result<()> {
    match (moved.failed, &moved.sending) {
        (Some(number), _) => error(number),
        (None, Sending::Open) => Ok(()),
        (None, Sending::Rest(_)) => error(libc::EAGAIN),
    }
}

/// Gives the kernel what was written, if it has not got it.
fn flush(world: &mut World, id: SocketId, host: usize) -> io::Result<()> {
    if !moved(world, id)?.queued.is_empty() {
        world.enter(host);
    }
    Ok(())
}

/// Goes on receiving, if it was stopped.
fn go_on(world: &mut World, id: SocketId) {
    if let Some(Socket { watch: Some(watch), moved: Some(moved), .. }) = world.sockets.get_mut(&id)
        && moved.receiving != Receiving::On
    {
        (moved.receiving, watch.is_news) = (Receiving::On, true);
    }
}

impl Completion for Simulated {
    fn begin(&mut self, fd: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
        let world = &mut *self.world.lock();
        world.hosts[self.host].ctl_calls += 1;
        let Some(id) = world.find(fd) else {
            return Err(kernel::no_such("ring for a descriptor of the system"));
        };
        if let Some(number) = world.refuses_ring(self.host) {
            return error(number);
        }
        let Some(socket) = world.sockets.get_mut(&id) else { return error(libc::EBADF) };
        if socket.watch.is_some() {
            return error(libc::EEXIST);
        }
        socket.watch = Some(Watch {
            tag,
            interest: Interest::NONE,
            is_news: true,
            changes: 0,
            held_until: 0,
            spurious: Readiness::NONE,
        });
        socket.moved = Some(Box::new(Moved::new()));
        world.hosts[self.host].watched.insert(id);
        Ok(())
    }

    fn read(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        let moved = moved(world, id)?;
        if buffer.len() == BLOCK_SIZE && moved.is_exchanged() {
            // The caller has nothing else in its buffer, and exchanges it.
            return error(libc::EAGAIN);
        }
        let count = take(moved, buffer);
        let (is_left, end) = (!moved.unread.is_empty(), moved.end);
        if count > 0 {
            if !is_left && end.is_none() {
                go_on(world, id);
            }
            world.note(self.host, format_args!("reads {count} bytes"));
            return Ok(count);
        }
        match (end, moved.failed) {
            (Some(End::Failed(number)), _) => {
                moved.end = Some(End::Stream);
                error(number)
            }
            // As for a real ring: the error was told to the send alone.
            (_, Some(number)) => error(number),
            (Some(End::Stream), None) => {
                note_end(world, id);
                Ok(0)
            }
            (None, None) => {
                go_on(world, id);
                error(libc::EAGAIN)
            }
        }
    }

    fn exchange(
        &mut self,
        fd: BorrowedFd<'_>,
        storage: Storage<'_>,
    ) -> io::Result<Option<Exchanged>> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        let moved = moved(world, id)?;
        if !moved.is_exchanged() {
            return Ok(None);
        }
        let count = match storage {
            Storage::Empty(storage) if storage.len() == BLOCK_SIZE => {
                // What is behind the bytes is left from before.
                let mut block = vec![0xB5; BLOCK_SIZE];
                let count = take(moved, &mut block);
                *storage = block;
                count
            }
            Storage::Empty(storage) => take(moved, storage),
            Storage::Behind(room) => take(moved, room),
        };
        let has_more = !moved.unread.is_empty() || moved.end.is_some();
        if !has_more {
            go_on(world, id);
        }
        world.note(self.host, format_args!("exchanges a block of {count} bytes"));
        Ok(Some(Exchanged { count, has_more }))
    }

    fn write(&mut self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let host = self.host;
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        // Two sends of one entry could overtake each other, if the socket is full in between.
        flush(world, id, host)?;
        let moved = moved(world, id)?;
        check_writable(moved)?;
        let total = slices.iter().map(|slice| slice.len()).sum();
        let count = if total <= COPY_MAX {
            slices.iter().for_each(|slice| moved.queued.extend_from_slice(slice));
            if total > 0 {
                world.hosts[host].queued.push(id);
            }
            total
        } else {
            write_now(world, id, host, slices)?
        };
        note_late(world, id, host, count);
        world.note(host, format_args!("writes {count} bytes"));
        Ok(count)
    }

    fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        flush(world, id, self.host)?;
        check_writable(moved(world, id)?)
    }

    fn await_room(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        moved(world, id)?.awaits_room = true;
        if let Some(socket) = world.sockets.get_mut(&id) {
            socket.renew();
        }
        Ok(())
    }

    fn take_error(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        let moved = moved(world, id)?;
        if let Some(End::Failed(number)) = moved.end {
            moved.end = Some(End::Stream);
            return Ok(Some(io::Error::from_raw_os_error(number)));
        }
        if let Some(number) = moved.failed {
            return Ok(Some(io::Error::from_raw_os_error(number)));
        }
        world.spend(self.host);
        let pending = world.sockets.get_mut(&id).and_then(|socket| socket.error.take());
        Ok(pending.map(io::Error::from_raw_os_error))
    }

    fn shutdown_write(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        flush(world, id, self.host)?;
        let moved = moved(world, id)?;
        if let Some(number) = moved.failed {
            return error(number);
        }
        if moved.sending != Sending::Open {
            moved.ends = true;
            return Ok(());
        }
        world.spend(self.host);
        if world.end_side(id, self.host) { Ok(()) } else { error(libc::ENOTCONN) }
    }

    fn leave(&mut self, fd: BorrowedFd<'_>) -> io::Result<Left> {
        let world = &mut *self.world.lock();
        let id = found(world, fd)?;
        flush(world, id, self.host)?;
        let moved = moved(world, id)?;
        if moved.ends {
            return error(libc::EAGAIN);
        }
        if let (Some(End::Failed(number)), _) | (_, Some(number)) = (moved.end, moved.failed) {
            // The socket does not tell it again.
            return error(number);
        }
        let received = std::mem::take(&mut moved.unread).into();
        let unsent = match std::mem::replace(&mut moved.sending, Sending::Open) {
            Sending::Open => Vec::new(),
            Sending::Rest(rest) => rest,
        };
        world.spend(self.host);
        world.unwatch(id);
        Ok(Left { received, unsent })
    }

    fn unsent(&self, fd: BorrowedFd<'_>) -> u32 {
        let world = &mut *self.world.lock();
        let Some(moved) = world.find(fd).and_then(|id| world.moved(id)) else { return 0 };
        match &moved.sending {
            Sending::Open => moved.queued.len() as u32,
            Sending::Rest(rest) => rest.len() as u32,
        }
    }
}

/// Moves what was received into `buffer`, as far as there is room.
fn take(moved: &mut Moved, buffer: &mut [u8]) -> usize {
    let count = moved.unread.len().min(buffer.len());
    for (place, byte) in buffer.iter_mut().zip(moved.unread.drain(..count)) {
        *place = byte;
    }
    // A block of which a part was read is not exchanged any more.
    moved.place = Place::Shared;
    count
}

/// Writes without a copy, except for what the socket has no room for.
fn write_now(
    world: &mut World,
    id: SocketId,
    host: usize,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    world.spend(host);
    let sent = match send(world, id, host, slices) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(io::Error::from_raw_os_error(number_of(&error))),
    };
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
    let rest = &bytes[sent..bytes.len().min(sent + REST_MAX)];
    if !rest.is_empty() {
        moved(world, id)?.sending = Sending::Rest(rest.to_vec());
        if let Some(socket) = world.sockets.get_mut(&id) {
            socket.renew();
        }
    }
    Ok(sent + rest.len())
}

#[cfg(test)]
mod tests;
