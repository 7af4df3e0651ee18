//! Sockets that one process passes on to another: which of the two removes the file of a Unix
//! socket, and sockets of datagrams that another process has bound.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::net::datagram_socket::{answer_as_asked, explained, set_options};
use crate::net::socket_file::{FileIdentity, SocketFile};
use crate::{Address, DatagramOptions, DatagramSocket, Listener, kernel};

impl Listener {
    /// Takes over the file of a Unix socket that another process has bound: it is removed when the
    /// last listener on the socket has ended here. The other process says which file it is
    /// ([`owned_file`](Self::owned_file)), and leaves it ([`leave_file`](Self::leave_file)). It has no
    /// effect on other sockets.
    ///
    /// # Errors
    /// When there is no such file (`stat(2)`), or another one has replaced it.
    pub fn own_file(&mut self, file: FileIdentity) -> io::Result<()> {
        if let (Address::Unix(path), None) = (&self.address, &self.file) {
            self.file = Some(SocketFile::take_over(&self.fd, path, file)?);
        }
        Ok(())
    }

    /// Returns the file of the Unix socket, if this process removes it.
    pub fn owned_file(&self) -> Option<FileIdentity> {
        self.file.as_ref().map(|file| file.identity())
    }

    /// Leaves the file of a Unix socket to another process, which goes on with the socket: it is not
    /// removed here, however this process ends. `false` takes it back. It holds for all listeners on
    /// the same socket ([`try_clone`](Self::try_clone)).
    pub fn leave_file(&self, is_left: bool) {
        if let Some(file) = &self.file {
            file.set_left(is_left);
        }
    }
}

impl DatagramSocket {
    /// Takes over a bound socket of datagrams: one inherited from another process, as systemd passes
    /// them (`sd_listen_fds(3)`), or one that other code has bound. It is made non-blocking, and gets
    /// the options that [`bind`](Self::bind) sets. The file of a Unix socket is not removed; its
    /// creator has to do that, unless this process takes that over too ([`own_file`](Self::own_file)).
    ///
    /// # Errors
    /// When it is no socket of datagrams, or is not bound, or refuses an option.
    pub fn from_fd(fd: OwnedFd, options: &DatagramOptions) -> io::Result<Self> {
        let refused = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if !kernel::sends_messages(fd.as_fd()) {
            return refused("the inherited descriptor is not a socket of datagrams");
        }
        let address = match kernel::local_address(fd.as_fd())? {
            Some(ip) => Some(Address::Udp(ip)),
            None => Address::of_unix_socket(&kernel::local_unix_name(fd.as_fd())?, true),
        };
        let Some(address) = address else {
            return refused("the inherited socket is not bound; its creator has to call bind(2)");
        };
        kernel::set_nonblocking(fd.as_fd())?;
        set_options(&fd, &address, options)
            .and_then(|()| answer_as_asked(&fd, &address))
            .map_err(|failure| explained("cannot receive datagrams on", &address, failure))?;
        let is_coalescing = options.coalesced;
        Ok(Self { fd, address, peer: None, file: None, is_coalescing, shares_port: false })
    }

    /// Takes over the file of a Unix socket: see [`Listener::own_file`].
    ///
    /// # Errors
    /// When there is no such file (`stat(2)`), or another one has replaced it.
    pub fn own_file(&mut self, file: FileIdentity) -> io::Result<()> {
        if let (Address::UnixDatagram(path), None) = (&self.address, &self.file) {
            self.file = Some(SocketFile::take_over(&self.fd, path, file)?);
        }
        Ok(())
    }

    /// Returns the file of the Unix socket, if this process removes it.
    pub fn owned_file(&self) -> Option<FileIdentity> {
        self.file.as_ref().map(|file| file.identity())
    }

    /// Leaves the file of a Unix socket to another process: see [`Listener::leave_file`].
    pub fn leave_file(&self, is_left: bool) {
        if let Some(file) = &self.file {
            file.set_left(is_left);
        }
    }
}
