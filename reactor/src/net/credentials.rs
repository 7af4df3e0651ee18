//! Which process, user and group is at the other end of a Unix socket.

use std::io;
use std::os::fd::AsFd;

use crate::{Accepted, kernel, sys};

/// The process at the other end of a connected Unix socket, its user and its group, as they were
/// when it connected, called `listen(2)`, or made the pair of sockets (`SO_PEERCRED`, `unix(7)`).
/// The kernel vouches for them.
///
/// ```
/// use reactor::Credentials;
/// use std::os::unix::net::UnixStream;
///
/// let (near, _far) = UnixStream::pair()?;
/// assert_eq!(Credentials::of_peer(&near)?.pid, Some(std::process::id()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The number of the process; `None` if it is in a PID namespace that this process cannot see.
    /// The process may have ended, and another may have its number.
    pub pid: Option<u32>,
    /// The effective user ID.
    pub uid: u32,
    /// The effective group ID.
    pub gid: u32,
}

impl Credentials {
    /// Returns the credentials of the peer of a connected Unix socket.
    ///
    /// # Errors
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) when it is not a Unix socket.
    /// - [`NotConnected`](io::ErrorKind::NotConnected) when it has no peer.
    /// - [`Unsupported`](io::ErrorKind::Unsupported) for a socket of a simulated host.
    pub fn of_peer(socket: impl AsFd) -> io::Result<Self> {
        let fd = socket.as_fd();
        kernel::refuse_simulated(fd, "processes, so a peer has no credentials")?;
        if !sys::is_unix_socket(fd)? {
            let text = "only the peer of a Unix socket has credentials";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (process, uid, gid) = sys::peer_credentials(fd)?;
        // What the kernel says of a socket without a peer.
        if (process, uid, gid) == (0, u32::MAX, u32::MAX) {
            let text = "this Unix socket has no peer, so there are no credentials";
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        Ok(Self { pid: Some(process).filter(|process| *process != 0), uid, gid })
    }
}

impl Accepted {
    /// Returns which process, user and group has connected, if this is a Unix socket.
    ///
    /// # Errors
    /// As for [`Credentials::of_peer`].
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        Credentials::of_peer(&self.fd)
    }
}
