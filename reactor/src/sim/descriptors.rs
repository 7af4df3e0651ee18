//! The descriptors with which programs have simulated sockets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sim::socket::{Handle, SocketId};
use crate::sim::world::{SIMULATED, World};
use crate::{Backend, Tag, sys};

impl World {
    /// Returns the descriptor with which a program has a socket: the near end of a pipe.
    pub(super) fn give_descriptor(&mut self, id: SocketId) -> io::Result<OwnedFd> {
        let (near, far) = io::pipe()?;
        let (near, far) = (OwnedFd::from(near), OwnedFd::from(far));
        let identity = sys::identity(near.as_fd())?;
        self.system.add(far.as_fd(), Tag::new(id as u32, SIMULATED), crate::Interest::NONE)?;
        self.by_identity.insert(identity, id);
        if let Some(socket) = self.sockets.get_mut(&id) {
            let (host, number) = (socket.host, near.as_raw_fd());
            socket.handle = Some(Handle { _far: far, identity, number });
            self.note_number(host, number, id);
        }
        Ok(near)
    }

    /// Counts a descriptor whose number was that of another one until this turn or the one before.
    /// The system gives the lowest free number, so this needs no fault.
    fn note_number(&mut self, host: usize, number: i32, id: SocketId) {
        let host = &mut self.hosts[host];
        let before = host.numbers.insert(number, (id, None));
        // If its end has not been noticed, it was in this turn.
        let is_reused = before.is_some_and(|(_, turn)| turn.is_none_or(|it| it + 1 >= host.turns));
        self.coincidences.reused_descriptors += u64::from(is_reused);
    }

    /// Returns the socket of a descriptor.
    pub(super) fn find(&self, fd: BorrowedFd<'_>) -> Option<SocketId> {
        let identity = sys::identity(fd).ok()?;
        self.by_identity.get(&identity).copied()
    }

    /// Takes the descriptor from a socket, which the program has closed.
    pub(super) fn orphan(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.is_orphan = true;
        self.unwatch(id);
        self.drop_descriptor(id);
    }

    /// Ends what a loop is told of a socket.
    pub(super) fn unwatch(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        (socket.watch, socket.moved) = (None, None);
        let host = &mut self.hosts[socket.host];
        host.watched.remove(&id);
        host.queued.retain(|queued| *queued != id);
    }

    /// Gives up the descriptor of a socket.
    pub(super) fn drop_descriptor(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = &mut self.hosts[socket.host];
        if let Some(handle) = socket.handle.take() {
            self.by_identity.remove(&handle.identity);
            if let Some(last) = host.numbers.get_mut(&handle.number).filter(|last| last.0 == id) {
                last.1 = Some(host.turns);
            }
        }
    }
}
