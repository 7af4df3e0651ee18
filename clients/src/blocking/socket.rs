//! A blocking socket with deadlines.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    setsockopt, shutdown, socket, sockopt,
};
use nix::sys::time::TimeVal;
use protocol::Output;
use reactor::{Address, Location, Target};

use super::{Deadline, connecting};

/// The number of segments of the output in one system call.
const SLICES_MAX: usize = 64;

/// A connected stream socket. Its waits have deadlines, and a signal does not interrupt them.
///
/// It is in blocking mode, so that the usual wait for an answer costs one system call. Writes never
/// wait: [`Driver`](super::Driver) waits for room and for input at the same time, since a server
/// may accept nothing until its answers are read.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// The timeout of reads that the socket has (`SO_RCVTIMEO`).
    armed: Option<Duration>,
}

impl Socket {
    /// Connects to an address, to one of several, or to a name. Several addresses are raced as a
    /// [`Connector`](reactor::Connector) does (RFC 8305): one that does not answer costs a quarter of a
    /// second. `timeout` is for resolving and all attempts together; `None` waits as long as the
    /// system does.
    ///
    /// # Errors
    /// A [`ConnectError`](reactor::ConnectError), which says what each attempt came to, or for a Unix
    /// socket the error of the system. [`TimedOut`](io::ErrorKind::TimedOut) if no time is left.
    pub fn connect(target: impl Into<Target>, timeout: Option<Duration>) -> io::Result<Self> {
        let fd = match target.into() {
            // While its backlog is full, the system waits.
            Target::Location(Location::Address(Address::Unix(path))) => {
                connect_unix(&UnixAddr::new(&path)?, timeout)?
            }
            Target::Location(Location::Address(Address::Abstract(name))) => {
                connect_unix(&UnixAddr::new_abstract(name.as_bytes())?, timeout)?
            }
            target => connecting::connect(target, timeout)?,
        };
        Ok(Self { fd, armed: None })
    }

    /// Reads at least one byte, or none if the peer has ended its stream. Waits until `deadline` or
    /// `until` passes.
    pub(super) fn read(
        &mut self,
        room: &mut [u8],
        deadline: &mut Deadline,
        until: Option<Instant>,
    ) -> io::Result<usize> {
        loop {
            self.arm(deadline.left_until(until)?)?;
            match recv(self.fd.as_raw_fd(), room, MsgFlags::empty()) {
                Ok(count) => return Ok(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads what there is: `None` if there is nothing now, no byte if the peer has ended its
    /// stream.
    pub(super) fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let flags = MsgFlags::MSG_DONTWAIT;
        unless_blocked(|| recv(self.fd.as_raw_fd(), room, flags))
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
        if filled == 0 {
            return Err(io::Error::other("a blocking client cannot send a range of a file"));
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = self.fd.as_raw_fd();
        unless_blocked(|| sendmsg(fd, &slices[..filled], &[], flags, None::<&()>))
    }

    /// Ends the sending side.
    pub(super) fn end_output(&self) -> io::Result<()> {
        Ok(shutdown(self.fd.as_raw_fd(), Shutdown::Write)?)
    }

    /// Returns a handle that cuts this socket from another thread.
    ///
    /// # Errors
    /// When the process has no free descriptor.
    pub fn cutter(&self) -> io::Result<Cutter> {
        Ok(Cutter { fd: self.fd.try_clone()? })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Repeats an operation that a signal has interrupted. Returns `None` if it would block.
fn unless_blocked(mut operation: impl FnMut() -> nix::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match operation() {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
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

fn connect_unix(address: &UnixAddr, timeout: Option<Duration>) -> io::Result<OwnedFd> {
    let kind = SockType::Stream;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    // While the backlog of the listener is full, connecting waits as long as the timeout of writes
    // allows.
    setsockopt(&fd, sockopt::SendTimeout, &time_value(timeout))?;
    loop {
        match connect(fd.as_raw_fd(), address) {
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
