//! A blocking socket with deadlines.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use protocol::Output;

use super::{Deadline, connecting};
use crate::sys::{self, Patience};
use crate::{Accepted, Address, Location, Target, kernel};

/// The number of segments of the output in one system call.
const SLICES_MAX: usize = 64;

/// A connected stream socket. Its waits have deadlines, and a signal does not interrupt them.
///
/// It is in blocking mode, so that the usual wait for an answer costs one system call. Writes never
/// wait: [`Driver`](super::Driver) waits for room and for input at the same time, since a server
/// may accept nothing until its answers are read.
#[derive(Debug)]
pub struct Socket {
    fd: Arc<OwnedFd>,
    /// The timeout of reads that the socket has (`SO_RCVTIMEO`).
    armed: Option<Duration>,
}

impl Socket {
    /// Connects to an address, to one of several, or to a name. Several addresses are raced as a
    /// [`Connector`](crate::Connector) does (RFC 8305): one that does not answer costs a quarter of a
    /// second. `timeout` is for resolving and all attempts together; `None` waits as long as the
    /// system does.
    ///
    /// # Errors
    /// A [`ConnectError`](crate::ConnectError), which says what each attempt came to, or for a Unix
    /// socket the error of the system. [`TimedOut`](io::ErrorKind::TimedOut) if no time is left.
    pub fn connect(target: impl Into<Target>, timeout: Option<Duration>) -> io::Result<Self> {
        refuse_simulated()?;
        let fd = match target.into() {
            // While its backlog is full, the system waits.
            Target::Location(Location::Address(
                address @ (Address::Unix(_) | Address::Abstract(_)),
            )) => connect_unix(&address, timeout)?,
            target => connecting::connect(target, timeout)?,
        };
        Ok(Self { fd: Arc::new(fd), armed: None })
    }

    /// Takes a connection that a listener has accepted, and makes it blocking.
    ///
    /// # Errors
    /// When the mode of the descriptor cannot be changed (`fcntl(2)`), or on a simulated host.
    pub fn accepted(connection: Accepted) -> io::Result<Self> {
        refuse_simulated()?;
        let fd = connection.into_fd();
        sys::set_blocking(fd.as_fd())?;
        Ok(Self { fd: Arc::new(fd), armed: None })
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
            match self.receive(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads as [`read`](Self::read) does, for `time` at most, and until a signal is handled: then the
    /// error is [`Interrupted`](io::ErrorKind::Interrupted).
    pub(super) fn read_for(&mut self, room: &mut [u8], time: Duration) -> io::Result<usize> {
        self.arm(Some(time))?;
        self.receive(room)
    }

    /// Reads at least one byte, within the timeout that is set.
    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        match sys::receive(self.as_fd(), room, Patience::Waits) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::TimedOut.into())
            }
            result => result,
        }
    }

    /// Reads what there is: `None` if there is nothing now, no byte if the peer has ended its
    /// stream.
    pub(super) fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(|| sys::receive(self.as_fd(), room, Patience::Never))
    }

    /// Sets the timeout of reads.
    fn arm(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.armed != timeout {
            sys::set_receive_timeout(self.as_fd(), for_kernel(timeout))?;
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
            return Err(io::Error::other("a blocking socket cannot send a range of a file"));
        }
        unless_blocked(|| sys::send_now(self.as_fd(), &slices[..filled]))
    }

    /// Ends the sending side.
    pub(super) fn end_output(&self) -> io::Result<()> {
        kernel::shutdown_write(self.as_fd())
    }

    /// Returns how many bytes the peer has not acknowledged, or zero if that is not known.
    pub(super) fn unacknowledged(&self) -> u32 {
        kernel::unacknowledged(self.as_fd()).unwrap_or(0)
    }

    /// Makes closing the socket reset the connection, so that the peer does not take what it got for
    /// the whole.
    pub(super) fn reset_on_close(&self) {
        // If it has ended already, the peer knows.
        let _ = kernel::reset_on_close(self.as_fd());
    }

    /// Returns a handle that ends waits on this socket from another thread. It does not keep the
    /// connection open.
    pub fn cutter(&self) -> Cutter {
        Cutter { fd: Arc::downgrade(&self.fd) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.fd).as_fd()
    }
}

/// Returns an error on a simulated host.
fn refuse_simulated() -> io::Result<()> {
    if kernel::is_simulated() { Err(kernel::no_such("blocking sockets")) } else { Ok(()) }
}

/// Repeats an operation that a signal has interrupted. Returns `None` if it would block.
fn unless_blocked(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match operation() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// A handle that ends waits on a connection from another thread.
#[derive(Debug)]
pub struct Cutter {
    fd: Weak<OwnedFd>,
}

impl Cutter {
    /// Cuts the connection, if it is still open. An operation that waits on it fails then.
    pub fn cut(&self) {
        if let Some(fd) = self.fd.upgrade() {
            // An error means that the connection has already ended.
            let _ = sys::shutdown_both((*fd).as_fd());
        }
    }

    /// Ends the receiving side, if it is still open. An operation that waits for input gets what has
    /// come, and then the end of the stream.
    pub fn end_input(&self) {
        if let Some(fd) = self.fd.upgrade() {
            // An error means that the connection has already ended.
            let _ = sys::shutdown_read((*fd).as_fd());
        }
    }
}

fn connect_unix(address: &Address, timeout: Option<Duration>) -> io::Result<OwnedFd> {
    let fd = sys::stream_socket(address.endpoint())?;
    sys::set_blocking(fd.as_fd())?;
    // While the backlog of the listener is full, connecting waits as long as the timeout of writes
    // allows.
    sys::set_send_timeout(fd.as_fd(), for_kernel(timeout))?;
    loop {
        match sys::connect(fd.as_fd(), address.endpoint()) {
            Ok(sys::Connecting::Done) => {
                sys::set_send_timeout(fd.as_fd(), Duration::ZERO)?;
                return Ok(fd);
            }
            // A signal was handled. A Unix socket is not connected in the background.
            Ok(sys::Connecting::InProgress) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns a timeout for the kernel, for which zero means for ever.
fn for_kernel(timeout: Option<Duration>) -> Duration {
    timeout.map_or(Duration::ZERO, |it| it.max(Duration::from_micros(1)))
}
