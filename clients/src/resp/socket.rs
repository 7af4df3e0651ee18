//! A blocking socket with deadlines, which can also be read while it does not take more.

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

/// How many segments of the output go into one system call.
const SLICES_MAX: usize = 64;

/// How long a connection is silent before the peer is asked whether it is there, in seconds.
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

    /// What is left: all of it at first, so that the usual case sets no new timeout.
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

/// What can be done next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// The peer has said something, and may take more.
    Readable,
    /// The peer takes more.
    Writable,
}

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    /// The timeout of reads that the kernel has been told of.
    armed: Option<Duration>,
}

impl Socket {
    /// Connects to the first of `addresses` that takes it; the last error otherwise.
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

    /// Reads what there is, at least a byte unless the peer has ended.
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

    /// Has reads give up after `timeout`.
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

    /// Waits until the peer takes more, or, if `reads`, has said something.
    pub(super) fn wait(&self, reads: bool, patience: &mut Patience) -> io::Result<Ready> {
        let reading = if reads { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT | reading)];
        loop {
            // Rounded up, so that it does not spin through the last millisecond.
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

    /// What cuts this socket from another thread.
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

/// Cuts a connection from another thread: an operation that waits on it fails, since it is closed.
#[derive(Debug)]
pub struct Cutter {
    fd: OwnedFd,
}

impl Cutter {
    /// Cuts the connection, if it is still there.
    pub fn cut(&self) {
        // One that has ended already is as it should be.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }
}

/// Small commands are not held back, and a peer that is gone without a word is noticed.
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
    // Connecting waits while the backlog of the listener is full, and as long as writing may.
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

/// A timeout as the kernel takes it, where zero means forever.
fn time_value(timeout: Option<Duration>) -> TimeVal {
    let Some(timeout) = timeout else { return TimeVal::new(0, 0) };
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    match (seconds, i64::from(timeout.subsec_micros())) {
        (0, 0) => TimeVal::new(0, 1),
        (seconds, micros) => TimeVal::new(seconds, micros),
    }
}
