//! A blocking socket with deadlines, which can be read while writing blocks.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    setsockopt, shutdown, socket, sockopt,
};
use nix::sys::time::TimeVal;
use protocol::Output;
use reactor::Address;

use super::Connection;

/// The number of segments of the output in one system call.
const SLICES_MAX: usize = 64;

/// How long a connection is silent before the kernel probes the peer, in seconds (`TCP_KEEPIDLE`).
const KEEP_ALIVE: u32 = 15;

/// How long an operation may still take.
pub(super) struct Patience {
    timeout: Option<Duration>,
    until: Option<Instant>,
}

impl Patience {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, until: None }
    }

    /// Returns the remaining time. The first call returns all of it, so that the usual case sets no
    /// new timeout.
    fn left(&mut self) -> io::Result<Option<Duration>> {
        let Some(timeout) = self.timeout else { return Ok(None) };
        let now = Instant::now();
        match self.until {
            None => {
                self.until = now.checked_add(timeout);
                Ok(Some(timeout))
            }
            Some(until) if until > now => Ok(Some(until - now)),
            Some(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// What the socket is ready for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// There is input. There may be room to write, too.
    Readable,
    /// There is room to write.
    Writable,
}

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    /// The timeout of reads that the socket has (`SO_RCVTIMEO`).
    armed: Option<Duration>,
}

impl Socket {
    /// Connects to the first of `addresses` that accepts. If none does, returns the last error.
    pub(super) fn connect(addresses: &[Address], timeout: Option<Duration>) -> io::Result<Self> {
        let mut patience = Patience::new(timeout);
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            let left = patience.left()?;
            let connected = match address {
                Address::Tcp(address) => match left {
                    Some(left) => TcpStream::connect_timeout(address, left),
                    None => TcpStream::connect(address),
                }
                .and_then(prepare),
                Address::Unix(path) => connect_unix(path, left),
            };
            match connected {
                Ok(fd) => return Ok(Self { fd, armed: None }),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Reads at least one byte, or none if the peer has ended its stream.
    pub(super) fn read(&mut self, room: &mut [u8], patience: &mut Patience) -> io::Result<usize> {
        loop {
            self.arm(patience.left()?)?;
            match recv(self.fd.as_raw_fd(), room, MsgFlags::empty()) {
                Ok(count) => return Ok(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sets the timeout of reads.
    fn arm(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.armed != timeout {
            setsockopt(&self.fd, sockopt::ReceiveTimeout, &time_value(timeout))?;
            self.armed = timeout;
        }
        Ok(())
    }

    /// Writes as much of `output` as the peer accepts now. Returns how many bytes that was, or `None`
    /// when it accepts nothing.
    pub(super) fn write(&self, output: &Output) -> io::Result<Option<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = output.gather(&mut slices);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg(self.fd.as_raw_fd(), &slices[..filled], &[], flags, None::<&()>) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until there is room to write or, if `reads`, until there is input.
    pub(super) fn wait(&self, reads: bool, patience: &mut Patience) -> io::Result<Ready> {
        let reading = if reads { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT | reading)];
        loop {
            // Rounded up, so that the loop does not spin during the last millisecond.
            let timeout = patience.left()?.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left.as_millis().saturating_add(1))
                    .unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => {
                    let found = fds[0].revents().unwrap_or(PollFlags::empty());
                    let readable = found.contains(PollFlags::POLLIN);
                    return Ok(if readable { Ready::Readable } else { Ready::Writable });
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Returns a handle that cuts this socket from another thread.
    pub(super) fn cutter(&self) -> io::Result<Cutter> {
        Ok(Cutter { fd: self.fd.try_clone()? })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.socket.as_fd()
    }
}

/// A handle that cuts a connection from another thread. An operation that waits on the connection
/// fails then.
#[derive(Debug)]
pub struct Cutter {
    fd: OwnedFd,
}

impl Cutter {
    /// Cuts the connection, if it is still open.
    pub fn cut(&self) {
        // An error means that the connection has already ended.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }
}

/// Sets the options of a socket: small commands are sent at once, and a peer that has vanished is
/// noticed.
fn prepare(stream: TcpStream) -> io::Result<OwnedFd> {
    stream.set_nodelay(true)?;
    let fd = OwnedFd::from(stream);
    setsockopt(&fd, sockopt::KeepAlive, &true)?;
    setsockopt(&fd, sockopt::TcpKeepIdle, &KEEP_ALIVE)?;
    setsockopt(&fd, sockopt::TcpKeepInterval, &(KEEP_ALIVE / 3))?;
    setsockopt(&fd, sockopt::TcpKeepCount, &3)?;
    Ok(fd)
}

fn connect_unix(path: &Path, timeout: Option<Duration>) -> io::Result<OwnedFd> {
    let kind = SockType::Stream;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    // While the backlog of the listener is full, connecting waits as long as the timeout of writes
    // allows.
    setsockopt(&fd, sockopt::SendTimeout, &time_value(timeout))?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => {
                setsockopt(&fd, sockopt::SendTimeout, &time_value(None))?;
                return Ok(fd);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Returns a timeout for the kernel, for which zero means for ever.
fn time_value(timeout: Option<Duration>) -> TimeVal {
    let Some(timeout) = timeout else { return TimeVal::new(0, 0) };
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    match (seconds, i64::from(timeout.subsec_micros())) {
        (0, 0) => TimeVal::new(0, 1),
        (seconds, micros) => TimeVal::new(seconds, micros),
    }
}
