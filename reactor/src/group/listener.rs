//! The listening sockets of a group.

use std::io;
use std::num::NonZeroUsize;

use crate::{Accept, Address, FileIdentity, ListenOptions, Listener};

/// Where a [`Group`](crate::Group) gets connections from: one listening socket, or one for each of its
/// loops.
#[derive(Debug)]
pub struct GroupListener {
    pub(crate) accept: Accept,
    pub(crate) listeners: Vec<Listener>,
}

impl GroupListener {
    /// Binds `address` and listens ([`Listener::bind`]), for a group with this number of `threads`.
    /// With [`Accept::ReusePort`], each of them gets a socket of its own. All have the same port, also
    /// if the kernel chooses it.
    ///
    /// # Errors
    /// As for [`Listener::bind`]. Unix sockets cannot be bound with [`Accept::ReusePort`].
    pub fn bind(
        address: &Address,
        options: &ListenOptions,
        accept: Accept,
        threads: NonZeroUsize,
    ) -> io::Result<Self> {
        if accept != Accept::ReusePort {
            return Ok(Self { accept, listeners: vec![Listener::bind(address, options)?] });
        }
        let options = ListenOptions { reuse_port: true, ..*options };
        let mut listeners = vec![Listener::bind(address, &options)?];
        while listeners.len() < threads.get() {
            let another = Listener::bind(listeners[0].address(), &options)?;
            listeners.push(another);
        }
        Ok(Self { accept, listeners })
    }

    /// Takes over sockets that listen already ([`Listener::from_fd`]). [`Accept::ReusePort`] needs one
    /// for each loop of the group, all with `SO_REUSEPORT` and the same address. Otherwise there is
    /// one.
    pub fn from_listeners(accept: Accept, listeners: Vec<Listener>) -> Self {
        Self { accept, listeners }
    }

    /// Returns the address on which it listens. If the port was 0, it is the one that the kernel chose.
    /// `None` if there is no socket.
    pub fn address(&self) -> Option<&Address> {
        self.listeners.first().map(Listener::address)
    }

    /// Returns the sockets, for a program that has one loop after all.
    pub fn into_listeners(self) -> Vec<Listener> {
        self.listeners
    }

    /// Returns the file of the Unix socket, if this process removes it
    /// ([`Listener::owned_file`]).
    pub fn owned_file(&self) -> Option<FileIdentity> {
        self.listeners.first().and_then(Listener::owned_file)
    }

    /// Returns how its connections reach the loops.
    pub fn accept(&self) -> Accept {
        self.accept
    }

    /// Returns the first socket and the others, if there are as many as a group with this number of
    /// loops needs.
    pub(crate) fn split(self, threads: usize) -> io::Result<(Listener, Vec<Listener>)> {
        let needed = if self.accept == Accept::ReusePort { threads } else { 1 };
        let count = self.listeners.len();
        let mut listeners = self.listeners.into_iter();
        match listeners.next() {
            Some(first) if count == needed => Ok((first, listeners.collect())),
            _ => {
                let text = format!(
                    "a group of {threads} loops needs {needed} sockets where connections are {}, and \
                     got {count}",
                    self.accept
                );
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }
}
