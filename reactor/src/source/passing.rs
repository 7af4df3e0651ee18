//! Descriptors that are passed to another process over a Unix socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::{self, Message, Waiting};
use crate::{Cx, Interest, kernel};

/// The most descriptors of one message (`SCM_MAX_FD`, `unix(7)`).
pub const DESCRIPTORS_MAX: usize = sys::DESCRIPTORS_MAX;

/// Bytes and descriptors that were received together ([`Cx::receive_descriptors`],
/// [`receive_descriptors`]).
#[derive(Debug)]
pub struct Passed {
    /// How many bytes were received. Zero is the end of a stream.
    pub length: usize,
    /// The descriptors, in the order in which they were sent. Each is closed on exec
    /// (`FD_CLOEXEC`, `fcntl(2)`), and otherwise as its sender had it, such as in its blocking
    /// mode, which both share.
    pub descriptors: Vec<OwnedFd>,
    /// The message had more bytes, and they are lost. This cannot happen on a stream.
    pub lacks_bytes: bool,
    /// More descriptors were sent than are allowed here, or than this process may open
    /// (`MSG_CTRUNC`, `recv(2)`). Those that are missing are closed, and the others are valid.
    pub lacks_descriptors: bool,
}

impl From<Message> for Passed {
    fn from(message: Message) -> Self {
        let Message { length, descriptors, lacks_bytes, lacks_descriptors } = message;
        Self { length, descriptors, lacks_bytes, lacks_descriptors }
    }
}

/// Sends `bytes` and copies of `descriptors` over a Unix socket (`SCM_RIGHTS`, `unix(7)`), and
/// returns how many bytes were sent. The descriptors are sent with the first of them, so a caller
/// that was told fewer than all sends the rest without descriptors. It never raises `SIGPIPE`.
///
/// This is for programs without a loop, or before it runs: whether it blocks depends on the mode of
/// the descriptor. A handler uses [`Cx::send_descriptors`].
///
/// ```
/// use reactor::{receive_descriptors, send_descriptors};
/// use std::io::{Read, Write};
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
///
/// let (near, far) = UnixStream::pair()?;
/// let (mut reader, writer) = std::io::pipe()?;
/// send_descriptors(&near, b"a pipe", &[writer.as_fd()])?;
/// drop(writer);
///
/// let mut buffer = [0; 64];
/// let passed = receive_descriptors(&far, &mut buffer, 1)?;
/// assert_eq!(&buffer[..passed.length], b"a pipe");
/// for descriptor in passed.descriptors {
///     std::fs::File::from(descriptor).write_all(b"through it")?;
/// }
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "through it");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// - [`InvalidInput`](io::ErrorKind::InvalidInput) when it is not a Unix socket, when `bytes` is
///   empty, or when there are more than [`DESCRIPTORS_MAX`] descriptors. Nothing was sent.
/// - `ETOOMANYREFS` when more descriptors of this user are on their way than a process may have
///   open (`RLIMIT_NOFILE`).
/// - [`Unsupported`](io::ErrorKind::Unsupported) for a socket of a simulated host.
/// - Any other error of the kernel (`sendmsg(2)`).
pub fn send_descriptors(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    send(socket.as_fd(), bytes, descriptors, Waiting::ByMode)
}

/// Receives bytes, and up to `descriptors_max` descriptors that were sent with them, from a Unix
/// socket. Further descriptors are closed, and the result tells that there were some. A call
/// returns the descriptors of one message at most, and no bytes of the next message that has some.
///
/// This is for programs without a loop, or before it runs: whether it blocks depends on the mode of
/// the descriptor. A handler uses [`Cx::receive_descriptors`].
///
/// # Errors
/// - [`InvalidInput`](io::ErrorKind::InvalidInput) when it is not a Unix socket, or `buffer` is
///   empty.
/// - [`Unsupported`](io::ErrorKind::Unsupported) for a socket of a simulated host.
/// - Any other error of the kernel (`recvmsg(2)`).
pub fn receive_descriptors(
    socket: impl AsFd,
    buffer: &mut [u8],
    descriptors_max: usize,
) -> io::Result<Passed> {
    receive(socket.as_fd(), buffer, descriptors_max, Waiting::ByMode)
}

impl<A> Cx<'_, A> {
    /// Sends `bytes` and copies of `descriptors` over the Unix socket of this source, and returns
    /// how many bytes were sent, or `Ok(None)` when the call would block. The descriptors are sent
    /// with the first of the bytes, so a caller that was told fewer than all sends the rest
    /// ([`write`](Self::write)) without descriptors. The caller may close its descriptors
    /// afterwards.
    ///
    /// # Errors
    /// As for [`send_descriptors`].
    pub fn send_descriptors(
        &mut self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Option<usize>> {
        let count = self.attempt("sendmsg", Interest::WRITE, |fd, _| {
            send(fd, bytes, descriptors, Waiting::Never)
        })?;
        self.note_write(count, bytes.len());
        Ok(count)
    }

    /// Receives bytes from the Unix socket of this source, and up to `descriptors_max` descriptors
    /// that were sent with them. Further descriptors are closed, and the result tells that there
    /// were some, so a peer cannot use up the descriptors of this process. Returns `Ok(None)` when
    /// the call would block. [`read`](Self::read) closes all descriptors that come with its bytes.
    ///
    /// ```
    /// use reactor::{Cx, Handler, Reason};
    /// use std::io;
    /// use std::os::fd::OwnedFd;
    ///
    /// /// Takes connections that another process has accepted, one with each message.
    /// struct Takes;
    ///
    /// impl Handler<Vec<OwnedFd>> for Takes {
    ///     fn ready(&mut self, cx: &mut Cx<'_, Vec<OwnedFd>>) -> io::Result<()> {
    ///         let mut buffer = [0; 256];
    ///         while let Some(passed) = cx.receive_descriptors(&mut buffer, 1)? {
    ///             if passed.length == 0 {
    ///                 cx.end(Reason::PeerClosed);
    ///                 break;
    ///             }
    ///             cx.app.extend(passed.descriptors);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`receive_descriptors`].
    pub fn receive_descriptors(
        &mut self,
        buffer: &mut [u8],
        descriptors_max: usize,
    ) -> io::Result<Option<Passed>> {
        let passed = self.attempt("recvmsg", Interest::READ, |fd, _| {
            receive(fd, buffer, descriptors_max, Waiting::Never)
        })?;
        if let Some(passed) = &passed {
            self.core.counters.bytes_read += passed.length as u64;
            // A read stops behind a message with descriptors, so a short one proves nothing.
            if passed.length == 0 {
                self.note_read(0, buffer.len());
            }
        }
        Ok(passed)
    }
}

fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    waiting: Waiting,
) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(invalid(&format!(
            "a message has {DESCRIPTORS_MAX} descriptors at most, not {}; send several messages",
            descriptors.len()
        )));
    }
    if bytes.is_empty() {
        return Err(invalid("descriptors are sent with bytes; send one byte at least"));
    }
    check_socket(socket)?;
    sys::send_descriptors(socket, bytes, descriptors, waiting)
}

fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors_max: usize,
    waiting: Waiting,
) -> io::Result<Passed> {
    if buffer.is_empty() {
        return Err(invalid("descriptors are received with bytes; the buffer has no room for any"));
    }
    check_socket(socket)?;
    sys::receive_descriptors(socket, buffer, descriptors_max, waiting).map(Passed::from)
}

/// Returns an error unless `socket` is a Unix socket. The kernel sends over TCP all the same, and
/// drops the descriptors.
fn check_socket(socket: BorrowedFd<'_>) -> io::Result<()> {
    kernel::refuse_simulated(socket, "descriptors that can be passed")?;
    match sys::is_unix_socket(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err(invalid("descriptors are passed over Unix sockets alone")),
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {
            Err(invalid("descriptors are passed over Unix sockets alone, and this is no socket"))
        }
        Err(error) => Err(error),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
