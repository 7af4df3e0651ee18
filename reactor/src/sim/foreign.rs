//! The descriptors of the system that simulated loops watch: of pipes, of mailboxes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sim::socket::Watch;
use crate::sim::world::{REAL, World};
use crate::{Backend, Readiness, Tag, sys};

/// A descriptor of the system that a simulated loop watches: of a pipe, of a mailbox.
pub(super) struct Foreign {
    pub(super) host: usize,
    pub(super) number: i32,
    /// A copy, to ask about readiness.
    pub(super) copy: OwnedFd,
    pub(super) watch: Watch,
    pub(super) ready: Readiness,
}

impl World {
    /// Watches a real descriptor.
    pub(super) fn watch_real(
        &mut self,
        host: usize,
        fd: BorrowedFd<'_>,
        watch: Watch,
    ) -> io::Result<()> {
        let key = self.last_foreign + 1;
        let (number, copy) = (fd.as_raw_fd(), fd.try_clone_to_owned()?);
        self.system.add(copy.as_fd(), Tag::new(key, REAL), crate::Interest::NONE)?;
        self.last_foreign = key;
        self.foreign.insert(key, Foreign { host, number, copy, watch, ready: Readiness::NONE });
        Ok(())
    }

    /// Returns a real descriptor that is watched.
    pub(super) fn real(&mut self, host: usize, number: i32) -> Option<(u32, &mut Foreign)> {
        let found = self.foreign.iter_mut().find(|(_, it)| it.host == host && it.number == number);
        found.map(|(key, foreign)| (*key, foreign))
    }

    pub(super) fn forget_real(&mut self, host: usize, fd: BorrowedFd<'_>) -> io::Result<()> {
        let Some((key, _)) = self.real(host, fd.as_raw_fd()) else {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        };
        self.forget_foreign(key)
    }

    /// Stops watching a real descriptor.
    fn forget_foreign(&mut self, key: u32) -> io::Result<()> {
        let foreign = self.foreign.remove(&key);
        foreign.map_or(Ok(()), |foreign| self.system.remove(foreign.copy.as_fd()))
    }

    /// Stops watching the real descriptors of a program that has ended.
    pub(super) fn forget_all_foreign(&mut self, host: usize) {
        let own = self.foreign.iter().filter(|(_, it)| it.host == host);
        let keys: Vec<u32> = own.map(|(key, _)| *key).collect();
        for key in keys {
            // The copy is closed in any case.
            let _ = self.forget_foreign(key);
        }
    }
}

impl Foreign {
    /// Returns what a wait reports of it.
    pub(super) fn report(&self, is_edge_triggered: bool) -> Option<Readiness> {
        let told = if is_edge_triggered {
            if self.watch.is_news { self.ready } else { Readiness::NONE }
        } else {
            sys::ready_now(self.copy.as_fd(), self.watch.interest).unwrap_or(Readiness::NONE)
        };
        (!told.is_empty()).then_some(told)
    }
}
