//! The sockets that the old program passes on, and those of the loop that accepts for several others.

use std::io;
use std::os::fd::OwnedFd;

use log::error;
use reactor::{Entrances, FileIdentity, LoopCx};

use super::order::Sockets;
use crate::bound::Bound;

/// What the new program has to know of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Whether its connections are encrypted.
    pub(crate) is_encrypted: bool,
    /// Its file, if the program that has it removes that.
    pub(crate) file: Option<FileIdentity>,
    /// Whether the service manager has passed it, and no argument names it.
    pub(crate) is_passed: bool,
}

impl Traits {
    /// Returns the traits of a socket of this program.
    pub(crate) fn of(socket: &Bound, is_encrypted: bool, is_passed: bool) -> Self {
        Self { is_encrypted, file: socket.owned_file(), is_passed }
    }
}

/// A socket that one program passes on to the other.
pub(crate) struct Given {
    pub(crate) traits: Traits,
    pub(crate) descriptor: OwnedFd,
}

impl Given {
    /// Returns the socket, for the program that has passed it on and goes on after all.
    ///
    /// # Errors
    /// When it cannot be served any more.
    pub(crate) fn reclaim(self) -> io::Result<(Bound, Traits)> {
        let mut socket = Bound::new(self.descriptor)?;
        let address = socket.address().clone();
        if let Some(file) = self.traits.file
            && let Err(error) = socket.own_file(file)
        {
            error!("clients no longer find {address}: its file is gone: {error}");
        }
        Ok((socket, self.traits))
    }
}

/// The listeners of the loop that accepts for several others.
pub(crate) struct AcceptorSockets<A: 'static> {
    entrances: Entrances<A>,
    /// What the new program has to know of the listeners, in the order of the group.
    traits: Vec<Traits>,
    /// Those that were released, and which a new program has not taken over yet.
    released: Vec<(usize, Given)>,
}

impl<A: 'static> AcceptorSockets<A> {
    pub(crate) fn new(entrances: Entrances<A>, traits: Vec<Traits>) -> Self {
        Self { entrances, traits, released: Vec::new() }
    }

    fn duplicate(&self, cx: &mut LoopCx<'_>) -> io::Result<Vec<(usize, Given)>> {
        let mut duplicates = Vec::new();
        for (listener, traits) in self.traits.iter().enumerate() {
            if let Some(descriptor) = self.entrances.duplicate_fd(listener, cx)? {
                duplicates.push((listener, Given { traits: *traits, descriptor }));
            }
        }
        Ok(duplicates)
    }
}

impl<A: 'static> Sockets<()> for AcceptorSockets<A> {
    fn duplicates(&mut self, cx: &mut LoopCx<'_>) -> io::Result<Vec<Given>> {
        Ok(self.duplicate(cx)?.into_iter().map(|(_, given)| given).collect())
    }

    fn release(&mut self, cx: &mut LoopCx<'_>) -> io::Result<()> {
        self.released = self.duplicate(cx)?;
        (0..self.traits.len()).for_each(|listener| self.entrances.release(listener, cx));
        Ok(())
    }

    fn forget(&mut self) {
        self.released = Vec::new();
    }

    fn resume(&mut self, cx: &mut LoopCx<'_>) {
        for (listener, given) in std::mem::take(&mut self.released) {
            let result = given.reclaim().and_then(|(socket, _)| match socket {
                Bound::Streams(socket) => self.entrances.resume(listener, socket, cx),
                Bound::Datagrams(_) => Err(io::Error::other("it takes datagrams")),
            });
            if let Err(error) = result {
                error!("a socket is no longer listened on: {error}");
            }
        }
    }
}
